"""The Numba kernel for many streams side by side: one matrix product serves them all.

A lone stream is held up by the weights' way from cache to core. Here each weight, once loaded, multiplies a value of
every stream. Arrays are ``[channels, streams]``: the products are BLAS's, the rest runs along contiguous rows. The draw
is the reference's, without branches: the drawn symbol is the number of symbols whose cumulative probability is not
beyond the uniform number.
"""

import numpy as np

from vqaudio.kernels.cpu import _ZERO, _compiled, _exp, _gate, _keep_likeliest, _rectify
from vqaudio.kernels.reference import Doubles, Draw, Floats, Integers, Weights

STREAMS = 16  # at 16, BLAS reaches its full rate; below 8 the lone kernel is as fast


@_compiled
def _step(symbols, t, conditions, w, taps, out, ring, starts, scratch):  # type: ignore[no-untyped-def]
    """One step of every stream: fills the logits ``[K, streams]``. ``conditions[L, 2R, streams]``."""
    both, gates, mixed, skips, hidden, logits = scratch
    streams = symbols.shape[0]
    residual = both.shape[0] // 2
    x = both[residual:]
    for b in range(streams):
        for j in range(residual):
            x[j, b] = w.embedding[symbols[b], j]
    skips[:] = _ZERO
    for layer in range(w.dilations.shape[0]):
        place = starts[layer] + t % w.dilations[layer]
        both[:residual] = ring[place]
        ring[place] = x
        np.dot(taps[layer], both, gates)
        flat, held = gates.reshape(-1), conditions[layer].reshape(-1)
        for j in range(flat.shape[0]):
            flat[j] += held[j]
        _gate(flat, residual * streams)
        np.dot(out[layer], gates[:residual], mixed)
        for j in range(residual):
            bias = w.out_bias[layer, j]
            for b in range(streams):
                x[j, b] += mixed[j, b] + bias
        for j in range(skips.shape[0]):
            bias = w.out_bias[layer, residual + j]
            for b in range(streams):
                skips[j, b] += mixed[residual + j, b] + bias
    _rectify(skips.reshape(-1))
    np.dot(w.hidden, skips, hidden)
    for j in range(hidden.shape[0]):
        for b in range(streams):
            hidden[j, b] = max(hidden[j, b] + w.hidden_bias[j], _ZERO)
    np.dot(w.logits, hidden, logits)
    for j in range(logits.shape[0]):
        for b in range(streams):
            logits[j, b] += w.logits_bias[j]


@_compiled
def _draw(logits, rule, uniforms, symbols, bits, sums):  # type: ignore[no-untyped-def]
    """Draws one symbol a stream; overwrites ``logits``. ``sums[3, streams]`` float64 is scratch."""
    levels, streams = logits.shape
    inverse_temperature, top_p = rule
    top, total, cumulative = sums
    top[:] = logits[0]
    for j in range(levels):
        for b in range(streams):
            top[b] = max(top[b], np.float64(logits[j, b]))
    for j in range(levels):
        for b in range(streams):
            logits[j, b] = (logits[j, b] - np.float32(top[b])) * inverse_temperature
    _exp(logits.reshape(-1), bits)
    if top_p < 1.0:
        for b in range(streams):
            weights = logits[:, b].copy()
            _keep_likeliest(weights, top_p)
            logits[:, b] = weights
    total[:] = 0.0
    for j in range(levels):
        for b in range(streams):
            total[b] += np.float64(logits[j, b])
    for b in range(streams):
        total[b] *= uniforms[b]
    cumulative[:] = 0.0
    symbols[:] = 0
    for j in range(levels - 1):
        for b in range(streams):
            cumulative[b] += np.float64(logits[j, b])
            symbols[b] += np.int64(cumulative[b] <= total[b])


@_compiled
def _generate(symbols, t, conditions, hop, uniforms, rule, w, taps, out, ring, starts, scratch, bits, sums, drawn):  # type: ignore[no-untyped-def]
    for i in range(uniforms.shape[0]):
        _step(symbols, t + i, conditions[i // hop], w, taps, out, ring, starts, scratch)
        _draw(scratch[-1], rule, uniforms[i], symbols, bits, sums)
        drawn[i] = symbols


@_compiled
def _score(symbols, t, conditions, hop, given, w, taps, out, ring, starts, scratch, logits):  # type: ignore[no-untyped-def]
    for i in range(given.shape[0]):
        _step(symbols, t + i, conditions[i // hop], w, taps, out, ring, starts, scratch)
        logits[i] = scratch[-1]
        symbols[:] = given[i]


class Kernel:
    """``streams`` streams in step with each other, else as the reference's; calls release the interpreter lock.

    Run it with BLAS held to one thread: its products are too small to share.
    """

    def __init__(self, weights: Weights, first_symbol: int, streams: int = STREAMS) -> None:
        """``first_symbol`` (0..K) is taken to come before the first step of each stream."""
        residual, (skip, hidden), levels = weights.embedding.shape[1], weights.hidden.shape, weights.logits.shape[1]
        both = np.concatenate([weights.past, weights.now], axis=1)
        self._taps, self._out = (np.ascontiguousarray(w.transpose(0, 2, 1)) for w in (both, weights.out))
        weights = weights._replace(hidden=weights.hidden.T, logits=weights.logits.T)
        self._weights = Weights._make(np.ascontiguousarray(array) for array in weights)
        ends = np.cumsum(weights.dilations)
        self._starts = np.concatenate([[0], ends[:-1]])
        self._ring = np.zeros((int(ends[-1]), residual, streams), np.float32)
        rows = (2 * residual, 2 * residual, residual + skip, skip, hidden, levels)
        self._scratch = tuple(np.empty((count, streams), np.float32) for count in rows)
        self._bits = np.empty(levels * streams, np.int32)
        self._sums = np.empty((3, streams))
        self._symbols, self._steps = np.full(streams, first_symbol, np.int64), 0

    def generate(self, conditions: Floats, hop_length: int, uniforms: Doubles, rule: Draw) -> Integers:
        """Draws ``symbols[T, streams]`` with ``uniforms[T, streams]``; ``conditions[frames, L, 2R, streams]``."""
        drawn = np.empty(uniforms.shape, np.int64)
        numbers = (np.float32(1 / rule.temperature), rule.top_p)
        args = (self._symbols, self._steps, conditions, hop_length, uniforms, numbers)
        _generate(*args, *self._network(), self._bits, self._sums, drawn)
        self._steps += len(drawn)
        return drawn

    def score(self, conditions: Floats, hop_length: int, symbols: Integers) -> Floats:
        """Logits ``[T, K, streams]`` of each step when the streams are made to go through ``symbols[T, streams]``."""
        logits = np.empty((len(symbols), *self._scratch[-1].shape), np.float32)
        _score(self._symbols, self._steps, conditions, hop_length, symbols, *self._network(), logits)
        self._steps += len(symbols)
        return logits

    def _network(self) -> tuple[object, ...]:
        return self._weights, self._taps, self._out, self._ring, self._starts, self._scratch
