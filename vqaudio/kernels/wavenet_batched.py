"""The Numba kernel for many streams side by side: one product serves them all.

A lone stream is held up by the weights' way from cache to core. Here each weight, once loaded, multiplies a value of
every stream; streams go in groups, one a lane of a vector register. Arrays are ``[channels, LANES]``. The draw is the
reference's, without branches: the drawn symbol is the number of symbols whose cumulative probability is not beyond the
uniform number.
"""

from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from vqaudio.kernels.elementwise import SHIFT, UNIT, ZERO, compiled, exp, gated, keep_likeliest, pack
from vqaudio.kernels.int16_weights import Network, narrowed, whole_blocks
from vqaudio.kernels.simd import LANES, ROWS, add_rows, narrow_rows
from vqaudio.kernels.wavenet_reference import Doubles, Draw, Floats, Integers, Weights, every

_Number = TypeVar("_Number", bound=np.generic)


@compiled
def _add_product(y, base, products, index, lanes, steps):  # type: ignore[no-untyped-def]
    """``y = base`` and matrix ``index``'s product with ``lanes``, and its bias."""
    w, scales, biases = products.lanes[index], products.scales[index], products.biases[index]
    for row in range(0, scales.shape[0], ROWS):
        add_rows(y, base, w, lanes, scales, biases, steps, row, lanes.shape[0])


@compiled
def _gate(gates, shifted, lanes):  # type: ignore[no-untyped-def]
    flat, half = gates.reshape(-1), gates.size // 2
    signals, openings, out = flat[:half], flat[half:], shifted.reshape(-1)
    for j in range(half):
        out[j] = UNIT * gated(signals[j], openings[j]) + SHIFT
    pack(out, lanes.reshape(-1))


@compiled
def _step(symbols, phases, t, conditions, net, ring, ring_steps, scratch):  # type: ignore[no-untyped-def]
    """One step of every stream: fills ``scratch``'s logits ``[K, LANES]``. ``conditions[L, 2R, LANES]``."""
    x = scratch[0]
    for b in range(LANES):
        for j in range(net.sizes[0]):
            x[j, b] = net.embedding[symbols[b], j] + net.phases[phases[b], j]
    run_layers(t, conditions, net, ring, ring_steps, scratch)


