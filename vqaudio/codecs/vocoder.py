"""From codes to what the decoder draws by, and from what it drew to sound.

A decoder of the wave's levels needs features alone, and what it draws is sound but for pre-emphasis. One of the
excitation (:mod:`vqaudio.dsp.source`) must also be told where the pulses lie; what it draws goes through the filter.

A model may leave the low part of a voice's excitation to pulses alone: what is drawn carries noise, which is heard most
in the low harmonics (harmonic plus noise, Stylianou 2001).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from vqaudio.bitstream.entropy import Codes
from vqaudio.codecs.segments import one_thread
from vqaudio.dsp import audio, source
from vqaudio.dsp.audio import Block
from vqaudio.models.config import WaveNetConfig
from vqaudio.models.speech_vqvae import AudioVQVAE

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_MU_LAW = audio.mu_law_decode(torch.arange(audio.LEVELS)).numpy()


class Voicing(NamedTuple):
    """The source and the filter of some frames: ``pace[frames]``, periods a sample; ``voiced[frames]``; the filter's
    ``coefficients[frames, order]`` and ``gain[frames]``."""

    pace: Doubles
    voiced: npt.NDArray[np.bool_]
    coefficients: Floats
    gain: Floats


class Score(NamedTuple):
    """What the decoder draws frames by: ``features[frames, F]`` and, where it draws the excitation, their voicing."""

    features: Floats
    voicing: Voicing | None

    def part(self, frames: slice) -> "Score":
        """Some of the frames."""
        own = self.voicing
        if own is not None:
            own = Voicing(own.pace[frames], own.voiced[frames], own.coefficients[frames], own.gain[frames])
        return Score(self.features[frames], own)

    def periods(self, hop_length: int) -> float:
        """Periods that pass in these frames; 0 where the decoder draws the wave."""
        return 0.0 if self.voicing is None else float(self.voicing.pace.sum()) * hop_length

    def passed(self, hop_length: int, begun: float) -> Doubles:
        """Periods that have passed up to each sample, ``begun`` of them before the first."""
        pace = np.zeros(len(self.features)) if self.voicing is None else self.voicing.pace
        return begun + np.cumsum(np.repeat(pace, hop_length))

    def marks(self, config: WaveNetConfig, begun: float) -> Integers | None:
        """The mark of each sample for a decoder of this ``config``, ``begun`` periods having passed before the first;
        None where there are none."""
        if self.voicing is None:
            return None
        voiced = torch.from_numpy(self.voicing.voiced)[None]
        passed = torch.from_numpy(self.passed(config.hop_length, begun))[None]
        return source.marks(passed, voiced, config.marks)[0].numpy()


@torch.inference_mode()
def score(model: AudioVQVAE, codes: Codes, voice: Floats | None) -> Score:
    """``codes[n]``, spoken in ``voice[V]``, to the :class:`Score` of their ``n * frames_per_token`` frames."""
    device = model.device
    with one_thread(), torch.autocast(device.type, enabled=False):
        who = None if voice is None else torch.from_numpy(voice)[None].to(device)
        features = model.features(torch.from_numpy(codes.astype(np.int64))[None].to(device), who)
        voicing = None
        if model.envelope is not None:
            tract, pitch = model.tract(features), model.pitch(features)
            pace = pitch.hz.double() / model.config.sample_rate_hz
            parts = (pace, pitch.voiced, tract.coefficients, tract.gain)
            voicing = Voicing(*(part[0].cpu().numpy() for part in parts))
    return Score(np.ascontiguousarray(features[0].T.cpu().numpy()), voicing)


class Restorer:
    """Turns one stream's symbols to sound, call after call."""

    def __init__(self, model: AudioVQVAE) -> None:
        from vqaudio.kernels.source_filter import Synthesis

        config = model.config
        self._hop = config.decoder.hop_length
        self._de_emphasis = audio.DeEmphasis(config.pre_emphasis)
        self._synthesis = Synthesis(source.ORDER) if config.excitation else None
        self._pulses = _Pulses(2 * config.pulses_hz / config.sample_rate_hz) if config.pulses_hz else None

    def __call__(self, symbols: Integers, drawn_by: Score, begun: float) -> Block:
        """The sound ``[T]`` of ``symbols[T]``, drawn by a score before which ``begun`` periods had passed."""
        wave = _MU_LAW[symbols]
        if self._synthesis is not None:
            voicing = drawn_by.voicing
            assert voicing is not None
            driven = source.RANGE * wave.astype(np.float64)
            if self._pulses is not None:
                driven = self._pulses(driven, voicing, drawn_by.passed(self._hop, begun), begun)
            wave = self._synthesis(driven, voicing.coefficients, voicing.gain)
        return self._de_emphasis(wave)


class _Pulses:
    """Puts pulses in place of the low part of a voice's excitation. Its memory lives across calls."""

    def __init__(self, share: float) -> None:
        """``share`` of half the sample rate is where the pulses end."""
        from vqaudio.kernels.source_filter import Crossover

        self._crossover = Crossover(share)
        self._late = 0.0  # what of the last pulse falls on the next sample

    def __call__(self, driven: Doubles, voicing: Voicing, passed: Doubles, begun: float) -> Doubles:
        """The excitation ``driven[T]`` with a pulse where a whole number of periods has ``passed[T]``, ``begun``
        having passed before."""
        if not len(driven):
            return driven
        pace, whole = np.repeat(voicing.pace, len(driven) // len(voicing.pace)), np.floor(passed)
        sizes = (np.diff(whole, prepend=np.floor(begun)) > 0) / np.sqrt(pace)  # the power of noise of variance 1
        early = sizes * (passed - whole) / pace  # the pulse lies between two samples
        late = sizes - early
        pulses = early + np.concatenate([[self._late], late[:-1]])
        self._late = late[-1]
        return self._crossover(pulses, driven, voicing.voiced)


def warm_up(model: AudioVQVAE) -> None:
    """Compiles what :class:`Restorer` needs, or fetches it from the disk."""
    features = np.zeros((1, model.config.decoder.features), np.float32)
    taps, one = np.zeros((1, source.ORDER), np.float32), np.ones(1)
    voicing = Voicing(one / 2, one > 0, taps, one.astype(np.float32)) if model.config.excitation else None
    Restorer(model)(np.full(model.config.decoder.hop_length, audio.SILENCE_LEVEL), Score(features, voicing), 0.0)
