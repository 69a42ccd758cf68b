"""The likelihood of pictures: for each pixel a mixture of discretised logistics over 0..255, normalised exactly.

PixelCNN++ (Salimans et al. 2017, 1701.05517), sections 2.1 and 2.2: a logistic density is integrated over the bin of
each level, the outermost bins reaching to infinity; green depends on red, and blue on both, by linear coefficients that
the network gives. Unlike there, nothing is clipped or approximated, so the probabilities of all levels add up to 1.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 256
CHANNELS = 3  # red, green, blue
_HALF_BIN = 1 / (LEVELS - 1)  # of levels scaled to -1..1
_LEAST_LOG_SCALE = -7.0  # a quarter of a level: sharper would only risk overflow


def parameter_count(mixtures: int) -> int:
    """Channels that the network must give a pixel: weight, three means, three scales, three coefficients a logistic."""
    return mixtures * (1 + 3 * CHANNELS)


class Mixture(NamedTuple):
    """A pixel's mixture of M logistics: ``weights[B, M, H, W]`` (log), the others ``[B, M, 3, H, W]``.

    ``coefficients`` are those of red in green, red in blue and green in blue.
    """

    weights: Tensor
    means: Tensor
    log_scales: Tensor
    coefficients: Tensor


def mixture(parameters: Tensor) -> Mixture:
    """The network's output ``[B, parameter_count(M), H, W]`` as a mixture."""
    batch, count, height, width = parameters.shape
    parts = parameters.float().view(batch, -1, 1 + 3 * CHANNELS, height, width)
    assert parts.shape[1] * (1 + 3 * CHANNELS) == count
    weights, means, log_scales, coefficients = parts.split([1, CHANNELS, CHANNELS, CHANNELS], dim=2)
    return Mixture(
        F.log_softmax(weights[:, :, 0], dim=1),
        means,
        log_scales.clamp(min=_LEAST_LOG_SCALE),
        torch.tanh(coefficients),
    )


def to_unit(levels: Tensor) -> Tensor:
    """Levels 0..255 to -1..1."""
    return levels.float() / ((LEVELS - 1) / 2) - 1


def _conditional_means(of: Mixture, x: Tensor) -> Tensor:
    """Each channel's mean given the channels before it: ``[B, M, 3, H, W]``; ``x[B, 3, H, W]`` in -1..1."""
    red, green = x[:, None, 0], x[:, None, 1]
    means, c = of.means, of.coefficients
    in_green = means[:, :, 1] + c[:, :, 0] * red
    in_blue = means[:, :, 2] + c[:, :, 1] * red + c[:, :, 2] * green
    return torch.stack([means[:, :, 0], in_green, in_blue], dim=2)


def nll(parameters: Tensor, levels: Tensor) -> Tensor:
    """Nats of each pixel's colour, all three channels: ``[B, H, W]``.

    Args:
        parameters: ``[B, parameter_count(M), H, W]``.
        levels: ``[B, 3, H, W]``, integers 0..255.
    """
    of, x = mixture(parameters), to_unit(levels)
    inverse_scale = torch.exp(-of.log_scales)
    centred = x[:, None] - _conditional_means(of, x)
    upper, lower = (centred + _HALF_BIN) * inverse_scale, (centred - _HALF_BIN) * inverse_scale
    # sigmoid(u) - sigmoid(l) = sigmoid(u) sigmoid(-l) (1 - exp(l - u)): in logarithms, exact wherever the bin lies
    below, above = F.logsigmoid(upper), F.logsigmoid(-lower)
    inside = below + above + torch.log(-torch.expm1(-2 * _HALF_BIN * inverse_scale))
    level = levels[:, None].expand_as(inside)
    bins = torch.where(level == 0, below, torch.where(level == LEVELS - 1, above, inside))
    return -torch.logsumexp(of.weights + bins.sum(2), dim=1)


def mean_levels(parameters: Tensor) -> Tensor:
    """The picture expected under the mixture, uint8 ``[B, 3, H, W]``: each channel's mean given those of the others."""
    of = mixture(parameters)
    weights = torch.exp(of.weights)
    means: list[Tensor] = []
    for channel in range(CHANNELS):
        x = torch.stack([*means, *[torch.zeros_like(weights[:, 0])] * (CHANNELS - channel)], dim=1)
        expected = (weights * _conditional_means(of, x)[:, :, channel]).sum(1)
        means.append(expected.clamp(-1, 1))
    return ((torch.stack(means, dim=1) + 1) * ((LEVELS - 1) / 2)).round().to(torch.uint8)