@compiled
def run_layers(t, conditions, net, ring, ring_steps, scratch):  # type: ignore[no-untyped-def]
    """The layers and the head, from the first layer's inputs at the start of ``scratch``'s stream to its logits."""
    stream, gates, hidden, logits, shifted, lanes, wide, unit, head_steps = scratch
    residual, skip, inner, _ = net.sizes
    x, skips = stream[:residual], stream[residual : residual + skip]
    stream[residual:] = ZERO
    for layer in range(net.dilations.shape[0]):
        place = net.starts[layer] + t % net.dilations[layer]
        _add_product(gates, conditions[layer], net.past, layer, ring[place], ring_steps[place])
        narrow_rows(ring[place], ring_steps[place], x, residual, UNIT, SHIFT)
        _add_product(gates, gates, net.now, layer, ring[place], ring_steps[place])
        _gate(gates[: 2 * residual], shifted, lanes)
        _add_product(stream, stream, net.out, layer, lanes, unit)
    _head(net.hidden, skips, wide[: (skip + 1) // 2], head_steps, hidden)
    _head(net.logits, hidden[:inner], wide[: (inner + 1) // 2], head_steps, logits)


@compiled
def _head(products, x, lanes, steps, y):  # type: ignore[no-untyped-def]
    """``y = relu(x) @ matrix + bias``; overwrites ``x``."""
    flat = x.reshape(-1)
    for j in range(flat.shape[0]):
        flat[j] = max(flat[j], ZERO)
    y[:] = ZERO
    narrow_rows(lanes, steps, x, x.shape[0], UNIT, SHIFT)
    _add_product(y, y, products, 0, lanes, steps)


@compiled
def _draw(logits, rule, uniforms, symbols, bits, sums):  # type: ignore[no-untyped-def]
    """Draws one symbol a stream; overwrites ``logits``. ``sums[2, LANES]`` float64 is scratch."""
    levels = logits.shape[0]
    inverse_temperature, top_p = rule
    total, cumulative = sums
    top = np.empty(LANES, np.float32)
    top[:] = logits[0]
    for j in range(levels):
        for b in range(LANES):
            top[b] = max(top[b], logits[j, b])
    for j in range(levels):
        for b in range(LANES):
            logits[j, b] = (logits[j, b] - top[b]) * inverse_temperature
    exp(logits.reshape(-1), bits)
    if top_p < 1.0:
        for b in range(LANES):
            weights = logits[:, b].copy()
            keep_likeliest(weights, top_p)
            logits[:, b] = weights
    total[:] = 0.0
    for j in range(levels):
        for b in range(LANES):
            total[b] += np.float64(logits[j, b])
    for b in range(LANES):
        total[b] *= uniforms[b]
    cumulative[:] = 0.0
    symbols[:] = 0
    for j in range(levels - 1):
        for b in range(LANES):
            cumulative[b] += np.float64(logits[j, b])
            symbols[b] += np.int64(cumulative[b] <= total[b])


@compiled
def _generate(symbols, t, conditions, hop, phases, uniforms, rule, net, ring, ring_steps, scratch, bits, sums, drawn):  # type: ignore[no-untyped-def]
    logits = scratch[3][: bits.shape[0] // LANES]
    for i in range(uniforms.shape[0]):
        _step(symbols, phases[i], t + i, conditions[i // hop], net, ring, ring_steps, scratch)
        _draw(logits, rule, uniforms[i], symbols, bits, sums)
        drawn[i] = symbols


@compiled
def _forced_logits(symbols, t, conditions, hop, phases, given, net, ring, ring_steps, scratch, logits):  # type: ignore[no-untyped-def]
    for i in range(given.shape[0]):
        _step(symbols, phases[i], t + i, conditions[i // hop], net, ring, ring_steps, scratch)
        logits[i] = scratch[3][: logits.shape[1]]
        symbols[:] = given[i]


class Memory:
    """What the layers of :data:`LANES` streams remember, and scratch."""

    def __init__(self, net: Network) -> None:
        residual, skip, hidden, _ = net.sizes
        widest, pairs = max(residual, skip, hidden), (residual + 1) // 2
        outputs = [products.scales.shape[1] for products in (net.out, net.past, net.hidden, net.logits)]
        self.ring = np.zeros((int(net.dilations.sum()), pairs, LANES), np.int32)
        self.ring_steps = np.zeros((len(self.ring), LANES), np.float32)
        self.scratch = (  # of an odd number of rows, narrowing reads one more
            *(np.zeros((size + 1, LANES), np.float32) for size in (*outputs, widest)),
            np.empty((pairs, LANES), np.int32),
            np.empty(((widest + 1) // 2, LANES), np.int32),
            np.full(LANES, 1 / UNIT, np.float32),
            np.empty(LANES, np.float32),
        )


class _Group:
    """:data:`LANES` streams in step with each other."""

    def __init__(self, net: Network, first_symbol: int) -> None:
        memory, levels = Memory(net), net.sizes[3]
        self._network = (net, memory.ring, memory.ring_steps)
        self._scratch = memory.scratch
        self._levels = levels
        self._draw = (np.empty(levels * LANES, np.int32), np.empty((2, LANES)))
        self._symbols, self._steps = np.full(LANES, first_symbol, np.int64), 0

    def generate(
        self, conditions: Floats, hop_length: int, phases: Integers, uniforms: Doubles, rule: Draw
    ) -> Integers:
        """As :meth:`Kernel.generate`."""
        drawn = np.empty(uniforms.shape, np.int64)
        numbers = (np.float32(1 / rule.temperature), rule.top_p)
        args = (self._symbols, self._steps, conditions, hop_length, phases, uniforms, numbers, *self._network)
        _generate(*args, self._scratch, *self._draw, drawn)
        self._steps += len(drawn)
        return drawn

    def forced_logits(self, conditions: Floats, hop_length: int, phases: Integers, symbols: Integers) -> Floats:
        """As :meth:`Kernel.forced_logits`."""
        logits = np.empty((len(symbols), self._levels, LANES), np.float32)
        args = (self._symbols, self._steps, conditions, hop_length, phases, symbols, *self._network)
        _forced_logits(*args, self._scratch, logits)
        self._steps += len(symbols)
        return logits


def prepared(weights: Weights) -> Network:
    """``weights`` as :class:`Kernel` takes them; several may share them."""
    return narrowed(weights, ROWS)


class Kernel:
    """``streams`` streams side by side, else as the reference's; calls release the interpreter lock."""

    def __init__(self, net: Network, first_symbol: int, streams: int = LANES) -> None:
        """``net`` is :func:`prepared`; ``first_symbol`` (0..K) is taken to come before each stream's first step."""
        self._net = net
        self._groups = [_Group(net, first_symbol) for _ in range(0, streams, LANES)]

    def generate(
        self,
        conditions: Floats,
        hop_length: int,
        uniforms: Doubles,
        rule: Draw,
        phases: Integers | None = None,
    ) -> Integers:
        """Draws ``symbols[T, streams]``, ``uniforms`` and ``phases`` alike; ``conditions[frames, L, 2R, streams]``."""
        split = partial(split_streams, groups=len(self._groups))
        owns, signs = split(whole_blocks(conditions, self._net)), split(every(phases, uniforms.shape))
        groups = zip(self._groups, owns, signs, split(uniforms), strict=True)
        drawn = [group.generate(own, hop_length, sign, numbers, rule) for group, own, sign, numbers in groups]
        return np.concatenate(drawn, axis=-1)[..., : uniforms.shape[-1]]

    def forced_logits(
        self, conditions: Floats, hop_length: int, symbols: Integers, phases: Integers | None = None
    ) -> Floats:
        """Logits ``[T, K, streams]`` of each step when the streams are made to go through ``symbols[T, streams]``."""
        split = partial(split_streams, groups=len(self._groups))
        owns, signs = split(whole_blocks(conditions, self._net)), split(every(phases, symbols.shape))
        groups = zip(self._groups, owns, signs, split(symbols), strict=True)
        logits = [group.forced_logits(own, hop_length, sign, given) for group, own, sign, given in groups]
        return np.concatenate(logits, axis=-1)[..., : symbols.shape[-1]]


def split_streams(array: npt.NDArray[_Number], groups: int) -> list[npt.NDArray[_Number]]:
    """``array[..., streams]`` for each group of :data:`LANES`; lanes without a stream go along with the last."""
    lanes = np.arange(groups * LANES).reshape(-1, LANES)
    if array.shape[-1] == lanes.size == LANES:
        return [np.ascontiguousarray(array)]
    return [array.take(np.minimum(own, array.shape[-1] - 1), axis=-1) for own in lanes]
