"""The WaveNet in integers: the same frequencies, bit for bit, on every machine, so that coded tokens travel.

The arithmetic, and why it never overflows, is that of :mod:`vqaudio.kernels.fixed_point`.
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vqaudio.arrays import FREQUENCY_BITS
from vqaudio.errors import ModelError
from vqaudio.kernels.compiling import hold
from vqaudio.kernels.fixed_point import (
    INT16_MAX,
    INT32_MAX,
    LARGEST_WEIGHT,
    LOGIT_BITS,
    MOST_HEAD_BITS,
    MOST_STREAM_BITS,
    NARROW_LIMIT,
    ONE,
    ONE_BITS,
    SHARE_BITS,
    TANH_BITS,
    TANH_REACH,
    WIDE_LIMIT,
    Product,
    Whole,
    add_product,
    compiled_exactly,
    copy,
    fit,
    gate,
    half,
    integers,
    narrowing,
    position,
    real,
    shares,
    shifted,
    tables,
    too_large,
)
from vqaudio.kernels.wavenet_reference import Floats, Integers, Weights

# ------------------------------------------------------------------------------------------------------------- tables


# ------------------------------------------------------------------------------------------------------- quantisation


class Layers(NamedTuple):
    """The stack: L layers of R residual and S skip channels, K symbols. Biases hold the rounding half.

    embedding ``[K + 1, M, R]`` for each of M phases, at the residual stream's position; narrow ``[L]``, the shift from
    there to its input; taps ``[L, 2R, 2R]`` (rows: the past, then now; columns: signals, then gates) and taps_bias
    ``[L, 2R]``; gate_shift ``[L]``, from their sums to the table's argument, for the gates one more; out
    ``[L, R, R + S]`` and out_bias ``[L, R + S]``; residual_shift and skip_shift, from their sums to the streams;
    dilations ``[L]``.
    """

    embedding: npt.NDArray[np.int32]
    narrow: Integers
    taps: npt.NDArray[np.int16]
    taps_bias: npt.NDArray[np.int32]
    gate_shift: Integers
    out: npt.NDArray[np.int16]
    out_bias: npt.NDArray[np.int32]
    residual_shift: int
    skip_shift: int
    dilations: Integers


class Head(NamedTuple):
    """From the skips to the logits: hidden ``[S, H]``, logits ``[H, K]``, their biases and the shifts after them."""

    hidden: npt.NDArray[np.int16]
    hidden_bias: Integers
    hidden_shift: int
    logits: npt.NDArray[np.int16]
    logits_bias: Integers
    logits_shift: int


class FixedWeights(NamedTuple):
    """A whole WaveNet in integers; :func:`quantise` makes it."""

    layers: Layers
    head: Head


def quantise(weights: Weights, taps_bias: Floats) -> FixedWeights:
    """The integers that stand for ``weights`` and ``taps_bias[L, 2R]``, the same on every machine.

    Raises:
        ModelError: a weight is not finite or beyond 2**16, or the layers multiply up to more than integers hold.
    """
    for array in (*weights, taps_bias):
        if not (np.abs(array) < LARGEST_WEIGHT).all():  # NaN fails, too
            raise ModelError("the prior has weights that are not finite or beyond 65536: it cannot code; train it anew")
    layers, skip_position, skip_reach = _quantise_layers(weights, taps_bias)
    return FixedWeights(layers, _quantise_head(weights, skip_position, skip_reach))


def _quantise_layers(weights: Weights, taps_bias: Floats) -> tuple[Layers, int, int]:
    """The stack, the position of the skips' sum, and a bound of its magnitude."""
    count, residual = weights.past.shape[:2]
    mixed = fit(weights.out, weights.out_bias, ONE_BITS, ONE, NARROW_LIMIT)
    streams, skips = mixed.reach[:, :residual].max(1), mixed.reach[:, residual:]

    marked = weights.embedding[:, None].astype(np.float64) + weights.phases
    farthest = Fraction(float(np.abs(marked).max())) + real(streams.sum(), mixed.position)
    stream = position(farthest, count, min(MOST_STREAM_BITS, mixed.position))
    residual_shift = mixed.position - stream
    embedding = integers(marked, stream).astype(np.int32)
    growth = shifted(streams, residual_shift)
    reaches = int(np.abs(embedding).max()) + np.cumsum(growth) - growth  # of what enters each layer

    skip = position(real(skips.sum(0).max(), mixed.position), count, min(MOST_HEAD_BITS, mixed.position))
    skip_shift = mixed.position - skip

    narrow = [narrowing(int(reach), INT16_MAX) for reach in reaches]
    taps = _quantise_taps(weights, taps_bias, stream, reaches, narrow)
    gate_shift = np.array([product.position - TANH_BITS for product in taps])
    if gate_shift.min() < 0:
        raise too_large()
    assert max(residual_shift, skip_shift, *gate_shift) < 30  # as the weights are below 2**16
    halves = half(gate_shift[:, None] + (np.arange(2 * residual) >= residual))
    mixed_half = np.where(np.arange(mixed.bias.shape[1]) < residual, half(residual_shift), half(skip_shift))
    layers = Layers(
        embedding=embedding,
        narrow=np.array(narrow),
        taps=np.stack([product.weights for product in taps]).astype(np.int16),
        taps_bias=(np.stack([product.bias for product in taps]) + halves).astype(np.int32),
        gate_shift=gate_shift,
        out=mixed.weights.astype(np.int16),
        out_bias=(mixed.bias + mixed_half).astype(np.int32),
        residual_shift=residual_shift,
        skip_shift=skip_shift,
        dilations=weights.dilations,
    )
    return layers, skip, int(shifted(skips, skip_shift).sum(0).max())


