"""The WaveNet in integers: the same frequencies, bit for bit, on every machine, so that coded tokens travel.

A number in fixed point at *position* p is an integer that stands for ``integer / 2**p``. The arithmetic of a step:

- The residual stream is int32. Each layer sees it rounded to int16; what it saw, it remembers.
- Weights are int16; products add up in int32 in a layer, in int64 in the head, and never overflow: :func:`quantise`
  takes the largest position at which the magnitudes of a sum's terms, the inputs as large as they can ever get, add up
  to less than 2**30 (2**61). So nothing saturates, either, and no sample of data is needed to find the range.
- A sum becomes a number at a smaller position by an arithmetic shift to the right; half of the unit that remains is
  part of the bias already, so that the shift rounds to nearest.
- tanh and exp are tables, and ``sigmoid(x) = (1 + tanh(x / 2)) / 2``. Beyond the tables' ends their last value holds.

The weights become the same integers everywhere, too: they are multiplied by powers of two, which is exact, and rounded.
The tables come from :mod:`decimal`, whose ``exp`` is correctly rounded by definition; the C library's need not be.
"""

from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from vqaudio.bitstream.entropy import FREQUENCY_BITS
from vqaudio.errors import ModelError
from vqaudio.kernels.wavenet_reference import Doubles, Floats, Integers, Weights

_ONE_BITS = 14  # position of tanh and of a layer's output
_ONE = 1 << _ONE_BITS
_TANH_BITS = 10  # position of tanh's argument; the table reaches from -8 to 8
_TANH_REACH = 8 << _TANH_BITS
_LOGIT_BITS = 8  # position of the logits
_SHARE_BITS = 38  # of the common factor that turns exponentials into frequencies: 24 + 38 bits fit into int64

_NARROW_LIMIT, _WIDE_LIMIT = 1 << 30, 1 << 61  # of the sums in int32 and int64, with room for the rounding half
_INT16_MAX, _INT32_MAX = 2**15 - 1, 2**31 - 1
_MOST_WEIGHT_BITS, _LEAST_WEIGHT_BITS = 20, -40
_MOST_STREAM_BITS, _MOST_HEAD_BITS = 16, 20  # keep every shift below 31 (63)
_LARGEST_WEIGHT = 2.0**16  # float16 reaches this far

Whole = npt.NDArray[np.integer[Any]]


# ------------------------------------------------------------------------------------------------------------- tables


@cache
def tables() -> tuple[npt.NDArray[np.int32], Integers]:
    """tanh and exp as integers.

    Returns:
        tanh: int32 ``[16384]``, at position 14, of -8 to below 8 in steps of 2**-10.
        exp: ``[n]``, at position 24, of 0, -1/256, -2/256 and so on down to the first that rounds to 0.
    """
    with localcontext(Context(prec=40, rounding=ROUND_HALF_EVEN)):  # whatever the caller's precision is
        powers = [(Decimal(2 * step) / (1 << _TANH_BITS)).exp() for step in range(_TANH_REACH + 1)]
        positive = [int((_ONE * (power - 1) / (power + 1)).to_integral_value()) for power in powers]
        exp: list[int] = []
        while not exp or exp[-1]:
            power = (Decimal(-len(exp)) / (1 << _LOGIT_BITS)).exp()
            exp.append(int((power * (1 << FREQUENCY_BITS)).to_integral_value()))
    tanh = [-value for value in positive[:0:-1]] + positive[:-1]
    return np.array(tanh, np.int32), np.array(exp, np.int64)


# ------------------------------------------------------------------------------------------------------- quantisation


