"""From a sub-band WaveNet's weights to the kernels that draw from it."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from vqaudio.arrays import Doubles, Floats
from vqaudio.codecs.sampler import Conditioner, with_layers
from vqaudio.kernels.filterbank import BANDS, DELAY, Synthesis
from vqaudio.kernels.pulses import Pulses, PulseTrain
from vqaudio.kernels.subband_reference import MixtureRule, Numbers
from vqaudio.kernels.wavenet_reference import Weights
from vqaudio.models.subband_wavenet import SubbandWaveNet
from vqaudio.models.wavenet import as_array


class Kernel(Protocol):
    """What draws bands; :mod:`vqaudio.kernels.subband_reference` says how."""

    def generate(
        self,
        conditions: Floats,
        hop_length: int,
        inputs: Floats,
        lags: Doubles,
        numbers: Numbers,
        spread: Doubles,
    ) -> Floats:
        """Draws bands."""


def export(model: SubbandWaveNet) -> Weights:
    """The kernels' arrays of ``model``."""
    none = np.zeros((1, model.config.residual), np.float32)
    return with_layers(model, as_array(model.input.weight.T), none, "head")


class Spread(NamedTuple):
    """What the scales of each band are multiplied by, in ``voiced`` frames and in others: 1 as learnt, less: calmer."""

    voiced: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    unvoiced: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)

    def of(self, f0_hz: Floats) -> Doubles:
        """``[frames, 4]`` for the pitch ``f0_hz[frames]``, 0 where there is no voice."""
        return np.where(f0_hz[:, None] > 0, self.voiced, self.unvoiced)


class PulseInputs:
    """What each step hears of the pulses around it, and the first layer's bias: :meth:`SubbandWaveNet.pulse_inputs`."""

    def __init__(self, model: SubbandWaveNet) -> None:
        c = model.config
        self.behind, self.ahead, self._steps = c.pulses_behind, c.pulses_ahead, c.hop_length
        self._window = as_array(model.pulse_window.weight.T), as_array(model.pulse_window.bias)
        self._input = as_array(model.pulse_input.weight.T), as_array(model.input.bias)

    def __call__(self, pulses: Floats) -> Floats:
        """``pulses[behind + T + ahead, BANDS]`` to ``[T, R]``; T is a multiple of the steps of a frame.

        A product rounds a row by its place among its rows: with a frame's at a time no cut of a stream changes any.
        """
        steps, context = self._steps, self.behind + self.ahead
        (window, window_bias), (mix, bias) = self._window, self._input
        inputs = np.empty((len(pulses) - context, mix.shape[1]), np.float32)
        for first in range(0, len(inputs), steps):
            known = pulses[first : first + steps + context]
            windows = np.lib.stride_tricks.sliding_window_view(known, context + 1, axis=0).reshape(steps, -1)
            inputs[first : first + steps] = np.maximum(windows @ window + window_bias, 0) @ mix + bias
        return inputs


class SubbandStream:
    """One stream of bands. Its state lives across calls and does not grow with their number."""

    def __init__(self, sampler: "SubbandSampler", kernel: Kernel) -> None:
        self._sampler, self._kernel = sampler, kernel
        self._past = np.zeros((sampler.pulse_inputs.behind, BANDS), np.float32)

    def push(self, features: Floats, pulses: Pulses, numbers: Numbers, spread: Doubles) -> Floats:
        """Draws the next bands ``[T, 4]``, T being ``frames * hop_length``.

        Args:
            features: ``[frames, F]``.
            pulses: of these steps, the bands of ``pulses_ahead`` more.
            numbers: ``[T, 4]`` of each kind.
            spread: ``[frames, 4]``, what the scales are multiplied by.
        """
        sampler = self._sampler
        steps = len(features) * sampler.hop_length
        assert len(pulses.bands) == steps + sampler.pulse_inputs.ahead
        known = np.concatenate([self._past, pulses.bands])
        self._past = known[steps : steps + len(self._past)]
        conditions = np.empty((len(features), *sampler.conditioner.shape), np.float32)
        for frame in range(len(features)):  # as for the pulses
            conditions[frame] = sampler.conditioner(features[frame : frame + 1])[0]
        inputs = sampler.pulse_inputs(known)
        return self._kernel.generate(conditions, sampler.hop_length, inputs, pulses.lags, numbers, spread)


