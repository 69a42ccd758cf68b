"""The excitation that a sub-band WaveNet draws in a stream: the same however it is cut."""

import numpy as np
import pytest
import torch

from vqaudio.codecs.subband_sampler import DrawnExcitation, Spread, SubbandSampler, draw_excitations
from vqaudio.models.subband_wavenet import SubbandWaveNet, SubbandWaveNetConfig

RATE_HZ, HOP = 16000, 68
CONFIG = SubbandWaveNetConfig(residual=8, skip=8, hidden=8, dilations=(1, 2), features=3, pulse_hidden=8)


@pytest.fixture(scope="module")
def sampler() -> SubbandSampler:
    torch.manual_seed(2)
    return SubbandSampler(SubbandWaveNet(CONFIG))


def parameters(frames: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    f0_hz = np.where(np.arange(frames) % 20 < 12, rng.uniform(80, 200, frames), 0)
    return rng.standard_normal((frames, CONFIG.features)).astype(np.float32), f0_hz.astype(np.float32)


def test_a_stream_cut_anywhere_draws_the_same_samples(sampler: SubbandSampler) -> None:
    frames, spread = 40, Spread(voiced=(0.5, 0.6, 0.7, 0.8))
    whole = DrawnExcitation(sampler, RATE_HZ, spread, np.random.default_rng(1))
    features, f0_hz = parameters(frames)
    f0_hz = np.pad(f0_hz, (0, whole.frames_ahead))
    expected = whole.push(features, f0_hz)
    assert expected.shape == (frames * HOP,)
    parted, parts = DrawnExcitation(sampler, RATE_HZ, spread, np.random.default_rng(1)), []
    for first, last in ((0, 1), (1, 1), (1, 17), (17, 40)):
        parts.append(parted.push(features[first:last], f0_hz[first : last + parted.frames_ahead]))
    np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_a_seed_fixes_what_is_drawn(sampler: SubbandSampler) -> None:
    features, f0_hz = parameters(12)
    drawn = []
    for seed in (1, 1, 2):
        stream = DrawnExcitation(sampler, RATE_HZ, Spread(), np.random.default_rng(seed))
        drawn.append(stream.push(features[: 12 - stream.frames_ahead], f0_hz))
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()


def test_the_spread_acts_in_the_frames_that_it_is_meant_for(sampler: SubbandSampler) -> None:
    """A voice without spread follows from the features; what comes before it may not differ."""
    frames, spread = 12, Spread(voiced=(0.0, 0.0, 0.0, 0.0))
    features, f0_hz = parameters(frames)[0], np.zeros(frames + 4, np.float32)
    f0_hz[6:] = 120
    drawn = []
    for own in (Spread(), spread):
        stream = DrawnExcitation(sampler, RATE_HZ, own, np.random.default_rng(3))
        drawn.append(stream.push(features, f0_hz[: frames + stream.frames_ahead]))
    same = (drawn[0] == drawn[1])[: (frames - 1) * HOP]
    assert same[: 6 * HOP].all()
    assert not same[6 * HOP + 68 :].any()


def test_many_streams_draw_what_each_draws_alone(sampler: SubbandSampler) -> None:
    """By the same numbers; the kernels round differently, and each step repeats the last one's error: at the start."""
    frames, streams, spread = 6, 3, Spread(unvoiced=(0.5, 0.5, 0.5, 0.5))
    alone = [DrawnExcitation(sampler, RATE_HZ, spread, np.random.default_rng(seed)) for seed in range(streams)]
    features = np.random.default_rng(5).standard_normal((streams, frames, CONFIG.features)).astype(np.float32)
    f0_hz = np.stack([parameters(frames + alone[0].frames_ahead)[1]] * streams)
    f0_hz[1] = 0
    generators = [np.random.default_rng(seed) for seed in range(streams)]
    together = draw_excitations(sampler, features, f0_hz, RATE_HZ, spread, generators)
    for own, stream, pushed, pitch in zip(together, alone, features, f0_hz, strict=True):
        expected = stream.push(pushed, pitch)
        assert own.shape == expected.shape
        np.testing.assert_allclose(own[:100], expected[:100], atol=0.05 * expected.std())