class Layers(NamedTuple):
    """The stack: L layers of R residual and S skip channels, K symbols. Biases hold the rounding half.

    embedding ``[K + 1, M, R]`` for each of M marks, at the residual stream's position; narrow ``[L]``, the shift from
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


class _Product(NamedTuple):
    """``x @ weights + bias`` in integers: at ``position``, and ``reach`` bounds the magnitude of each output."""

    weights: Integers
    bias: Integers
    position: int
    reach: Integers


def quantise(weights: Weights, taps_bias: Floats) -> FixedWeights:
    """The integers that stand for ``weights`` and ``taps_bias[L, 2R]``, the same on every machine.

    Raises:
        ModelError: a weight is not finite or beyond 2**16, or the layers multiply up to more than integers hold.
    """
    for array in (*weights, taps_bias):
        if not (np.abs(array) < _LARGEST_WEIGHT).all():  # NaN fails, too
            raise ModelError("the prior has weights that are not finite or beyond 65536: it cannot code; train it anew")
    layers, skip_position, skip_reach = _quantise_layers(weights, taps_bias)
    return FixedWeights(layers, _quantise_head(weights, skip_position, skip_reach))


def _quantise_layers(weights: Weights, taps_bias: Floats) -> tuple[Layers, int, int]:
    """The stack, the position of the skips' sum, and a bound of its magnitude."""
    count, residual = weights.past.shape[:2]
    mixed = _fit(weights.out, weights.out_bias, _ONE_BITS, _ONE, _NARROW_LIMIT)
    streams, skips = mixed.reach[:, :residual].max(1), mixed.reach[:, residual:]

    marked = weights.embedding[:, None].astype(np.float64) + weights.marks
    farthest = Fraction(float(np.abs(marked).max())) + _real(streams.sum(), mixed.position)
    stream = _position(farthest, count, min(_MOST_STREAM_BITS, mixed.position))
    residual_shift = mixed.position - stream
    embedding = _integers(marked, stream).astype(np.int32)
    growth = _shifted(streams, residual_shift)
    reaches = int(np.abs(embedding).max()) + np.cumsum(growth) - growth  # of what enters each layer

    skip = _position(_real(skips.sum(0).max(), mixed.position), count, min(_MOST_HEAD_BITS, mixed.position))
    skip_shift = mixed.position - skip

    narrow = [_narrowing(int(reach), _INT16_MAX) for reach in reaches]
    taps = _quantise_taps(weights, taps_bias, stream, reaches, narrow)
    gate_shift = np.array([product.position - _TANH_BITS for product in taps])
    if gate_shift.min() < 0:
        raise _too_large()
    assert max(residual_shift, skip_shift, *gate_shift) < 30  # as the weights are below 2**16
    halves = _half(gate_shift[:, None] + (np.arange(2 * residual) >= residual))
    mixed_half = np.where(np.arange(mixed.bias.shape[1]) < residual, _half(residual_shift), _half(skip_shift))
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
    return layers, skip, int(_shifted(skips, skip_shift).sum(0).max())


def _quantise_taps(weights: Weights, bias: Floats, stream: int, reaches: Integers, narrow: list[int]) -> list[_Product]:
    """Each layer's taps, past above now, for inputs that come from the residual stream by the shifts ``narrow``."""
    both = np.concatenate([weights.past, weights.now], axis=1)
    return [
        _fit(both[i], bias[i], stream - shift, int(_shifted(reaches[i], shift)), _NARROW_LIMIT)
        for i, shift in enumerate(narrow)
    ]


def _quantise_head(weights: Weights, skip_position: int, skip_reach: int) -> Head:
    hidden = _fit(weights.hidden, weights.hidden_bias, skip_position, skip_reach, _WIDE_LIMIT)
    reach = int(hidden.reach.max())
    hidden_shift = max(_narrowing(reach, _INT32_MAX), hidden.position - _MOST_HEAD_BITS)
    position = hidden.position - hidden_shift
    logits = _fit(weights.logits, weights.logits_bias, position, _shifted(reach, hidden_shift), _WIDE_LIMIT)
    logits_shift = logits.position - _LOGIT_BITS
    if logits_shift < 0:
        raise _too_large()
    return Head(
        hidden=hidden.weights.astype(np.int16),
        hidden_bias=hidden.bias + _half(hidden_shift),
        hidden_shift=hidden_shift,
        logits=logits.weights.astype(np.int16),
        logits_bias=logits.bias + _half(logits_shift),
        logits_shift=logits_shift,
    )


def _fit(matrix: Floats, bias: Floats, position: int, reach: int, limit: int) -> _Product:
    """``matrix[..., I, O]`` in int16's range at the largest position at which no sum can reach ``limit``.

    The inputs are at ``position`` and at most ``reach`` in magnitude.
    """
    exponent = int(np.frexp(np.abs(matrix).max())[1])  # below 2**exponent, exactly
    for bits in range(min(_MOST_WEIGHT_BITS, 15 - exponent), _LEAST_WEIGHT_BITS, -1):
        whole = _integers(matrix, bits)
        offset = _integers(bias, bits + position)
        if np.abs(whole).max() > _INT16_MAX or np.abs(offset).max() >= limit:
            continue
        product = _Product(whole.astype(np.int64), offset.astype(np.int64), bits + position, np.zeros(0, np.int64))
        sums = np.abs(product.weights).sum(-2) * reach + np.abs(product.bias)
        if sums.max() < limit:
            return product._replace(reach=sums)
    raise _too_large()


def _integers(array: Floats | Doubles, position: int) -> Doubles:
    """``array`` at ``position``, rounded; float64 holds the product by a power of two exactly."""
    return np.rint(np.ldexp(array.astype(np.float64), position))


