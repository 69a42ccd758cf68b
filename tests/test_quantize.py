"""quantize.py: the vector quantizer against the paper's equations written out, and its guards against collapse."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from vqaudio.config import QuantizerConfig
from vqaudio.quantize import VectorQuantizer

GRIDS = [(7,), (3, 4), (2, 3, 2)]
DIM = 5


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def quantizer(size: int = 11, dim: int = DIM, **settings: object) -> VectorQuantizer:
    return VectorQuantizer(QuantizerConfig(codebook_size=size, code_dim=dim, **settings))  # type: ignore[arg-type]


def started(layer: VectorQuantizer) -> VectorQuantizer:
    """As after a first step, so that the next one does not choose the codebook."""
    layer.steps.fill_(1)
    return layer


def nearest_by_hand(z: Tensor, codebook: Tensor) -> Tensor:
    """Equation 1, one vector after another."""
    vectors = z.movedim(1, -1)
    codes = torch.empty(vectors.shape[:-1], dtype=torch.int64)
    for index in np.ndindex(*codes.shape):
        codes[index] = (vectors[index] - codebook).norm(dim=1).argmin()
    return codes


# --- The look-up ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("update", ["ema", "gradient"])
@pytest.mark.parametrize("grid", GRIDS)
def test_the_nearest_code_is_chosen(grid: tuple[int, ...], update: str) -> None:
    layer = quantizer(update=update).eval()
    z = torch.randn(2, DIM, *grid)
    quantized = layer(z)
    codes = nearest_by_hand(z, layer.codebook)
    assert torch.equal(quantized.codes, codes)
    assert torch.equal(layer.encode(z), codes)
    torch.testing.assert_close(quantized.z_q, layer.lookup(codes))
    assert quantized.z_q.shape == z.shape
    for index in np.ndindex(*grid):
        assert torch.equal(layer.lookup(codes)[(0, slice(None), *index)], layer.codebook[codes[(0, *index)]])


def test_perplexity_counts_codes() -> None:
    layer = quantizer(size=4, dim=2).eval()
    codes = torch.tensor([[0, 0, 1, 1, 2, 2, 3, 3]])
    assert layer(layer.lookup(codes)).perplexity == pytest.approx(4)
    assert layer(layer.lookup(codes * 0)).perplexity == pytest.approx(1)


def test_lookup_is_in_float32_under_autocast() -> None:
    layer = quantizer(size=64)
    z = torch.randn(2, DIM, 50)
    codes = layer.eval()(z).codes
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(z).codes, codes)
        assert torch.equal(layer.encode(z), codes)
        quantized = started(layer.train())(z)
    assert torch.equal(quantized.codes, codes)
    assert quantized.z_q.dtype == quantized.loss.dtype == torch.float32
    assert layer(z.bfloat16()).z_q.dtype == torch.float32


# --- Gradients and losses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", GRIDS)
def test_the_gradient_passes_straight_through(grid: tuple[int, ...]) -> None:
    layer = started(quantizer())
    z = torch.randn(2, DIM, *grid, requires_grad=True)
    weights = torch.randn(2, DIM, *grid)
    (gradient,) = torch.autograd.grad((layer(z).z_q * weights).sum(), z)
    torch.testing.assert_close(gradient, weights)


def test_ema_loss_is_the_commitment() -> None:
    layer = started(quantizer(commitment=0.4))
    z = torch.randn(2, DIM, 7, requires_grad=True)
    chosen = layer.lookup(nearest_by_hand(z.detach(), layer.codebook)).clone()
    loss = layer(z).loss
    torch.testing.assert_close(loss, 0.4 * (z - chosen).square().mean())
    (gradient,) = torch.autograd.grad(loss, z)
    torch.testing.assert_close(gradient, 0.4 * 2 * (z - chosen) / z.numel())
    assert not list(layer.parameters())


def test_gradient_loss_is_equation_3() -> None:
    layer = started(quantizer(commitment=0.4, update="gradient"))
    z = torch.randn(2, DIM, 7, requires_grad=True)
    codes = nearest_by_hand(z.detach(), layer.codebook.detach())
    chosen = layer.lookup(codes).detach()
    loss = layer(z).loss
    torch.testing.assert_close(loss, 1.4 * (z - chosen).square().mean())
    of_z, of_codebook = torch.autograd.grad(loss, [z, layer.codebook])
    torch.testing.assert_close(of_z, 0.4 * 2 * (z - chosen) / z.numel())  # beta: the encoder's share
    expected = torch.zeros_like(layer.codebook)  # 1: the codebook's share
    expected.index_add_(0, codes.flatten(), (2 * (chosen - z.detach()) / z.numel()).movedim(1, -1).flatten(0, 1))
    torch.testing.assert_close(of_codebook, expected)


# --- The codebook's state ---------------------------------------------------------------------------------------------


def test_ema_is_appendix_a1() -> None:
    decay = 0.9
    layer = started(quantizer(ema_decay=decay, restart_share=0.0))
    count, total = layer.ema_count.clone(), layer.ema_sum.clone()
    for _ in range(4):
        z = torch.randn(2, DIM, 9)
        codes = nearest_by_hand(z, layer.codebook)
        for k in range(11):
            members = z.movedim(1, -1)[codes == k]
            count[k] = decay * count[k] + (1 - decay) * len(members)
            total[k] = decay * total[k] + (1 - decay) * members.sum(0)
        layer(z)
        torch.testing.assert_close(layer.ema_count, count)
        torch.testing.assert_close(layer.codebook, total / count[:, None])


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_evaluation_is_pure(update: str) -> None:
    layer = quantizer(update=update, restart_every=1).eval()
    before, state = copy.deepcopy(layer.state_dict()), torch.get_rng_state()
    for _ in range(3):
        layer(torch.randn(2, DIM, 9, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in layer.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_the_codebook_starts_from_encoder_outputs(update: str) -> None:
    layer = quantizer(update=update)
    z = 100 + torch.randn(2, DIM, 30)
    layer(z)
    vectors = z.movedim(1, -1).flatten(0, 1)
    assert torch.cdist(layer.codebook.detach(), vectors).min(1).values.max() < 3  # at first they were 200 away


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_dead_codes_are_restarted_and_live_ones_left(update: str) -> None:
    layer = started(quantizer(size=8, update=update, restart_share=0.5, restart_every=1))
    with torch.no_grad():
        layer.codebook[:4] = torch.eye(4, DIM)
        layer.codebook[4:] = 1000.0
    layer.ema_count[:] = torch.tensor([2.0] * 4 + [1e-4] * 4)
    if update == "ema":
        layer.ema_sum[:] = layer.codebook * layer.ema_count[:, None]
    z = torch.eye(4, DIM).repeat(5, 1).T[None].clone()
    layer(z)
    book = layer.codebook.detach()
    torch.testing.assert_close(book[:4], torch.eye(4, DIM))
    assert torch.cdist(book[4:], torch.eye(4, DIM)).min(1).values.max() < 0.05
    assert len(torch.unique(book, dim=0)) == 8, "newcomers must differ, or they could never part"
    layer(z)
    assert (layer.ema_count > 0).all()


def clusters(count: int, per_cluster: int = 4) -> Tensor:
    """``[1, 8, count * per_cluster]``: well separated clusters."""
    centres = 10 * torch.randn(count, 8, generator=torch.Generator().manual_seed(3))
    return (centres.repeat(per_cluster, 1) + 0.1 * torch.randn(count * per_cluster, 8)).T[None]


@pytest.mark.parametrize(("share", "least", "most"), [(0.1, 50, 64), (0.0, 1, 3)])
def test_restarts_mend_a_collapsed_codebook(share: float, least: int, most: int) -> None:
    layer = started(quantizer(64, 8, ema_decay=0.9, restart_share=share, restart_every=5))
    far = torch.full((64, 8), 1000.0) + torch.randn(64, 8)
    far[0] = 0.0  # all vectors fall to this one
    layer.codebook.copy_(far)
    layer.ema_sum.copy_(far)
    for _ in range(150):
        layer(clusters(64))
    used = len(layer.eval()(clusters(64)).codes.unique())
    assert least <= used <= most


def test_gradient_mode_learns() -> None:
    layer = quantizer(8, 8, update="gradient", restart_every=5)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.3)
    for _ in range(80):
        loss = layer(clusters(8)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    layer.eval()
    z = clusters(8)
    assert len(layer(z).codes.unique()) >= 6
    assert (layer(z).z_q - z).square().mean() < 0.3 * z.var()
