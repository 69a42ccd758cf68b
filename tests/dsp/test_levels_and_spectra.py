"""Levels, emphasis, loudness and mel spectra."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import cut, noise

from vqaudio.dsp import emphasis, loudness, mulaw
from vqaudio.dsp.mel import MEL_FLOOR, log_mel
from vqaudio.errors import SoundError

RATE_HZ = 16000


# --- Levels -----------------------------------------------------------------------------------------------------------


def test_every_level_survives_decoding_and_encoding() -> None:
    levels = torch.arange(mulaw.LEVELS)
    wave = mulaw.mu_law_decode(levels)
    assert wave.dtype == torch.float32
    assert torch.equal(mulaw.mu_law_encode(wave), levels)
    assert (wave.diff() > 0).all()
    assert wave[0] == -1.0
    assert wave[-1] == 1.0


def test_silence_is_one_level_and_exact() -> None:
    assert mulaw.mu_law_encode(torch.zeros(2, 3)).eq(mulaw.SILENCE_LEVEL).all()
    wave = mulaw.mu_law_decode(torch.arange(mulaw.LEVELS))
    assert (wave == 0.0).nonzero().flatten().tolist() == [mulaw.SILENCE_LEVEL]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_levels_saturate_and_follow_the_law(dtype: torch.dtype) -> None:
    assert mulaw.mu_law_encode(torch.tensor([-7.0, -1.0, 1.0, 7.0], dtype=dtype)).tolist() == [0, 0, 255, 255]
    wave = torch.linspace(-1, 1, 4001)
    error = (mulaw.mu_law_decode(mulaw.mu_law_encode(wave)) - wave).abs()
    assert (error <= 0.0223 * wave.abs() + 1.8e-4).all()


@given(st.lists(st.integers(1, 200), min_size=1, max_size=5), st.floats(0.0, 0.99))
@settings(max_examples=20, deadline=None)
def test_de_emphasis_undoes_pre_emphasis_across_blocks(sizes: list[int], coefficient: float) -> None:
    wave = noise(2, 3000)
    emphasised = emphasis.pre_emphasis(torch.from_numpy(wave), coefficient).numpy()
    np.testing.assert_allclose(emphasised[:, 1:], wave[:, 1:] - coefficient * wave[:, :-1], atol=1e-6)
    restore = emphasis.DeEmphasis(coefficient)
    restored = np.concatenate([restore(block) for block in cut(emphasised, sizes)], axis=1)
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, wave, atol=2e-6)


def test_an_unstable_coefficient_is_refused() -> None:
    with pytest.raises(SoundError, match="unstable"):
        emphasis.DeEmphasis(1.0)


# --- Loudness ---------------------------------------------------------------------------------------------------------


def level_of(wave: np.ndarray, rate_hz: int = RATE_HZ, sizes: tuple[int, ...] = (1000,)) -> tuple[loudness.Level, ...]:
    return loudness.measure_level(cut(wave, list(sizes)), rate_hz, len(wave))


def test_silence_dc_and_nothing_keep_their_gain() -> None:
    silence, dc = np.zeros((1, 5000), np.float32), np.full((1, 5000), 0.7, np.float32)
    for wave, peak in [(silence, 0.0), (dc, 0.7), (noise(1, 1), 0.01257), (silence[:, :0], 0.0)]:
        (level,) = level_of(wave)
        assert level.rms == 0.0
        assert level.peak == pytest.approx(peak, rel=1e-3)
        assert level.gain == 1.0
    assert level_of(3 * dc)[0].gain == pytest.approx(1 / 2.1)


@pytest.mark.parametrize("amplitude", [1e-3, 0.1, 1.0, 3e4, 1e30])
def test_noise_is_brought_to_the_target_unless_its_peak_forbids(amplitude: float) -> None:
    wave = noise(1, 20_000, amplitude)
    (level,) = level_of(wave)
    assert level.rms == pytest.approx(amplitude, rel=0.02)
    assert level.rms * level.gain == pytest.approx(loudness.TARGET_RMS, rel=1e-6)
    assert np.abs(wave).max() * level.gain <= 1.0
    wave[0, 100] = 20 * amplitude
    (level,) = level_of(wave)
    assert level.peak * level.gain == pytest.approx(1.0)


def test_gain_is_limited() -> None:
    assert level_of(noise(1, 5000, 5e-5))[0].gain == loudness.MAX_GAIN
    assert level_of(noise(1, 5000, 1e-6))[0].gain == 1.0


def test_pauses_do_not_count_and_channels_are_their_own() -> None:
    talk = noise(1, 8000, 0.05)
    wave = np.concatenate([talk, noise(1, 80_000, 1e-4), talk], axis=1)
    quiet, loud = level_of(np.concatenate([wave, 4 * wave]))
    assert quiet.rms == pytest.approx(0.05, rel=0.05)
    assert loud.rms == pytest.approx(4 * quiet.rms, rel=1e-5)
    assert level_of(wave + 0.3)[0].rms == pytest.approx(quiet.rms, rel=0.01)


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=4))
@settings(max_examples=15, deadline=None)
def test_level_does_not_depend_on_the_blocks(sizes: list[int]) -> None:
    wave = noise(2, 5000) * np.linspace(0, 1, 5000, dtype=np.float32)
    for one, other in zip(level_of(wave, sizes=tuple(sizes)), level_of(wave, sizes=(5000,)), strict=True):
        assert one.rms == pytest.approx(other.rms, rel=1e-12)
        assert one.peak == other.peak


# --- Mel spectra ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_fft", "hop_length"), [(512, 64), (512, 160), (64, 128), (400, 75)])
@pytest.mark.parametrize("frames", [0, 1, 63, 640, 1000])
def test_there_is_one_mel_frame_a_hop(n_fft: int, hop_length: int, frames: int) -> None:
    wave = torch.from_numpy(noise(2, frames))
    mel = log_mel(wave, RATE_HZ, n_fft, hop_length, 10)
    assert mel.shape == (2, 10, frames // hop_length)
    assert torch.isfinite(mel).all()


def test_mel_frames_are_centred_on_their_hop() -> None:
    for token in (0, 3, 9):
        wave = torch.zeros(1, 1280)
        wave[0, token * 128 + 64] = 1.0
        energy = log_mel(wave, RATE_HZ, 256, 128, 20).mean(dim=1)[0]
        assert energy.argmax() == token
        if 0 < token < 9:
            assert energy[token - 1] == pytest.approx(energy[token + 1].item(), abs=1e-3)


def test_mel_of_silence_is_the_floor() -> None:
    mel = log_mel(torch.zeros(1, 1000), RATE_HZ, 256, 100, 20)
    assert torch.allclose(mel, torch.tensor(MEL_FLOOR).log())


def test_mel_grows_with_amplitude_not_power() -> None:
    wave = torch.from_numpy(noise(1, 4000))
    louder = log_mel(10 * wave, RATE_HZ, 512, 160, 20)
    torch.testing.assert_close(louder, log_mel(wave, RATE_HZ, 512, 160, 20) + np.log(10), atol=1e-4, rtol=0)


def test_a_spectrum_made_in_inference_mode_lets_later_gradients_pass() -> None:
    with torch.inference_mode():
        log_mel(torch.zeros(1, 640), 16000, 256, 64, 13)
    wave = torch.randn(1, 640, requires_grad=True)
    log_mel(wave, 16000, 256, 64, 13).sum().backward()
    assert wave.grad is not None
