"""The PixelCNN in integers: the same frequencies, bit for bit, on every machine, so that coded pictures travel.

The arithmetic, and why it never overflows, is that of :mod:`vqaudio.kernels.fixed_point`. What differs: the
vertical stack has no residual stream, so that what its layers hand on is at position 14 always, but for the first,
which sees the embedded codes; and a horizontal layer's inputs, its own stream and the vertical stack's, are brought
to one position.
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vqaudio.errors import ModelError
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
    TANH_REACH,
    WIDE_LIMIT,
    Whole,
    add_product,
    compiled_exactly,
    fit,
    gate,
    gate_biases,
    gate_shifts,
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
from vqaudio.kernels.pixelcnn_reference import PixelWeights
from vqaudio.kernels.wavenet_integer import Reference
from vqaudio.kernels.wavenet_reference import Integers


class PixelLayers(NamedTuple):
    """Both stacks. Shapes are those of :class:`PixelWeights`; biases hold the rounding half.

    ``narrow[N]`` is the shift from the horizontal stream to a layer's input, and ``level[N]`` that from position 14 to
    the same position; ``vertical_shift[N]`` and ``horizontal_shift[N]`` lead from the sums to the table's argument, for
    the gates one more; ``residual_shift`` and ``skip_shift`` from the output's sums to the streams.
    """

    embedding: npt.NDArray[np.int32]
    narrow: Integers
    level: Integers
    vertical: npt.NDArray[np.int16]
    vertical_bias: npt.NDArray[np.int32]
    vertical_shift: Integers
    horizontal: npt.NDArray[np.int16]
    horizontal_bias: npt.NDArray[np.int32]
    horizontal_shift: Integers
    out: npt.NDArray[np.int16]
    out_bias: npt.NDArray[np.int32]
    residual_shift: int
    skip_shift: int


class PixelHead(NamedTuple):
    """From the skips to the logits; ``told`` is at the position of the hidden units' sums."""

    hidden: npt.NDArray[np.int16]
    hidden_bias: Integers
    told: Integers
    hidden_shift: int
    logits: npt.NDArray[np.int16]
    logits_bias: Integers
    logits_shift: int


class FixedPixelWeights(NamedTuple):
    """A whole PixelCNN in integers; :func:`quantise` makes it."""

    layers: PixelLayers
    head: PixelHead
    reach: int


def quantise(weights: PixelWeights) -> FixedPixelWeights:
    """The integers that stand for ``weights``, the same on every machine.

    Raises:
        ModelError: a weight is not finite or beyond 2**16, or the layers multiply up to more than integers hold.
    """
    for array in weights[:-1]:
        if not (np.abs(array) < LARGEST_WEIGHT).all():  # NaN fails, too
            raise ModelError("the prior has weights that are not finite or beyond 65536: it cannot code; train it anew")
    layers, skip_position, skip_reach = _quantise_layers(weights)
    return FixedPixelWeights(layers, _quantise_head(weights, skip_position, skip_reach), weights.reach)


def _quantise_layers(weights: PixelWeights) -> tuple[PixelLayers, int, int]:
    """The stacks, the position of the skips' sum, and a bound of its magnitude."""
    count, residual, _ = weights.out.shape
    mixed = fit(weights.out, weights.out_bias, ONE_BITS, ONE, NARROW_LIMIT)
    streams, skips = mixed.reach[:, :residual].max(1), mixed.reach[:, residual:]

    farthest = sum((Fraction(float(np.abs(table).max())) for table in weights.embedding), Fraction(0))
    farthest += real(streams.sum(), mixed.position)
    roundings = count + len(weights.embedding)
    stream = position(farthest, roundings, min(MOST_STREAM_BITS, mixed.position))
    residual_shift = mixed.position - stream
    embedding = integers(weights.embedding, stream).astype(np.int32)
    start = sum(int(np.abs(table).max()) for table in embedding)
    growth = shifted(streams, residual_shift)
    reaches = [int(reach) for reach in start + np.cumsum(growth) - growth]  # of what enters each layer

    skip = position(real(skips.sum(0).max(), mixed.position), count, min(MOST_HEAD_BITS, mixed.position))
    skip_shift = mixed.position - skip

    narrow = [max(narrowing(reach, INT16_MAX), stream - ONE_BITS) for reach in reaches]
    level = [ONE_BITS - (stream - shift) for shift in narrow]
    inputs = [
        max(shifted(reach, shift), shifted(ONE, down))
        for reach, shift, down in zip(reaches, narrow, level, strict=True)
    ]
    horizontal = [
        fit(weights.horizontal[n], weights.horizontal_bias[n], stream - narrow[n], inputs[n], NARROW_LIMIT)
        for n in range(count)
    ]
    seen = [(stream - narrow[0], inputs[0])] + [(ONE_BITS, ONE)] * (count - 1)
    vertical = [fit(weights.vertical[n], weights.vertical_bias[n], *seen[n], NARROW_LIMIT) for n in range(count)]
    vertical_shift, horizontal_shift = gate_shifts(vertical), gate_shifts(horizontal)
    assert max(residual_shift, skip_shift) < 30  # as the weights are below 2**16
    mixed_half = np.where(np.arange(mixed.bias.shape[1]) < residual, half(residual_shift), half(skip_shift))
    layers = PixelLayers(
        embedding=embedding,
        narrow=np.array(narrow),
        level=np.array(level),
        vertical=np.stack([product.weights for product in vertical]).astype(np.int16),
        vertical_bias=gate_biases(vertical, vertical_shift),
        vertical_shift=vertical_shift,
        horizontal=np.stack([product.weights for product in horizontal]).astype(np.int16),
        horizontal_bias=gate_biases(horizontal, horizontal_shift),
        horizontal_shift=horizontal_shift,
        out=mixed.weights.astype(np.int16),
        out_bias=(mixed.bias + mixed_half).astype(np.int32),
        residual_shift=residual_shift,
        skip_shift=skip_shift,
    )
    return layers, skip, int(shifted(skips, skip_shift).sum(0).max())