def _position(bound: Fraction, roundings: int, most: int) -> int:
    """The largest position up to ``most`` at which ``bound``, and a unit for each rounding, stay below the limit."""
    position = most
    while bound * Fraction(2) ** position + roundings + 1 >= _NARROW_LIMIT:
        position -= 1
    return position


def _narrowing(reach: int, most: int) -> int:
    """The smallest rounding shift after which numbers up to ``reach`` are at most ``most``."""
    shift = 0
    while _shifted(reach, shift) > most:
        shift += 1
    return shift


def _real(whole: int, position: int) -> Fraction:
    return int(whole) * Fraction(2) ** -position


def _half(shift: Any) -> Any:
    """Half of the unit that a shift to the right leaves."""
    return (1 << shift) >> 1


def _shifted(reach: Any, shift: int) -> Any:
    """The bound of what was bounded by ``reach`` after a rounding shift."""
    return (reach + _half(shift)) >> shift


def _too_large() -> ModelError:
    return ModelError("the prior's layers multiply up to numbers too large for integers: it cannot code; train it anew")


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
            memory.append(_shifted(x, int(w.narrow[layer])))
            gates = np.concatenate([memory.pop(0), memory[-1]]) @ w.taps[layer].astype(np.int64) + w.taps_bias[layer]
            gates[:residual] >>= w.gate_shift[layer]
            gates[residual:] >>= w.gate_shift[layer] + 1
            bent = tanh[gates.clip(-_TANH_REACH, _TANH_REACH - 1) + _TANH_REACH].astype(np.int64)
            z = (bent[:residual] * (_ONE + bent[residual:]) + _ONE) >> (_ONE_BITS + 1)
            mixed = z @ w.out[layer].astype(np.int64) + w.out_bias[layer]
            x = x + (mixed[:residual] >> w.residual_shift)
            skips = skips + (mixed[residual:] >> w.skip_shift)
        head = self.weights.head
        hidden = (skips.clip(0) @ head.hidden.astype(np.int64) + head.hidden_bias) >> head.hidden_shift
        return self._shares((hidden.clip(0) @ head.logits.astype(np.int64) + head.logits_bias) >> head.logits_shift)

    @staticmethod
    def _shares(logits: Integers) -> Integers:
        """Every symbol gets one; the rest of 2**24 goes by exp(logit), rounded down; what is left, to the likeliest."""
        exp = tables()[1]
        powers = exp[np.minimum(logits.max() - logits, len(exp) - 1)]
        factor = (((1 << FREQUENCY_BITS) - len(logits)) << _SHARE_BITS) // powers.sum()
        frequencies: Integers = 1 + ((powers * factor) >> _SHARE_BITS)
        frequencies[logits.argmax()] += (1 << FREQUENCY_BITS) - frequencies.sum()
        return frequencies


# ------------------------------------------------------------------------------------------------------------- kernel


def _compiled(function: Callable[..., Any]) -> Any:
    return njit(function, cache=True, nogil=True, error_model="numpy")


@_compiled
def _add_product(y, x, w, rows, columns):  # type: ignore[no-untyped-def]
    """``y[columns] += x[rows] @ w`` with ``w`` flat, row after row; four rows a pass spare loads and stores of y."""
    whole = rows - rows % 4
    for i in range(0, whole, 4):
        a, b, c, d = x[i], x[i + 1], x[i + 2], x[i + 3]
        p = w[i * columns : (i + 4) * columns]
        for j in range(columns):
            y[j] += a * p[j] + b * p[columns + j] + c * p[2 * columns + j] + d * p[3 * columns + j]
    for i in range(whole, rows):
        p = w[i * columns : (i + 1) * columns]
        for j in range(columns):
            y[j] += x[i] * p[j]


@_compiled
def _gate(z, gates, shift, tanh):  # type: ignore[no-untyped-def]
    """``z = tanh(signal) * sigmoid(gate)`` from the sums ``gates``: the signals, then the gates."""
    residual = z.shape[0]
    for j in range(residual):
        signal = min(max(gates[j] >> shift, -_TANH_REACH), _TANH_REACH - 1) + _TANH_REACH
        gate = min(max(gates[residual + j] >> (shift + 1), -_TANH_REACH), _TANH_REACH - 1) + _TANH_REACH
        z[j] = (tanh[signal] * (_ONE + tanh[gate]) + _ONE) >> (_ONE_BITS + 1)


