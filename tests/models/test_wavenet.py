"""wavenet.py: what a prediction sees and what it must not, and the likelihood."""

import pytest
import torch
from torch import Tensor

from vqaudio.models.config import WaveNetConfig
from vqaudio.models.wavenet import WaveNet

HOP, STEPS, FRAMES = 4, 24, 6


def tiny(**settings: object) -> WaveNetConfig:
    sizes: dict[str, object] = {"levels": 16, "residual": 6, "skip": 5, "hidden": 7, "dilations": (1, 2, 4, 1)}
    return WaveNetConfig(**(sizes | {"features": 3, "hop_length": HOP} | settings))  # type: ignore[arg-type]


@pytest.fixture
def wavenet() -> WaveNet:
    torch.manual_seed(0)
    return WaveNet(tiny()).double()


def reach(wavenet: WaveNet, step: int) -> tuple[Tensor, Tensor]:
    """How much the logits at ``step`` depend on each past symbol ``[T]`` and each frame of features ``[frames]``."""
    past = torch.randint(16, (1, STEPS))
    features = torch.randn(1, 3, FRAMES, dtype=torch.float64, requires_grad=True)
    embedded: list[Tensor] = []
    hook = wavenet.embedding.register_forward_hook(lambda _, __, out: embedded.append(out))
    logits = wavenet(past, features)
    hook.remove()
    of_past, of_features = torch.autograd.grad(logits[0, :, step].square().sum(), [embedded[0], features])
    return of_past[0].abs().sum(1), of_features[0].abs().sum(0)


@pytest.mark.parametrize("step", [0, 3, 4, 10, STEPS - 1])
def test_nothing_is_seen_before_its_time(wavenet: WaveNet, step: int) -> None:
    of_past, of_features = reach(wavenet, step)
    assert of_past[step] > 0
    assert (of_past[step + 1 :] == 0).all()
    assert of_features[step // HOP] > 0
    assert (of_features[step // HOP + 1 :] == 0).all()


def test_the_receptive_field_is_what_the_configuration_says(wavenet: WaveNet) -> None:
    of_past, _ = reach(wavenet, STEPS - 1)
    seen = wavenet.config.receptive_field
    assert seen == 9
    assert (of_past[-seen:] > 0).all()
    assert (of_past[:-seen] == 0).all()


def test_a_frame_is_held_for_a_hop(wavenet: WaveNet) -> None:
    past, features = torch.randint(16, (1, STEPS)), torch.randn(1, 3, FRAMES, dtype=torch.float64)
    changed = features.clone()
    changed[:, :, 3] += 1
    differs = (wavenet(past, features) - wavenet(past, changed)).abs().amax(1)[0] > 1e-12
    assert not differs[: 3 * HOP].any()
    assert differs[3 * HOP : 4 * HOP].all()


def test_a_part_of_a_frame_may_be_missing_at_the_end(wavenet: WaveNet) -> None:
    past, features = torch.randint(16, (1, STEPS)), torch.randn(1, 3, FRAMES, dtype=torch.float64)
    torch.testing.assert_close(wavenet(past[:, :10], features), wavenet(past, features)[:, :, :10])


def test_shift_puts_the_start_first(wavenet: WaveNet) -> None:
    assert wavenet.shift(torch.tensor([[3, 1, 2]])).tolist() == [[16, 3, 1]]


def test_logits_are_a_distribution_over_the_levels(wavenet: WaveNet) -> None:
    symbols = torch.randint(16, (2, STEPS))
    logits = wavenet(wavenet.shift(symbols), torch.randn(2, 3, FRAMES, dtype=torch.float64))
    assert logits.shape == (2, 16, STEPS)
    torch.testing.assert_close(logits.softmax(1).sum(1), torch.ones(2, STEPS, dtype=torch.float64))
    nll = wavenet.nll(logits, symbols)
    naive = -logits.log_softmax(1).gather(1, symbols[:, None])[:, 0]
    torch.testing.assert_close(nll.double(), naive, rtol=1e-5, atol=1e-5)


def test_without_features_it_is_a_prior() -> None:
    prior = WaveNet(tiny(features=0, hop_length=1))
    assert prior.condition is None
    symbols = torch.randint(16, (2, 9))
    assert prior(prior.shift(symbols)).shape == (2, 16, 9)
    # the chain rule: the probabilities of all sequences of two symbols make up one
    pairs = torch.cartesian_prod(torch.arange(16), torch.arange(16))
    likelihood = (-prior.nll(prior(prior.shift(pairs)), pairs).sum(1)).exp()
    torch.testing.assert_close(likelihood.sum(), torch.tensor(1.0))


def test_ordered_symbols_look_like_their_neighbours() -> None:
    wavenet = WaveNet(WaveNetConfig(dilations=(1,)))
    start = wavenet.embedding.weight[-1].clone()
    wavenet.order_symbols()
    levels = wavenet.embedding.weight.detach()[:256]
    distance = torch.cdist(levels, levels)
    near, far = distance.diagonal(1), distance.diagonal(64)
    assert near.max() < 0.25 * far.min()
    assert torch.equal(wavenet.embedding.weight[-1], start)
    assert levels.std() == pytest.approx(1, rel=0.7)


def test_autocast_computes_in_bfloat16_and_scores_in_float32(wavenet: WaveNet) -> None:
    wavenet = wavenet.float()
    symbols, features = torch.randint(16, (1, STEPS)), torch.randn(1, 3, FRAMES)
    exact = wavenet.nll(wavenet(wavenet.shift(symbols), features), symbols)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = wavenet(wavenet.shift(symbols), features)
        nll = wavenet.nll(logits, symbols)
    assert logits.dtype == torch.bfloat16
    assert nll.dtype == torch.float32
    torch.testing.assert_close(nll, exact, rtol=0.05, atol=0.05)
