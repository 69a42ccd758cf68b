"""Sound of a model whose WaveNet draws it: each channel in one stream, or its segments side by side."""

import numpy as np

from vqaudio.arrays import Block
from vqaudio.codecs import vocoder
from vqaudio.codecs.sampler import Sampler
from vqaudio.codecs.sampling import Sampling
from vqaudio.codecs.segments import GROUP, Crossfader, Layout, Part, Segment, cut, draw_parts, in_parallel
from vqaudio.codecs.tokens import Window
from vqaudio.codecs.vocoder import DecoderInputs, SymbolSynthesizer, decoder_inputs
from vqaudio.dsp import mulaw
from vqaudio.models.speech_vqvae import AudioVQVAE


def _sampler(model: AudioVQVAE, sampling: Sampling) -> Sampler:
    return Sampler(model.decoder, mulaw.SILENCE_LEVEL, sampling.temperature)


class SequentialDecoder:
    """Speaks each channel in one stream, from the first sample to the last."""

    def __init__(self, model: AudioVQVAE, sampling: Sampling, channels: int) -> None:
        self._model, self._voice = model, sampling.voice
        sampler = _sampler(model, sampling)
        self._streams = [sampler.stream() for _ in range(channels)]
        self._generators = [np.random.default_rng([sampling.seed, channel]) for channel in range(channels)]
        self._synthesizers = [SymbolSynthesizer(model) for _ in range(channels)]
        self._initial_phase = [0.0] * channels  # periods of the pitch so far

    def __call__(self, window: Window) -> Block:
        """The sound of the next window, ``[channels, n * hop]``."""
        hop = self._model.config.decoder.hop_length
        spoken = []
        for channel, codes in enumerate(window.codes):
            own = decoder_inputs(self._model, codes, self._voice).part(_frames(self._model, window.inner))
            uniforms = self._generators[channel].random(len(own.features) * hop)
            initial_phase = self._initial_phase[channel]
            symbols = self._streams[channel].push(
                own.features, uniforms, own.phase_index(self._model.config.decoder, initial_phase)
            )
            spoken.append(self._synthesizers[channel](symbols, own, initial_phase))
            self._initial_phase[channel] += own.periods(hop)
        return np.stack(spoken)


class SegmentDecoder:
    """Speaks all channels' segments of a window at once, and joins them."""

    def __init__(self, model: AudioVQVAE, sampling: Sampling, channels: int, plan: Layout) -> None:
        self._model, self._sampling, self._plan = model, sampling, plan
        self._sampler = _sampler(model, sampling)
        self._crossfaders = [Crossfader() for _ in range(channels)]
        self._initial_phase = [0.0] * channels  # periods of the pitch before the window
        self._said = 0  # tokens of the windows before

    def __call__(self, window: Window) -> Block:
        """As :meth:`SequentialDecoder.__call__`."""
        hop, offset = self._model.samples_per_token, self._said - window.inner.start
        segments = cut(self._plan, len(self._crossfaders), window.inner, window.codes.shape[1])
        generators = [np.random.default_rng([self._sampling.seed, s.channel, offset + s.first]) for s in segments]
        inputs = in_parallel(lambda segment: self._inputs(window, segment), segments)
        initial_phase = [self._begins(segment, own) for segment, own in zip(segments, inputs, strict=True)]
        phases = [
            own.phase_index(self._model.config.decoder, at) for own, at in zip(inputs, initial_phase, strict=True)
        ]
        parts = [Part(own.features, signs, draws) for own, signs, draws in zip(inputs, phases, generators, strict=True)]
        spoken: list[list[Block]] = [[] for _ in self._crossfaders]
        for s, own, at, symbols in zip(segments, inputs, initial_phase, draw_parts(self._sampler, parts), strict=True):
            wave = SymbolSynthesizer(self._model)(symbols, own, at)[(s.first - s.begin) * hop :]
            spoken[s.channel].append(self._crossfaders[s.channel](wave, (s.end - s.first) * hop))
        self._said += window.inner.stop - window.inner.start
        return np.stack([np.concatenate(channel) for channel in spoken])

    def _inputs(self, window: Window, segment: Segment) -> DecoderInputs:
        before, after = self._model.conditioning_reach
        low = max(segment.begin - before, 0)
        codes = window.codes[segment.channel, low : segment.stop + after]
        inner = slice(segment.begin - low, segment.stop - low)
        return decoder_inputs(self._model, codes, self._sampling.voice).part(_frames(self._model, inner))

    def _begins(self, segment: Segment, own: DecoderInputs) -> float:
        """The periods before the next segment of its channel, whose pulses go on where those of the last one end."""
        hop = self._model.config.decoder.hop_length
        before, until = (_frames(self._model, slice(0, to - segment.begin)) for to in (segment.first, segment.end))
        initial_phase = self._initial_phase[segment.channel] - own.part(before).periods(hop)
        self._initial_phase[segment.channel] = initial_phase + own.part(until).periods(hop)
        return initial_phase


def _frames(model: AudioVQVAE, tokens: slice) -> slice:
    """The frames of features of some tokens."""
    return slice(tokens.start * model.frames_per_token, tokens.stop * model.frames_per_token)


def warm_up(model: AudioVQVAE) -> None:
    """Compiles the kernels that draw and restore sound, or fetches them from the disk."""
    config = model.config.decoder
    sampler = Sampler(model.decoder, mulaw.SILENCE_LEVEL)
    features = np.zeros((GROUP, 1, config.features), np.float32)
    uniforms = np.full((GROUP, config.hop_length), 0.5)
    sampler.stream().push(features[0], uniforms[0])
    sampler.streams(GROUP).push(features, uniforms)
    vocoder.warm_up(model)