def _quantise_head(weights: PixelWeights, skip_position: int, skip_reach: int) -> PixelHead:
    # the farthest that a bias and all that is told can lead; a product and a sum of two are exact or rounded alike
    told = len(weights.told) * np.abs(weights.told).max(initial=0.0).astype(np.float64)
    farthest = np.abs(weights.hidden_bias.astype(np.float64)) + told
    hidden = fit(weights.hidden, farthest, skip_position, skip_reach, WIDE_LIMIT)
    reach = int(hidden.reach.max()) + len(weights.told) + 1  # each number told is rounded
    hidden_shift = max(narrowing(reach, INT32_MAX), hidden.position - MOST_HEAD_BITS)
    position = hidden.position - hidden_shift
    logits = fit(weights.logits, weights.logits_bias, position, shifted(reach, hidden_shift), WIDE_LIMIT)
    logits_shift = logits.position - LOGIT_BITS
    if logits_shift < 0:
        raise too_large()
    return PixelHead(
        hidden=hidden.weights.astype(np.int16),
        hidden_bias=integers(weights.hidden_bias, hidden.position).astype(np.int64) + half(hidden_shift),
        told=integers(weights.told, hidden.position).astype(np.int64),
        hidden_shift=hidden_shift,
        logits=logits.weights.astype(np.int16),
        logits_bias=logits.bias + half(logits_shift),
        logits_shift=logits_shift,
    )


# ---------------------------------------------------------------------------------------------------------- reference


class PixelReference:
    """The definition of the arithmetic: whole grids of codes that are known, all in int64 by NumPy."""

    def __init__(self, weights: FixedPixelWeights, rows: int, columns: int) -> None:
        self.weights, self.shape = weights, (rows, columns)

    def frequencies(self, codes: Integers) -> Integers:
        """How often each symbol comes, given those before it, for each of ``codes[rows, columns, L]``: ``[..., K]``."""
        w, latents = self.weights.layers, codes.shape[-1]
        embedded = np.sum(
            [w.embedding[latent].astype(np.int64)[codes[..., latent]] for latent in range(latents)], axis=0
        )
        v = shifted(_moved(embedded, 1, 0), int(w.narrow[0]))
        h = _moved(embedded, 0, 1)
        skips = np.zeros((*self.shape, w.out.shape[2] - w.out.shape[1]), np.int64)
        for layer in range(len(w.out)):
            v = self._bent(
                self._above(v) @ w.vertical[layer].astype(np.int64) + w.vertical_bias[layer], w.vertical_shift[layer]
            )
            seen = shifted(h, int(w.narrow[layer]))
            left = [_moved(seen, 0, right) for right in range(self.weights.reach, -1, -1)]
            both = np.concatenate([*left, shifted(v, int(w.level[layer]))], axis=-1)
            sums = both @ w.horizontal[layer].astype(np.int64) + w.horizontal_bias[layer]
            mixed = self._bent(sums, w.horizontal_shift[layer]) @ w.out[layer].astype(np.int64) + w.out_bias[layer]
            h = h + (mixed[..., : h.shape[-1]] >> w.residual_shift)
            skips = skips + (mixed[..., h.shape[-1] :] >> w.skip_shift)
        return self._heads(skips, codes)

    def _above(self, v: Integers) -> Integers:
        reach = self.weights.reach
        places = [(down, -right) for down in range(reach, -1, -1) for right in range(-reach, reach + 1)]
        return np.concatenate([_moved(v, down, right) for down, right in places], axis=-1)

    @staticmethod
    def _bent(gates: Integers, shift: int) -> Integers:
        width = gates.shape[-1] // 2
        scaled = np.concatenate([gates[..., :width] >> shift, gates[..., width:] >> (shift + 1)], axis=-1)
        bent = tables()[0][scaled.clip(-TANH_REACH, TANH_REACH - 1) + TANH_REACH].astype(np.int64)
        z: Integers = (bent[..., :width] * (ONE + bent[..., width:]) + ONE) >> (ONE_BITS + 1)
        return z

    def _heads(self, skips: Integers, codes: Integers) -> Integers:
        head = self.weights.head
        base = skips.clip(0) @ head.hidden.astype(np.int64)
        frequencies = np.empty((*codes.shape, head.logits.shape[1]), np.int64)
        for place in np.ndindex(codes.shape[:-1]):
            told = base[place]
            for latent, code in enumerate(codes[place]):
                hidden = ((told + head.hidden_bias[latent]) >> head.hidden_shift).clip(0)
                logits = (hidden @ head.logits.astype(np.int64) + head.logits_bias[latent]) >> head.logits_shift
                frequencies[(*place, latent)] = Reference.shares(logits)
                if latent < len(head.told):
                    told = told + head.told[latent, code]
        return frequencies


