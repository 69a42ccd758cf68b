"""Speech parameters of made sounds: a planted pitch, noise, silence."""

import numpy as np

from vqaudio.dsp.mel_envelope import FLOOR
from vqaudio.dsp.world import analyse

RATE, HOP = 16000, 68


def test_a_planted_pitch_is_found() -> None:
    pulses = np.zeros(RATE, np.float32)
    pulses[:: RATE // 160] = 0.5  # 160 Hz
    found = analyse(pulses, RATE, HOP, 80)
    inner = found.f0_hz[30:-30]
    assert found.bands.shape == (RATE // HOP, 80)
    assert (inner > 0).mean() > 0.95
    assert abs(np.median(inner[inner > 0]) - 160) < 1


def test_white_noise_of_power_one_has_bands_about_zero_and_little_voice() -> None:
    found = analyse(np.random.default_rng(0).standard_normal(RATE).astype(np.float32), RATE, HOP, 80)
    assert abs(found.bands.mean()) < 0.7
    assert (found.f0_hz > 0).mean() < 0.3


def test_a_gain_moves_the_bands_alone() -> None:
    wave = np.random.default_rng(1).standard_normal(RATE // 2).astype(np.float32)
    soft, loud = analyse(0.1 * wave, RATE, HOP, 40), analyse(wave, RATE, HOP, 40)
    np.testing.assert_allclose(loud.bands - soft.bands, 2 * np.log(10), atol=0.05)
    assert (soft.f0_hz == loud.f0_hz).all()


def test_silence_and_nothing() -> None:
    silent = analyse(np.zeros(1000, np.float32), RATE, HOP, 80)
    assert (silent.bands == np.float32(np.log(FLOOR))).all()
    assert not silent.f0_hz.any()
    assert analyse(np.zeros(10, np.float32), RATE, HOP, 80).bands.shape == (0, 80)
