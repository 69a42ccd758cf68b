"""logistic.py: the likelihood is one, to the last bit that floats give."""

import itertools
import math

import pytest
import torch

from vqaudio.models import logistic_mixture as logistic


def parameters(mixtures: int, seed: int = 0, spread: float = 1.0) -> torch.Tensor:
    torch.manual_seed(seed)
    return spread * torch.randn(1, logistic.parameter_count(mixtures), 1, 1)


def log_probabilities(given: torch.Tensor, colours: torch.Tensor) -> torch.Tensor:
    """Of ``colours[N, 3]`` under the parameters of one pixel."""
    spread = given.expand(1, -1, 1, len(colours))
    return -logistic.nll(spread, colours.T[None, :, None])[0, 0].double()


def test_all_colours_add_up_to_one() -> None:
    given = parameters(2, 1)
    total = 0.0
    every = torch.arange(logistic.LEVELS)
    # the whole cube in slices of one red: 16 million colours
    green, blue = (plane.flatten() for plane in torch.meshgrid(every, every, indexing="ij"))
    for red in range(logistic.LEVELS):
        colours = torch.stack([torch.full_like(green, red), green, blue], 1)
        total += float(log_probabilities(given, colours).exp().sum())
    assert total == pytest.approx(1.0, abs=1e-4)


def test_sharp_and_distant_logistics_stay_finite() -> None:
    for mean, log_scale in itertools.product((-40.0, -1.0, 0.0, 1.0, 40.0), (-60.0, -7.0, 0.0, 6.0)):
        given = torch.zeros(1, 10, 1, 1)
        given[0, 1:4], given[0, 4:7] = mean, log_scale
        given.requires_grad_()
        colours = torch.tensor([[0, 0, 0], [255, 255, 255], [17, 128, 254]])
        found = log_probabilities(given, colours)
        assert torch.isfinite(found).all()
        assert (found <= 1e-6).all()
        found.sum().backward()
        assert torch.isfinite(given.grad).all()


def test_a_uniform_guess_costs_eight_bits() -> None:
    given = torch.zeros(1, 10, 1, 1)
    given[0, 4:7] = -1.25  # about as wide as the levels
    every = torch.arange(logistic.LEVELS)
    found = -log_probabilities(given, torch.stack([every] * 3, 1)).mean() / 3 / math.log(2)
    assert 8 < float(found) < 8.6


def test_the_expected_picture() -> None:
    given = torch.zeros(1, 20, 1, 1).view(1, 2, 10, 1, 1)
    given[:, 0, 0] = 9.0  # the first logistic has all the weight
    given[:, 0, 1:4, 0, 0] = torch.tensor([0.0, 0.5, -1.0])
    given[:, 0, 7] = 20.0  # green adds all of red's distance from the middle, which is none
    levels = logistic.mean_levels(given.view(1, 20, 1, 1))
    assert levels.dtype == torch.uint8
    assert levels.flatten().tolist() == [128, 191, 0]


def test_coefficients_lead_from_channel_to_channel() -> None:
    given = torch.zeros(1, 10, 1, 1)
    given[0, 4:7] = -5.0
    given[0, 7:9] = 20.0  # tanh of which is one
    same, other = torch.tensor([[200, 200, 200]]), torch.tensor([[200, 128, 128]])
    assert float(log_probabilities(given, same)) > float(log_probabilities(given, other)) + 50
