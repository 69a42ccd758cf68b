"""quantize.py: the vector quantizer against the paper's equations written out, and its guards against collapse."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vqaudio.errors import ConfigError
from vqaudio.models import quantizer as quantize
from vqaudio.models.config import QuantizerConfig
from vqaudio.models.quantizer import ResidualQuantizer, VectorQuantizer
from vqaudio.models.quantizer import quantizer as quantizer_of

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


def test_sums_that_are_left_out_follow_from_the_rest() -> None:
    layer, other = (quantizer().train() for _ in range(2))
    for _ in range(5):
        layer(torch.randn(3, DIM, 40))
    other.load_state_dict({name: value for name, value in layer.state_dict().items() if name != "ema_sum"})
    torch.testing.assert_close(other.ema_sum, layer.ema_sum)
    assert torch.equal(other.codebook, layer.codebook)


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


# --- Several stages ---------------------------------------------------------------------------------------------------


def residual(num_quantizers: int = 4, size: int = 11, **settings: object) -> ResidualQuantizer:
    config = QuantizerConfig(codebook_size=size, code_dim=DIM, num_quantizers=num_quantizers, **settings)  # type: ignore[arg-type]
    layer = quantizer_of(config)
    assert isinstance(layer, ResidualQuantizer)
    return layer


def test_one_stage_is_the_plain_quantizer() -> None:
    assert isinstance(quantizer_of(QuantizerConfig(11, DIM)), VectorQuantizer)


def nearest_in_each_stage(layer: ResidualQuantizer, z: Tensor) -> Tensor:
    """The codes without any search."""
    found = []
    for stage in layer.stages:
        assert isinstance(stage, VectorQuantizer)
        found.append(nearest_by_hand(z, stage.codebook))
        z = z - stage.lookup(found[-1])
    return torch.stack(found, dim=2).flatten(1)


@pytest.mark.parametrize("training", [False, True])
def test_the_stages_add_up(training: bool) -> None:
    layer = residual(ema_decay=1 - 1e-9).train(training)
    if training:
        layer(torch.randn(2, DIM, 7))  # which chooses the codebooks
    z = torch.randn(2, DIM, 7)
    quantized = layer(z)
    assert quantized.codes.shape == (2, 28)
    assert torch.equal(quantized.codes, layer.encode(z))
    parts = [stage.lookup(quantized.codes[:, index::4]) for index, stage in enumerate(layer.stages)]  # type: ignore[operator]
    torch.testing.assert_close(quantized.z_q, torch.stack(parts).sum(0))
    torch.testing.assert_close(layer.lookup(quantized.codes), quantized.z_q)
    torch.testing.assert_close(quantized.loss, 0.25 * (z - quantized.z_q).square().mean())


def test_a_beginning_of_one_is_the_nearest_code_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantize, "BEAM", 1)
    layer, z = residual().eval(), torch.randn(2, DIM, 7)
    assert torch.equal(layer.encode(z), nearest_in_each_stage(layer, z))


def test_the_search_finds_what_trying_all_codes_finds() -> None:
    """With fewer combinations of two stages than are kept, none is better than the one that is found."""
    layer = residual(num_quantizers=2, size=2).eval()
    z = torch.randn(1, DIM, 50)
    tried = torch.cartesian_prod(torch.arange(2), torch.arange(2))
    sums = layer.lookup(tried.flatten()[None])[0].T
    errors = (z[0].T[:, None] - sums).square().sum(2)
    assert torch.equal(layer.encode(z).view(50, 2), tried[errors.argmin(1)])


def test_weight_on_the_rate_makes_codes_cheaper_and_worse() -> None:
    torch.manual_seed(1)
    free, weighed = residual(size=32), residual(size=32, rate_weight=0.5)
    for layer in free.stages:
        assert isinstance(layer, VectorQuantizer)
        layer.ema_count.copy_(torch.arange(1.0, 33) ** 2)
    weighed.load_state_dict(free.state_dict())
    z = torch.randn(2, DIM, 400)

    def cost(layer: ResidualQuantizer) -> tuple[float, float]:
        codes = layer.eval().encode(z)
        share = torch.arange(1.0, 33) ** 2 / (torch.arange(1.0, 33) ** 2).sum()
        return -share.log2()[codes].mean().item(), (z - layer.lookup(codes)).square().mean().item()

    (bits, error), (fewer_bits, larger_error) = cost(free), cost(weighed)
    assert fewer_bits < bits - 0.3
    assert larger_error > error


@pytest.mark.parametrize(
    "settings", [{"num_quantizers": 1, "rate_weight": 1.0}, {"num_quantizers": 2, "rate_weight": -1.0}]
)
def test_a_rate_weight_needs_stages(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="rate_weight"):
        QuantizerConfig(**settings)


def test_the_search_leaves_less_than_the_nearest_codes_do() -> None:
    layer = residual().eval()
    z = torch.randn(2, DIM, 300)
    greedy, found = (layer.lookup(codes) for codes in (nearest_in_each_stage(layer, z), layer.encode(z)))
    assert (z - found).square().mean() < 0.97 * (z - greedy).square().mean()
    assert layer.encode(z[:, :, :0]).shape == (2, 0)


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_stages_learn(update: str) -> None:
    layer = residual(num_quantizers=2, size=32, update=update).train()
    optimizer = torch.optim.Adam([*layer.parameters(), torch.nn.Parameter(torch.zeros(1))], 0.05)
    z = torch.randn(4, DIM, 64)
    first = None
    for _ in range(60):
        quantized = layer(z.requires_grad_())
        error = (z - layer.lookup(quantized.codes)).square().mean().item()
        first = error if first is None else first
        optimizer.zero_grad()
        quantized.loss.backward()
        optimizer.step()
    assert first is not None
    assert error < 0.8 * first
    (gradient,) = torch.autograd.grad(layer(z).z_q.sum(), z)
    assert torch.equal(gradient, torch.ones_like(z))


def test_codebooks_learn_without_the_weight_of_bits() -> None:
    """A codebook whose rare codes are dear from the first would starve."""
    free, weighed = residual(size=32), residual(size=32, rate_weight=0.5)
    z = torch.randn(2, DIM, 200)
    for stage in free.stages:
        assert isinstance(stage, VectorQuantizer)
        stage.ema_count.copy_(torch.arange(1.0, 33) ** 2)
    weighed.load_state_dict(free.state_dict())
    assert torch.equal(weighed.train().encode(z), free.train().encode(z))
    assert not torch.equal(weighed.eval().encode(z), free.eval().encode(z))
