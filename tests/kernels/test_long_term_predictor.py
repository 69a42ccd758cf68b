"""Lags are whole periods, and what lies a lag back is analysed between samples."""

import numpy as np
import pytest
import torch

from vqaudio.dsp.filterbank import analyse
from vqaudio.kernels.long_term_predictor import LONGEST_LAG, SHORTEST_LAG, lagged_bands, period_lags
from vqaudio.kernels.pulses import pitch_phase

RATE_HZ, HOP_LENGTH = 16000, 68


def tones(times: np.ndarray) -> np.ndarray:
    """A sum of tones in all bands at ``times`` in samples."""
    return sum(np.sin(2 * np.pi * hz / RATE_HZ * times + hz) for hz in (130, 1300, 2900, 5100, 6700))


@pytest.mark.parametrize("lag", [63.0, 100.0, 101.37, 299.5])
def test_lagged_bands_are_those_of_the_sound_moved_by_the_lag(lag: float) -> None:
    times = np.arange(4000)
    bands = analyse(torch.from_numpy(tones(times))[None])[0].numpy()
    expected = analyse(torch.from_numpy(tones(times - lag))[None])[0].numpy()
    lagged = lagged_bands(bands.astype(np.float32), np.full(1000, lag))
    inner = slice(100, -20)
    assert np.abs(lagged[inner] - expected[inner]).max() < 0.03


def test_without_a_lag_nothing_is_heard_and_before_the_first_step_all_was_silent() -> None:
    bands = np.ones((200, 4), np.float32)
    assert not lagged_bands(bands, np.zeros(200)).any()
    lagged = lagged_bands(bands, np.full(200, 200.0))
    assert not lagged[:34].any()
    assert lagged[80:].all()
    assert lagged_bands(bands[:0], np.zeros(0)).shape == (0, 4)


def test_a_step_does_not_hear_itself_or_what_comes_after_it() -> None:
    rng = np.random.default_rng(1)
    bands, lags = rng.standard_normal((200, 4)).astype(np.float32), np.full(200, float(SHORTEST_LAG))
    before = lagged_bands(bands, lags)
    bands[100] += 5
    changed = (lagged_bands(bands, lags) != before).any(1).nonzero()[0]
    assert changed.min() > 100


@pytest.mark.parametrize(("hz", "periods"), [(60, 1), (100, 1), (250, 1), (260, 2), (400, 2)])
def test_lags_are_the_fewest_periods_that_are_long_enough(hz: float, periods: int) -> None:
    phase, voiced = pitch_phase(np.full(40, hz, np.float32), HOP_LENGTH, RATE_HZ)
    lags = period_lags(phase, voiced)
    np.testing.assert_allclose(lags[200:], periods * RATE_HZ / hz, rtol=1e-9)


def test_lags_are_within_their_bounds_or_none() -> None:
    rng = np.random.default_rng(3)
    f0 = np.where(rng.random(400) < 0.8, rng.uniform(40, 500, 400), 0).astype(np.float32)
    phase, voiced = pitch_phase(f0, HOP_LENGTH, RATE_HZ)
    lags = period_lags(phase, voiced)
    assert ((lags == 0) | ((lags >= SHORTEST_LAG) & (lags <= LONGEST_LAG))).all()
    assert (lags[~voiced[::4]] == 0).all()
    steps = np.flatnonzero(lags)
    moved = np.interp(4 * steps - lags[steps], np.arange(len(phase)), phase)
    periods = phase[4 * steps] - moved
    np.testing.assert_allclose(periods, np.round(periods), atol=1e-6)
