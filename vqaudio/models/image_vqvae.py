"""VQ-VAE for pictures (arXiv 1711.00937, section 4.1), and the same network with a Gaussian latent beside it.

The definitions stand in the order of the paper's figure 1: encoder, codebook (quantize.py), decoder, the whole.
"""

import itertools
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqaudio.errors import ConfigError
from vqaudio.models import logistic_mixture as logistic
from vqaudio.models.image_config import ImageNetworkConfig, ImageVAEConfig, ImageVQVAEConfig
from vqaudio.models.pixelcnn import PixelCNN
from vqaudio.models.quantizer import VectorQuantizer
from vqaudio.models.trainable import NATS_PER_BIT, Batch, Loss, Probe

_LOG_VARIANCES = (-12.0, 6.0)  # of the Gaussian latent: wide enough for any use, and finite


class ResidualBlock2d(nn.Module):
    """ReLU, convolution of 3x3, ReLU, convolution of 1x1, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide = nn.Conv2d(channels, channels, 3, padding=1)
        self.pointwise = nn.Conv2d(channels, channels, 1)
        nn.init.kaiming_normal_(self.wide.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` to the same shape."""
        return x + self.pointwise(torch.relu(self.wide(torch.relu(x))))


class ImageEncoder(nn.Module):
    """Levels ``[B, 3, H, W]`` to ``[B, outputs, H / stride, W / stride]``."""

    def __init__(self, config: ImageNetworkConfig, outputs: int) -> None:
        super().__init__()
        widths = (logistic.CHANNELS, *config.channels)
        self.strided = nn.ModuleList(
            nn.Conv2d(narrow, wide, 4, stride=2, padding=1) for narrow, wide in itertools.pairwise(widths)
        )
        for layer in self.strided:
            assert isinstance(layer, nn.Conv2d)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        self.blocks = nn.ModuleList(ResidualBlock2d(widths[-1]) for _ in range(config.blocks))
        self.out = nn.Conv2d(widths[-1], outputs, 1)

    def forward(self, levels: Tensor) -> Tensor:
        """``[B, 3, H, W]``, integers 0..255, to ``[B, outputs, H / stride, W / stride]``."""
        x = 2 * logistic.to_unit(levels)  # about unit scale
        x = x.contiguous(memory_format=torch.channels_last)
        for index, layer in enumerate(self.strided):
            x = layer(torch.relu(x) if index else x)
        for block in self.blocks:
            x = block(x)
        z: Tensor = self.out(torch.relu(x))
        return z


