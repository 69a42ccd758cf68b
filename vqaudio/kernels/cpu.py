"""The Numba kernel: :mod:`vqaudio.kernels.reference` at the speed of one core's caches.

What makes it fast: every inner loop is long, contiguous and free of branches, so that LLVM turns it into wide fused
multiply-adds; eight inputs go through a matrix in one pass, so that outputs are loaded and stored an eighth as often;
tanh is a rational function and exp a polynomial, where the C library's would stop vectorisation; each layer remembers
its past inputs in a ring. The weights of a small model stay in the second-level cache, whose bandwidth is the limit.

The compiled code is cached beside this file or, where that cannot be written, in the user's cache folder.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from vqaudio.kernels.reference import Doubles, Draw, Floats, Integers, Weights

# tanh(x) = x P(x^2) / Q(x^2) on -8.5..8.5, fitted for least relative error (1.2e-8 before rounding; beyond, |tanh| is 1
# to 8e-8). In float32 the absolute error is at most 3.4e-7.
_LIMIT = np.float32(8.5)
_P0, _P1, _P2, _P3, _P4 = (
    np.float32(p)
    for p in (
        0.9999999882054625,
        0.13413264003055833,
        0.0035340466817965505,
        2.1251351591815653e-05,
        1.4269616603083915e-08,
    )
)
_Q0, _Q1, _Q2, _Q3, _Q4 = (
    np.float32(q) for q in (1.0, 0.4674658675567411, 0.02602282795881653, 0.00033488964137641937, 8.14529043920251e-07)
)
_HALF, _ONE, _ZERO = np.float32(0.5), np.float32(1.0), np.float32(0.0)

# 2**f on -0.5..0.5, fitted likewise (relative error 1.9e-9 before rounding)
_LOG2_E = np.float32(1.4426950408889634)
_E0, _E1, _E2, _E3, _E4, _E5, _E6 = (
    np.float32(e)
    for e in (
        1.0000000005542085,
        0.6931472057376452,
        0.24022646890357324,
        0.05550328776084559,
        0.009618488983366256,
        0.0013399931589748195,
        0.00015345805922158324,
    )
)

_FAST = {"contract", "nsz", "arcp", "reassoc"}  # what vectorisation needs; infinities and NaN keep their meaning


def _compiled(function: Callable[..., Any]) -> Any:
    return njit(function, cache=True, nogil=True, fastmath=_FAST, error_model="numpy")


@_compiled
def _tanh(x):  # type: ignore[no-untyped-def]
    x = min(max(x, -_LIMIT), _LIMIT)
    s = x * x
    return x * (_P0 + s * (_P1 + s * (_P2 + s * (_P3 + s * _P4)))) / (_Q0 + s * (_Q1 + s * (_Q2 + s * (_Q3 + s * _Q4))))


@_compiled
def _add_product(y, x, w, rows, columns):  # type: ignore[no-untyped-def]
    """``y[columns] += x[rows] @ w`` with ``w`` flat, row after row."""
    whole = rows - rows % 8
    for i in range(0, whole, 8):
        a, b, c, d = x[i], x[i + 1], x[i + 2], x[i + 3]
        e, f, g, h = x[i + 4], x[i + 5], x[i + 6], x[i + 7]
        p = w[i * columns : (i + 8) * columns]
        for j in range(columns):
            y[j] += (a * p[j] + b * p[columns + j] + c * p[2 * columns + j] + d * p[3 * columns + j]) + (
                e * p[4 * columns + j] + f * p[5 * columns + j] + g * p[6 * columns + j] + h * p[7 * columns + j]
            )
    for i in range(whole, rows):
        p = w[i * columns : (i + 1) * columns]
        for j in range(columns):
            y[j] += x[i] * p[j]


@_compiled
def _gate(gates, residual):  # type: ignore[no-untyped-def]
    """``gates[:residual] = tanh(gates[:residual]) * sigmoid(gates[residual:])``."""
    for j in range(residual):
        gates[j] = _tanh(gates[j]) * (_HALF + _HALF * _tanh(_HALF * gates[residual + j]))


@_compiled
def _rectify(x):  # type: ignore[no-untyped-def]
    for j in range(x.shape[0]):
        x[j] = max(x[j], _ZERO)


@_compiled
def _step(symbol, t, condition, w, past, now, out, ring, starts, scratch):  # type: ignore[no-untyped-def]
    """One step of the network: puts each layer's input into its ring and fills ``scratch``'s logits."""
    x, gates, mixed, skips, hidden, logits = scratch
    residual = x.shape[0]
    x[:] = w.embedding[symbol]
    skips[:] = _ZERO
    for layer in range(w.dilations.shape[0]):
        place = starts[layer] + (t % w.dilations[layer]) * residual
        memory = ring[place : place + residual]
        gates[:] = condition[layer]
        _add_product(gates, memory, past[layer], residual, 2 * residual)
        _add_product(gates, x, now[layer], residual, 2 * residual)
        memory[:] = x
        _gate(gates, residual)
        mixed[:] = w.out_bias[layer]
        _add_product(mixed, gates, out[layer], residual, mixed.shape[0])
        for j in range(residual):
            x[j] += mixed[j]
        for j in range(skips.shape[0]):
            skips[j] += mixed[residual + j]
    _rectify(skips)
    hidden[:] = w.hidden_bias
    _add_product(hidden, skips, w.hidden.reshape(-1), skips.shape[0], hidden.shape[0])
    _rectify(hidden)
    logits[:] = w.logits_bias
    _add_product(logits, hidden, w.logits.reshape(-1), hidden.shape[0], logits.shape[0])


@_compiled
def _exp(x, bits):  # type: ignore[no-untyped-def]
    """``x[n] = exp(x)`` in place for x <= 0, as ``2**whole * 2**rest``; ``bits[n]`` int32 is scratch."""
    for j in range(x.shape[0]):
        y = max(x[j] * _LOG2_E, np.float32(-126.0))
        whole = np.floor(y + _HALF)
        f = y - whole
        bits[j] = (np.int32(whole) + np.int32(127)) << np.int32(23)
        x[j] = _E0 + f * (_E1 + f * (_E2 + f * (_E3 + f * (_E4 + f * (_E5 + f * _E6)))))
    powers = bits.view(np.float32)
    for j in range(x.shape[0]):
        x[j] *= powers[j]


@_compiled
def _keep_likeliest(weights, share):  # type: ignore[no-untyped-def]
    """Zeroes all but the largest weights that together have ``share`` of the total."""
    ordered = np.sort(weights)
    enough, total = share * weights.astype(np.float64).sum(), 0.0
    least = ordered[0]
    for j in range(ordered.shape[0] - 1, -1, -1):
        total += np.float64(ordered[j])
        if total >= enough:
            least = ordered[j]
            break
    for j in range(weights.shape[0]):
        if weights[j] < least:
            weights[j] = _ZERO


@_compiled
def _draw(logits, inverse_temperature, top_p, uniform, bits):  # type: ignore[no-untyped-def]
    """The reference's draw; overwrites ``logits``."""
    top = logits[0]
    for j in range(logits.shape[0]):
        top = max(top, logits[j])
    for j in range(logits.shape[0]):
        logits[j] = (logits[j] - top) * inverse_temperature
    _exp(logits, bits)
    if top_p < 1.0:
        _keep_likeliest(logits, top_p)
    total = 0.0
    for j in range(logits.shape[0]):
        total += np.float64(logits[j])
    threshold, cumulative = uniform * total, 0.0
    for j in range(logits.shape[0]):
        cumulative += np.float64(logits[j])
        if cumulative > threshold:
            return j
    return logits.shape[0] - 1


