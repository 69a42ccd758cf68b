"""Loudness of sounds that stream: blocks, float32 ``[channels, n]``. Full scale is 1.0."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from vqaudio.arrays import Block

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
