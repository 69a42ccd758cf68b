"""A WaveNet over the four bands of the excitation: one step for four samples, a mixture of Gaussians for each band.

It draws what drives the minimum-phase filter of the coded envelope, told the features of the codes and where the pitch
pulses lie. The stack is the WaveNet's (van den Oord et al. 2016); bands instead of symbols follow Okamoto et al. 2018
("subband WaveNet") and Yu et al. 2020 ("DurIAN"), the coupling of bands within a step is a linear one. What the voice
did a pitch period ago is an input of its own, as in the long-term prediction of speech codecs.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqaudio.arrays import Floats
from vqaudio.kernels.filterbank import BANDS
from vqaudio.models.config import WaveNetConfig
from vqaudio.models.settings import positive, require
from vqaudio.models.wavenet import GatedLayer, arrays_of

LARGEST_LOG_SCALE = 4.0
_PAIRS = [(band, lower) for band in range(BANDS) for lower in range(band)]


@dataclass(frozen=True)
class SubbandWaveNetConfig:
    """Sizes of a :class:`SubbandWaveNet`.

    ``components`` Gaussians a band, none narrower than ``scale_floor``. ``features`` channels of local conditioning,
    each frame held for ``hop_length`` steps. ``dilations`` has one entry a layer. Each step is told the pulses of
    ``pulses_behind`` steps before it, of its own and of ``pulses_ahead`` after it, through a layer of ``pulse_hidden``.
    """

    components: int = 4
    residual: int = 64
    skip: int = 64
    hidden: int = 128
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128)
    features: int = 128
    hop_length: int = 17
    pulses_behind: int = 24
    pulses_ahead: int = 16
    pulse_hidden: int = 64
    scale_floor: float = 0.02

    def __post_init__(self) -> None:
        require(1 <= self.components <= 16, "components", self.components, "give 1 to 16 Gaussians a band")
        require(len(self.dilations) >= 1, "dilations", self.dilations, "give one entry a layer")
        for name in ("residual", "skip", "hidden", "features", "hop_length", "pulse_hidden"):
            positive(name, getattr(self, name))
        for dilation in self.dilations:
            positive("dilations", dilation)
        for name in ("pulses_behind", "pulses_ahead"):
            require(0 <= getattr(self, name) <= 512, name, getattr(self, name), "give 0 to 512 steps")
        require(0 < self.scale_floor <= 1, "scale_floor", self.scale_floor, "give a number above 0 and up to 1")

    @property
    def receptive_field(self) -> int:
        """Number of past steps that a prediction sees."""
        return 1 + sum(self.dilations)

    @property
    def outputs(self) -> int:
        """Parameters of a step: of each band's Gaussians their logits, means and log scales, and the coupling."""
        return 3 * BANDS * self.components + len(_PAIRS)


class Mixtures(NamedTuple):
    """Of each step's bands: ``logits``, ``means`` and ``log_scales``, each ``[..., BANDS, components]``, and the
    ``coupling[..., BANDS * (BANDS - 1) / 2]``, by which a band's means move with the bands below it (a strictly lower
    triangle, row after row)."""

    logits: Tensor
    means: Tensor
    log_scales: Tensor
    coupling: Tensor


