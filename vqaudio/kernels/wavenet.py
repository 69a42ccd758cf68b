"""The Numba kernel of one stream: :mod:`vqaudio.kernels.wavenet_reference` at the speed of one core's caches.

The weights' way from the cache to the core is the limit, so they are kept narrow
(:mod:`vqaudio.kernels.int16_weights`): a small network's then fit into the second-level cache. The products are
:mod:`vqaudio.kernels.simd`'; each layer remembers its past inputs, narrow too, in a ring.

The compiled code is cached beside this file or, where that cannot be written, in the user's cache folder.
"""

import numpy as np

from vqaudio.kernels.compiling import hold
from vqaudio.kernels.elementwise import SHIFT, UNIT, ZERO, compiled, draw, gated, pack
from vqaudio.kernels.int16_weights import Network, narrowed, whole_blocks
from vqaudio.kernels.simd import COLUMNS, add_columns
from vqaudio.kernels.wavenet_reference import Doubles, Draw, Floats, Integers, Weights, every


@compiled
def _narrow(x, shifted, lanes):  # type: ignore[no-untyped-def]
    """``x`` in 16 bits into ``lanes``; returns the step, what 1 stands for."""
    top = ZERO
    for j in range(x.shape[0]):
        top = max(top, abs(x[j]))
    inverse = UNIT / top if top > ZERO else ZERO
    for j in range(x.shape[0]):
        shifted[j] = x[j] * inverse + SHIFT
    pack(shifted, lanes)
    return top / UNIT


@compiled
def _add_product(y, base, products, index, lanes, step):  # type: ignore[no-untyped-def]
    """``y = base`` and matrix ``index``'s product with ``lanes``, and its bias."""
    w, scales, biases = products.lanes[index], products.scales[index], products.biases[index]
    for column in range(0, scales.shape[0], COLUMNS):
        add_columns(y, base, w, lanes, scales, biases, step, column, lanes.shape[0])


@compiled
def _gate(gates, shifted, lanes):  # type: ignore[no-untyped-def]
    residual = gates.shape[0] // 2
    for j in range(residual):
        shifted[j] = UNIT * gated(gates[j], gates[residual + j]) + SHIFT
    pack(shifted, lanes)


@compiled
def _step(symbol, phase, t, condition, net, ring, ring_steps, scratch):  # type: ignore[no-untyped-def]
    """One step of the network: puts each layer's input into its ring and fills ``scratch``'s logits."""
    x = scratch[0]
    for j in range(net.sizes[0]):
        x[j] = net.embedding[symbol, j] + net.phases[phase, j]
    run_layers(t, condition, net, ring, ring_steps, scratch)


