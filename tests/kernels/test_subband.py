"""The sub-band kernels compute what the reference computes, and the reference computes what the network does."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from vqaudio.codecs.sampler import Conditioner
from vqaudio.codecs.subband_sampler import PulseInputs, SubbandSampler, export
from vqaudio.kernels import subband, subband_batched, subband_reference
from vqaudio.kernels.int16_weights import BOUND
from vqaudio.kernels.long_term_predictor import LONGEST_LAG, SHORTEST_LAG, lagged_bands
from vqaudio.kernels.pulses import Pulses
from vqaudio.kernels.subband_reference import MixtureRule, Numbers
from vqaudio.kernels.wavenet_reference import Weights
from vqaudio.models.subband_wavenet import SubbandWaveNet, SubbandWaveNetConfig

HOP = 4
CONFIGS = {
    "small": SubbandWaveNetConfig(
        residual=16, skip=24, hidden=20, dilations=(1, 2, 4, 8, 1, 2), features=6, hop_length=HOP, pulse_hidden=8
    ),
    "odd sizes": SubbandWaveNetConfig(
        components=3, residual=5, skip=3, hidden=7, dilations=(3, 1, 5), features=2, hop_length=HOP, pulses_ahead=0
    ),
    "one Gaussian": SubbandWaveNetConfig(
        components=1, residual=8, skip=8, hidden=8, dilations=(1, 2), features=3, hop_length=HOP, pulses_behind=0
    ),
}


def one(weights: Weights, rule: MixtureRule) -> subband.Kernel:
    return subband.Kernel(subband.prepared(weights), rule)


KERNELS = [subband_reference.Kernel, one]


@pytest.fixture(params=CONFIGS)
def network(request: pytest.FixtureRequest) -> SubbandWaveNet:
    torch.manual_seed(7)
    network = SubbandWaveNet(CONFIGS[request.param]).eval()
    with torch.no_grad():  # weights large enough for saturated gates and lively mixtures
        for parameter in network.parameters():
            parameter.mul_(2.0)
    return network


class Given:
    """Inputs of a network for ``frames`` frames, as the network takes them and as the kernels do."""

    def __init__(self, network: SubbandWaveNet, frames: int, seed: int = 0) -> None:
        rng, steps = np.random.default_rng(seed), frames * HOP
        self.features = rng.standard_normal((frames, network.config.features)).astype(np.float32)
        self.pulses = rng.standard_normal((steps, 4)).astype(np.float32)
        self.bands = rng.standard_normal((steps, 4)).astype(np.float32)
        self.numbers = Numbers(rng.random((steps, 4)), rng.standard_normal((steps, 4)))
        self.lags = np.where(rng.random(steps) < 0.7, rng.uniform(SHORTEST_LAG, LONGEST_LAG, steps), 0)
        self.spread = rng.uniform(0.2, 1, (frames, 4))
        hears = PulseInputs(network)
        self.conditions = Conditioner(network)(self.features)
        self.inputs = hears(np.pad(self.pulses, ((hears.behind, hears.ahead), (0, 0))))


def rule_of(network: SubbandWaveNet) -> MixtureRule:
    return MixtureRule(network.config.components, network.config.scale_floor)


def teacher_forced(network: SubbandWaveNet, given: Given, bands: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        past = network.shift(torch.tensor(bands)[None])
        lagged = torch.tensor(lagged_bands(bands, given.lags))[None]
        return network(past, lagged, torch.tensor(given.pulses)[None], torch.tensor(given.features.T)[None])[0].numpy()


def scale_of(outputs: np.ndarray) -> float:
    return float(outputs.max() - outputs.min())


@pytest.mark.parametrize("kernel", KERNELS)
def test_outputs_equal_the_teacher_forced_forward(network: SubbandWaveNet, kernel: Callable) -> None:
    given = Given(network, 40)
    expected = teacher_forced(network, given, given.bands)
    outputs = kernel(export(network), rule_of(network)).forced_logits(
        given.conditions, HOP, given.inputs, given.lags, given.bands
    )
    bound = 1e-4 if kernel is subband_reference.Kernel else BOUND * scale_of(expected)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=bound)


@pytest.mark.parametrize("streams", [1, 3, 17])
def test_streams_side_by_side_equal_the_teacher_forced_forward(network: SubbandWaveNet, streams: int) -> None:
    given = [Given(network, 6, seed) for seed in range(streams)]
    kernel = subband_batched.Kernel(subband_batched.prepared(export(network)), rule_of(network), streams)
    arrays = (
        np.stack([getattr(own, name) for own in given], axis=-1) for name in ("conditions", "inputs", "lags", "bands")
    )
    conditions, *told = arrays
    outputs = kernel.forced_logits(conditions, HOP, *told)
    for stream, own in enumerate(given):
        expected = teacher_forced(network, own, own.bands)
        np.testing.assert_allclose(outputs[..., stream], expected, rtol=0, atol=BOUND * scale_of(expected))


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_stream_may_be_cut_anywhere(network: SubbandWaveNet, kernel: Callable) -> None:
    given = Given(network, 9)
    whole = kernel(export(network), rule_of(network))
    expected = whole.generate(given.conditions, HOP, given.inputs, given.lags, given.numbers, given.spread)
    parted, parts = kernel(export(network), rule_of(network)), []
    for first, last in ((0, 2), (2, 2), (2, 9)):
        steps = slice(first * HOP, last * HOP)
        numbers = Numbers(*(kind[steps] for kind in given.numbers))
        part = (given.conditions[first:last], HOP, given.inputs[steps], given.lags[steps], numbers)
        parts.append(parted.generate(*part, given.spread[first:last]))
    np.testing.assert_array_equal(np.concatenate(parts), expected)


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_is_drawn_follows_from_the_outputs_along_it(network: SubbandWaveNet, kernel: Callable) -> None:
    """The bands that a kernel draws are those that the reference's rule draws from the outputs along these bands."""
    given, rule = Given(network, 10), rule_of(network)
    drawn = kernel(export(network), rule).generate(
        given.conditions, HOP, given.inputs, given.lags, given.numbers, given.spread
    )
    outputs = kernel(export(network), rule).forced_logits(given.conditions, HOP, given.inputs, given.lags, drawn)
    for t, row in enumerate(outputs):
        numbers = (given.numbers.uniforms[t], given.numbers.normals[t])
        expected = subband_reference.draw(row, rule, given.spread[t // HOP], *numbers)
        np.testing.assert_allclose(drawn[t], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("streams", [2, 17])
def test_streams_side_by_side_draw_by_the_rule(network: SubbandWaveNet, streams: int) -> None:
    given, rule = [Given(network, 5, seed) for seed in range(streams)], rule_of(network)
    net = subband_batched.prepared(export(network))
    stacked = {
        name: np.stack([getattr(own, name) for own in given], axis=-1)
        for name in ("conditions", "inputs", "lags", "spread")
    }
    numbers = Numbers(*(np.stack(kind, axis=-1) for kind in zip(*(own.numbers for own in given), strict=True)))
    start = (stacked["conditions"], HOP, stacked["inputs"], stacked["lags"])
    drawn = subband_batched.Kernel(net, rule, streams).generate(*start, numbers, stacked["spread"])
    outputs = subband_batched.Kernel(net, rule, streams).forced_logits(*start, drawn)
    for stream, own in enumerate(given):
        for t in range(len(drawn)):
            uniforms, normals = own.numbers.uniforms[t], own.numbers.normals[t]
            spread = own.spread[t // HOP]
            expected = subband_reference.draw(outputs[t, :, stream], rule, spread, uniforms, normals)
            np.testing.assert_allclose(drawn[t, :, stream], expected, rtol=1e-4, atol=1e-4)


def test_draws_have_the_mixture_s_distribution() -> None:
    """Two Gaussians far apart: shares, means and deviations of many draws, and the coupling of the second band."""
    rule, rng = MixtureRule(2, 0.02), np.random.default_rng(1)
    outputs = np.zeros(3 * 8 + 6, np.float32)
    outputs[0:2] = np.log([0.25, 0.75])
    outputs[8:10] = [-5, 5]
    outputs[16:24] = np.log(0.5)
    outputs[24] = 2.0  # band 1 moves by twice band 0
    spread = np.array([1.0, 0.1, 1.0, 0.0])
    drawn = np.array(
        [subband_reference.draw(outputs, rule, spread, rng.random(4), rng.standard_normal(4)) for _ in range(4000)]
    )
    low = drawn[:, 0] < 0
    assert abs(low.mean() - 0.25) < 0.03
    assert abs(drawn[low, 0].mean() + 5) < 0.1
    assert abs(drawn[~low, 0].std() - 0.5) < 0.05
    assert abs((drawn[:, 1] - 2 * drawn[:, 0]).std() - 0.05) < 0.01
    assert (drawn[:, 3] == 0).all()


def test_scales_have_a_floor_and_samples_a_limit() -> None:
    rule, normals = MixtureRule(1, 0.5), np.ones(4)
    outputs = np.zeros(3 * 4 + 6, np.float32)
    outputs[8:12] = [-30, 30, 30, 0]
    drawn = subband_reference.draw(outputs, rule, np.ones(4), np.zeros(4), normals)
    np.testing.assert_allclose(drawn, [0.5, 32, 32, 1])


def test_a_sampler_s_stream_equals_the_streams_drawn_at_once(network: SubbandWaveNet) -> None:
    given = Given(network, 8)
    sampler = SubbandSampler(network)
    ahead = sampler.pulse_inputs.ahead
    pulses = np.pad(given.pulses, ((0, ahead), (0, 0)))
    stream, parts = sampler.stream(), []
    for first, last in ((0, 3), (3, 8)):
        numbers = Numbers(*(kind[first * HOP : last * HOP] for kind in given.numbers))
        own_pulses = Pulses(pulses[first * HOP : last * HOP + ahead], given.lags[first * HOP : last * HOP])
        parts.append(stream.push(given.features[first:last], own_pulses, numbers, given.spread[first:last]))
    numbers = Numbers(*(kind[..., None] for kind in given.numbers))
    whole = sampler.generate(given.features[None], [Pulses(pulses, given.lags)], numbers, given.spread[None])[0]
    scale = np.abs(whole).max()
    np.testing.assert_allclose(np.concatenate(parts)[:HOP], whole[:HOP], rtol=0, atol=0.02 * scale)
    assert np.concatenate(parts).shape == whole.shape
