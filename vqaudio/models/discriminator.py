"""A critic of spectral envelopes: learns to tell predicted from real ones, and so teaches to predict likely ones.

What the codes do not tell, a mean error makes smooth, which sounds muffled. The critic asks instead whether patches of
bands and frames look like those of speech (Isola et al. 2017, section 3.2.2; hinge loss: Lim and Ye 2017; feature
matching: Larsen et al. 2016). It is a part of training alone.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_WIDTHS = (32, 64, 96, 96)
_MEAN, _SCALE = -8.0, 4.0  # bring log power to about unit scale


class Judgement(NamedTuple):
    """``score[B, 1, patches...]``, high for real, and the ``layers`` that it came through."""

    score: Tensor
    layers: list[Tensor]


class Adversary(NamedTuple):
    """What the two sides learn from: the ``critic`` loss, and the predictor's two, ``score`` and ``matching``."""

    critic: Tensor
    score: Tensor
    matching: Tensor


class PatchDiscriminator(nn.Module):
    """Strided 2-D convolutions over bands and frames; each output judges a patch."""

    def __init__(self) -> None:
        super().__init__()
        normed = torch.nn.utils.parametrizations.weight_norm
        pairs = zip((2, *_WIDTHS[:-1]), _WIDTHS, strict=True)
        self.layers = nn.ModuleList(normed(nn.Conv2d(i, o, 5, stride=2, padding=2)) for i, o in pairs)
        self.out = normed(nn.Conv2d(_WIDTHS[-1], 1, 3, padding=1))

    def forward(self, bands: Tensor) -> Judgement:
        """``bands[B, bands, frames]``, log power."""
        x = ((bands - _MEAN) / _SCALE)[:, None]
        place = torch.linspace(-1, 1, bands.shape[1], device=bands.device, dtype=x.dtype)
        x, heard = torch.cat([x, place[None, None, :, None].expand_as(x)], dim=1), []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            heard.append(x)
        return Judgement(self.out(x), heard)

    def adversary(self, predicted: Tensor, real: Tensor, converted: Tensor | None = None) -> Adversary:
        """The losses of ``predicted[B, bands, frames]`` beside ``real``; the predictor's do not move the critic.

        ``converted``, of the same shape, has no real counterpart: it is scored, and not matched.
        """
        made = predicted if converted is None else torch.cat([predicted, converted])
        on_real, on_made = self(real), self(made.detach())
        critic = F.relu(1 - on_real.score.float()).mean() + F.relu(1 + on_made.score.float()).mean()
        fixed: Callable[[Tensor], Judgement] = self._fixed
        own = fixed(made)
        pairs = [
            (mine[: len(real)].float(), theirs.detach().float())
            for mine, theirs in zip(own.layers, on_real.layers, strict=True)
        ]
        matching = torch.stack([(m - t).abs().mean() / t.abs().mean() for m, t in pairs]).mean()
        return Adversary(critic, -own.score.float().mean(), matching)

    def _fixed(self, bands: Tensor) -> Judgement:
        """:meth:`forward` through weights that no gradient reaches."""
        weights = {name: value.detach() for name, value in self.named_parameters()}
        judgement: Judgement = torch.func.functional_call(self, weights, (bands,))
        return judgement
