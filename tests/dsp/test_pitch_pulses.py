"""Where a recording's pitch pulses lie, and their bands."""

import numpy as np
import pytest
import torch
from excitations import pulses_at

from vqaudio.dsp import filterbank
from vqaudio.dsp.pitch_pulses import locked_phase
from vqaudio.kernels.long_term_predictor import period_lags
from vqaudio.kernels.pulses import PulseTrain, best_path, pitch_phase, pulse_bands

RATE_HZ, HOP_LENGTH, FRAMES = 16000, 68, 200


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("polarity", [1.0, -1.0])
@pytest.mark.parametrize("hz", [70.0, 123.4, 310.0])
def test_pulses_lock_to_the_recording_s_own(hz: float, polarity: float) -> None:
    samples, start = FRAMES * HOP_LENGTH, 37.3
    times = np.arange(start, samples, RATE_HZ / hz)
    wave = polarity * pulses_at(times, samples) + 0.3 * noise(samples).numpy()
    f0 = torch.full((FRAMES,), hz * 1.002)  # a pitch tracker is a little off
    locked = locked_phase(torch.from_numpy(wave).float(), f0, RATE_HZ)
    assert locked.polarity == polarity
    at = np.interp(times[5:-8], np.arange(samples), locked.phase)
    off = np.remainder(at + 0.5, 1) - 0.5
    assert np.abs(off).max() < 0.04


def test_the_phase_runs_at_the_pitch_and_passes_over_unvoiced_frames() -> None:
    f0 = np.array([100, 100, 0, 0, 200, 200], np.float32)
    phase, voiced = pitch_phase(f0, HOP_LENGTH, RATE_HZ)
    speed = np.diff(phase) * RATE_HZ
    np.testing.assert_allclose(speed[: 2 * HOP_LENGTH - 1], 100)
    np.testing.assert_allclose(speed[4 * HOP_LENGTH :], 200)
    half = HOP_LENGTH // 2
    assert voiced[: HOP_LENGTH + half].all()
    assert voiced[3 * HOP_LENGTH + half :].all()
    assert not voiced[HOP_LENGTH + half : 3 * HOP_LENGTH + half].any()


def test_pulse_bands_are_the_filter_bank_s_of_the_pulses() -> None:
    samples = 100 * HOP_LENGTH
    hz = 130.0
    phase, voiced = pitch_phase(np.full(100, hz, np.float32), HOP_LENGTH, RATE_HZ)
    period = RATE_HZ / hz
    times = np.arange(1, samples / period) * period - 1  # the phase of sample 0 is one step
    wave = pulses_at(np.concatenate([[times[0] - period], times]), samples)
    expected = filterbank.analyse(torch.from_numpy(wave)[None])[0].numpy()
    inner = slice(40, -40)
    np.testing.assert_allclose(pulse_bands(phase, voiced)[inner, :3], expected[inner, :3], atol=0.03)


def test_the_best_path_is_the_best_of_all() -> None:
    """Against the sums of all paths of five frames over six places."""
    rng = np.random.default_rng(2)
    for _ in range(20):
        scores, free = rng.normal(size=(5, 6)), rng.random(5) < 0.3
        grid = np.stack(np.meshgrid(*[np.arange(6)] * 5), axis=-1).reshape(-1, 5)
        moves = np.abs((np.diff(grid, axis=1) + 3) % 6 - 3)
        allowed = ((moves <= 1) | free[1:]).all(1)
        best = scores[np.arange(5), grid].sum(1)[allowed].max()
        path = best_path(scores, free, 1)
        assert np.isclose(scores[np.arange(5), path].sum(), best)
        assert ((np.abs((np.diff(path) + 3) % 6 - 3) <= 1) | free[1:]).all()


def test_a_pulse_train_cut_anywhere_equals_the_whole() -> None:
    rng, frames = np.random.default_rng(7), 60
    f0 = np.where(np.arange(frames) % 15 < 9, rng.uniform(70, 300, frames), 0).astype(np.float32)
    expected = pulse_bands(*pitch_phase(f0, HOP_LENGTH, RATE_HZ))
    lags = period_lags(*pitch_phase(f0, HOP_LENGTH, RATE_HZ))
    steps = HOP_LENGTH // 4
    for ahead in (0, 9, 30):
        train = PulseTrain(RATE_HZ, HOP_LENGTH, ahead)
        first = 0
        for last in (1, 1, 8, 9, frames - train.frames_ahead):
            pulses = train.push(f0[first : last + train.frames_ahead])
            np.testing.assert_array_equal(pulses.bands, expected[first * steps : last * steps + ahead])
            np.testing.assert_array_equal(pulses.lags, lags[first * steps : last * steps])
            first = last