class DrawnExcitation:
    """One stream of excitation, as :class:`vqaudio.kernels.pulse_noise.PulseNoise` is one, from features and pitch.

    Its samples come :attr:`delay` samples late. Its state lives across calls and does not grow with their number.
    """

    delay = DELAY

    def __init__(
        self, sampler: "SubbandSampler", sample_rate_hz: int, spread: Spread, generator: np.random.Generator
    ) -> None:
        """Generators that ``generator`` begets draw the numbers."""
        hop = sampler.hop_length * BANDS
        self._pulses = PulseTrain(sample_rate_hz, hop, sampler.pulse_inputs.ahead)
        self.frames_ahead = self._pulses.frames_ahead
        self._steps = sampler.hop_length
        self._stream, self._spread = sampler.stream(), spread
        self._uniforms, self._normals = generator.spawn(2)  # one each, so that no cut of the stream changes either
        self._synthesis = Synthesis()

    def push(self, features: Floats, f0_hz: Floats) -> Floats:
        """The next ``n * hop_length`` samples, of power about one.

        ``features[n, F]`` are of their frames, ``f0_hz[n + frames_ahead]`` (0: no voice) of these and of the frames
        after them, which the next call gives again.
        """
        pulses = self._pulses.push(f0_hz)
        shape = (len(features) * self._steps, BANDS)
        numbers = Numbers(self._uniforms.random(shape), self._normals.standard_normal(shape))
        spread = self._spread.of(f0_hz[: len(features)])
        return self._synthesis(self._stream.push(features, pulses, numbers, spread))


def draw_excitations(
    sampler: "SubbandSampler",
    features: Floats,
    f0_hz: Floats,
    sample_rate_hz: int,
    spread: Spread,
    generators: Sequence[np.random.Generator],
) -> Floats:
    """What :meth:`DrawnExcitation.push` draws first, for many streams at once: ``[streams, n * hop_length]``.

    ``features[streams, n, F]``, ``f0_hz[streams, n + frames_ahead]``, and a generator for each stream.
    """
    hop, shape = sampler.hop_length * BANDS, (features.shape[1] * sampler.hop_length, BANDS)
    trains = [PulseTrain(sample_rate_hz, hop, sampler.pulse_inputs.ahead) for _ in generators]
    pulses = [train.push(own) for train, own in zip(trains, f0_hz, strict=True)]
    pairs = [generator.spawn(2) for generator in generators]
    uniforms = np.stack([own.random(shape) for own, _ in pairs], axis=-1)
    normals = np.stack([own.standard_normal(shape) for _, own in pairs], axis=-1)
    spreads = np.stack([spread.of(own[: features.shape[1]]) for own in f0_hz])
    bands = sampler.generate(features, pulses, Numbers(uniforms, normals), spreads)
    return np.stack([Synthesis()(own) for own in bands])


class SubbandSampler:
    """A sub-band WaveNet as the kernels read it: made once, shared by all streams."""

    def __init__(self, model: SubbandWaveNet) -> None:
        from vqaudio.kernels import subband, subband_batched

        self.hop_length = model.config.hop_length
        self.conditioner, self.pulse_inputs = Conditioner(model), PulseInputs(model)
        self.rule = MixtureRule(model.config.components, model.config.scale_floor)
        weights = export(model)
        self._one, self._many = subband.prepared(weights), subband_batched.prepared(weights)

    def stream(self) -> SubbandStream:
        """A new stream by itself."""
        from vqaudio.kernels.subband import Kernel as One

        return SubbandStream(self, One(self._one, self.rule))

    def generate(self, features: Floats, pulses: Sequence[Pulses], numbers: Numbers, spread: Doubles) -> Floats:
        """Draws ``bands[streams, T, 4]`` of streams that are whole, all at once.

        Args:
            features: ``[streams, frames, F]``.
            pulses: of each stream, the bands of ``pulses_ahead`` more steps.
            numbers: ``[T, 4, streams]`` of each kind.
            spread: ``[streams, frames, 4]``.
        """
        from vqaudio.kernels.subband_batched import Kernel as Many

        before = ((self.pulse_inputs.behind, 0), (0, 0))
        inputs = np.stack([self.pulse_inputs(np.pad(own.bands, before)) for own in pulses], axis=-1)
        lags = np.stack([own.lags for own in pulses], axis=-1)
        conditions = self.conditioner.side_by_side(features)
        kernel = Many(self._many, self.rule, len(features))
        drawn = kernel.generate(conditions, self.hop_length, inputs, lags, numbers, np.moveaxis(spread, 0, -1))
        return np.ascontiguousarray(np.moveaxis(drawn, -1, 0))
