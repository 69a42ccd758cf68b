"""resample.py: torchaudio's signals, in any blocks, at any ratio."""

import numpy as np
import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import cut, noise

from vqaudio.errors import SoundError
from vqaudio.io.resample import (
    _BETA,
    _ROLLOFF,
    _ZERO_CROSSINGS,
    StreamingResampler,
    _ConvolvedPeriod,
    _InterpolatedPeriod,
    resample,
    resampled_length,
)

PAIRS = [(44100, 16000), (16000, 44100), (8000, 16000), (48000, 16000), (16000, 48000), (44099, 16000), (16000, 44099)]


def stream(wave: np.ndarray, from_hz: int, to_hz: int, sizes: list[int]) -> np.ndarray:
    resampler = StreamingResampler(from_hz, to_hz)
    parts = [resampler.push(block) for block in cut(wave, sizes)]
    return np.concatenate([*parts, resampler.flush()], axis=1)


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS[:5])
def test_resampling_is_torchaudios(from_hz: int, to_hz: int) -> None:
    wave = noise(2, 7001)
    kaiser = {"resampling_method": "sinc_interp_kaiser", "beta": _BETA, "rolloff": _ROLLOFF}
    expected = torchaudio.functional.resample(
        torch.from_numpy(wave).double(), from_hz, to_hz, lowpass_filter_width=_ZERO_CROSSINGS, **kaiser
    )
    np.testing.assert_allclose(stream(wave, from_hz, to_hz, [513]), expected.float().numpy(), atol=1e-6)


@given(st.sampled_from(PAIRS), st.lists(st.integers(1, 3000), min_size=1, max_size=4), st.integers(0, 6000))
@settings(max_examples=15, deadline=None)
def test_blocks_do_not_change_the_resampled_signal(pair: tuple[int, int], sizes: list[int], frames: int) -> None:
    wave = noise(2, frames)
    whole = resample(wave, *pair)
    assert whole.dtype == np.float32
    assert whole.shape == (2, resampled_length(frames, *pair))
    if frames:
        np.testing.assert_array_equal(stream(wave, *pair, sizes), whole)


@pytest.mark.parametrize(("from_hz", "to_hz"), [*PAIRS, (191_999, 16000), (1001, 16000), (16000, 1001)])
def test_a_tone_keeps_its_pitch_phase_and_strength(from_hz: int, to_hz: int) -> None:
    tone_hz, duration_s = 0.35 * min(from_hz, to_hz), 0.3
    wave = np.sin(2 * np.pi * tone_hz / from_hz * np.arange(int(from_hz * duration_s)))[None].astype(np.float32)
    resampled = resample(wave, from_hz, to_hz)[0]
    expected = np.sin(2 * np.pi * tone_hz / to_hz * np.arange(len(resampled)))
    inner = slice(len(resampled) // 4, -len(resampled) // 4)
    np.testing.assert_allclose(resampled[inner], expected[inner], atol=3e-4)


@pytest.mark.parametrize(("from_hz", "to_hz"), [(48000, 16000), (44099, 16000)])
def test_what_the_lower_rate_cannot_hold_is_removed(from_hz: int, to_hz: int) -> None:
    wave = np.sin(2 * np.pi * 9000 / from_hz * np.arange(from_hz // 4))[None].astype(np.float32)
    inner = resample(wave, from_hz, to_hz)[0, 1000:-1000]
    assert np.abs(inner).max() < 1e-4


def test_interpolated_filters_agree_with_exact_ones() -> None:
    wave = noise(2, 441 * 8)
    exact, interpolated = _ConvolvedPeriod(441, 160), _InterpolatedPeriod(441, 160)
    padding = [np.pad(wave, ((0, 0), (period.width, period.width))) for period in (exact, interpolated)]
    np.testing.assert_allclose(interpolated(padding[1]), exact(padding[0]), atol=2e-6, rtol=0)


def test_equal_rates_change_nothing_and_any_rate_will_do() -> None:
    wave = noise(2, 100)
    for rate_hz in (1, 16000, 10_000_000):
        np.testing.assert_array_equal(stream(wave, rate_hz, rate_hz, [7]), wave)


@pytest.mark.parametrize("pair", [(1, 16000), (16000, 10_000_000), (999, 16000), (0, 16000), (16000, -1), (0, 0)])
def test_rates_out_of_range_are_refused(pair: tuple[int, int]) -> None:
    with pytest.raises(SoundError, match="rates may be 1000 to 768000 Hz"):
        StreamingResampler(*pair)


def test_what_is_pending_stays_small() -> None:
    resampler = StreamingResampler(44100, 16000)
    returned = sum(resampler.push(noise(1, 1000)).shape[1] for _ in range(100))
    assert resampled_length(100_000, 44100, 16000) - returned < 300