def _moved(x: Integers, down: int, right: int) -> Integers:
    """``x[rows, columns, C]`` moved by so many cells; zeros come in."""
    moved = np.zeros_like(x)
    rows, columns = x.shape[:2]
    target = slice(max(right, 0), columns + min(right, 0))
    source = slice(max(-right, 0), columns + min(-right, 0))
    moved[down:, target] = x[: rows - down, source]
    return moved


# ------------------------------------------------------------------------------------------------------------- kernel


@compiled_exactly
def _begin_row(row, w, vertical, reach, seen, above, outputs, gates, z, tanh):  # type: ignore[no-untyped-def]
    columns, width = seen.shape
    size, half = width * 2 * width, (1 << w.narrow[0]) >> 1
    for layer in range(above.shape[0]):
        for column in range(columns):
            for j in range(width):
                if layer == 0:
                    above[0, row, column, j] = (seen[column, j] + half) >> w.narrow[0]
                else:
                    above[layer, row, column, j] = outputs[layer - 1, column, j]
        for column in range(columns):
            gates[:] = w.vertical_bias[layer]
            for down in range(max(0, reach - row), reach + 1):
                for right in range(max(0, reach - column), min(2 * reach + 1, columns + reach - column)):
                    place = (down * (2 * reach + 1) + right) * size
                    x = above[layer, row + down - reach, column + right - reach]
                    add_product(gates, x, vertical[layer, place : place + size], width, 2 * width)
            gate(z, gates, w.vertical_shift[layer], tanh)
            outputs[layer, column] = z


@compiled_exactly
def _horizontal(layer, column, w, horizontal, reach, left, outputs, scratch, tanh):  # type: ignore[no-untyped-def]
    """The gated output ``z`` of a layer at a cell whose stream is ``h``."""
    h, gates, z, _, _, narrowed = scratch
    width = h.shape[0]
    size = width * 2 * width
    narrow, level = w.narrow[layer], w.level[layer]
    half, level_half = (1 << narrow) >> 1, (1 << level) >> 1
    for j in range(width):
        left[layer, column, j] = (h[j] + half) >> narrow
        narrowed[j] = (outputs[layer, column, j] + level_half) >> level
    gates[:] = w.horizontal_bias[layer]
    for back in range(max(0, reach - column), reach + 1):
        taps = horizontal[layer, back * size : (back + 1) * size]
        add_product(gates, left[layer, column + back - reach], taps, width, 2 * width)
    add_product(gates, narrowed, horizontal[layer, (reach + 1) * size : (reach + 2) * size], width, 2 * width)
    gate(z, gates, w.horizontal_shift[layer], tanh)


@compiled_exactly
def _begin_cell(column, w, head, flat, reach, seen, left, outputs, scratch, base, tanh):  # type: ignore[no-untyped-def]
    h, _, z, mixed, skips, _ = scratch
    width = h.shape[0]
    h[:] = 0
    if column > 0:
        h[:] = seen[column - 1]
    skips[:] = 0
    for layer in range(left.shape[0]):
        _horizontal(layer, column, w, flat[1], reach, left, outputs, scratch, tanh)
        mixed[:] = w.out_bias[layer]
        add_product(mixed, z, flat[2][layer], width, mixed.shape[0])
        for j in range(width):
            h[j] += mixed[j] >> w.residual_shift
        for j in range(skips.shape[0]):
            skips[j] += mixed[width + j] >> w.skip_shift
    for j in range(skips.shape[0]):
        skips[j] = max(skips[j], 0)
    base[:] = 0
    add_product(base, skips, head.hidden.reshape(-1), skips.shape[0], base.shape[0])


