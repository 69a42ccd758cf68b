"""Metrics give back what is planted in a sound, and name what they cannot have."""

import math
import sys

import numpy as np
import pytest
import soundfile

from vqaudio.codecs.bundled import PRETRAINED
from vqaudio.errors import ConfigError
from vqaudio.evaluation import metrics
from vqaudio.evaluation.metrics import naturalness, words

RATE = 16000
SILENCE = np.zeros(RATE, np.float32)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    wave, rate = soundfile.read(PRETRAINED / "demo.flac", dtype="float32")
    assert rate == RATE
    return wave[: 4 * RATE]


def noisy(wave: np.ndarray, share: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(len(wave)) * wave.std()
    return (wave + share * noise).astype(np.float32)


def voice(hz: float, seconds: float = 1.0) -> np.ndarray:
    """A buzz of twenty harmonics."""
    phase = 2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE
    return (sum(np.sin(n * phase) / n for n in range(1, 21)) * 0.1).astype(np.float32)


# ---------------------------------------------------------------------------------------------------------- alignment


@pytest.mark.parametrize("delay", [-731, -1, 0, 1, 640, 4001])
@pytest.mark.parametrize("gain", [0.05, 3.0])
def test_a_planted_delay_and_gain_are_found_and_taken_out(speech: np.ndarray, delay: int, gain: float) -> None:
    late = np.concatenate([np.zeros(max(0, delay), np.float32), speech[max(0, -delay) :]]) * np.float32(gain)
    found = metrics.find_alignment(speech, late, RATE)
    assert found.delay == delay
    assert found.gain == pytest.approx(gain, rel=0.01)
    aligned = metrics.align(speech, late, RATE)
    assert len(aligned) == len(speech)
    inside = slice(max(0, -delay), None)
    assert np.allclose(aligned[inside], speech[inside], atol=0.01 * np.abs(speech).max())


def test_a_delay_is_found_through_noise_and_for_another_wave_of_the_same_spectrum(speech: np.ndarray) -> None:
    late = np.pad(noisy(speech, 0.3), (300, 0))
    assert metrics.find_alignment(speech, late, RATE).delay == 300
    spectrum = np.fft.rfft(speech)
    turned = np.fft.irfft(spectrum * np.exp(0.5j * np.pi), len(speech)).astype(np.float32)  # every phase by 90 degrees
    assert abs(metrics.find_alignment(speech, np.pad(turned, (300, 0)), RATE).delay - 300) < 0.005 * RATE


def test_alignment_beside_silence_or_nothing_changes_nothing(speech: np.ndarray) -> None:
    for other in (SILENCE, SILENCE[:0], SILENCE[:5]):
        assert metrics.find_alignment(speech, other, RATE) == metrics.Alignment(0, 1.0)
        assert not metrics.align(speech, other, RATE).any()
        assert len(metrics.align(other, speech, RATE)) == len(other)


# ----------------------------------------------------------------------------------------------------------- likeness


def test_a_sound_is_most_like_itself_and_less_with_more_noise(speech: np.ndarray) -> None:
    for measure, best in ((metrics.stoi, 1), (metrics.estoi, 1), (metrics.pesq_nb, 4.55), (metrics.pesq_wb, 4.64)):
        same, some, much = (measure(speech, noisy(speech, share), RATE) for share in (0, 0.3, 3))
        assert same == pytest.approx(best, abs=0.01)
        assert same > some > much
    assert metrics.mel_distance_db(speech, speech, RATE) == 0
    some, much = (metrics.mel_distance_db(speech, noisy(speech, share), RATE) for share in (0.3, 3))
    assert 0 < some < much


def test_a_louder_spectrum_is_as_many_decibels_away() -> None:
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    assert metrics.mel_distance_db(noise, noise * np.float32(2), RATE) == pytest.approx(20 * math.log10(2), abs=0.01)


@pytest.mark.parametrize("length", [0, 10, 1000, RATE])
def test_what_cannot_be_measured_is_not_a_number(length: int) -> None:
    silent = SILENCE[:length]
    for measure in (metrics.stoi, metrics.estoi, metrics.pesq_nb, metrics.pesq_wb):
        assert math.isnan(measure(silent, silent, RATE))
    assert math.isnan(metrics.median_pitch_hz(metrics.pitch_hz(silent, RATE)))
    assert np.isnan(metrics.speaker_embedding(silent, RATE)).all()
    assert metrics.recognise(silent, RATE) == ""


@pytest.mark.parametrize("rate", [8000, 44100])
def test_every_rate_is_measured(speech: np.ndarray, rate: int) -> None:
    assert metrics.stoi(speech, speech, rate) == pytest.approx(1, abs=1e-3)
    assert metrics.pesq_wb(speech, speech, rate) > 4.5
    assert metrics.mel_distance_db(speech, speech, rate) == 0


# -------------------------------------------------------------------------------------------------------------- pitch


def test_a_planted_pitch_is_found_and_its_error_told_in_cents() -> None:
    low, high = metrics.pitch_hz(voice(120), RATE), metrics.pitch_hz(voice(240), RATE)
    assert metrics.median_pitch_hz(low) == pytest.approx(120, rel=0.01)
    assert metrics.pitch_error(low, high).cents == pytest.approx(1200, abs=10)
    assert metrics.pitch_error(low, high).voicing < 0.1
    assert metrics.pitch_error(low, np.full(len(low), np.nan)).voicing > 0.9


@pytest.mark.parametrize("rate", [8000, 44100])
def test_a_pitch_is_found_at_every_rate(rate: int) -> None:
    time = np.arange(rate) / rate
    wave = sum(np.sin(2 * np.pi * n * 150 * time) / n for n in range(1, 11)).astype(np.float32)
    assert metrics.median_pitch_hz(metrics.pitch_hz(wave, rate)) == pytest.approx(150, rel=0.01)


# ------------------------------------------------------------------------------------------------------------ speaker


def test_a_speaker_is_like_himself(speech: np.ndarray) -> None:
    one, other = (metrics.speaker_embedding(part, RATE) for part in (speech[: 2 * RATE], speech[2 * RATE :]))
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
    assert metrics.similarity(one, one) == pytest.approx(1, abs=1e-5)
    assert metrics.similarity(one, other) < 0.999
    assert math.isnan(metrics.similarity(one, metrics.speaker_embedding(SILENCE, RATE)))


# --------------------------------------------------------------------------------------------------------- statistics


def test_a_bootstrap_interval_holds_the_mean_and_shrinks() -> None:
    few, many = (metrics.bootstrap_mean(np.random.default_rng(0).standard_normal(n)) for n in (20, 2000))
    for mean in (few, many):
        assert mean.low < mean.value < mean.high
    assert many.high - many.low < 0.3 * (few.high - few.low)
    assert metrics.bootstrap_mean(np.array([1.0, np.nan])).count == 1
    assert metrics.bootstrap_mean(np.array([])).count == 0


# ----------------------------------------------------------------------------------------------------------- packages


MISSING = {
    "pystoi": lambda wave: metrics.stoi(wave, wave, RATE),
    "pesq": lambda wave: metrics.pesq_wb(wave, wave, RATE),
    "onnxruntime": lambda wave: metrics.dnsmos(wave, RATE),
    "faster_whisper": lambda wave: metrics.recognise(wave, RATE),
}


@pytest.mark.parametrize("package", MISSING)
def test_a_missing_package_is_an_error_where_it_is_asked_for(
    speech: np.ndarray, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for loaded in (words.load_whisper, naturalness._dnsmos):
        loaded.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not there
    with pytest.raises(
        ConfigError, match=rf"not available: {package} is not installed; pip install 'vqaudio\[evaluate\]'"
    ):
        MISSING[package](speech)
