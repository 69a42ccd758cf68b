"""The Numba kernel of the sub-band WaveNet for many streams: one product serves them all.

Arrays are ``[channels, LANES]``; see :mod:`vqaudio.kernels.wavenet_batched`.
"""

import math
from functools import partial

import numpy as np

from vqaudio.arrays import Doubles, Floats
from vqaudio.kernels.elementwise import compiled
from vqaudio.kernels.filterbank import BANDS
from vqaudio.kernels.int16_weights import Network, whole_blocks
from vqaudio.kernels.long_term_predictor import LongTermMemory, recall
from vqaudio.kernels.simd import LANES
from vqaudio.kernels.subband import draw_bands
from vqaudio.kernels.subband_reference import MixtureRule, Numbers
from vqaudio.kernels.wavenet_batched import Memory, prepared, run_layers, split_streams

__all__ = ["Kernel", "prepared"]


@compiled
def _enter(x, step_inputs, bands, lagged, mix):  # type: ignore[no-untyped-def]
    """``x[R, LANES]`` as one stream's, of ``step_inputs[R, LANES]``, ``bands`` and ``lagged``, ``[BANDS, LANES]``."""
    for j in range(mix.shape[1]):
        for b in range(LANES):
            total = step_inputs[j, b]
            for band in range(BANDS):
                total += bands[band, b] * mix[band, j] + lagged[band, b] * mix[BANDS + band, j]
            x[j, b] = total


@compiled
def _recall(step, lags, past):  # type: ignore[no-untyped-def]
    """What each stream heard ``lags[LANES]`` samples ago."""
    last, lagged, synthesis, filters, recent, heard = past
    for b in range(LANES):
        recall(step, lags[b], last[:, b], synthesis, filters, recent[b], heard[b], lagged[:, b])


@compiled
def _step(t, step_inputs, lags, conditions, network, past):  # type: ignore[no-untyped-def]
    net, ring, ring_steps, scratch = network
    _recall(t, lags, past)
    _enter(scratch[0], step_inputs, past[0], past[1], net.embedding)
    run_layers(t, conditions, net, ring, ring_steps, scratch)


@compiled
def _generate(t, conditions, hop, told, rule, network, past, draw, bands):  # type: ignore[no-untyped-def]
    inputs, lags, uniforms, normals, spread = told
    components, floor = rule
    outputs, drawn, weights = draw
    for i in range(inputs.shape[0]):
        _step(t + i, inputs[i], lags[i], conditions[i // hop], network, past)
        for b in range(LANES):
            for k in range(outputs.shape[0]):
                outputs[k] = network[3][3][k, b]
            own = spread[i // hop, :, b]
            draw_bands(outputs, components, floor, own, uniforms[i, :, b], normals[i, :, b], weights, drawn)
            for band in range(BANDS):
                past[0][band, b] = drawn[band]
        bands[i] = past[0]


@compiled
def _forced_logits(t, conditions, hop, inputs, lags, given, network, past, outputs):  # type: ignore[no-untyped-def]
    for i in range(inputs.shape[0]):
        _step(t + i, inputs[i], lags[i], conditions[i // hop], network, past)
        outputs[i] = network[3][3][: outputs.shape[1]]
        past[0][:] = given[i]


class _Group:
    """:data:`LANES` streams in step with each other."""

    def __init__(self, net: Network, rule: MixtureRule) -> None:
        memory = Memory(net)
        self._network = (net, memory.ring, memory.ring_steps, memory.scratch)
        self._rule = (rule.components, math.log(rule.scale_floor))
        self._draw = (np.empty(net.sizes[3], np.float32), np.empty(BANDS, np.float32), np.empty(rule.components))
        long_term = LongTermMemory(LANES)
        last, lagged = np.zeros((2, BANDS, LANES), np.float32)
        self._past = (last, lagged, *long_term.filters, long_term.recent, long_term.heard)
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
        """As :meth:`Kernel.generate`."""
        bands = np.empty((len(inputs), BANDS, LANES), np.float32)
        given = (conditions, hop_length, (inputs, lags, *numbers, spread), self._rule)
        _generate(self._steps, *given, self._network, self._past, self._draw, bands)
        self._steps += len(inputs)
        return bands

    def forced_logits(
        self, conditions: Floats, hop_length: int, inputs: Floats, lags: Doubles, bands: Floats
    ) -> Floats:
        """As :meth:`Kernel.forced_logits`."""
        outputs = np.empty((len(inputs), self._network[0].sizes[3], LANES), np.float32)
        _forced_logits(self._steps, conditions, hop_length, inputs, lags, bands, self._network, self._past, outputs)
        self._steps += len(inputs)
        return outputs


class Kernel:
    """``streams`` streams side by side, else as the reference's; calls release the interpreter lock."""

    def __init__(self, net: Network, rule: MixtureRule, streams: int = LANES) -> None:
        """``net`` is :func:`prepared`; several kernels may share it."""
        self._net = net
        self._groups = [_Group(net, rule) for _ in range(0, streams, LANES)]

    def generate(
        self,
        conditions: Floats,
        hop_length: int,
        inputs: Floats,
        lags: Doubles,
        numbers: Numbers,
        spread: Doubles,
    ) -> Floats:
        """As the reference's ``generate``, with a last axis of streams for each array: ``bands[T, BANDS, streams]``."""
        split = partial(split_streams, groups=len(self._groups))
        own_numbers = map(Numbers, split(numbers.uniforms), split(numbers.normals))
        arrays = (split(whole_blocks(conditions, self._net)), split(inputs), split(lags), own_numbers, split(spread))
        drawn = [
            group.generate(own, hop_length, own_inputs, own_lags, own_numbers, own_spread)
            for group, own, own_inputs, own_lags, own_numbers, own_spread in zip(self._groups, *arrays, strict=True)
        ]
        return np.concatenate(drawn, axis=-1)[..., : inputs.shape[-1]]

    def forced_logits(
        self, conditions: Floats, hop_length: int, inputs: Floats, lags: Doubles, bands: Floats
    ) -> Floats:
        """As the reference's ``forced_logits``, each array with a last axis of streams: ``outputs[T, K, streams]``."""
        split = partial(split_streams, groups=len(self._groups))
        arrays = (split(whole_blocks(conditions, self._net)), split(inputs), split(lags), split(bands))
        outputs = [
            group.forced_logits(own, hop_length, own_inputs, own_lags, own_bands)
            for group, own, own_inputs, own_lags, own_bands in zip(self._groups, *arrays, strict=True)
        ]
        return np.concatenate(outputs, axis=-1)[..., : inputs.shape[-1]]
