"""Sound as a signal: mu-law levels, pre-emphasis, loudness and mel spectra.

What the network sees (levels, pre-emphasis, mel spectra) are torch tensors, time on the last axis. Loudness is measured
on blocks, ``float32`` NumPy arrays ``[channels, n]`` that stream. Full scale is 1.0.
"""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vqaudio.errors import SoundError

Block = npt.NDArray[np.float32]

# --- Levels: what the decoder predicts -------------------------------------------------------------------------------

LEVELS = 256
SILENCE_LEVEL = 128  # the level of 0.0, and the only one that decodes to exactly 0.0


def mu_law_encode(wave: Tensor) -> Tensor:
    """Levels ``[...]`` (int64, 0..255) of a float wave ``[...]`` by ITU-T G.711's law; beyond -1..1 it saturates."""
    from torchaudio.functional import mu_law_encoding

    levels: Tensor = mu_law_encoding(wave.float().clamp(-1.0, 1.0), LEVELS)
    return levels


def mu_law_decode(levels: Tensor) -> Tensor:
    """Wave ``[...]`` (float32, -1..1) of integer levels ``[...]``; encoding it again gives back each level.

    By the formula no level sits on zero: 127 and 128 straddle it by 8.6e-5, which de-emphasis would raise to an audible
    step. :data:`SILENCE_LEVEL` is therefore moved by that much, onto 0.0 (the edge of its own cell).
    """
    from torchaudio.functional import mu_law_decoding

    wave: Tensor = mu_law_decoding(levels, LEVELS)
    return wave.masked_fill(levels == SILENCE_LEVEL, 0.0)


def mu_law_width(wave: Tensor) -> Tensor:
    """How wide the level of ``wave[...]`` is, by the derivative of the law."""
    top = LEVELS - 1
    return (1 + top * wave.abs().clamp(max=1.0)) * (2 * math.log(LEVELS) / top**2)


def pre_emphasis(wave: Tensor, coefficient: float) -> Tensor:
    """``y[t] = x[t] - coefficient * x[t-1]`` along the last axis of ``[..., T]``, with ``x[-1] = 0``."""
    from torchaudio.functional import preemphasis

    emphasised: Tensor = preemphasis(wave, coefficient)
    return emphasised


class DeEmphasis:
    """The inverse of :func:`pre_emphasis`, block after block: ``x[t] = y[t] + coefficient * x[t-1]``.

    The state is kept in double precision, so that where the blocks are cut can be neither heard nor measured. A
    ``coefficient`` outside 0 to below 1 raises :class:`SoundError`.
    """

    def __init__(self, coefficient: float) -> None:
        if not 0.0 <= coefficient < 1.0:
            raise SoundError(f"pre-emphasis coefficient {coefficient} is unstable; choose one from 0 to below 1")
        self._coefficient = coefficient
        self._last: npt.NDArray[np.float64] | float = 0.0  # the sample before the block

    def __call__(self, block: Block) -> Block:
        """The next block ``[..., n]`` of the one signal that this object restores; ``n`` may vary, the rest may not."""
        wave = block.astype(np.float64)
        if not wave.shape[-1]:
            return block
        wave[..., 0] += self._coefficient * self._last
        # 1 / (1 - cz) = (1 + cz)(1 + (cz)^2)(1 + (cz)^4)..., until what is left is beyond double precision
        step, factor = 1, self._coefficient
        while factor > 1e-18 and step < wave.shape[-1]:
            wave[..., step:] += factor * wave[..., :-step]
            step, factor = 2 * step, factor * factor
        self._last = wave[..., -1]
        return cast(Block, wave.astype(np.float32))


# --- Loudness --------------------------------------------------------------------------------------------------------

TARGET_RMS = 10 ** (-23 / 20)  # -23 dBFS: speech then peaks near, and seldom beyond, full scale
MAX_GAIN = 1000.0  # 60 dB
_SILENCE_RMS = 10 ** (-90 / 20)  # below it there is nothing but the dither of 16 bits
_FRAME_S = 0.03
_GATE_DB = 40  # frames further than this below the loudest are pauses
_LOWEST_DB, _HIGHEST_DB = -120, 180  # ends of the histogram; what lies beyond counts at the end


@dataclass(frozen=True)
class Level:
    """One channel's loudness: ``rms`` of its active part without DC (0 for silence), ``peak`` of all, linear."""

    rms: float
    peak: float

    @property
    def gain(self) -> float:
        """The factor to :data:`TARGET_RMS`, at most :data:`MAX_GAIN` and never such that ``peak`` goes beyond 1."""
        wanted = TARGET_RMS / self.rms if self.rms > 0 else 1.0
        return min(wanted, MAX_GAIN, 1.0 / self.peak if self.peak > 0 else MAX_GAIN)


