"""The Numba kernel of the PixelCNN: :mod:`vqaudio.kernels.pixelcnn_reference` at the speed of one core's caches.

Every inner loop is long, contiguous and free of branches, so that LLVM turns it into wide fused multiply-adds; eight
inputs go through a matrix in one pass, so that outputs are loaded and stored an eighth as often.
"""

import numpy as np

from vqaudio.kernels.elementwise import ZERO, compiled, draw, gated
from vqaudio.kernels.pixelcnn_reference import PixelWeights
from vqaudio.kernels.wavenet_reference import Doubles, Draw, Floats, Integers


@compiled
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


@compiled
def _gate(gates, width):  # type: ignore[no-untyped-def]
    """``gates[:width] = tanh(gates[:width]) * sigmoid(gates[width:])``."""
    for j in range(width):
        gates[j] = gated(gates[j], gates[width + j])


@compiled
def _begin_row(row, w, vertical, reach, seen, above, outputs, gates):  # type: ignore[no-untyped-def]
    """The vertical stack of a row whose cells' own input, the embedded codes above, is ``seen[columns, C]``."""
    columns, width = seen.shape
    size = width * 2 * width
    for layer in range(above.shape[0]):
        above[layer, row] = seen if layer == 0 else outputs[layer - 1]
        for column in range(columns):
            gates[:] = w.vertical_bias[layer]
            for down in range(max(0, reach - row), reach + 1):
                for right in range(max(0, reach - column), min(2 * reach + 1, columns + reach - column)):
                    place = (down * (2 * reach + 1) + right) * size
                    x = above[layer, row + down - reach, column + right - reach]
                    _add_product(gates, x, vertical[layer, place : place + size], width, 2 * width)
            _gate(gates, width)
            outputs[layer, column] = gates[:width]


@compiled
def _begin_cell(column, w, flat, reach, seen, left, outputs, scratch):  # type: ignore[no-untyped-def]
    """The horizontal stack of a cell; fills ``scratch``'s base of the hidden units."""
    h, gates, mixed, skips, base, _, _ = scratch
    _, horizontal, out = flat
    width = h.shape[0]
    size = width * 2 * width
    h[:] = ZERO
    if column > 0:
        h[:] = seen[column - 1]
    skips[:] = ZERO
    for layer in range(left.shape[0]):
        left[layer, column] = h
        gates[:] = w.horizontal_bias[layer]
        for back in range(max(0, reach - column), reach + 1):
            taps = horizontal[layer, back * size : (back + 1) * size]
            _add_product(gates, left[layer, column + back - reach], taps, width, 2 * width)
        taps = horizontal[layer, (reach + 1) * size : (reach + 2) * size]
        _add_product(gates, outputs[layer, column], taps, width, 2 * width)
        _gate(gates, width)
        mixed[:] = w.out_bias[layer]
        _add_product(mixed, gates, out[layer], width, mixed.shape[0])
        for j in range(width):
            h[j] += mixed[j]
        for j in range(skips.shape[0]):
            skips[j] += mixed[width + j]
    for j in range(skips.shape[0]):
        skips[j] = max(skips[j], ZERO)
    base[:] = ZERO
    _add_product(base, skips, w.hidden.reshape(-1), skips.shape[0], base.shape[0])


@compiled
def _step(index, symbol, w, flat, reach, state, scratch):  # type: ignore[no-untyped-def]
    """Fills the logits of code number ``index`` after ``symbol``, the one before it (none before the first)."""
    seen, above, outputs, left = state
    _, gates, _, _, base, hidden, logits = scratch
    latents, columns = w.embedding.shape[0], seen.shape[0]
    if index == 0:
        seen[:] = ZERO
    else:
        before, cell = (index - 1) % latents, (index - 1) // latents
        for j in range(seen.shape[1]):
            seen[cell % columns, j] += w.embedding[before, symbol, j]
        if before < latents - 1:
            for j in range(base.shape[0]):
                base[j] += w.told[before, symbol, j]
    cell, latent = index // latents, index % latents
    if latent == 0:
        column = cell % columns
        if column == 0:
            _begin_row(cell // columns, w, flat[0], reach, seen, above, outputs, gates)
            seen[:] = ZERO
        _begin_cell(column, w, flat, reach, seen, left, outputs, scratch)
    for j in range(base.shape[0]):
        hidden[j] = max(base[j] + w.hidden_bias[latent, j], ZERO)
    logits[:] = w.logits_bias[latent]
    _add_product(logits, hidden, w.logits.reshape(-1), hidden.shape[0], logits.shape[0])


@compiled
def _generate(uniforms, rule, w, flat, reach, state, scratch, bits, codes):  # type: ignore[no-untyped-def]
    inverse_temperature, top_p = rule
    symbol = 0
    for index in range(uniforms.shape[0]):
        _step(index, symbol, w, flat, reach, state, scratch)
        symbol = draw(scratch[-1], inverse_temperature, top_p, uniforms[index], bits)
        codes[index] = symbol


@compiled
def _forced_logits(codes, w, flat, reach, state, scratch, logits):  # type: ignore[no-untyped-def]
    symbol = 0
    for index in range(codes.shape[0]):
        _step(index, symbol, w, flat, reach, state, scratch)
        logits[index] = scratch[-1]
        symbol = codes[index]


class PixelKernel:
    """One grid, with the interface of the reference's; calls release the interpreter lock."""

    def __init__(self, weights: PixelWeights, rows: int, columns: int) -> None:
        w = self._weights = weights  # which export makes contiguous
        _, levels, width = w.embedding.shape
        layers, (skip, hidden) = len(w.out), w.hidden.shape
        self._flat = tuple(matrix.reshape(layers, -1) for matrix in (w.vertical, w.horizontal, w.out))
        shapes = ((columns, width), (layers, rows, columns, width), (layers, columns, width), (layers, columns, width))
        self._state = tuple(np.zeros(shape, np.float32) for shape in shapes)
        sizes = (width, 2 * width, width + skip, skip, hidden, hidden, levels)
        self._scratch = tuple(np.empty(size, np.float32) for size in sizes)
        self._bits = np.empty(levels, np.int32)

    def _network(self) -> tuple[object, ...]:
        return self._weights, self._flat, self._weights.reach, self._state, self._scratch

    def generate(self, uniforms: Doubles, rule: Draw) -> Integers:
        """As the reference's ``generate``."""
        codes = np.empty(len(uniforms), np.int64)
        _generate(uniforms, (np.float32(1 / rule.temperature), rule.top_p), *self._network(), self._bits, codes)
        return codes

    def forced_logits(self, codes: Integers) -> Floats:
        """As the reference's ``forced_logits``."""
        logits = np.empty((len(codes), len(self._bits)), np.float32)
        _forced_logits(codes, *self._network(), logits)
        return logits
