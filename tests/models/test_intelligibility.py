"""Envelopes that rise and fall alike cost nothing, whatever their level; what is smoothed or unrelated does."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vqaudio.models.intelligibility import envelope_decorrelation

BANDS, FRAMES, RATE, HOP = 80, 480, 16000, 68


@pytest.fixture
def speech() -> Tensor:
    """Log power that moves as fast as syllables do."""
    torch.manual_seed(0)
    drawn = torch.randn(4, BANDS, FRAMES)
    smooth = F.avg_pool1d(F.avg_pool1d(drawn, 25, 1, 12), 25, 1, 12)
    return 8 * smooth / smooth.std() / 2 - 8


def loss(predicted: Tensor, target: Tensor) -> float:
    return float(envelope_decorrelation(predicted, target, RATE, HOP))


def test_level_does_not_count(speech: Tensor) -> None:
    level = torch.linspace(-2, 2, BANDS)[:, None]
    assert loss(speech, speech) == pytest.approx(0, abs=1e-4)
    assert loss(speech + 3, speech) == pytest.approx(0, abs=1e-4)
    assert loss(speech + level, speech) < 0.2  # bands of one third weigh otherwise, no more


def test_the_further_off_the_more(speech: Tensor) -> None:
    noisy = [loss(speech + amount * torch.randn_like(speech), speech) for amount in (0.5, 1.5)]
    unrelated = loss(speech.roll(1, 0), speech)
    assert 0 < noisy[0] < noisy[1] < unrelated
    assert unrelated == pytest.approx(1, abs=0.25)


def test_a_band_without_sound_does_not_count(speech: Tensor) -> None:
    target, predicted = speech.clone(), speech.clone()
    target[:, 60:] = -25
    predicted[:, 60:] = -25 + torch.randn(4, BANDS - 60, FRAMES)
    assert loss(predicted, target) < 0.01


def test_it_teaches(speech: Tensor) -> None:
    predicted = (speech + 1.5 * torch.randn_like(speech)).requires_grad_()
    before = loss(predicted.detach(), speech)
    optimizer = torch.optim.Adam([predicted], lr=0.03)
    for _ in range(60):
        optimizer.zero_grad()
        envelope_decorrelation(predicted, speech, RATE, HOP).backward()
        optimizer.step()
    assert loss(predicted.detach(), speech) < before / 2


def test_what_is_too_short_costs_nothing(speech: Tensor) -> None:
    assert loss(speech[..., :40], speech[..., :40] + 1) == 0