def _quantise_taps(weights: Weights, bias: Floats, stream: int, reaches: Integers, narrow: list[int]) -> list[Product]:
    """Each layer's taps, past above now, for inputs that come from the residual stream by the shifts ``narrow``."""
    both = np.concatenate([weights.past, weights.now], axis=1)
    return [
        fit(both[i], bias[i], stream - shift, int(shifted(reaches[i], shift)), NARROW_LIMIT)
        for i, shift in enumerate(narrow)
    ]


def _quantise_head(weights: Weights, skip_position: int, skip_reach: int) -> Head:
    hidden = fit(weights.hidden, weights.hidden_bias, skip_position, skip_reach, WIDE_LIMIT)
    reach = int(hidden.reach.max())
    hidden_shift = max(narrowing(reach, INT32_MAX), hidden.position - MOST_HEAD_BITS)
    position = hidden.position - hidden_shift
    logits = fit(weights.logits, weights.logits_bias, position, shifted(reach, hidden_shift), WIDE_LIMIT)
    logits_shift = logits.position - LOGIT_BITS
    if logits_shift < 0:
        raise too_large()
    return Head(
        hidden=hidden.weights.astype(np.int16),
        hidden_bias=hidden.bias + half(hidden_shift),
        hidden_shift=hidden_shift,
        logits=logits.weights.astype(np.int16),
        logits_bias=logits.bias + half(logits_shift),
        logits_shift=logits_shift,
    )


# ---------------------------------------------------------------------------------------------------------- reference


class Reference:
    """The definition of the arithmetic: one step after the other, all in int64 by NumPy."""

    def __init__(self, weights: FixedWeights) -> None:
        self.weights = weights
        self.start()

    def start(self) -> None:
        """Forgets all; what lies before the first step is zeros."""
        silence = np.zeros(self.weights.layers.embedding.shape[2], np.int64)
        self._inputs = [[silence] * int(dilation) for dilation in self.weights.layers.dilations]
        self._steps = 0

    def frequencies(self, symbol: int) -> Integers:
        """As :meth:`FixedKernel.frequencies`."""
        w, (tanh, _) = self.weights.layers, tables()
        _, kinds, residual = w.embedding.shape
        x = w.embedding[symbol, self._steps % kinds].astype(np.int64)
        skips = np.zeros(w.out.shape[2] - residual, np.int64)
        self._steps += 1
        for layer, memory in enumerate(self._inputs):
            memory.append(shifted(x, int(w.narrow[layer])))
            gates = np.concatenate([memory.pop(0), memory[-1]]) @ w.taps[layer].astype(np.int64) + w.taps_bias[layer]
            gates[:residual] >>= w.gate_shift[layer]
            gates[residual:] >>= w.gate_shift[layer] + 1
            bent = tanh[gates.clip(-TANH_REACH, TANH_REACH - 1) + TANH_REACH].astype(np.int64)
            z = (bent[:residual] * (ONE + bent[residual:]) + ONE) >> (ONE_BITS + 1)
            mixed = z @ w.out[layer].astype(np.int64) + w.out_bias[layer]
            x = x + (mixed[:residual] >> w.residual_shift)
            skips = skips + (mixed[residual:] >> w.skip_shift)
        head = self.weights.head
        hidden = (skips.clip(0) @ head.hidden.astype(np.int64) + head.hidden_bias) >> head.hidden_shift
        return self.shares((hidden.clip(0) @ head.logits.astype(np.int64) + head.logits_bias) >> head.logits_shift)

    @staticmethod
    def shares(logits: Integers) -> Integers:
        """Every symbol gets one; the rest of 2**24 goes by exp(logit), rounded down; what is left, to the likeliest."""
        exp = tables()[1]
        powers = exp[np.minimum(logits.max() - logits, len(exp) - 1)]
        factor = (((1 << FREQUENCY_BITS) - len(logits)) << SHARE_BITS) // powers.sum()
        frequencies: Integers = 1 + ((powers * factor) >> SHARE_BITS)
        frequencies[logits.argmax()] += (1 << FREQUENCY_BITS) - frequencies.sum()
        return frequencies


# ------------------------------------------------------------------------------------------------------------- kernel


