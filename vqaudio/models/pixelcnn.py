"""Gated PixelCNN: the prior over a grid of codes (VQ-VAE, section 3.3), without the blind spot.

van den Oord et al. 2016 (arXiv 1606.05328), section 2. A vertical stack sees the rows above, a horizontal stack the row
so far and, through the vertical one, all above. Both begin with the codes shifted by one cell, down and right, so that
every layer may look at its own cell and still nothing sees what comes later. A cell's codes follow each other: each is
told those before it in the cell. Activations are ``[B, rows, columns, channels]``.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqaudio.models.image_config import PixelCNNConfig


def _shift(x: Tensor, down: int, right: int) -> Tensor:
    """``x[B, rows, columns, C]`` moved by so many cells (a negative ``right`` moves left); zeros come in."""
    rows, columns = x.shape[1:3]
    left, top = max(right, 0), max(down, 0)
    padded = F.pad(x, (0, 0, left, max(-right, 0), top, 0))
    first = max(-right, 0)
    return padded[:, :rows, first : first + columns]


def _gate(gates: Tensor) -> Tensor:
    """Equation 1: ``tanh`` of the first half of the channels times ``sigmoid`` of the second."""
    signal, gate = gates.chunk(2, dim=-1)
    return torch.tanh(signal) * torch.sigmoid(gate)


class GatedPixelLayer(nn.Module):
    """One layer of both stacks (figure 2 of the paper)."""

    def __init__(self, config: PixelCNNConfig) -> None:
        super().__init__()
        width, reach = config.residual, config.kernel_size // 2
        # rows from the farthest above to the cell's own, columns from left to right
        self.vertical_places = [(down, -right) for down in range(reach, -1, -1) for right in range(-reach, reach + 1)]
        self.horizontal_places = list(range(reach, -1, -1))
        self.vertical = nn.Linear(len(self.vertical_places) * width, 2 * width)
        self.horizontal = nn.Linear((len(self.horizontal_places) + 1) * width, 2 * width)  # and the vertical stack's
        self.out = nn.Linear(width, width + config.skip)  # outputs: residual, skip

    def forward(self, v: Tensor, h: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The stacks ``v`` and ``h`` ``[B, rows, columns, C]`` after this layer, and the skips ``[..., S]``.

        ``condition[B, 1, 1, 4C]`` is what a class adds to the gates, the vertical stack's first.
        """
        vertical = self.vertical(torch.cat([_shift(v, down, right) for down, right in self.vertical_places], dim=-1))
        if condition is not None:
            vertical = vertical + condition[..., : vertical.shape[-1]]
        v = _gate(vertical)
        seen = [_shift(h, 0, right) for right in self.horizontal_places]
        horizontal = self.horizontal(torch.cat([*seen, v], dim=-1))
        if condition is not None:
            horizontal = horizontal + condition[..., horizontal.shape[-1] :]
        out = self.out(_gate(horizontal))
        residual, skip = out.split([h.shape[-1], out.shape[-1] - h.shape[-1]], dim=-1)
        return v, h + residual, skip


class PixelCNN(nn.Module):
    """``p(k_i | k_<i, class)`` over grids of ``latents`` codes a cell; a :class:`vqaudio.models.prior.Prior`.

    The order is row by row, cell by cell, and in a cell code by code.
    """

    def __init__(self, config: PixelCNNConfig, latents: int = 1, class_count: int = 0) -> None:
        super().__init__()
        self.config, self.latents = config, latents
        self.embedding = nn.Parameter(torch.randn(latents, config.levels, config.residual) / math.sqrt(latents))
        self.layers = nn.ModuleList(GatedPixelLayer(config) for _ in range(config.layers))
        self.classes = nn.Embedding(class_count, config.layers * 4 * config.residual) if class_count else None
        self.hidden = nn.Linear(config.skip, config.hidden, bias=False)
        self.hidden_bias = nn.Parameter(torch.zeros(latents, config.hidden))
        # what a code tells those after it in its cell; the last code of a cell tells nobody
        self.told = nn.Parameter(0.1 * torch.randn(latents - 1, config.levels, config.hidden))
        self.logits_weight = nn.Linear(config.hidden, config.levels, bias=False)
        self.logits_bias = nn.Parameter(torch.zeros(latents, config.levels))
        for layer in self.layers:  # the skip sum and the residual stream keep unit scale however deep the stack
            assert isinstance(layer, GatedPixelLayer)
            with torch.no_grad():
                layer.out.weight.mul_(1 / math.sqrt(config.layers))

    def _embed(self, codes: Tensor) -> Tensor:
        """``codes[B, rows, columns, latents]`` to the sum of their vectors, ``[B, rows, columns, C]``."""
        offsets = self.config.levels * torch.arange(self.latents, device=codes.device)
        return F.embedding(codes + offsets, self.embedding.flatten(0, 1)).sum(-2)

    def _told(self, codes: Tensor) -> Tensor:
        """What each code is told by those before it in its cell: ``[B, rows, columns, latents, H]``."""
        offsets = self.config.levels * torch.arange(self.latents - 1, device=codes.device)
        told = F.embedding(codes[..., :-1] + offsets, self.told.flatten(0, 1))
        return F.pad(told.cumsum(-2), (0, 0, 1, 0))

    def logits(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """``codes[B, rows, columns, latents]`` (0..K-1) to logits ``[B, K, rows, columns, latents]``.

        ``condition[B]`` are the classes' indices where the network knows classes.
        """
        x = self._embed(codes)
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        conditions: list[Tensor | None] = [None] * len(self.layers)
        if self.classes is not None:
            assert condition is not None, "a prior with classes must be told which"
            conditions = list(self.classes(condition)[:, None, None].chunk(len(self.layers), dim=-1))
        v, h = _shift(x, 1, 0), _shift(x, 0, 1)
        skips = torch.zeros((), dtype=x.dtype, device=x.device)
        for layer, added in zip(self.layers, conditions, strict=True):
            v, h, skip = layer(v, h, added)
            skips = skips + skip
        hidden = self.hidden(torch.relu(skips))[..., None, :] + self.hidden_bias
        if self.latents > 1:
            hidden = hidden + self._told(codes)
        return (self.logits_weight(torch.relu(hidden)) + self.logits_bias).movedim(-1, 1)

    def nll(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Nats of each of ``codes[B, rows, columns, latents]``, in that shape."""
        return F.cross_entropy(self.logits(codes, condition).float(), codes, reduction="none")