class ImageDecoder(nn.Module):
    """Latents ``[B, inputs, rows, columns]`` to the parameters of each pixel's distribution; see logistic.py."""

    def __init__(self, config: ImageNetworkConfig, inputs: int) -> None:
        super().__init__()
        widths = (*config.channels[::-1], logistic.parameter_count(config.mixtures))
        self.into = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(ResidualBlock2d(widths[0]) for _ in range(config.blocks))
        self.strided = nn.ModuleList(
            nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1) for wide, narrow in itertools.pairwise(widths)
        )
        self._spread_means(config.mixtures)

    @torch.no_grad()
    def _spread_means(self, mixtures: int) -> None:
        """Starts the logistics side by side and wide: equal ones would learn the same for ever."""
        last = self.strided[-1]
        assert isinstance(last, nn.ConvTranspose2d) and last.bias is not None
        bias = last.bias.view(mixtures, -1)
        bias.zero_()
        bias[:, 1:4] = torch.linspace(-0.5, 0.5, mixtures)[:, None] if mixtures > 1 else 0.0
        bias[:, 4:7] = -2.0  # a scale of 0.13: some 17 levels

    def forward(self, z: Tensor) -> Tensor:
        """``[B, inputs, rows, columns]`` to ``[B, parameters, rows * stride, columns * stride]``."""
        x = self.into(z.contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            x = block(x)
        for layer in self.strided:
            x = layer(torch.relu(x))
        return x


def _checked(weights: Mapping[str, float], terms: tuple[str, ...]) -> dict[str, float]:
    unknown = sorted(set(weights) - set(terms))
    if unknown:
        raise ConfigError(f"objective.{unknown[0]} is not known: use {', '.join(terms)}")
    return {term: float(weights.get(term, 0.0)) for term in terms}


def _nll_per_dim(parameters: Tensor, levels: Tensor) -> Tensor:
    return logistic.nll(parameters, levels).mean() / logistic.CHANNELS


class ImageVQVAE(nn.Module):
    """Tiles to codes to tiles. Loss terms (equation 3): ``nll`` (nats a dim), ``codebook`` (the quantizer's terms) and
    ``prior`` (nats a code, the codes detached: section 3.3)."""

    TERMS = ("nll", "codebook", "prior")

    def __init__(self, config: ImageVQVAEConfig) -> None:
        super().__init__()
        self.config = config
        width = config.latents * config.quantizer.code_dim
        self.encoder = ImageEncoder(config.network, width)
        self.quantizer = VectorQuantizer(config.quantizer)
        self.decoder = ImageDecoder(config.network, width)
        self.prior = PixelCNN(config.prior, config.latents, len(config.classes)) if config.prior else None
        self.objective: dict[str, float] = {}
        self.set_objective(dict.fromkeys(self.TERMS if self.prior else self.TERMS[:-1], 1.0))

    # ---------------------------------------------------------------------------------------------- the coded path

    @property
    def codebook_size(self) -> int:
        """Codes of the codebook."""
        return self.config.quantizer.codebook_size

    def _latents(self, levels: Tensor) -> Tensor:
        """``z_e[B, D, rows, columns, latents]``; each vector has mean 0 and variance 1, as the sounds' have."""
        z = self.encoder(levels).unflatten(1, (self.config.latents, -1)).permute(0, 3, 4, 1, 2)
        return F.layer_norm(z, z.shape[-1:]).movedim(-1, 1)

    def _decode(self, z_q: Tensor) -> Tensor:
        """``z_q[B, D, rows, columns, latents]`` to the parameters of logistic.py."""
        parameters: Tensor = self.decoder(z_q.permute(0, 4, 1, 2, 3).flatten(1, 2))
        return parameters

    def encode(self, levels: Tensor) -> Tensor:
        """Tiles ``[B, 3, tile, tile]``, integers 0..255, to codes ``[B, rows, columns, latents]``."""
        return self.quantizer.encode(self._latents(levels))

    def parameters_of(self, codes: Tensor) -> Tensor:
        """Codes ``[B, rows, columns, latents]`` to the parameters of each pixel's distribution; see logistic.py."""
        return self._decode(self.quantizer.lookup(codes))

    # -------------------------------------------------------------------------------------------------- learning

    def set_objective(self, weights: Mapping[str, float]) -> None:
        """See :class:`vqaudio.models.trainable.Trainable`; the terms are ``nll``, ``codebook`` and ``prior``."""
        self.objective = _checked(weights, self.TERMS)
        if self.objective["prior"] and self.prior is None:
            raise ConfigError("objective.prior has no prior to train: add a [model.prior] table")

    def loss(self, batch: Batch) -> Loss:
        """The loss of ``batch["image"][B, 3, tile, tile]`` uint8, ``batch["label"][B]``."""
        levels, label = batch["image"], batch["label"]
        quantized = self.quantizer(self._latents(levels))
        metrics = {"perplexity": quantized.perplexity}
        terms = {"codebook": quantized.loss}
        if self.objective["nll"]:
            terms["nll"] = _nll_per_dim(self._decode(quantized.z_q), levels)
            metrics["bits_per_dim"] = terms["nll"].detach() / NATS_PER_BIT
        if self.objective["prior"]:
            terms["prior"] = self._prior_nll(quantized.codes, label)
            metrics["bits_per_token"] = terms["prior"].detach() / NATS_PER_BIT
        total = torch.stack([self.objective[name] * term for name, term in terms.items()]).sum()
        return Loss(total, metrics | {name: term.detach() for name, term in terms.items()})

    @torch.no_grad()
    def probe(self, batch: Batch) -> Probe:
        """Bits a dim with the true codes and with those of the batch's next tile (alone: its own upside down)."""
        levels, label = batch["image"], batch["label"]
        codes = self.encode(levels)
        metrics = {}
        if self.objective["nll"]:
            others = codes.roll(1, 0) if len(codes) > 1 else codes.flip(1)
            metrics["bits_per_dim"] = _nll_per_dim(self.parameters_of(codes), levels) / NATS_PER_BIT
            metrics["bits_per_dim_shuffled"] = _nll_per_dim(self.parameters_of(others), levels) / NATS_PER_BIT
        if self.objective["prior"]:
            metrics["bits_per_token"] = self._prior_nll(codes, label) / NATS_PER_BIT
        return Probe(metrics, codes)

    def _prior_nll(self, codes: Tensor, label: Tensor) -> Tensor:
        assert self.prior is not None
        return self.prior.nll(codes.detach(), label).mean()


class ImageVAE(nn.Module):
    """The comparison of the paper's section 4.1: a Gaussian latent, all else equal. Loss terms: ``nll`` and ``kl``,
    both in nats a dim, whose sum bounds ``-log p(x)``."""

    TERMS = ("nll", "kl")

    def __init__(self, config: ImageVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = ImageEncoder(config.network, 2 * config.latent_dim)
        self.decoder = ImageDecoder(config.network, config.latent_dim)
        self.objective: dict[str, float] = {}
        self.set_objective(dict.fromkeys(self.TERMS, 1.0))

    @property
    def codebook_size(self) -> int:
        """0: it has no codes."""
        return 0

    def set_objective(self, weights: Mapping[str, float]) -> None:
        """See :class:`vqaudio.models.trainable.Trainable`; the terms are ``nll`` and ``kl``."""
        self.objective = _checked(weights, self.TERMS)

    def terms(self, levels: Tensor) -> tuple[Tensor, Tensor]:
        """``nll`` and ``kl`` of each tile of ``levels[B, 3, tile, tile]``, in nats a dim: ``[B]`` each, one draw."""
        mean, log_variance = self.encoder(levels).float().chunk(2, dim=1)
        log_variance = log_variance.clamp(*_LOG_VARIANCES)
        z = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        kl = (mean.square() + torch.exp(log_variance) - 1 - log_variance).flatten(1).sum(1) / 2
        dims = math.prod(levels.shape[1:])
        return logistic.nll(self.decoder(z), levels).flatten(1).sum(1) / dims, kl / dims

    def loss(self, batch: Batch) -> Loss:
        """The loss of ``batch["image"][B, 3, tile, tile]`` uint8."""
        nll, kl = (term.mean() for term in self.terms(batch["image"]))
        total = self.objective["nll"] * nll + self.objective["kl"] * kl
        metrics = {"nll": nll, "kl": kl, "bound_bits_per_dim": (nll + kl) / NATS_PER_BIT}
        return Loss(total, {name: term.detach() for name, term in metrics.items()})

    @torch.no_grad()
    def probe(self, batch: Batch) -> Probe:
        """The bound, in bits a dim, and its two parts."""
        nll, kl = (term.mean() / NATS_PER_BIT for term in self.terms(batch["image"]))
        return Probe({"bits_per_dim": nll, "kl_bits_per_dim": kl, "bound_bits_per_dim": nll + kl}, None)


@torch.no_grad()
def compare(model: ImageVQVAE, levels: Tensor, most: int = 16) -> npt.NDArray[np.uint8]:
    """The first tiles of ``levels[B, 3, tile, tile]`` in a row, and what comes back of them in a row below.

    Returns ``[2 * tile, tiles * tile, 3]``.
    """
    levels = levels[:most]
    rows = torch.stack([levels, logistic.mean_levels(model.parameters_of(model.encode(levels)))])
    picture: npt.NDArray[np.uint8] = rows.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1).cpu().numpy()
    return picture