@compiled
def run_layers(t, condition, net, ring, ring_steps, scratch):  # type: ignore[no-untyped-def]
    """The layers and the head, from the first layer's input at the start of ``scratch``'s stream to its logits."""
    stream, gates, hidden, logits, shifted, lanes, wide = scratch
    residual, skip, inner, _ = net.sizes
    x, skips = stream[:residual], stream[residual : residual + skip]
    stream[residual:] = ZERO
    for layer in range(net.dilations.shape[0]):
        place = net.starts[layer] + t % net.dilations[layer]
        _add_product(gates, condition[layer], net.past, layer, ring[place], ring_steps[place])
        ring_steps[place] = _narrow(x, shifted, ring[place])
        _add_product(gates, gates, net.now, layer, ring[place], ring_steps[place])
        _gate(gates[: 2 * residual], shifted, lanes)
        _add_product(stream, stream, net.out, layer, lanes, np.float32(1) / UNIT)
    _head(net.hidden, skips, shifted, wide[: (skip + 1) // 2], hidden)
    _head(net.logits, hidden[:inner], shifted, wide[: (inner + 1) // 2], logits)


@compiled
def _head(products, x, shifted, lanes, y):  # type: ignore[no-untyped-def]
    """``y = relu(x) @ matrix + bias``; overwrites ``x``."""
    for j in range(x.shape[0]):
        x[j] = max(x[j], ZERO)
    y[:] = ZERO
    _add_product(y, y, products, 0, lanes, _narrow(x, shifted, lanes))


@compiled
def _generate(symbol, t, conditions, hop, phases, uniforms, rule, net, ring, ring_steps, scratch, bits, symbols):  # type: ignore[no-untyped-def]
    inverse_temperature, top_p = rule
    logits = scratch[3][: bits.shape[0]]
    for i in range(uniforms.shape[0]):
        _step(symbol, phases[i], t + i, conditions[i // hop], net, ring, ring_steps, scratch)
        symbol = draw(logits, inverse_temperature, top_p, uniforms[i], bits)
        symbols[i] = symbol


@compiled
def _forced_logits(symbol, t, conditions, hop, phases, symbols, net, ring, ring_steps, scratch, logits):  # type: ignore[no-untyped-def]
    for i in range(symbols.shape[0]):
        _step(symbol, phases[i], t + i, conditions[i // hop], net, ring, ring_steps, scratch)
        logits[i] = scratch[3][: logits.shape[1]]
        symbol = symbols[i]


def prepared(weights: Weights) -> Network:
    """``weights`` as :class:`Kernel` takes them; several may share them."""
    return narrowed(weights, COLUMNS)


class Memory:
    """What one stream's layers remember, and scratch."""

    def __init__(self, net: Network) -> None:
        residual, skip, hidden, _ = net.sizes
        widest = max(residual, skip, hidden)
        pairs = (residual + 1) // 2
        outputs = [products.scales.shape[1] for products in (net.out, net.past, net.hidden, net.logits)]
        self.ring = np.zeros((int(net.dilations.sum()), pairs), np.int32)
        self.ring_steps = np.zeros(len(self.ring), np.float32)
        self.scratch = (
            *(np.zeros(size, np.float32) for size in (*outputs, widest + 1)),
            np.empty(pairs, np.int32),
            np.empty((widest + 1) // 2, np.int32),
        )


class Kernel:
    """One stream, with the interface of the reference's; calls release the interpreter lock."""

    def __init__(self, net: Network, first_symbol: int) -> None:
        """``net`` is :func:`prepared`; ``first_symbol`` (0..K) is taken to come before the first step."""
        memory = Memory(net)
        self._net = net
        self._network = tuple(map(hold, (net, memory.ring, memory.ring_steps, memory.scratch)))
        self._bits = np.empty(net.sizes[3], np.int32)
        self._symbol, self._steps = first_symbol, 0

    def generate(
        self,
        conditions: Floats,
        hop_length: int,
        uniforms: Doubles,
        rule: Draw,
        phases: Integers | None = None,
    ) -> Integers:
        """As the reference's ``generate``."""
        symbols = np.empty(len(uniforms), np.int64)
        conditions = whole_blocks(conditions, self._net)
        args = (
            conditions,
            hop_length,
            every(phases, uniforms.shape),
            uniforms,
            (np.float32(1 / rule.temperature), rule.top_p),
        )
        _generate(self._symbol, self._steps, *args, *self._network, self._bits, symbols)
        self._advance(symbols)
        return symbols

    def forced_logits(
        self, conditions: Floats, hop_length: int, symbols: Integers, phases: Integers | None = None
    ) -> Floats:
        """As the reference's ``forced_logits``."""
        logits = np.empty((len(symbols), len(self._bits)), np.float32)
        conditions = whole_blocks(conditions, self._net)
        _forced_logits(
            self._symbol,
            self._steps,
            conditions,
            hop_length,
            every(phases, symbols.shape),
            symbols,
            *self._network,
            logits,
        )
        self._advance(symbols)
        return logits

    def _advance(self, symbols: Integers) -> None:
        self._steps += len(symbols)
        if len(symbols):
            self._symbol = int(symbols[-1])
