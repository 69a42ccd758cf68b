"""pixelcnn.py: causal by gradients, no blind spot, told its class; it is a Prior like the WaveNet."""

import pytest
import torch

from vqaudio.models.image_config import PixelCNNConfig
from vqaudio.models.pixelcnn import PixelCNN
from vqaudio.models.prior import Prior

SMALL = PixelCNNConfig(levels=12, residual=8, skip=6, hidden=10, layers=4)


def network(latents: int, kernel_size: int = 3, layers: int = 4, classes: int = 0) -> PixelCNN:
    torch.manual_seed(0)
    config = PixelCNNConfig(levels=12, residual=8, skip=6, hidden=10, layers=layers, kernel_size=kernel_size)
    return PixelCNN(config, latents, classes).double()


def seen_by(prior: PixelCNN, shape: tuple[int, int, int], place: tuple[int, int, int]) -> torch.Tensor:
    """Which codes ``[rows, columns, latents]`` the logits at ``place`` depend on, by their gradients."""
    codes = torch.randint(0, 12, (1, *shape))
    vectors: list[torch.Tensor] = []

    def embedded(of: torch.Tensor) -> torch.Tensor:
        offsets = 12 * torch.arange(shape[2])
        vector = prior.embedding.flatten(0, 1)[of + offsets].detach().requires_grad_()
        vectors.append(vector)
        return vector.sum(-2)

    def told(of: torch.Tensor) -> torch.Tensor:
        vector = prior.told.flatten(0, 1)[of[..., :-1] + 12 * torch.arange(shape[2] - 1)].detach().requires_grad_()
        vectors.append(vector)
        return torch.nn.functional.pad(vector.cumsum(-2), (0, 0, 1, 0))

    prior._embed, prior._told = embedded, told  # type: ignore[method-assign]
    logits = prior.logits(codes)[0, :, place[0], place[1], place[2]]
    (logits * torch.randn(12, dtype=torch.float64)).sum().backward()
    seen = vectors[0].grad.abs().sum(-1)[0] > 0
    if shape[2] > 1:
        seen[..., :-1] |= vectors[1].grad.abs().sum(-1)[0] > 0
    return seen


@pytest.mark.parametrize("latents", [1, 3])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_no_logit_sees_a_later_code_and_none_before_is_missed(latents: int, kernel_size: int) -> None:
    rows = columns = 4
    order = torch.arange(rows * columns * latents).view(rows, columns, latents)
    for place in [(0, 0, 0), (0, 3, latents - 1), (2, 1, 0), (1, 0, latents - 1), (3, 3, latents - 1), (3, 2, 0)]:
        seen = seen_by(network(latents, kernel_size), (rows, columns, latents), place)
        assert torch.equal(seen, order < order[place]), place


def test_changing_a_code_changes_only_later_logits() -> None:
    prior = network(2)
    codes = torch.randint(0, 12, (1, 3, 4, 2))
    other = codes.clone()
    other[0, 1, 2, 0] = (other[0, 1, 2, 0] + 1) % 12
    changed = (prior.logits(codes) != prior.logits(other)).any(1)[0].flatten()
    place = (1 * 4 + 2) * 2
    assert not changed[: place + 1].any()
    assert changed[place + 1]


def test_a_class_changes_everything() -> None:
    prior = network(1, classes=3)
    codes = torch.zeros(2, 3, 3, 1, dtype=torch.long)
    logits = prior.logits(codes, torch.tensor([0, 2]))
    assert (logits[0] != logits[1]).any(0).all()


def test_a_class_must_be_told() -> None:
    with pytest.raises(AssertionError, match="told which"):
        network(1, classes=3).logits(torch.zeros(1, 2, 2, 1, dtype=torch.long))


def test_it_is_a_prior_whose_likelihoods_are_ones() -> None:
    prior: Prior = network(2).float()
    codes = torch.randint(0, 12, (3, 4, 4, 2))
    logits = prior.logits(codes, None)
    assert logits.shape == (3, 12, 4, 4, 2)
    nll = network(2).float().nll(codes)
    assert torch.allclose(nll, -logits.log_softmax(1).gather(1, codes[:, None])[:, 0])
    assert nll.shape == codes.shape


def test_it_learns_a_rule() -> None:
    """Each cell repeats the cell above it, and its second code the first."""
    torch.manual_seed(0)
    prior = PixelCNN(SMALL, 2)
    optimizer = torch.optim.Adam(prior.parameters(), 1e-2)
    for _ in range(120):
        codes = torch.randint(0, 12, (16, 1, 4, 1)).expand(-1, 4, -1, 2)
        nll = prior.nll(codes)
        optimizer.zero_grad()
        nll.mean().backward()
        optimizer.step()
    nll = nll.detach()
    assert float(nll[:, 1:].mean()) < 0.2
    assert float(nll[:, 0, :, 1].mean()) < 0.2
    assert float(nll[:, 0, :, 0].mean()) > 2
