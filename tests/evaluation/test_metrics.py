"""Scores give back what is planted in a sound, and name what they cannot have."""

import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqaudio.codecs.bundled import PRETRAINED
from vqaudio.errors import ConfigError
from vqaudio.evaluation import metrics as scores
from vqaudio.evaluation.metrics import card, packages

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
    found = scores.find_alignment(speech, late, RATE)
    assert found.delay == delay
    assert found.gain == pytest.approx(gain, rel=0.01)
    aligned = scores.align(speech, late, RATE)
    assert len(aligned) == len(speech)
    inside = slice(max(0, -delay), None)
    assert np.allclose(aligned[inside], speech[inside], atol=0.01 * np.abs(speech).max())


def test_a_delay_is_found_through_noise_and_for_another_wave_of_the_same_spectrum(speech: np.ndarray) -> None:
    late = np.pad(noisy(speech, 0.3), (300, 0))
    assert scores.find_alignment(speech, late, RATE).delay == 300
    spectrum = np.fft.rfft(speech)
    turned = np.fft.irfft(spectrum * np.exp(0.5j * np.pi), len(speech)).astype(np.float32)  # every phase by 90 degrees
    assert abs(scores.find_alignment(speech, np.pad(turned, (300, 0)), RATE).delay - 300) < 0.005 * RATE


def test_alignment_beside_silence_or_nothing_changes_nothing(speech: np.ndarray) -> None:
    for other in (SILENCE, SILENCE[:0], SILENCE[:5]):
        assert scores.find_alignment(speech, other, RATE) == scores.Alignment(0, 1.0)
        assert not scores.align(speech, other, RATE).any()
        assert len(scores.align(other, speech, RATE)) == len(other)


# ----------------------------------------------------------------------------------------------------------- likeness


def test_a_sound_is_most_like_itself_and_less_with_more_noise(speech: np.ndarray) -> None:
    for measure, best in ((scores.stoi, 1), (scores.estoi, 1), (scores.pesq_nb, 4.55), (scores.pesq_wb, 4.64)):
        same, some, much = (measure(speech, noisy(speech, share), RATE) for share in (0, 0.3, 3))
        assert same == pytest.approx(best, abs=0.01)
        assert same > some > much
    assert scores.mel_distance_db(speech, speech, RATE) == 0
    some, much = (scores.mel_distance_db(speech, noisy(speech, share), RATE) for share in (0.3, 3))
    assert 0 < some < much


def test_a_louder_spectrum_is_as_many_decibels_away() -> None:
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    assert scores.mel_distance_db(noise, noise * np.float32(2), RATE) == pytest.approx(20 * math.log10(2), abs=0.01)


@pytest.mark.parametrize("length", [0, 10, 1000, RATE])
def test_what_cannot_be_measured_is_not_a_number(length: int) -> None:
    silent = SILENCE[:length]
    for measure in (scores.stoi, scores.estoi, scores.pesq_nb, scores.pesq_wb):
        assert math.isnan(measure(silent, silent, RATE))
    assert math.isnan(scores.median_pitch_hz(scores.pitch_hz(silent, RATE)))
    assert np.isnan(scores.voice_embedding(silent, RATE)).all()
    assert scores.recognise(silent, RATE) == ""


def test_every_rate_is_scored(speech: np.ndarray) -> None:
    for rate in (8000, 44100):
        found = scores.score(scores.Original(speech, rate), speech, ["stoi", "pesq", "mel"])
        assert found["stoi"] == pytest.approx(1, abs=1e-3)
        assert found["pesq_wb"] > 4.5


# -------------------------------------------------------------------------------------------------------------- pitch


def test_a_planted_pitch_is_found_and_its_error_told_in_semitones() -> None:
    low, high = scores.pitch_hz(voice(120), RATE), scores.pitch_hz(voice(240), RATE)
    assert scores.median_pitch_hz(low) == pytest.approx(120, rel=0.01)
    assert scores.pitch_error(low, high).semitones == pytest.approx(12, abs=0.2)
    assert scores.pitch_error(low, high).voicing < 0.1
    assert scores.pitch_error(low, np.full(len(low), np.nan)).voicing > 0.9


