"""Sound of a model that predicts speech parameters: minimum phase, driven by pulses and noise.

The parameters of a window, and the filter's responses, are worked out in pieces side by side; each piece is laid out by
its place in the stream, so that what comes out does not depend on the number of threads. The excitation and the filter
go through each channel once, from its first sample to its last.
"""

import functools
from typing import NamedTuple

import numpy as np

from vqaudio.arrays import Block, Floats
from vqaudio.bitstream.entropy import Codes
from vqaudio.codecs.sampling import Sampling
from vqaudio.codecs.segments import in_parallel, one_thread
from vqaudio.codecs.tokens import Window
from vqaudio.dsp.mel_envelope import TAPS, MinimumPhase
from vqaudio.errors import ConfigError
from vqaudio.kernels.pulse_noise import PulseNoise
from vqaudio.kernels.varying_filter import VaryingFilter
from vqaudio.models.reach import Reach
from vqaudio.models.sound_model import ParameterModel
from vqaudio.models.vocoder_config import VocoderVQVAEConfig

WINDOW_TOKENS = 2048  # of which sound is made at once
_PIECE_TOKENS = 1024  # a part of a window, worked out by one thread
STREAM_HOP = 2  # vectors of a stream in strict order, as a live one, that are worked out at once
_AHEAD = 2  # frames after a piece that its sound depends on
_LOG_POWER = -40.0, 12.0  # what a band may have: speech stays within -28 to 2, and no codes make what overflows


class Prepared(NamedTuple):
    """What ``n`` frames of sound are made of: ``f0_hz[n + 2]``, 0 without a voice; ``responses[n + 1, TAPS]``."""

    f0_hz: Floats
    responses: Floats


class Synthesizer:
    """One channel's sound, piece after piece."""

    def __init__(self, config: VocoderVQVAEConfig, generator: np.random.Generator) -> None:
        """``generator`` draws the noise."""
        hop, cut_hz = config.frame_length, config.vocoder.cut_hz
        self._excitation = PulseNoise(config.sample_rate_hz, hop, cut_hz, generator)
        self._filter = VaryingFilter(hop, TAPS)

    def __call__(self, prepared: Prepared) -> Floats:
        """The next ``n * frame_length`` samples."""
        return self._filter.push(self._excitation.push(prepared.f0_hz), prepared.responses)


@functools.lru_cache(maxsize=8)
def filter_of(config: VocoderVQVAEConfig, formants: float = 1.0) -> MinimumPhase:
    """The filter that the model's bands mean, its formants at a ratio of their frequencies."""
    return MinimumPhase(config.vocoder.bands, config.sample_rate_hz, config.vocoder.sharpen, formants)


def prepare(model: ParameterModel, filters: MinimumPhase, codes: Codes, inner: slice, sampling: Sampling) -> Prepared:
    """What is said by tokens ``inner`` of ``codes[n]``, in the voice that ``sampling`` asks for.

    The sound ends with its codes: beyond them its last frame stays.
    """
    conditioning = model.config.conditioning
    # frames are most of the work, and only those near the wanted ones matter
    skipped = max(0, inner.start // model.num_quantizers + conditioning.delay_frames // -conditioning.frames_per_vector)
    with one_thread():
        said = model.speak(codes.astype(np.int64), sampling.voice, skipped)
    first, end = inner.start * model.frames_per_token, inner.stop * model.frames_per_token
    frames = np.arange(first, end + _AHEAD) - skipped * conditioning.frames_per_vector
    frames = np.minimum(frames, len(said.f0_hz) - 1)
    if sampling.change is not None:
        said = sampling.change(said)
    return Prepared(said.f0_hz[frames], filters.responses(said.bands[frames[:-1]].clip(*_LOG_POWER)))


def stream_reach(model: ParameterModel) -> Reach:
    """Tokens before and after some from which their sound follows; :class:`ParameterVocoder` allows for more."""
    conditioning = model.config.conditioning
    ahead = -(-(conditioning.delay_frames + _AHEAD) // conditioning.frames_per_vector)
    after = (conditioning.delay_vectors + ahead) * model.num_quantizers
    return Reach(model.conditioning_reach.before, after)


class ParameterVocoder:
    """Makes the sound of all channels, window after window."""

    def __init__(self, model: ParameterModel, sampling: Sampling, channels: int) -> None:
        """Raises ``ConfigError`` for a temperature: there is nothing that it could be one of."""
        if sampling.temperature != model.config.temperature:
            raise ConfigError("temperature does not apply: this model's decoder draws no samples; leave it out")
        self._model, self._sampling, self._pitch = model, sampling, np.float32(sampling.pitch)
        self.filters = filter_of(model.config, sampling.formants)
        generators = (np.random.default_rng([sampling.seed, channel]) for channel in range(channels))
        self._synthesizers = [Synthesizer(model.config, generator) for generator in generators]

    @property
    def reach(self) -> Reach:
        """Tokens that a window must come with before and after those that are wanted."""
        before, after = self._model.conditioning_reach
        return Reach(before, after + self._model.num_quantizers)  # a vector more, for the frames after

    def __call__(self, window: Window) -> Block:
        """The sound of the next window, ``[channels, n * hop]``."""
        pieces = [
            (channel, slice(first, min(first + _PIECE_TOKENS, window.inner.stop)))
            for channel in range(len(window.codes))
            for first in range(window.inner.start, window.inner.stop, _PIECE_TOKENS)
        ]
        prepared = in_parallel(lambda piece: self._prepare(window.codes[piece[0]], piece[1]), pieces)
        sounds: list[list[Floats]] = [[] for _ in window.codes]
        for (channel, _), one in zip(pieces, prepared, strict=True):
            sounds[channel].append(self._synthesizers[channel](one))
        return np.stack([np.concatenate(sound) for sound in sounds])

    def _prepare(self, codes: Codes, inner: slice) -> Prepared:
        before, after = self.reach
        low = max(inner.start - before, 0)
        own = slice(inner.start - low, inner.stop - low)
        prepared = prepare(self._model, self.filters, codes[low : inner.stop + after], own, self._sampling)
        return prepared._replace(f0_hz=prepared.f0_hz * self._pitch)


def warm_up(config: VocoderVQVAEConfig) -> None:
    """Compiles the kernels that make sound, or fetches them from the disk."""
    bands = np.zeros((2, config.vocoder.bands), np.float32)
    prepared = Prepared(np.full(3, 100.0, np.float32), filter_of(config).responses(bands))
    Synthesizer(config, np.random.default_rng(0))(prepared)