@compiled_exactly
def _layer(layer, w, taps, out, memory, tanh, scratch):  # type: ignore[no-untyped-def]
    """One layer: reads and replaces ``memory[R]``, its oldest input, and adds to the streams x and skips."""
    x, skips, pair, gates, z, mixed = scratch
    residual = x.shape[0]
    narrow = w.narrow[layer]
    half = (1 << narrow) >> 1
    for j in range(residual):
        pair[j] = memory[j]
        memory[j] = (x[j] + half) >> narrow
        pair[residual + j] = memory[j]
    copy(w.taps_bias[layer], gates)
    add_product(gates, pair, taps, 2 * residual, 2 * residual)
    gate(z, gates, w.gate_shift[layer], tanh)
    copy(w.out_bias[layer], mixed)
    add_product(mixed, z, out, residual, mixed.shape[0])
    for j in range(residual):
        x[j] += mixed[j] >> w.residual_shift
    for j in range(skips.shape[0]):
        skips[j] += mixed[residual + j] >> w.skip_shift


@compiled_exactly
def _head(w, flat, skips, scratch):  # type: ignore[no-untyped-def]
    """The logits of the skips' sum ``skips[S]``, which it overwrites, in ``scratch``: sums, hidden ones, logits."""
    (into_hidden, into_logits), (sums, hidden, logits) = flat, scratch
    for j in range(skips.shape[0]):
        skips[j] = max(skips[j], 0)
    copy(w.hidden_bias, sums)
    add_product(sums, skips, into_hidden, skips.shape[0], sums.shape[0])
    for j in range(sums.shape[0]):
        hidden[j] = max(sums[j] >> w.hidden_shift, 0)
    copy(w.logits_bias, logits)
    add_product(logits, hidden, into_logits, hidden.shape[0], logits.shape[0])
    for j in range(logits.shape[0]):
        logits[j] >>= w.logits_shift


@compiled_exactly
def _run(past, t, weights, flat, ring, starts, scratch, head_scratch, lookup, frequencies):  # type: ignore[no-untyped-def]
    (w, head), (taps, out, flat_head), (tanh, exp) = weights, flat, lookup
    x, skips = scratch[0], scratch[1]
    for i in range(past.shape[0]):
        copy(w.embedding[past[i], (t + i) % w.embedding.shape[1]], x)
        skips[:] = 0
        for layer in range(w.dilations.shape[0]):
            place = starts[layer] + (t + i) % w.dilations[layer] * x.shape[0]
            _layer(layer, w, taps[layer], out[layer], ring[place : place + x.shape[0]], tanh, scratch)
        _head(head, flat_head, skips, head_scratch)
        shares(head_scratch[2], exp, frequencies[i])


class FixedKernel:
    """One stream of the compiled arithmetic, equal to :class:`Reference`; calls release the interpreter lock.

    It is a :class:`vqaudio.bitstream.entropy.FrequencyModel`. Its first step comes after the symbol ``levels``; step
    t has the phase t modulo their number.
    """

    def __init__(self, weights: FixedWeights) -> None:
        self._weights = weights
        layers, head = weights
        count, residual, mixed = layers.out.shape
        hidden, self.levels = head.logits.shape
        flat_head = head.hidden.reshape(-1), head.logits.reshape(-1)
        flat = layers.taps.reshape(count, -1), layers.out.reshape(count, -1), flat_head
        ends = np.cumsum(layers.dilations) * residual
        self._ring = np.zeros(int(ends[-1]), np.int16)
        starts = np.concatenate([[0], ends[:-1]])
        scratch = (
            *(np.empty(size, np.int32) for size in (residual, mixed - residual)),
            np.empty(2 * residual, np.int16),
            np.empty(2 * residual, np.int32),
            np.empty(residual, np.int16),
            np.empty(mixed, np.int32),
        )
        head_scratch = np.empty(hidden, np.int64), np.empty(hidden, np.int32), np.empty(self.levels, np.int64)
        self._state = tuple(map(hold, (weights, flat, self._ring, starts, scratch, head_scratch, tables())))
        self._steps = 0

    def start(self) -> None:
        """Forgets all; what lies before the first step is zeros."""
        self._ring[:] = 0
        self._steps = 0

    def frequencies(self, symbol: int) -> npt.NDArray[np.int32]:
        """How often each symbol comes next, in 2**24, after ``symbol`` (0..levels): int32 ``[levels]``, at least 1."""
        return self.frequencies_along(np.array([symbol]))[0]

    def frequencies_along(self, past: Whole) -> npt.NDArray[np.int32]:
        """:meth:`frequencies` after each of ``past[T]`` in turn: int32 ``[T, levels]``."""
        assert not past.size or (past.min() >= 0 and past.max() <= self.levels)
        frequencies = np.empty((len(past), self.levels), np.int32)
        _run(past.astype(np.int64), self._steps, *self._state, frequencies)
        self._steps += len(past)
        return frequencies
