"""WaveNet: the causal stack of gated, dilated convolutions that is the decoder, and in another size the 1-D prior.

van den Oord et al. 2016 (arXiv 1609.03499), sections 2.1-2.5; conditioning as in VQ-VAE (1711.00937), section 4.2.
Activations are ``[B, T, channels]``: each layer is then two matrix products over rows that lie together in memory.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqaudio.arrays import Floats
from vqaudio.models.config import WaveNetConfig


def as_array(tensor: Tensor) -> Floats:
    """A float32 copy that lies together in memory."""
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())


def arrays_of(module: nn.Module) -> Mapping[str, Floats]:
    """All its weights, by their names."""
    return {name: as_array(tensor) for name, tensor in module.state_dict().items()}


class GatedLayer(nn.Module):
    """One layer: ``z = tanh(W_f x) * sigmoid(W_g x)``, W a convolution of two taps (equation 2, section 2.3)."""

    def __init__(self, config: WaveNetConfig, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.taps = nn.Linear(2 * config.residual, 2 * config.residual)  # inputs: x[t - dilation], x[t]
        self.out = nn.Linear(config.residual, config.residual + config.skip)  # outputs: residual, skip

    def forward(self, x: Tensor, condition: Tensor | None, hop_length: int) -> tuple[Tensor, Tensor]:
        """``x[B, T, R]`` and ``condition[B, frames, 2R]`` to the next layer's input and the skips ``[B, T, S]``."""
        past = F.pad(x, (0, 0, self.dilation, 0))[:, : x.shape[1]]
        gates = self.taps(torch.cat([past, x], dim=-1))
        if condition is not None:
            held = condition[:, :, None].expand(-1, -1, hop_length, -1).flatten(1, 2)
            gates = gates + held[:, : x.shape[1]]
        signal, gate = gates.chunk(2, dim=-1)
        out = self.out(torch.tanh(signal) * torch.sigmoid(gate))
        residual, skip = out.split([x.shape[-1], out.shape[-1] - x.shape[-1]], dim=-1)
        return x + residual, skip


class WaveNet(nn.Module):
    """Predicts each symbol from the symbols before it and, where there is conditioning, from local features.

    The first step sees the start symbol, ``config.levels``, and zeros for what lies before it.
    """

    def __init__(self, config: WaveNetConfig) -> None:
        super().__init__()
        self.config = config
        layers = len(config.dilations)
        self.embedding = nn.Embedding(config.levels + 1, config.residual)
        self.phase_embedding = nn.Embedding(config.phases, config.residual) if config.phases else None
        if self.phase_embedding is not None:
            nn.init.normal_(self.phase_embedding.weight, std=0.1)
        gates = 2 * config.residual * layers
        self.condition = nn.Linear(config.features, gates, bias=False) if config.features else None
        self.layers = nn.ModuleList(GatedLayer(config, dilation) for dilation in config.dilations)
        self.hidden = nn.Linear(config.skip, config.hidden)
        self.logits = nn.Linear(config.hidden, config.levels)
        for layer in self.layers:  # the skip sum and the residual stream keep unit scale however deep the stack
            assert isinstance(layer, GatedLayer)
            with torch.no_grad():
                layer.out.weight.mul_(1 / math.sqrt(layers))

    def arrays(self) -> Mapping[str, Floats]:
        """See :class:`vqaudio.models.sound_model.SymbolNetwork`."""
        return arrays_of(self)

    @torch.no_grad()
    def order_symbols(self) -> None:
        """Starts the embedding from cosines over the symbols' order, so that neighbours (in level, say) look alike."""
        levels, width = self.config.levels, self.config.residual
        position = (torch.arange(levels) + 0.5) / levels
        waves = torch.arange(1, width + 1)
        self.embedding.weight[:levels] = 2 * torch.cos(math.pi * position[:, None] * waves) / (1 + waves / 4)

    def shift(self, symbols: Tensor) -> Tensor:
        """``symbols[B, T]`` one step later, the start symbol first: what :meth:`forward` needs to predict them."""
        return F.pad(symbols, (1, 0), value=self.config.levels)[:, :-1]

    def forward(self, past: Tensor, features: Tensor | None = None, phases: Tensor | None = None) -> Tensor:
        """Logits ``[B, levels, T]`` of each step's symbol.

        Args:
            past: ``[B, T]`` int64, the symbol before each step, 0..levels (levels: the start).
            features: ``[B, F, frames]``; frame i conditions steps ``i * hop_length`` to ``(i + 1) * hop_length - 1``.
                There must be frames for all T steps. None only where the configuration has no features.
            phases: ``[B, T]`` int64, the phase of each step itself, where the configuration has any.
        """
        hop = self.config.hop_length
        x = self.embedding(past)
        if self.phase_embedding is not None:
            assert phases is not None, "a WaveNet with phases must be told them"
            x = x + self.phase_embedding(phases)
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        conditions: list[Tensor | None] = [None] * len(self.layers)
        if self.condition is not None:
            assert features is not None and features.shape[2] * hop >= past.shape[1]
            projected = self.condition(features.transpose(1, 2))
            conditions = list(projected.chunk(len(self.layers), dim=-1))
        skips = torch.zeros((), dtype=x.dtype, device=x.device)
        for layer, condition in zip(self.layers, conditions, strict=True):
            x, skip = layer(x, condition, hop)
            skips = skips + skip
        hidden = torch.relu(self.hidden(torch.relu(skips)))
        return self.logits(hidden).transpose(1, 2)

    def nll(self, logits: Tensor, symbols: Tensor) -> Tensor:
        """Negative log likelihood in nats of each of ``symbols[B, T]`` under ``logits[B, levels, T]``: ``[B, T]``."""
        rows = logits.transpose(1, 2).flatten(0, 1).float()
        return F.cross_entropy(rows, symbols.flatten(), reduction="none").view(symbols.shape)
