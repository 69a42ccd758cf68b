"""Every kernel computes what the reference computes, and the reference computes what the network does."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqaudio.codecs import sampler as sample
from vqaudio.kernels import elementwise as elementary
from vqaudio.kernels import int16_weights as narrow
from vqaudio.kernels import wavenet as cpu
from vqaudio.kernels import wavenet_batched as cpu_many
from vqaudio.kernels import wavenet_reference as reference
from vqaudio.kernels.wavenet_reference import Draw
from vqaudio.models.config import WaveNetConfig
from vqaudio.models.wavenet import WaveNet


def one(weights: reference.Weights, first_symbol: int) -> cpu.Kernel:
    return cpu.Kernel(cpu.prepared(weights), first_symbol)


def many(weights: reference.Weights, first_symbol: int, streams: int) -> cpu_many.Kernel:
    return cpu_many.Kernel(cpu_many.prepared(weights), first_symbol, streams)


KERNELS = [reference.Kernel, one]
HOP, PHASES = 4, 5
CONFIGS = {
    "small": WaveNetConfig(
        levels=32, residual=16, skip=24, hidden=20, dilations=(1, 2, 4, 8, 1, 2), features=6, hop_length=HOP
    ),
    "odd sizes": WaveNetConfig(
        levels=11, residual=5, skip=3, hidden=7, dilations=(3, 1, 5), features=2, hop_length=HOP
    ),
    "phases": WaveNetConfig(
        levels=13, residual=8, skip=8, hidden=8, dilations=(1, 2, 4), features=3, hop_length=HOP, phases=PHASES
    ),
    "prior, no features": WaveNetConfig(
        levels=17, residual=8, skip=8, hidden=8, dilations=(1, 2, 4), features=0, hop_length=HOP
    ),
}


@pytest.fixture(params=CONFIGS)
def network(request: pytest.FixtureRequest) -> WaveNet:
    torch.manual_seed(7)
    network = WaveNet(CONFIGS[request.param]).eval()
    with torch.no_grad():  # weights large enough for saturated gates and peaked distributions
        for parameter in network.parameters():
            parameter.mul_(2.5)
    return network


def inputs(network: WaveNet, frames: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((frames, network.config.features)).astype(np.float32)
    symbols = rng.integers(0, network.config.levels, frames * HOP)
    return features, symbols, rng.random(frames * HOP)


def phases_of(network: WaveNet, shape: tuple[int, ...]) -> np.ndarray | None:
    return np.random.default_rng(9).integers(0, PHASES, shape) if network.config.phases else None


def teacher_forced(network: WaveNet, features: np.ndarray, symbols: np.ndarray, first: int) -> np.ndarray:
    past = torch.tensor(np.concatenate([[first], symbols[:-1]]))[None]
    with torch.no_grad():
        conditioning = torch.tensor(features.T)[None] if network.config.features else None
        phases = phases_of(network, symbols.shape)
        return network(past, conditioning, None if phases is None else torch.tensor(phases)[None])[0].T.numpy()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("first", [0, "start"])
def test_logits_equal_the_teacher_forced_forward(network: WaveNet, kernel: Callable, first: int | str) -> None:
    first = network.config.levels if first == "start" else first
    features, symbols, _ = inputs(network, frames=12)
    conditions, phases = sample.Conditioner(network)(features), phases_of(network, symbols.shape)
    logits = kernel(sample.export(network), first).forced_logits(conditions, HOP, symbols, phases)
    expected = teacher_forced(network, features, symbols, first)
    bound = 1e-4 if kernel is reference.Kernel else narrow.BOUND * np.ptp(expected)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=bound)


@pytest.mark.parametrize("rule", [Draw(0.3), Draw(1.0), Draw(3.0), Draw(1.0, top_p=0.6), Draw(2.0, top_p=0.95)])
def test_the_kernel_picks_the_symbols_of_the_reference(network: WaveNet, rule: Draw) -> None:
    features, _, uniforms = inputs(network, frames=25)
    conditions, weights = sample.Conditioner(network)(features), sample.export(network)
    phases = phases_of(network, uniforms.shape)
    drawn = one(weights, 0).generate(conditions, HOP, uniforms, rule, phases)
    logits = reference.Kernel(weights, 0).forced_logits(conditions, HOP, drawn, phases)
    steps = zip(logits, uniforms, drawn, strict=True)
    # narrow logits move the edges between symbols a little, so that a number close to one may fall beyond it
    assert sum(reference.draw(own, rule, uniform) != symbol for own, uniform, symbol in steps) <= 1


@pytest.mark.parametrize("kernel", KERNELS)
def test_blocks_do_not_matter(network: WaveNet, kernel: Callable) -> None:
    features, _, uniforms = inputs(network, frames=14)
    conditions = sample.Conditioner(network)(features)
    whole = kernel(sample.export(network), 0).generate(conditions, HOP, uniforms, Draw())
    stream, cuts = kernel(sample.export(network), 0), [0, 1, 1, 6, 14]
    parts = [
        stream.generate(conditions[a:b], HOP, uniforms[a * HOP : b * HOP], Draw()) for a, b in itertools.pairwise(cuts)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_streams_share_no_state(network: WaveNet) -> None:
    features, _, uniforms = inputs(network, frames=6)
    conditions, weights = sample.Conditioner(network)(features), sample.export(network)
    mine, other = one(weights, 0), one(weights, 0)
    first = mine.generate(conditions, HOP, uniforms, Draw())
    np.testing.assert_array_equal(other.generate(conditions, HOP, uniforms, Draw()), first)


@given(
    st.lists(st.floats(-80, 80, width=32), min_size=2, max_size=40),
    st.floats(0.05, 5),
    st.floats(0, 1, exclude_max=True),
)
@settings(max_examples=200, deadline=None)
def test_draw_follows_the_definition(logits: list[float], temperature: float, uniform: float) -> None:
    values = np.array(logits, np.float32)
    drawn = elementary.draw(values.copy(), np.float32(1 / temperature), 1.0, uniform, np.empty(len(values), np.int32))
    scaled = (values.astype(np.float64) - values.max()) / temperature
    cumulative = np.cumsum(np.exp(scaled)) / np.exp(scaled).sum()
    edge = np.abs(cumulative - uniform).min() < 1e-5  # there, rounding may choose the neighbour
    assert edge or drawn == reference.draw(values, Draw(temperature), uniform)
    assert edge or drawn == np.searchsorted(cumulative, uniform, side="right")


def test_draws_follow_the_distribution() -> None:
    logits = np.log(np.array([0.5, 0.25, 0.125, 0.125], np.float32))
    uniforms = (np.arange(8000) + 0.5) / 8000
    bits = np.empty(4, np.int32)
    counts = np.bincount([elementary.draw(logits.copy(), np.float32(1), 1.0, u, bits) for u in uniforms], minlength=4)
    np.testing.assert_allclose(counts / 8000, [0.5, 0.25, 0.125, 0.125], atol=1e-3)


@pytest.mark.parametrize(
    ("top_p", "kept"), [(1e-9, {1}), (0.5, {1}), (0.51, {1, 0}), (0.76, {0, 1, 2, 3}), (1.0, {0, 1, 2, 3})]
)
def test_top_p_keeps_the_likeliest(top_p: float, kept: set[int]) -> None:
    logits = np.log(np.array([0.25, 0.5, 0.125, 0.125], np.float32))  # the last two tie: both or none
    bits = np.empty(4, np.int32)
    uniforms = np.linspace(0, 0.999, 200)
    assert {reference.draw(logits, Draw(1.0, top_p), u) for u in uniforms} == kept
    assert {elementary.draw(logits.copy(), np.float32(1), top_p, u, bits) for u in uniforms} == kept


def test_tanh_and_exp_are_as_exact_as_stated() -> None:
    x = np.linspace(-12, 12, 20001).astype(np.float32)
    open_gate, one = np.float32(60), np.float32(60)  # whose sigmoid, and tanh, are 1
    tanh = [elementary.gated(value, open_gate) for value in x]
    np.testing.assert_allclose(tanh, np.tanh(x.astype(np.float64)), atol=5e-7)
    sigmoid = [elementary.gated(one, value) for value in x]
    np.testing.assert_allclose(sigmoid, 1 / (1 + np.exp(-x.astype(np.float64))), atol=5e-7)
    x = np.linspace(-80, 0, 20001).astype(np.float32)
    powers = x.copy()
    elementary.exp(powers, np.empty(len(x), np.int32))
    # the argument's own rounding, x log2(e) in float32, is most of this
    np.testing.assert_allclose(powers, np.exp(x.astype(np.float64)), rtol=1e-5)


def side_by_side(network: WaveNet, frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Conditions ``[frames, L, 2R, streams]``, symbols and uniforms ``[T, streams]`` of five different streams."""
    conditioner = sample.Conditioner(network)
    drawn = [inputs(network, frames, seed) for seed in range(5)]
    conditions, symbols, uniforms = zip(*((conditioner(f), s, u) for f, s, u in drawn), strict=True)
    return np.stack(conditions, -1), np.stack(symbols, -1), np.stack(uniforms, -1)


