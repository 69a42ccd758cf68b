"""What can be speech passes; what surely is none is named."""

import numpy as np
import pytest
import soundfile
from sounds import noise, talk

from vqaudio.codecs.bundled import PRETRAINED
from vqaudio.dsp.speech_check import speech_problem

RATE = 16000


def note(hz: float, seconds: float) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return 0.1 * np.exp(-4 * time) * sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 7))


def melody(*chord: int) -> np.ndarray:
    """Eight notes, or chords of notes so many semitones above one another."""
    roots = (0, 5, 7, 0, -3, 5, 7, 0)
    notes = [sum(note(220 * 2 ** ((root + of) / 12), 0.4) for of in (0, *chord)) for root in roots]
    return np.concatenate(notes).astype(np.float32)


def test_speech_is_speech() -> None:
    wave, rate_hz = soundfile.read(PRETRAINED / "demo.flac", dtype="float32")
    assert speech_problem(wave, rate_hz) == ""
    assert speech_problem(0.001 * wave, rate_hz) == ""
    assert speech_problem(wave + noise(1, len(wave), 0.1 * float(wave.std()))[0], rate_hz) == ""


@pytest.mark.parametrize("hz", [90, 150, 240])
def test_what_tests_take_for_speech_is_taken_for_it(hz: float) -> None:
    assert speech_problem(talk(hz), RATE) == ""
    assert speech_problem(talk(hz, rate_hz=24000), 24000) == ""


@pytest.mark.parametrize(
    ("wave", "told"),
    [
        (noise(1, 2 * RATE)[0], "no voice"),
        (noise(1, 2 * RATE)[0] * np.sin(np.arange(2 * RATE) / 2000).astype(np.float32), "no voice"),
        (np.sin(np.arange(2 * RATE) / 12).astype(np.float32), "as loud throughout"),
        (melody(), "as loud throughout|stands still"),
        (melody(4, 7), "as loud throughout|stands still"),
        (melody(4, 7, 12), "as loud throughout|stands still"),
    ],
)
def test_what_is_none_is_named(wave: np.ndarray, told: str) -> None:
    problem = speech_problem(wave, RATE)
    assert any(part in problem for part in told.split("|")), problem
    assert problem
