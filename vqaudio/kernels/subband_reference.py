"""The slow, obvious sampler of the sub-band WaveNet, which defines what the faster kernels must compute.

One step, from the bands' samples before it: mix them into the first layer's input; run the WaveNet's layers and head;
take the head's outputs for mixtures of Gaussians; draw band after band. Before the first step all samples are 0.

The weights are a WaveNet's (:class:`vqaudio.kernels.wavenet_reference.Weights`): ``embedding[2 BANDS, R]`` multiplies
the four samples, and the four of the excitation some pitch periods ago, as it would a symbol's one-hot vector;
``phases`` are left out. What a step hears of the pulses comes as ``inputs[T, R]``, the first layer's bias with it.
"""

import math
from typing import NamedTuple

import numpy as np

from vqaudio.arrays import Doubles, Floats
from vqaudio.kernels.filterbank import BANDS, DELAY, FINE, FINE_FILTERS, STEPS, Synthesis
from vqaudio.kernels.wavenet_reference import Stack, Weights

LARGEST = 32.0  # magnitude of a drawn sample
LARGEST_LOG_SCALE = 4.0

_SILENCE = 128  # steps before the first that a lag may reach


class MixtureRule(NamedTuple):
    """How the head's outputs are read: ``components`` Gaussians a band, whose scales are at least ``scale_floor``.

    A step's outputs are the logits, the means and the natural-log scales, each ``[BANDS, components]``, and the
    coupling: a strictly lower triangle, by which a band's mean moves with the samples of the bands below it.
    """

    components: int
    scale_floor: float


class Numbers(NamedTuple):
    """What is drawn outside, one for each sample: ``uniforms`` (0 to below 1) choose the component, standard
    ``normals`` the place in it: ``[T, BANDS]`` each, or ``[T, BANDS, streams]``."""

    uniforms: Doubles
    normals: Doubles


def draw(outputs: Floats, rule: MixtureRule, spread: Doubles, uniforms: Doubles, normals: Doubles) -> Doubles:
    """The bands' samples ``[BANDS]`` of one step from the head's ``outputs``.

    A band's component is the first whose cumulative probability exceeds the uniform number; its scale is multiplied by
    the band's ``spread[BANDS]`` (1: as learnt, 0: the component's mean).
    """
    count = BANDS * rule.components
    values = outputs.astype(np.float64)
    logits, means, log_scales = values[: 3 * count].reshape(3, BANDS, rule.components)
    samples = np.zeros(BANDS)
    for band in range(BANDS):
        cumulative = np.cumsum(np.exp(logits[band] - logits[band].max()))
        chosen = np.searchsorted(cumulative, uniforms[band] * cumulative[-1], side="right")
        chosen = min(chosen, rule.components - 1)
        pair = 3 * count + band * (band - 1) // 2
        mean = means[band, chosen] + values[pair : pair + band] @ samples[:band]
        log_scale = np.clip(log_scales[band, chosen], math.log(rule.scale_floor), LARGEST_LOG_SCALE)
        sample = mean + spread[band] * math.exp(log_scale) * normals[band]
        samples[band] = np.clip(sample, -LARGEST, LARGEST)
    return samples


class Kernel:
    """One stream: its weights and what it remembers."""

    def __init__(self, weights: Weights, rule: MixtureRule) -> None:
        self._stack, self._rule = Stack(weights), rule
        self._bands = [np.zeros(BANDS, np.float32)]  # of all steps so far, and of one before the first

    def _step(self, condition: Floats, step_input: Floats, lag: float) -> Floats:
        lagged = self._lagged(len(self._bands) - 1, lag) if lag else np.zeros(BANDS)
        known = np.concatenate([self._bands[-1], lagged])
        return self._stack(step_input + known.astype(np.float32) @ self._stack.weights.embedding, condition)

    def _lagged(self, step: int, lag: float) -> Doubles:
        """The bands ``lag`` samples before ``step``, of the sound of all bands so far."""
        padded = np.pad(np.stack(self._bands), ((_SILENCE - 1, 0), (0, 0)))
        synthesis = Synthesis()
        late = np.concatenate([synthesis(padded), synthesis(np.zeros((STEPS, BANDS), np.float32))])
        place = BANDS * step - lag
        times = np.arange(math.ceil(place - DELAY), math.floor(place + DELAY) + 1)
        rows = np.floor((place - times + DELAY) * FINE + 0.5).astype(int)
        return np.asarray(late[times + BANDS * _SILENCE + DELAY] @ FINE_FILTERS[rows])

    def generate(
        self,
        conditions: Floats,
        hop_length: int,
        inputs: Floats,
        lags: Doubles,
        numbers: Numbers,
        spread: Doubles,
    ) -> Floats:
        """Draws bands ``[T, BANDS]``, T being ``frames * hop_length``.

        Args:
            conditions: ``[frames, L, 2R]``, the taps' bias with them; frame i conditions ``hop_length`` steps.
            hop_length: steps a frame.
            inputs: ``[T, R]``.
            lags: ``[T]``, samples from each step to an earlier period, 0 where there is none.
            numbers: ``[T, BANDS]`` of each kind.
            spread: ``[frames, BANDS]``, what the scales of each frame are multiplied by.
        """
        bands = np.empty((len(inputs), BANDS), np.float32)
        for t, step_input in enumerate(inputs):
            frame = t // hop_length
            outputs = self._step(conditions[frame], step_input, lags[t])
            drawn = draw(outputs, self._rule, spread[frame], numbers.uniforms[t], numbers.normals[t])
            bands[t] = drawn
            self._bands.append(bands[t])
        return bands

    def forced_logits(
        self, conditions: Floats, hop_length: int, inputs: Floats, lags: Doubles, bands: Floats
    ) -> Floats:
        """The head's outputs ``[T, K]`` of each step when the stream is made to go through ``bands[T, BANDS]``."""
        outputs = []
        for t, step_input in enumerate(inputs):
            outputs.append(self._step(conditions[t // hop_length], step_input, lags[t]))
            self._bands.append(bands[t])
        return np.stack(outputs)