@compiled_exactly
def _step(index, symbol, weights, flat, reach, state, scratch, head_scratch, tanh):  # type: ignore[no-untyped-def]
    """Fills the logits of code number ``index`` of a grid after ``symbol``, the one before it in the grid."""
    (w, head), (seen, above, outputs, left), (base, hidden, logits) = weights, state, head_scratch
    latents, columns = w.embedding.shape[0], seen.shape[0]
    if index == 0:
        seen[:] = 0
    else:
        before, cell = (index - 1) % latents, (index - 1) // latents
        for j in range(seen.shape[1]):
            seen[cell % columns, j] += w.embedding[before, symbol, j]
        if before < latents - 1:
            for j in range(base.shape[0]):
                base[j] += head.told[before, symbol, j]
    cell, latent = index // latents, index % latents
    if latent == 0:
        column = cell % columns
        if column == 0:
            _begin_row(cell // columns, w, flat[0], reach, seen, above, outputs, scratch[1], scratch[2], tanh)
            seen[:] = 0
        _begin_cell(column, w, head, flat, reach, seen, left, outputs, scratch, base, tanh)
    for j in range(base.shape[0]):
        hidden[j] = max((base[j] + head.hidden_bias[latent, j]) >> head.hidden_shift, 0)
    logits[:] = head.logits_bias[latent]
    add_product(logits, hidden, head.logits.reshape(-1), hidden.shape[0], logits.shape[0])
    for j in range(logits.shape[0]):
        logits[j] >>= head.logits_shift


@compiled_exactly
def _run(past, t, size, weights, flat, reach, state, scratch, head_scratch, lookup, frequencies):  # type: ignore[no-untyped-def]
    tanh, exp = lookup
    for i in range(past.shape[0]):
        _step((t + i) % size, past[i], weights, flat, reach, state, scratch, head_scratch, tanh)
        shares(head_scratch[2], exp, frequencies[i])


class FixedPixelKernel:
    """The compiled arithmetic, equal to :class:`PixelReference`, for one grid after another, each on its own.

    It is a :class:`vqaudio.bitstream.entropy.FrequencyModel`, whose steps go through the codes of a grid and on to the
    next grid's; calls release the interpreter lock.
    """

    def __init__(self, weights: FixedPixelWeights, rows: int, columns: int) -> None:
        layers, head, self._reach = weights
        self._weights = layers, head
        latents, self.levels, width = layers.embedding.shape
        count, _, mixed = layers.out.shape
        self._flat = tuple(matrix.reshape(count, -1) for matrix in (layers.vertical, layers.horizontal, layers.out))
        self._state = (
            np.zeros((columns, width), np.int32),
            np.zeros((count, rows, columns, width), np.int16),
            np.zeros((count, columns, width), np.int16),
            np.zeros((count, columns, width), np.int16),
        )
        sizes = ((width, np.int32), (2 * width, np.int32), (width, np.int16), (mixed, np.int32))
        self._scratch = tuple(
            np.empty(size, kind) for size, kind in (*sizes, (mixed - width, np.int32), (width, np.int16))
        )
        hidden = head.hidden.shape[1]
        self._head_scratch = np.empty(hidden, np.int64), np.empty(hidden, np.int32), np.empty(self.levels, np.int64)
        self._size = rows * columns * latents
        self._steps = 0

    def start(self) -> None:
        """Forgets all: the next step is the first of a grid."""
        self._steps = 0

    def frequencies(self, symbol: int) -> npt.NDArray[np.int32]:
        """How often each symbol comes next, in 2**24, after ``symbol``: int32 ``[levels]``, at least 1.

        At the start of a grid ``symbol`` says nothing.
        """
        return self.frequencies_along(np.array([symbol]))[0]

    def frequencies_along(self, past: Whole) -> npt.NDArray[np.int32]:
        """:meth:`frequencies` after each of ``past[T]`` in turn: int32 ``[T, levels]``."""
        assert not past.size or (past.min() >= 0 and past.max() <= self.levels)
        frequencies = np.empty((len(past), self.levels), np.int32)
        state = self._weights, self._flat, self._reach, self._state, self._scratch, self._head_scratch
        _run(past.astype(np.int64), self._steps, self._size, *state, tables(), frequencies)
        self._steps += len(past)
        return frequencies
