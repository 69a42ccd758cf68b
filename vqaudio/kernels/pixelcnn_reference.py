"""The slow, obvious PixelCNN sampler that defines what every faster kernel must compute.

Codes come row by row, cell by cell, and in a cell one after another. At the start of a row the vertical stack, which
sees only rows above, is worked out for all of the row's cells. At the start of a cell the horizontal stack is. Each
code then costs the head alone. Beyond the grid's edges there are zeros.
"""

from typing import NamedTuple

import numpy as np

from vqaudio.kernels.wavenet_reference import Doubles, Draw, Floats, Integers, draw


class PixelWeights(NamedTuple):
    """A PixelCNN's weights as float32 arrays, each product written ``row @ matrix``; a class's share is in the biases.

    Shapes, with N layers, C residual, S skip and H hidden channels, K levels, L codes a cell, and r = ``reach``:
        embedding ``[L, K, C]``; vertical ``[N, (r + 1)(2r + 1)C, 2C]``, of the cells from r rows above to the cell's
        own row, left to right, and vertical_bias ``[N, 2C]``; horizontal ``[N, (r + 2)C, 2C]``, of the cells from r to
        the left to the cell itself and then of the vertical stack, and horizontal_bias ``[N, 2C]``, signals before
        gates; out ``[N, C, C + S]`` and out_bias ``[N, C + S]``, residual first; hidden ``[S, H]`` and hidden_bias
        ``[L, H]``; told ``[L - 1, K, H]``, what a code tells the later ones of its cell; logits ``[H, K]`` and
        logits_bias ``[L, K]``.
    """

    embedding: Floats
    vertical: Floats
    vertical_bias: Floats
    horizontal: Floats
    horizontal_bias: Floats
    out: Floats
    out_bias: Floats
    hidden: Floats
    hidden_bias: Floats
    told: Floats
    logits: Floats
    logits_bias: Floats
    reach: int


def _gate(gates: Floats) -> Floats:
    width = gates.shape[-1] // 2
    gated: Floats = np.tanh(gates[..., :width]) / (1 + np.exp(-gates[..., width:]))
    return gated


class PixelKernel:
    """One grid of ``rows`` x ``columns`` cells; each call begins a new one."""

    def __init__(self, weights: PixelWeights, rows: int, columns: int) -> None:
        self.weights, self.rows, self.columns = weights, rows, columns
        self.latents, self.levels, self.width = weights.embedding.shape

    def _begin(self) -> None:
        self.hidden: Floats = np.zeros(self.weights.hidden.shape[1], np.float32)
        w, margin = self.weights, self.weights.reach
        layers = len(w.out)
        self.codes_seen = np.zeros((self.columns, self.width), np.float32)  # embedded, of the row that is being drawn
        self.above = np.zeros((layers, margin + self.rows, self.columns + 2 * margin, self.width), np.float32)
        self.vertical = np.zeros((layers, self.columns, self.width), np.float32)
        self.left = np.zeros((layers, margin + self.columns, self.width), np.float32)

    def _begin_row(self, row: int) -> None:
        """The vertical stack of all cells of ``row``, from the rows before it."""
        w, margin = self.weights, self.weights.reach
        v = self.codes_seen
        for layer, inputs in enumerate(self.above):
            inputs[margin + row, margin : margin + self.columns] = v
            seen = [
                inputs[row + down, right : right + self.columns]
                for down in range(margin + 1)
                for right in range(2 * margin + 1)
            ]
            v = _gate(np.concatenate(seen, axis=1) @ w.vertical[layer] + w.vertical_bias[layer])
            self.vertical[layer] = v

    def _begin_cell(self, column: int) -> Floats:
        """The horizontal stack of a cell; returns what the head is given ``[H]``."""
        w, margin = self.weights, self.weights.reach
        h = self.codes_seen[column - 1] if column else np.zeros(self.width, np.float32)
        skips = np.zeros(w.hidden.shape[0], np.float32)
        for layer, inputs in enumerate(self.left):
            inputs[margin + column] = h
            seen = np.concatenate([inputs[column : column + margin + 1].ravel(), self.vertical[layer, column]])
            z = _gate(seen @ w.horizontal[layer] + w.horizontal_bias[layer])
            out = z @ w.out[layer] + w.out_bias[layer]
            h = h + out[: self.width]
            skips = skips + out[self.width :]
        hidden: Floats = np.maximum(skips, 0) @ w.hidden
        return hidden

    def _logits(self, index: int, symbol: int | None) -> Floats:
        """Logits ``[K]`` of code number ``index`` after ``symbol``, the one before it (None at the start)."""
        w = self.weights
        if symbol is None:
            self._begin()
        else:
            before = (index - 1) % self.latents
            self.codes_seen[(index - 1) // self.latents % self.columns] += w.embedding[before, symbol]
            if before < self.latents - 1:
                self.hidden = self.hidden + w.told[before, symbol]
        cell, latent = divmod(index, self.latents)
        if latent == 0:
            row, column = divmod(cell, self.columns)
            if column == 0:
                self._begin_row(row)
            self.hidden = self._begin_cell(column)
            if column == 0:
                self.codes_seen = np.zeros_like(self.codes_seen)
        logits: Floats = np.maximum(self.hidden + w.hidden_bias[latent], 0) @ w.logits + w.logits_bias[latent]
        return logits

    def generate(self, uniforms: Doubles, rule: Draw) -> Integers:
        """Draws the grid's first codes, one of ``uniforms`` (0 to below 1) each."""
        codes = np.empty(len(uniforms), np.int64)
        for index, uniform in enumerate(uniforms):
            codes[index] = draw(self._logits(index, int(codes[index - 1]) if index else None), rule, uniform)
        return codes

    def forced_logits(self, codes: Integers) -> Floats:
        """Logits ``[T, K]`` of each of the grid's first codes when it is made to go through ``codes[T]``."""
        return np.stack([self._logits(index, int(codes[index - 1]) if index else None) for index in range(len(codes))])