@_compiled
def _layer(layer, w, taps, out, memory, tanh, scratch):  # type: ignore[no-untyped-def]
    """One layer: reads and replaces ``memory[R]``, its oldest input, and adds to the streams x and skips."""
    x, skips, pair, gates, z, mixed = scratch
    residual = x.shape[0]
    narrow = w.narrow[layer]
    half = (1 << narrow) >> 1
    pair[:residual] = memory
    for j in range(residual):
        pair[residual + j] = (x[j] + half) >> narrow
    memory[:] = pair[residual:]
    gates[:] = w.taps_bias[layer]
    _add_product(gates, pair, taps, 2 * residual, 2 * residual)
    _gate(z, gates, w.gate_shift[layer], tanh)
    mixed[:] = w.out_bias[layer]
    _add_product(mixed, z, out, residual, mixed.shape[0])
    for j in range(residual):
        x[j] += mixed[j] >> w.residual_shift
    for j in range(skips.shape[0]):
        skips[j] += mixed[residual + j] >> w.skip_shift


@_compiled
def _head(w, skips, sums, hidden, logits):  # type: ignore[no-untyped-def]
    """The logits of the skips' sum; ``skips[S]``, ``sums[H]`` and ``hidden[H]`` are scratch."""
    for j in range(skips.shape[0]):
        skips[j] = max(skips[j], 0)
    sums[:] = w.hidden_bias
    _add_product(sums, skips, w.hidden.reshape(-1), skips.shape[0], sums.shape[0])
    for j in range(sums.shape[0]):
        hidden[j] = max(sums[j] >> w.hidden_shift, 0)
    logits[:] = w.logits_bias
    _add_product(logits, hidden, w.logits.reshape(-1), hidden.shape[0], logits.shape[0])
    for j in range(logits.shape[0]):
        logits[j] >>= w.logits_shift


@_compiled
def _shares(logits, exp, frequencies):  # type: ignore[no-untyped-def]
    """As the reference's; overwrites ``logits``."""
    likeliest, total = 0, 0
    for j in range(logits.shape[0]):
        if logits[j] > logits[likeliest]:
            likeliest = j
    top, last = logits[likeliest], exp.shape[0] - 1
    for j in range(logits.shape[0]):
        logits[j] = exp[min(top - logits[j], last)]
        total += logits[j]
    rest = 1 << FREQUENCY_BITS
    factor = ((rest - logits.shape[0]) << _SHARE_BITS) // total
    for j in range(logits.shape[0]):
        frequencies[j] = 1 + ((logits[j] * factor) >> _SHARE_BITS)
        rest -= frequencies[j]
    frequencies[likeliest] += rest


@_compiled
def _run(past, t, weights, flat, ring, starts, scratch, head_scratch, lookup, frequencies):  # type: ignore[no-untyped-def]
    (w, head), (taps, out), (tanh, exp) = weights, flat, lookup
    x, skips = scratch[0], scratch[1]
    for i in range(past.shape[0]):
        x[:] = w.embedding[past[i], (t + i) % w.embedding.shape[1]]
        skips[:] = 0
        for layer in range(w.dilations.shape[0]):
            place = starts[layer] + (t + i) % w.dilations[layer] * x.shape[0]
            _layer(layer, w, taps[layer], out[layer], ring[place : place + x.shape[0]], tanh, scratch)
        sums, hidden, logits = head_scratch
        _head(head, skips, sums, hidden, logits)
        _shares(logits, exp, frequencies[i])


class FixedKernel:
    """One stream of the compiled arithmetic, equal to :class:`Reference`; calls release the interpreter lock.

    It is a :class:`vqaudio.bitstream.entropy.FrequencyModel`. Its first step comes after the symbol ``levels``; step
    t has the mark t modulo their number.
    """

    def __init__(self, weights: FixedWeights) -> None:
        self._weights = weights
        layers, head = weights
        count, residual, mixed = layers.out.shape
        hidden, self.levels = head.logits.shape
        self._flat = layers.taps.reshape(count, -1), layers.out.reshape(count, -1)
        ends = np.cumsum(layers.dilations) * residual
        self._starts = np.concatenate([[0], ends[:-1]])
        self._ring = np.zeros(int(ends[-1]), np.int16)
        self._scratch = (
            *(np.empty(size, np.int32) for size in (residual, mixed - residual)),
            np.empty(2 * residual, np.int16),
            np.empty(2 * residual, np.int32),
            np.empty(residual, np.int16),
            np.empty(mixed, np.int32),
        )
        self._head_scratch = np.empty(hidden, np.int64), np.empty(hidden, np.int32), np.empty(self.levels, np.int64)
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
        state = self._weights, self._flat, self._ring, self._starts, self._scratch, self._head_scratch
        _run(past.astype(np.int64), self._steps, *state, tables(), frequencies)
        self._steps += len(past)
        return frequencies
