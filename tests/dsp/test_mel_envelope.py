"""Minimum-phase responses: of the magnitude that the bands say, with their energy in front; bands of a spectrum."""

import numpy as np
import pytest

from vqaudio.dsp.mel_envelope import TAPS, MinimumPhase, mel_bands, sharpening
from vqaudio.errors import ConfigError

RATE = 16000


def test_flat_bands_are_an_impulse() -> None:
    response = MinimumPhase(80, RATE).responses(np.full((3, 80), np.log(4.0), np.float32))
    assert response.shape == (3, TAPS)
    np.testing.assert_allclose(response[:, 0], 2.0, rtol=1e-5)  # a gain is the root of a power
    assert np.abs(response[:, 1:]).max() < 1e-5


def test_the_response_has_the_magnitude_that_the_bands_say() -> None:
    bands = np.random.default_rng(0).normal(0, 1.5, 40).cumsum() * 0.3
    response = MinimumPhase(40, RATE).responses(bands[None].astype(np.float32))[0]
    magnitude = np.abs(np.fft.rfft(response, 2 * TAPS))
    expected = np.exp(0.5 * mel_bands(40, RATE).interpolation @ bands)
    np.testing.assert_allclose(magnitude, expected, rtol=0.02)


def test_no_causal_filter_of_the_same_magnitude_is_earlier() -> None:
    bands = np.random.default_rng(1).normal(0, 1, (1, 40)).astype(np.float32)
    response = MinimumPhase(40, RATE).responses(bands)[0]
    energy = np.cumsum(response**2)
    assert (energy >= np.cumsum(response[::-1] ** 2) - 1e-4 * energy[-1]).all()  # its reverse has the same magnitude


def test_a_response_does_not_depend_on_its_company() -> None:
    bands = np.random.default_rng(2).normal(-5, 2, (75, 80)).astype(np.float32)
    filters = MinimumPhase(80, RATE, 1.2)
    together = filters.responses(bands)
    assert (together == np.concatenate([filters.responses(bands[:7]), filters.responses(bands[7:])])).all()
    assert filters.responses(bands[:0]).shape == (0, TAPS)


def test_bands_average_the_spectrum_that_they_came_from() -> None:
    bank, interpolation = mel_bands(80, RATE)
    np.testing.assert_allclose(bank.sum(1), 1)
    np.testing.assert_allclose(interpolation.sum(1), 1)
    slope = np.linspace(-4, 2, bank.shape[1])
    np.testing.assert_allclose(bank @ interpolation @ (bank @ slope), bank @ slope, atol=0.05)


@pytest.mark.parametrize("bands", [1, 514])
def test_impossible_numbers_of_bands_are_refused(bands: int) -> None:
    with pytest.raises(ConfigError, match=f"bands = {bands}"):
        mel_bands(bands, RATE)


def test_sharpening_keeps_level_and_tilt_and_spreads_the_rest() -> None:
    place = np.arange(40)
    tilt, ripple = np.cos(np.pi * (place + 0.5) / 40), np.cos(np.pi * (place + 0.5) * 6 / 40)
    np.testing.assert_allclose(sharpening(40, 1.3) @ (5 + tilt), 5 + tilt, atol=1e-12)
    np.testing.assert_allclose(sharpening(40, 1.3) @ ripple, 1.3 * ripple, atol=1e-12)
