"""Figures of utterances, by name, cached, and summed up."""

import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqaudio.errors import ConfigError
from vqaudio.evaluation.metrics import (
    METRICS,
    MetricCache,
    Original,
    Ruler,
    catalogue,
    difference,
    missing,
    packages,
    ruler,
    summary,
)

SAMPLES = Path(__file__).resolve().parents[3] / "data" / "samples"
RATE = 16000
SENTENCE = "The red boat left the harbour at dawn."


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return soundfile.read(SAMPLES / "harbour.flac", dtype="float32")[0]


def test_all_metrics_of_an_utterance_that_came_back_late_and_soft(speech: np.ndarray) -> None:
    found = Ruler(METRICS).measure(Original(speech, RATE, SENTENCE), np.pad(speech * np.float32(0.5), (400, 0)))
    assert found["stoi"] == pytest.approx(1, abs=0.01)
    assert found["pesq_wb"] > 4.5
    assert found["mel_distance_db"] < 0.1
    assert found["pitch_error_cents"] < 5
    assert found["voicing_error"] < 0.02
    assert found["speaker_similarity"] > 0.98
    assert found["distillmos"] == pytest.approx(found["distillmos_original"], abs=0.1)
    assert found["dnsmos"] == pytest.approx(found["dnsmos_original"], abs=0.1)
    assert (found["words"], found["word_errors"], found["word_errors_original"]) == (8, 0, 0)


def test_without_a_transcript_there_are_no_word_errors(speech: np.ndarray) -> None:
    assert Ruler(["wer"]).measure(Original(speech, RATE), speech) == {}


def counted(monkeypatch: pytest.MonkeyPatch, value: float = 0.5) -> list[int]:
    """Puts a metric in place of "mel" that counts how often it is asked."""
    asked: list[int] = []

    def measure(original: Original, decoded: np.ndarray, whisper: str) -> dict[str, float]:
        asked.append(len(decoded))
        return {"mel_distance_db": value}

    monkeypatch.setitem(catalogue.METRICS, "mel", catalogue.Metric(measure, distributions=("numpy",)))
    return asked


def test_what_was_measured_is_not_measured_again(
    speech: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = counted(monkeypatch)
    original = Original(speech, RATE)
    for _ in range(2):
        cached = Ruler(["mel"], MetricCache(tmp_path / "m.sqlite3"))
        assert cached.measure(original, speech) == {"mel_distance_db": 0.5}
    assert len(asked) == 1
    cached.measure(original, speech[:-1])  # another sound
    cached.measure(Original(speech[:-1], RATE), speech)  # another original
    cached.measure(Original(speech, 2 * RATE), speech)  # another rate
    assert len(asked) == 4
    monkeypatch.setattr(ruler, "_version", lambda package: "another")
    cached.measure(original, speech)
    assert len(asked) == 5


def test_equal_findings_with_and_without_a_cache(speech: np.ndarray, tmp_path: Path) -> None:
    original, noisy = Original(speech, RATE), speech + np.float32(0.01)
    names = ["stoi", "mel"]
    expected = Ruler(names).measure(original, noisy)
    cache = MetricCache(tmp_path / "m.sqlite3")
    for _ in range(2):
        assert Ruler(names, cache).measure(original, noisy) == expected


def test_rates_are_pooled_and_means_are_not() -> None:
    utterances = [
        {"stoi": 0.5, "word_errors": 1.0, "word_errors_original": 0.0, "words": 1.0, "word_error_rate": 1.0},
        {"stoi": 0.7, "word_errors": 0.0, "word_errors_original": 3.0, "words": 9.0, "word_error_rate": 0.0},
        {"stoi": math.nan},
    ]
    found = summary(utterances)
    assert found["word_error_rate"].value == pytest.approx(0.1)
    assert found["stoi"].value == pytest.approx(0.6)
    assert [found[name].count for name in ("word_error_rate", "stoi")] == [2, 2]
    assert "words" not in found


def test_a_difference_is_of_pairs() -> None:
    """Two codecs that differ by little on each utterance, while utterances differ by much."""
    rng = np.random.default_rng(0)
    hard = rng.uniform(1, 4, 40)
    ones = [{"pesq_wb": level + 0.1 + 0.02 * noise} for level, noise in zip(hard, rng.standard_normal(40), strict=True)]
    others = [{"pesq_wb": level} for level in hard]
    found = difference(ones, others, "pesq_wb")
    assert found.low < 0.1 < found.high
    assert found.high - found.low < 0.03
    words = [{"word_errors": 2.0, "words": 10.0}] * 3, [{"word_errors": 1.0, "words": 10.0}] * 3
    assert difference(*words, "word_error_rate").value == pytest.approx(0.1)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ConfigError, match="'mos' is no metric: give some of stoi"):
        Ruler(["stoi", "mos"])


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name == "pesq" else find_spec(name))
    line = "pesq is not available: pesq is not installed; pip install 'vqaudio[evaluate]'"
    assert missing(METRICS) == {"pesq": line}
    with pytest.raises(ConfigError, match=r"pip install 'vqaudio\[evaluate\]'"):
        Ruler(["pesq"])


def test_a_recogniser_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no model of Whisper"):
        Ruler(["wer"], whisper=str(tmp_path))