# -------------------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("reference", "heard", "errors", "words"),
    [
        ("", "", 0, 0),
        ("", "a b", 2, 0),
        ("one two three", "one two three", 0, 3),
        ("one two three", "", 3, 3),
        ("one two three", "one three", 1, 3),
        ("one two three", "one two and three", 1, 3),
        ("one two three", "one too three", 1, 3),
        ("a b c d", "b c d e", 2, 4),
        ("Don\N{RIGHT SINGLE QUOTATION MARK}t STOP, grown-up!", "don't stop grown up", 0, 4),
        ("'quoted' _words_", "quoted words", 0, 2),
    ],
)
def test_word_errors(reference: str, heard: str, errors: int, words: int) -> None:
    assert scores.word_errors(reference, heard) == scores.WordErrors(errors, words)


def test_what_was_heard_before_does_not_count(speech: np.ndarray) -> None:
    """The sample clip is generated speech, so that only sameness can be asked of its words."""
    first = scores.recognise(speech, RATE)
    scores.recognise(noisy(speech[::-1], 1), RATE)
    assert first == scores.recognise(speech, RATE)
    assert first == scores.recognise(speech * np.float32(0.25), RATE)


# -------------------------------------------------------------------------------------------------------------- voice


def test_a_voice_is_like_itself(speech: np.ndarray) -> None:
    one, other = scores.voice_embedding(speech[: 2 * RATE], RATE), scores.voice_embedding(speech[2 * RATE :], RATE)
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
    assert scores.similarity(one, one) == pytest.approx(1, abs=1e-5)
    assert scores.similarity(one, other) < 0.999
    assert math.isnan(scores.similarity(one, scores.voice_embedding(SILENCE, RATE)))


# --------------------------------------------------------------------------------------------------------------- card


def test_all_scores_of_an_utterance(speech: np.ndarray) -> None:
    original = scores.Original(speech, RATE, "some words")
    found = scores.score(original, np.pad(speech * np.float32(0.5), (400, 0)), scores.SCORES)
    assert found["stoi"] == pytest.approx(1, abs=0.01)
    assert found["mel_distance_db"] < 0.1
    assert found["pitch_error_semitones"] < 0.1
    assert found["speaker_similarity"] > 0.98
    assert found["words"] == 2
    assert found["word_errors"] == found["word_errors_original"]
    assert not any("word" in name for name in scores.score(scores.Original(speech, RATE), speech, ["wer"]))


def test_rates_are_pooled_and_means_are_not() -> None:
    utterances = [
        {"stoi": 0.5, "word_errors": 1, "word_errors_original": 0, "words": 1, "word_error_rate": 1.0},
        {"stoi": 0.7, "word_errors": 0, "word_errors_original": 3, "words": 9, "word_error_rate": 0.0},
        {"stoi": math.nan},
    ]
    found = card.summary(utterances)
    assert found["word_error_rate"].value == pytest.approx(0.1)
    assert found["stoi"].value == pytest.approx(0.6)
    assert [found[name].count for name in ("word_error_rate", "stoi")] == [2, 2]
    assert "words" not in found


def test_a_bootstrap_interval_holds_the_mean_and_shrinks() -> None:
    few, many = (scores.bootstrap_mean(np.random.default_rng(0).standard_normal(n)) for n in (20, 2000))
    for mean in (few, many):
        assert mean.low < mean.value < mean.high
    assert many.high - many.low < 0.3 * (few.high - few.low)
    assert scores.bootstrap_mean(np.array([1.0, np.nan])).count == 1
    assert scores.bootstrap_mean(np.array([])).count == 0


def test_an_unknown_score_is_refused(speech: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="'mos' is no score: give some of stoi"):
        scores.score(scores.Original(speech, RATE), speech, ["stoi", "mos"])


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name == "pesq" else find_spec(name))
    line = "pesq is not available: pesq is not installed; pip install 'vqaudio[evaluate]'"
    assert scores.missing(scores.SCORES) == {"pesq": line}


def test_a_missing_package_is_an_error_where_it_is_asked_for(
    speech: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pystoi", None)  # as if it were not there
    with pytest.raises(ConfigError, match=r"not available: pystoi is not installed; pip install 'vqaudio\[evaluate\]'"):
        scores.stoi(speech, speech, RATE)