class _LevelMeter:
    """Histograms of frame power, one a channel, in bins of 1 dB."""

    def __init__(self, frame: int, channels: int) -> None:
        self._frame = frame
        self._rest = np.zeros((channels, 0), np.float32)
        self._peak = np.zeros(channels)
        self._energy = np.zeros((channels, _HIGHEST_DB - _LOWEST_DB + 1))
        self._samples = np.zeros_like(self._energy)

    def add(self, block: Block) -> None:
        self._peak = np.maximum(self._peak, np.abs(block).max(axis=1, initial=0.0))
        block = np.concatenate([self._rest, block], axis=1)
        whole = block.shape[1] // self._frame * self._frame
        self._tally(block[:, :whole].reshape(len(block), -1, self._frame))
        self._rest = block[:, whole:]

    def levels(self) -> tuple[Level, ...]:
        if self._rest.shape[1]:
            self._tally(self._rest[:, None])
        return tuple(Level(self._active_rms(channel), float(peak)) for channel, peak in enumerate(self._peak))

    def _tally(self, frames: Block) -> None:
        """Count ``[channels, frames, samples]``. Each frame's mean goes first: DC and rumble are no loudness."""
        power = frames.var(axis=-1, dtype=np.float64)
        decibels = 10 * np.log10(np.maximum(power, 1e-30))
        bins = np.clip(np.floor(decibels), _LOWEST_DB, _HIGHEST_DB).astype(np.int64) - _LOWEST_DB
        channel = np.broadcast_to(np.arange(len(bins))[:, None], bins.shape)
        np.add.at(self._energy, (channel, bins), power * frames.shape[-1])
        np.add.at(self._samples, (channel, bins), frames.shape[-1])

    def _active_rms(self, channel: int) -> float:
        used = np.flatnonzero(self._samples[channel])
        if len(used) == 0:
            return 0.0
        active = slice(max(int(used[-1]) - _GATE_DB, 0), None)
        rms = float(np.sqrt(self._energy[channel, active].sum() / self._samples[channel, active].sum()))
        return rms if rms >= _SILENCE_RMS else 0.0


def measure_level(blocks: Iterable[Block], sample_rate_hz: int, channels: int) -> tuple[Level, ...]:
    """The :class:`Level` of each channel of a signal, in one pass over its blocks ``[channels, n]``, however it is cut.

    Loudness is taken over frames of 30 ms within 40 dB of the loudest, so that pauses do not make a talker seem soft.
    """
    meter = _LevelMeter(max(1, round(sample_rate_hz * _FRAME_S)), channels)
    for block in blocks:
        meter.add(block)
    return meter.levels()


# --- Mel spectra -----------------------------------------------------------------------------------------------------

MEL_FLOOR = 1e-3  # below it all is silence: the log is never less than -6.9


@functools.lru_cache(maxsize=8)
def _mel(sample_rate_hz: int, n_fft: int, hop_length: int, n_mels: int, device: torch.device) -> nn.Module:
    from torchaudio.transforms import MelSpectrogram

    # power=1 is the magnitude; center=False because log_mel places the frames itself.
    kind = {"n_fft": n_fft, "hop_length": hop_length, "n_mels": n_mels, "power": 1.0, "center": False}
    with torch.inference_mode(False):  # it is kept, and what is made in that mode no gradient may pass
        return cast(nn.Module, MelSpectrogram(sample_rate_hz, **kind)).to(device)


def log_mel(wave: Tensor, sample_rate_hz: int, n_fft: int, hop_length: int, n_mels: int) -> Tensor:
    """Log-mel magnitudes ``[B, n_mels, T // hop_length]`` of ``[B, T]``: ``log(max(mel, MEL_FLOOR))``, natural log.

    Frame ``i`` is centred on sample ``i * hop_length + hop_length // 2``, the middle of token ``i``'s own samples.
    Beyond its ends the wave is silent.
    """
    frames = wave.shape[-1] // hop_length
    if frames == 0:
        return wave.new_zeros(len(wave), n_mels, 0)
    before = n_fft // 2 - hop_length // 2
    after = (frames - 1) * hop_length + n_fft - before - wave.shape[-1]
    mel: Tensor = _mel(sample_rate_hz, n_fft, hop_length, n_mels, wave.device)(nn.functional.pad(wave, (before, after)))
    return mel.clamp(min=MEL_FLOOR).log()