@_compiled
def _generate(symbol, t, conditions, hop, uniforms, rule, w, flat, ring, starts, scratch, bits, symbols):  # type: ignore[no-untyped-def]
    past, now, out = flat
    inverse_temperature, top_p = rule
    for i in range(uniforms.shape[0]):
        _step(symbol, t + i, conditions[i // hop], w, past, now, out, ring, starts, scratch)
        symbol = _draw(scratch[-1], inverse_temperature, top_p, uniforms[i], bits)
        symbols[i] = symbol


@_compiled
def _score(symbol, t, conditions, hop, symbols, w, flat, ring, starts, scratch, logits):  # type: ignore[no-untyped-def]
    past, now, out = flat
    for i in range(symbols.shape[0]):
        _step(symbol, t + i, conditions[i // hop], w, past, now, out, ring, starts, scratch)
        logits[i] = scratch[-1]
        symbol = symbols[i]


class Kernel:
    """One stream, with the interface of the reference's; calls release the interpreter lock."""

    def __init__(self, weights: Weights, first_symbol: int) -> None:
        """``first_symbol`` (0..K) is taken to come before the first step."""
        self.weights = Weights._make(np.ascontiguousarray(array) for array in weights)
        residual, (skip, hidden), levels = weights.embedding.shape[1], weights.hidden.shape, weights.logits.shape[1]
        layers = len(weights.dilations)
        self._flat = tuple(w.reshape(layers, -1) for w in (self.weights.past, self.weights.now, self.weights.out))
        ends = np.cumsum(weights.dilations) * residual
        self._starts = np.concatenate([[0], ends[:-1]])
        self._ring = np.zeros(int(ends[-1]), np.float32)
        sizes = (residual, 2 * residual, residual + skip, skip, hidden, levels)
        self._scratch = tuple(np.empty(size, np.float32) for size in sizes)
        self._bits = np.empty(levels, np.int32)
        self._symbol, self._steps = first_symbol, 0

    def generate(self, conditions: Floats, hop_length: int, uniforms: Doubles, rule: Draw) -> Integers:
        """As the reference's ``generate``."""
        symbols = np.empty(len(uniforms), np.int64)
        args = (conditions, hop_length, uniforms, (np.float32(1 / rule.temperature), rule.top_p))
        _generate(self._symbol, self._steps, *args, *self._network(), self._bits, symbols)
        self._advance(symbols)
        return symbols

    def score(self, conditions: Floats, hop_length: int, symbols: Integers) -> Floats:
        """As the reference's ``score``."""
        logits = np.empty((len(symbols), len(self._bits)), np.float32)
        _score(self._symbol, self._steps, conditions, hop_length, symbols, *self._network(), logits)
        self._advance(symbols)
        return logits

    def _network(self) -> tuple[object, ...]:
        return self.weights, self._flat, self._ring, self._starts, self._scratch

    def _advance(self, symbols: Integers) -> None:
        self._steps += len(symbols)
        if len(symbols):
            self._symbol = int(symbols[-1])