class SubbandWaveNet(nn.Module):
    """Predicts each step's four band samples from those before it, the pulses around it and its frame's features."""

    def __init__(self, config: SubbandWaveNetConfig) -> None:
        super().__init__()
        self.config = config
        layers = len(config.dilations)
        self.input = nn.Linear(2 * BANDS, config.residual)
        context = config.pulses_behind + 1 + config.pulses_ahead
        self.pulse_window = nn.Linear(BANDS * context, config.pulse_hidden)
        self.pulse_input = nn.Linear(config.pulse_hidden, config.residual, bias=False)
        self.condition = nn.Linear(config.features, 2 * config.residual * layers, bias=False)
        stack = WaveNetConfig(residual=config.residual, skip=config.skip)
        self.layers = nn.ModuleList(GatedLayer(stack, dilation) for dilation in config.dilations)
        self.hidden = nn.Linear(config.skip, config.hidden)
        self.head = nn.Linear(config.hidden, config.outputs)
        self._start()

    def arrays(self) -> Mapping[str, Floats]:
        """See :class:`vqaudio.models.sound_model.Layered`."""
        return arrays_of(self)

    @torch.no_grad()
    def _start(self) -> None:
        """The skip sum and the residual stream keep unit scale however deep the stack; the first mixtures are spread
        over plain noise of variance one."""
        for layer in self.layers:
            assert isinstance(layer, GatedLayer)
            layer.out.weight.mul_(1 / math.sqrt(len(self.layers)))
        self.head.weight.mul_(0.1)
        self.head.bias.zero_()
        means = self.mixtures(self.head.bias).means
        means.copy_(torch.linspace(-0.5, 0.5, self.config.components).expand_as(means))

    def shift(self, bands: Tensor) -> Tensor:
        """``bands[B, T, BANDS]`` one step later, zeros first: what :meth:`forward` needs to predict them."""
        return F.pad(bands, (0, 0, 1, 0))[:, :-1]

    def pulse_inputs(self, pulses: Tensor) -> Tensor:
        """``pulses[B, T, BANDS]`` to what each step hears of the pulses around it: ``[B, T, residual]``."""
        c = self.config
        padded = F.pad(pulses, (0, 0, c.pulses_behind, c.pulses_ahead))
        windows = padded.unfold(1, c.pulses_behind + 1 + c.pulses_ahead, 1)  # [B, T, BANDS, context]
        return self.pulse_input(torch.relu(self.pulse_window(windows.flatten(2))))

    def forward(self, past: Tensor, lagged: Tensor, pulses: Tensor, features: Tensor) -> Tensor:
        """Parameters ``[B, T, outputs]`` of each step's mixtures; :meth:`mixtures` takes them apart.

        Args:
            past: ``[B, T, BANDS]``, the bands' samples before each step.
            lagged: ``[B, T, BANDS]``, the bands of the excitation a whole number of pitch periods before each step
                (:func:`vqaudio.kernels.long_term_predictor.lagged_bands`).
            pulses: ``[B, T, BANDS]``, the bands of the pulses at each step itself.
            features: ``[B, F, frames]``; frame i conditions steps ``i * hop_length`` to ``(i + 1) * hop_length - 1``.
                There must be frames for all T steps.
        """
        hop = self.config.hop_length
        assert features.shape[2] * hop >= past.shape[1]
        x = self.input(torch.cat([past, lagged], dim=-1)) + self.pulse_inputs(pulses)
        conditions = self.condition(features.transpose(1, 2)).chunk(len(self.layers), dim=-1)
        skips = torch.zeros((), dtype=x.dtype, device=x.device)
        for layer, condition in zip(self.layers, conditions, strict=True):
            x, skip = layer(x, condition, hop)
            skips = skips + skip
        hidden = torch.relu(self.hidden(torch.relu(skips)))
        return self.head(hidden)

    def mixtures(self, parameters: Tensor) -> Mixtures:
        """``parameters[..., outputs]`` taken apart: views of them."""
        count = 3 * BANDS * self.config.components
        logits, means, log_scales = parameters[..., :count].unflatten(-1, (3, BANDS, -1)).unbind(-3)
        return Mixtures(logits, means, log_scales, parameters[..., count:])

    def nll(self, parameters: Tensor, bands: Tensor) -> Tensor:
        """Negative log likelihood in nats of each sample of ``bands[B, T, BANDS]``, a density: ``[B, T, BANDS]``.

        The filter bank is orthonormal, so the sum over bands is the density of the samples, too.
        """
        logits, means, log_scales, coupling = self.mixtures(parameters.float())
        log_scales = log_scales.clamp(math.log(self.config.scale_floor), LARGEST_LOG_SCALE)
        centres = means + self._coupled(coupling, bands)[..., None]
        standard = (bands[..., None] - centres) * torch.exp(-log_scales)
        densities = -0.5 * standard.square() - log_scales - 0.5 * math.log(2 * math.pi)
        return -torch.logsumexp(F.log_softmax(logits, dim=-1) + densities, dim=-1)

    def _coupled(self, coupling: Tensor, bands: Tensor) -> Tensor:
        """How far each band's means move with the bands below it: ``[..., BANDS]``."""
        moved = [torch.zeros_like(bands[..., 0]) for _ in range(BANDS)]
        for pair, (band, lower) in enumerate(_PAIRS):
            moved[band] = moved[band] + coupling[..., pair] * bands[..., lower]
        return torch.stack(moved, dim=-1)
