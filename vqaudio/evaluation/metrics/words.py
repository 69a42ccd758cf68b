"""Words that a recogniser understands: English, PocketSphinx with the models in its package.

It is a weak listener (a quarter of the words of clean read speech go wrong), so that a rate means something only beside
the original's own. It runs without a network and gives the same words on every run.
"""

import functools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vqaudio.dsp.loudness import measure_level
from vqaudio.evaluation.metrics.packages import needed_for
from vqaudio.io.resample import resample

Wave = npt.NDArray[np.float32]

_RATE_HZ = 16000
_FULL_SCALE = 32767
_SHORTEST_S = 0.1  # no word is shorter; of silence and of less than a frame the recogniser makes nonsense


@dataclass(frozen=True)
class WordErrors:
    """Words wrong, missing or too many, and how many words there should be: to be summed, then divided."""

    errors: int
    words: int


@functools.lru_cache(maxsize=1)
def _recogniser() -> Any:
    with needed_for("wer is"):
        from pocketsphinx import Decoder
    return Decoder(samprate=_RATE_HZ, loglevel="FATAL")


def recognise(wave: Wave, sample_rate_hz: int) -> str:
    """The words that are heard in ``wave[T]``, brought to the level at which the codec works; "" for none."""
    recogniser = _recogniser()
    if len(wave) < _SHORTEST_S * sample_rate_hz or not wave.any():
        return ""
    wave = resample(wave[None], sample_rate_hz, _RATE_HZ)[0]
    wave = wave * np.float32(measure_level([wave[None]], _RATE_HZ, 1)[0].gain)
    recogniser.reinit_feat()  # else what it heard before would count
    recogniser.start_utt()
    recogniser.process_raw((wave.clip(-1, 1) * _FULL_SCALE).astype("<i2").tobytes(), no_search=False, full_utt=True)
    recogniser.end_utt()
    found = recogniser.hyp()
    return found.hypstr if found else ""


def normalised_words(text: str) -> list[str]:
    """The words of a transcript, small, without punctuation; "don't" is one word, "grown-up" two."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return [word for part in re.findall(r"[\w']+", text) if (word := part.strip("'_"))]


def word_errors(reference: str, heard: str) -> WordErrors:
    """The smallest number of substitutions, omissions and insertions that turn ``reference`` into ``heard``."""
    wanted, got = normalised_words(reference), normalised_words(heard)
    return WordErrors(_edit_distance(wanted, got), len(wanted))


def _edit_distance(wanted: Sequence[str], got: Sequence[str]) -> int:
    row = list(range(len(got) + 1))
    for number, word in enumerate(wanted, start=1):
        diagonal, row[0] = row[0], number
        for place, other in enumerate(got, start=1):
            diagonal, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, diagonal + (word != other))
    return row[-1]
