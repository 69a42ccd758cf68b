"""Listening tests as web pages: A/B/X (which of two is it?) and ratings after ITU-R BS.1534 (MUSHRA).

A folder of them needs nothing else: it may be opened from disk or put on any web server. What is heard lies in
``sounds/``, under names that say nothing.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vqaudio.evaluation.report.sounds import wav
from vqaudio.evaluation.report.templates import template

Wave = npt.NDArray[np.float32]

REFERENCE = "original"
ANCHOR = "anchor, 3.5 kHz"
PAGES = ("abx.html", "mushra.html")
_ANCHOR_HZ = 3500.0
_ANCHOR_TAPS = 511


@dataclass(frozen=True, eq=False)
class ListeningCase:
    """One utterance by every system: waves ``[T]`` by the system's name, of one length, in time and of one level."""

    name: str
    sample_rate_hz: int
    sounds: dict[str, Wave]


def anchor_of(wave: Wave, sample_rate_hz: int) -> Wave:
    """``wave[T]`` without what lies above 3.5 kHz, in time with it: the low anchor of BS.1534."""
    from scipy.signal import fftconvolve, firwin

    if sample_rate_hz <= 2 * _ANCHOR_HZ:
        return wave
    return fftconvolve(wave, firwin(_ANCHOR_TAPS, _ANCHOR_HZ, fs=sample_rate_hz), "same").astype(np.float32)


def listening_files(title: str, cases: Sequence[ListeningCase]) -> Iterator[tuple[str, bytes]]:
    """The files of both pages by their paths in the folder.

    Args:
        title: of both pages.
        cases: in each the system ``original`` is the reference. The pages offer the systems of the first case first.

    Raises:
        ConfigError: Jinja2 is not installed.
    """
    abx, mushra = [], []
    for case in cases:
        anchor = {ANCHOR: anchor_of(case.sounds[REFERENCE], case.sample_rate_hz)}
        files = {}
        for system, wave in (case.sounds | anchor).items():
            data = wav(wave, case.sample_rate_hz)
            # By utterance and system, so that two systems with equal sound have two files.
            name = hashlib.sha256(f"{case.name}\0{system}\0".encode() + data).hexdigest()[:20]
            files[system] = f"sounds/{name}.wav"
            yield files[system], data
        abx.append({"name": case.name, "sounds": {name: files[name] for name in case.sounds}})
        mushra.append({"name": case.name, "sounds": files})
    systems = list(dict.fromkeys(system for case in cases for system in case.sounds))
    material: dict[str, dict[str, Any]] = {
        "abx.html": {"systems": systems, "cases": abx},
        "mushra.html": {"reference": REFERENCE, "cases": mushra},
    }
    for page in PAGES:
        yield page, template(page).render(title=title, material=material[page]).encode()
