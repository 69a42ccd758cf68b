"""The learnt prior over the codes: what generates new speech and compresses the tokens (VQ-VAE, section 3.3)."""

from typing import Protocol

import torch
from torch import Tensor, nn

from vqaudio.models.config import WaveNetConfig
from vqaudio.models.wavenet import WaveNet


class Prior(Protocol):
    """A distribution over a grid of codes, each given those before it."""

    def logits(self, codes: Tensor, condition: Tensor | None) -> Tensor:
        """``codes[B, *grid]`` (0..K-1) to logits ``[B, K, *grid]`` of each code, given those before it."""


class WaveNetPrior(nn.Module):
    """``p(k_t | k_<t, speaker)`` by a WaveNet: the decoder's class over K codes in place of 256 levels.

    The condition is the speakers' indices ``[B]`` where the configuration has features, else nothing. Where it has
    phases, step t's is t modulo their number: which of its vector's tokens it draws.
    """

    def __init__(self, config: WaveNetConfig, speaker_count: int) -> None:
        super().__init__()
        self.wavenet = WaveNet(config)
        self.speakers = nn.Embedding(speaker_count, config.features) if config.features else None

    def features(self, condition: Tensor | None, tokens: int) -> Tensor | None:
        """The WaveNet's conditioning ``[B, F, tokens]``, constant in time, or None."""
        if self.speakers is None:
            return None
        assert condition is not None, "a prior with speakers must be told which"
        embedded: Tensor = self.speakers(condition)
        return embedded[:, :, None].expand(-1, -1, tokens)

    def phases(self, codes: Tensor) -> Tensor | None:
        """The phases ``[B, T]`` of the steps of ``codes[B, T]``, the first of which begins a vector, or None."""
        kinds = self.wavenet.config.phases
        return (torch.arange(codes.shape[1], device=codes.device) % kinds).expand_as(codes) if kinds else None

    def logits(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """As :class:`Prior` says; ``codes[B, T]`` to ``[B, K, T]``."""
        features = self.features(condition, codes.shape[1])
        logits: Tensor = self.wavenet(self.wavenet.shift(codes), features, self.phases(codes))
        return logits

    def nll(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Nats of each of ``codes[B, T]``: ``[B, T]``."""
        return self.wavenet.nll(self.logits(codes, condition), codes)
