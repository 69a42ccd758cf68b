"""The Numba kernel of the sub-band WaveNet for one stream: the WaveNet's layers, and a draw for each band.

A step costs what the WaveNet's costs and gives four samples; see :mod:`vqaudio.kernels.wavenet`.
"""

import math

import numpy as np

from vqaudio.arrays import Doubles, Floats
from vqaudio.kernels.elementwise import compiled
from vqaudio.kernels.filterbank import BANDS
from vqaudio.kernels.int16_weights import Network, whole_blocks
from vqaudio.kernels.long_term_predictor import LongTermMemory, recall
from vqaudio.kernels.subband_reference import LARGEST, LARGEST_LOG_SCALE, MixtureRule, Numbers
from vqaudio.kernels.wavenet import Memory, prepared, run_layers

__all__ = ["Kernel", "draw_bands", "enter", "prepared"]


@compiled
def draw_bands(outputs, components, floor, spread, uniforms, normals, weights, bands):  # type: ignore[no-untyped-def]
    """The reference's draw, from ``outputs[K]`` into ``bands[BANDS]``; ``weights[components]`` float64 is scratch."""
    count = BANDS * components
    pair = 3 * count
    for band in range(BANDS):
        first = band * components
        top = outputs[first]
        for j in range(first, first + components):
            top = max(top, outputs[j])
        total = 0.0
        for j in range(components):
            total += math.exp(np.float64(outputs[first + j]) - np.float64(top))
            weights[j] = total
        threshold, chosen = uniforms[band] * total, 0
        while chosen < components - 1 and weights[chosen] <= threshold:
            chosen += 1
        sample = np.float64(outputs[count + first + chosen])
        for lower in range(band):
            sample += np.float64(outputs[pair]) * np.float64(bands[lower])
            pair += 1
        log_scale = min(max(np.float64(outputs[2 * count + first + chosen]), floor), LARGEST_LOG_SCALE)
        sample += spread[band] * math.exp(log_scale) * normals[band]
        bands[band] = min(max(sample, -LARGEST), LARGEST)


@compiled
def enter(x, step_input, bands, lagged, mix):  # type: ignore[no-untyped-def]
    """The first layer's input: ``step_input[R]`` and ``bands`` and ``lagged``, ``[BANDS]`` each, times ``mix``."""
    for j in range(mix.shape[1]):
        total = step_input[j]
        for band in range(BANDS):
            total += bands[band] * mix[band, j] + lagged[band] * mix[BANDS + band, j]
        x[j] = total


@compiled
def _step(t, step_input, lag, condition, network, past):  # type: ignore[no-untyped-def]
    net, ring, ring_steps, scratch = network
    last, lagged, synthesis, filters, recent, heard = past
    recall(t, lag, last, synthesis, filters, recent, heard, lagged)
    enter(scratch[0], step_input, last, lagged, net.embedding)
    run_layers(t, condition, net, ring, ring_steps, scratch)


@compiled
def _generate(t, conditions, hop, told, rule, network, past, weights, bands):  # type: ignore[no-untyped-def]
    inputs, lags, uniforms, normals, spread = told
    components, floor = rule
    last, outputs = past[0], network[3][3]
    for i in range(inputs.shape[0]):
        _step(t + i, inputs[i], lags[i], conditions[i // hop], network, past)
        draw_bands(outputs, components, floor, spread[i // hop], uniforms[i], normals[i], weights, last)
        bands[i] = last


@compiled
def _forced_logits(t, conditions, hop, inputs, lags, given, network, past, outputs):  # type: ignore[no-untyped-def]
    for i in range(inputs.shape[0]):
        _step(t + i, inputs[i], lags[i], conditions[i // hop], network, past)
        outputs[i] = network[3][3][: outputs.shape[1]]
        past[0][:] = given[i]


class Kernel:
    """One stream, with the interface of the reference's; calls release the interpreter lock."""

    def __init__(self, net: Network, rule: MixtureRule) -> None:
        """``net`` is :func:`prepared`; several kernels may share it."""
        self._net, memory = net, Memory(net)
        self._network = (net, memory.ring, memory.ring_steps, memory.scratch)
        self._rule = (rule.components, math.log(rule.scale_floor))
        self._weights = np.empty(rule.components)
        long_term = LongTermMemory()
        last, lagged = np.zeros((2, BANDS), np.float32)
        self._past = (last, lagged, *long_term.filters, long_term.recent[0], long_term.heard[0])
        self._steps = 0

    def generate(
        self,
        conditions: Floats,
        hop_length: int,
        inputs: Floats,
        lags: Doubles,
        numbers: Numbers,
        spread: Doubles,
    ) -> Floats:
        """As the reference's ``generate``."""
        bands = np.empty((len(inputs), BANDS), np.float32)
        given = (whole_blocks(conditions, self._net), hop_length, (inputs, lags, *numbers, spread), self._rule)
        _generate(self._steps, *given, self._network, self._past, self._weights, bands)
        self._steps += len(inputs)
        return bands

    def forced_logits(
        self, conditions: Floats, hop_length: int, inputs: Floats, lags: Doubles, bands: Floats
    ) -> Floats:
        """As the reference's ``forced_logits``."""
        outputs = np.empty((len(inputs), self._net.sizes[3]), np.float32)
        given = (whole_blocks(conditions, self._net), hop_length, inputs, lags, bands)
        _forced_logits(self._steps, *given, self._network, self._past, outputs)
        self._steps += len(inputs)
        return outputs
