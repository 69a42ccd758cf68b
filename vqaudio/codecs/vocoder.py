"""From codes to what the decoder draws by, and from what it drew to sound.

A decoder of the wave's levels needs features alone, and what it draws is sound but for pre-emphasis. One of the
excitation (:mod:`vqaudio.dsp.all_pole`) must also be told where the pulses lie; what it draws goes through the filter.

A model may leave the low part of a voice's excitation to pulses alone: what is drawn carries noise, which is heard most
in the low harmonics (harmonic plus noise, Stylianou 2001).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from vqaudio.arrays import Block
from vqaudio.bitstream.entropy import Codes
from vqaudio.codecs.segments import one_thread
from vqaudio.dsp import all_pole, emphasis, mulaw, pitch_phase
from vqaudio.models.config import WaveNetConfig
from vqaudio.models.speech_vqvae import AudioVQVAE

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_MU_LAW = mulaw.mu_law_decode(torch.arange(mulaw.LEVELS)).numpy()


class SourceParameters(NamedTuple):
    """The source and the filter of some frames: ``f0_cycles[frames]``, periods a sample; ``voiced[frames]``; and the
    filter's ``coefficients[frames, order]`` and ``gain[frames]``."""

    f0_cycles: Doubles
    voiced: npt.NDArray[np.bool_]
    coefficients: Floats
    gain: Floats


class DecoderInputs(NamedTuple):
    """What the decoder draws frames by: ``features[frames, F]`` and, where it draws the excitation, ``parameters``."""

    features: Floats
    parameters: SourceParameters | None

    def part(self, frames: slice) -> "DecoderInputs":
        """Some of the frames."""
        own = self.parameters
        if own is not None:
            own = SourceParameters(
                own.f0_cycles[frames], own.voiced[frames], own.coefficients[frames], own.gain[frames]
            )
        return DecoderInputs(self.features[frames], own)

    def periods(self, hop_length: int) -> float:
        """Periods that pass in these frames; 0 where the decoder draws the wave."""
        return 0.0 if self.parameters is None else float(self.parameters.f0_cycles.sum()) * hop_length

    def phase(self, hop_length: int, initial_phase: float) -> Doubles:
        """The phase of each sample, in periods, that before the first being ``initial_phase``."""
        f0_cycles = np.zeros(len(self.features)) if self.parameters is None else self.parameters.f0_cycles
        return initial_phase + np.cumsum(np.repeat(f0_cycles, hop_length))

    def phase_index(self, config: WaveNetConfig, initial_phase: float) -> Integers | None:
        """The phase index of each sample for a decoder of this ``config``; None where the decoder draws the wave."""
        if self.parameters is None:
            return None
        voiced = torch.from_numpy(self.parameters.voiced)[None]
        phase = torch.from_numpy(self.phase(config.hop_length, initial_phase))[None]
        return pitch_phase.phase_index(phase, voiced, config.phases)[0].numpy()


@torch.inference_mode()
def decoder_inputs(model: AudioVQVAE, codes: Codes, voice: Floats | None) -> DecoderInputs:
    """``codes[n]``, spoken in ``voice[V]``, to the :class:`DecoderInputs` of their ``n * frames_per_token`` frames."""
    device = model.device
    with one_thread(), torch.autocast(device.type, enabled=False):
        who = None if voice is None else torch.from_numpy(voice)[None].to(device)
        features = model.features(torch.from_numpy(codes.astype(np.int64))[None].to(device), who)
        parameters = None
        if model.envelope is not None:
            filters, pitch = model.vocal_tract_filter(features), model.pitch(features)
            f0_cycles = pitch.hz.double() / model.config.sample_rate_hz
            parts = (f0_cycles, pitch.voiced, filters.coefficients, filters.gain)
            parameters = SourceParameters(*(part[0].cpu().numpy() for part in parts))
    return DecoderInputs(np.ascontiguousarray(features[0].T.cpu().numpy()), parameters)


class SymbolSynthesizer:
    """Turns one stream's symbols to sound, call after call."""

    def __init__(self, model: AudioVQVAE) -> None:
        from vqaudio.kernels.source_filter import Synthesis

        config = model.config
        self._hop = config.decoder.hop_length
        self._de_emphasis = emphasis.DeEmphasis(config.pre_emphasis)
        self._synthesis = Synthesis(all_pole.ORDER) if config.excitation else None
        self._pulses = _Pulses(2 * config.pulses_hz / config.sample_rate_hz) if config.pulses_hz else None

    def __call__(self, symbols: Integers, drawn_by: DecoderInputs, initial_phase: float) -> Block:
        """The sound ``[T]`` of ``symbols[T]``, drawn by inputs before which the phase was ``initial_phase``."""
        wave = _MU_LAW[symbols]
        if self._synthesis is not None:
            parameters = drawn_by.parameters
            assert parameters is not None
            driven = all_pole.RANGE * wave.astype(np.float64)
            if self._pulses is not None:
                driven = self._pulses(driven, parameters, drawn_by.phase(self._hop, initial_phase), initial_phase)
            wave = self._synthesis(driven, parameters.coefficients, parameters.gain)
        return self._de_emphasis(wave)


class _Pulses:
    """Puts pulses in place of the low part of a voice's excitation. Its memory lives across calls."""

    def __init__(self, share: float) -> None:
        """``share`` of half the sample rate is where the pulses end."""
        from vqaudio.kernels.source_filter import Crossover

        self._crossover = Crossover(share)
        self._late = 0.0  # what of the last pulse falls on the next sample

    def __call__(self, driven: Doubles, parameters: SourceParameters, phase: Doubles, initial_phase: float) -> Doubles:
        """The excitation ``driven[T]`` with a pulse wherever ``phase[T]`` passes a whole number, ``initial_phase``
        being that before."""
        if not len(driven):
            return driven
        f0_cycles, whole = np.repeat(parameters.f0_cycles, len(driven) // len(parameters.f0_cycles)), np.floor(phase)
        sizes = (np.diff(whole, prepend=np.floor(initial_phase)) > 0) / np.sqrt(
            f0_cycles
        )  # the power of noise of variance 1
        early = sizes * (phase - whole) / f0_cycles  # the pulse lies between two samples
        late = sizes - early
        pulses = early + np.concatenate([[self._late], late[:-1]])
        self._late = late[-1]
        return self._crossover(pulses, driven, parameters.voiced)


def warm_up(model: AudioVQVAE) -> None:
    """Compiles what :class:`SymbolSynthesizer` needs, or fetches it from the disk."""
    features = np.zeros((1, model.config.decoder.features), np.float32)
    taps, one = np.zeros((1, all_pole.ORDER), np.float32), np.ones(1)
    parameters = SourceParameters(one / 2, one > 0, taps, one.astype(np.float32)) if model.config.excitation else None
    SymbolSynthesizer(model)(
        np.full(model.config.decoder.hop_length, mulaw.SILENCE_LEVEL), DecoderInputs(features, parameters), 0.0
    )