def five(network: WaveNet, symbols: np.ndarray) -> np.ndarray | None:
    """The same phases for all five streams."""
    phases = phases_of(network, symbols.shape[:1])
    return None if phases is None else np.repeat(phases[:, None], 5, axis=1)


def test_many_streams_have_the_logits_of_the_teacher_forced_forward(network: WaveNet) -> None:
    conditions, symbols, _ = side_by_side(network, frames=9)
    logits = many(sample.export(network), 3, streams=5).forced_logits(conditions, HOP, symbols, five(network, symbols))
    for stream in range(5):
        features, own, _ = inputs(network, frames=9, seed=stream)
        expected = teacher_forced(network, features, own, 3)
        np.testing.assert_allclose(logits[..., stream], expected, rtol=0, atol=narrow.BOUND * np.ptp(expected))


@pytest.mark.parametrize("rule", [Draw(), Draw(0.5), Draw(1.5, top_p=0.7)])
def test_many_streams_draw_what_each_draws_alone(network: WaveNet, rule: Draw) -> None:
    conditions, _, uniforms = side_by_side(network, frames=12)
    weights = sample.export(network)
    together = many(weights, 0, streams=5)
    signs = five(network, uniforms)
    early, late = (None, None) if signs is None else (signs[: 5 * HOP], signs[5 * HOP :])
    first = together.generate(conditions[:5], HOP, uniforms[: 5 * HOP], rule, early)
    drawn = np.concatenate([first, together.generate(conditions[5:], HOP, uniforms[5 * HOP :], rule, late)])
    for stream in range(5):
        own, numbers = (np.ascontiguousarray(of[..., stream]) for of in (conditions, uniforms))
        alone = one(weights, 0).generate(own, HOP, numbers, rule, phases_of(network, numbers.shape))
        np.testing.assert_array_equal(drawn[:, stream], alone)
