"""Who speaks and what is said, told from spectral envelopes: a teacher that a conversion must convince.

A decoder that only ever speaks with the source's own voice learns to take some of it from the codes. So codes are also
spoken with another speaker's voice, and a classifier, which learns from real envelopes at the same time, tells whether
the voice arrived and the units of speech stayed (an auxiliary classifier of domains, as in Kameoka et al. 2018,
"StarGAN-VC", section 3.2). It is a part of training alone.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqaudio.models.encoder import ResidualBlock

POOLED = 4  # frames that are one step of the classifier
_WIDTH = 160
_DILATIONS = (1, 2, 4)
_MEAN, _SCALE = -8.0, 4.0  # bring log power to about unit scale


class Classes(NamedTuple):
    """Logits of ``speaker[B, speakers]``, and of ``units[B, units, frames / POOLED]``."""

    speaker: Tensor
    units: Tensor


class SpeechClassifier(nn.Module):
    """Log power ``[B, bands, frames]`` to :class:`Classes`; a speaker is pooled over time, by mean and deviation."""

    def __init__(self, bands: int, speakers: int, units: int) -> None:
        super().__init__()
        self.into = nn.Conv1d(bands, _WIDTH, 5, padding=2)
        self.blocks = nn.ModuleList(ResidualBlock(_WIDTH, dilation, dilation) for dilation in _DILATIONS)
        self.speaker = nn.Linear(2 * _WIDTH, speakers)
        self.units = nn.Conv1d(_WIDTH, units, 1)

    def forward(self, bands: Tensor) -> Classes:
        """See the class."""
        x = self.into(F.avg_pool1d((bands - _MEAN) / _SCALE, POOLED))
        for block in self.blocks:
            x = block(x)
        x = torch.relu(x)
        pooled = torch.cat([x.mean(2), x.std(2)], dim=1)
        return Classes(self.speaker(pooled).float(), self.units(x).float())

    def loss(self, bands: Tensor, speaker: Tensor, units: Tensor) -> Tensor:
        """Cross entropy, nats: of the speakers ``[B]``, and of a frame's ``units[B, frames]`` (-1: not known).

        ``bands[B, bands, frames]`` are log power.
        """
        return self._entropy(self(bands), speaker, units)

    def fixed_loss(self, bands: Tensor, speaker: Tensor, units: Tensor) -> Tensor:
        """:meth:`loss` through weights that no gradient reaches: it teaches who made ``bands``."""
        weights = {name: value.detach() for name, value in self.named_parameters()}
        return self._entropy(torch.func.functional_call(self, weights, (bands,)), speaker, units)

    @staticmethod
    def _entropy(found: Classes, speaker: Tensor, units: Tensor) -> Tensor:
        places = units[:, POOLED // 2 :: POOLED][:, : found.units.shape[2]]
        said = F.cross_entropy(found.units, places, ignore_index=-1, reduction="sum") / (places >= 0).sum().clamp(min=1)
        return F.cross_entropy(found.speaker, speaker) + said
