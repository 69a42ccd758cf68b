"""The recogniser of words, on the package's own samples (made speech, whose words are known)."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqaudio.errors import ConfigError
from vqaudio.evaluation.metrics.transcript import word_errors
from vqaudio.evaluation.metrics.words import load_whisper, recognise, recognition_confidence

SAMPLES = Path(__file__).resolve().parents[3] / "data" / "samples"
RATE = 16000
SENTENCE = "The red boat left the harbour at dawn."


@pytest.fixture(scope="module")
def harbour() -> np.ndarray:
    wave, rate_hz = soundfile.read(SAMPLES / "harbour.flac", dtype="float32")
    assert rate_hz == RATE
    return wave


def test_it_understands_a_sentence_at_any_rate_and_level(harbour: np.ndarray) -> None:
    assert word_errors(SENTENCE, recognise(harbour, RATE)).errors == 0
    assert word_errors(SENTENCE, recognise(harbour * np.float32(0.1), RATE)).errors <= 1
    twice = np.repeat(harbour, 2)
    assert word_errors(SENTENCE, recognise(twice, 2 * RATE)).errors <= 2


def test_what_was_heard_before_does_not_count(harbour: np.ndarray) -> None:
    first = recognise(harbour, RATE)
    recognise(harbour[::-1].copy(), RATE)
    assert recognise(harbour, RATE) == first


def test_noise_costs_words(harbour: np.ndarray) -> None:
    noise = np.random.default_rng(0).standard_normal(len(harbour)).astype(np.float32)
    assert word_errors(SENTENCE, recognise(harbour + noise, RATE)).errors > 3


@pytest.mark.parametrize("wave", [np.zeros(0), np.zeros(RATE), np.ones(100)], ids=["empty", "silent", "short"])
def test_without_a_sound_there_are_no_words(wave: np.ndarray) -> None:
    assert recognise(wave.astype(np.float32), RATE) == ""


def test_another_model_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no model of Whisper"):
        load_whisper(str(tmp_path))


def test_words_that_are_drowned_are_less_sure(harbour: np.ndarray) -> None:
    noise = np.random.default_rng(0).standard_normal(len(harbour)).astype(np.float32)
    clean, drowned = (recognition_confidence(harbour + level * noise, RATE) for level in (0.0, 0.3))
    assert 0.5 < clean <= 1
    assert not drowned > clean - 0.1
    assert math.isnan(recognition_confidence(np.zeros(RATE, np.float32), RATE))
