"""The files that a command is to work on: named one by one, by folders, or by patterns."""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

STANDARD = "-"  # standard input or output


@dataclass(frozen=True)
class Inputs:
    """Files that were named, one by one or by folders and patterns; ``below`` has the sub-folder of those in folders.

    ``several`` says whether results need a folder: also where a folder holds one file.
    """

    sources: list[str]
    below: dict[str, str]
    several: bool


def expanded(inputs: Sequence[str], suffixes: Iterable[str]) -> Inputs:
    """The files that ``inputs`` mean: a folder is all files in it with one of ``suffixes``, however deep; a pattern
    (``*``, ``?``, ``[...]``, ``**``) that names no file itself is what matches it.

    A folder that holds none, and a pattern that matches none, stay as they are: who opens them says what is wrong.
    """
    wanted, sources, below = frozenset(suffixes), list[str](), dict[str, str]()
    several = len(inputs) > 1
    for name in inputs:
        found = _found(name, wanted)
        if os.path.isdir(name):
            below |= {path: os.path.relpath(os.path.dirname(path), name) for path in found}
        several |= bool(found)
        sources += found or [name]
    return Inputs(sources, below, several)


def _found(name: str, suffixes: frozenset[str]) -> list[str]:
    if name == STANDARD:
        return []
    if os.path.isdir(name):
        paths = (os.path.join(here, file) for here, _, files in os.walk(name) for file in files)
        return sorted(path for path in paths if Path(path).suffix.lower() in suffixes)
    if glob.has_magic(name) and not os.path.lexists(name):
        return sorted(path for path in glob.glob(name, recursive=True) if os.path.isfile(path))
    return []


def sound_and_picture_suffixes() -> frozenset[str]:
    """Of what encode takes out of a folder."""
    from vqaudio.io.corpora import SOUND_SUFFIXES
    from vqaudio.io.image import READ_SUFFIXES

    return SOUND_SUFFIXES | READ_SUFFIXES


def sound_suffixes() -> frozenset[str]:
    """Of what a verb for sounds takes out of a folder."""
    from vqaudio.io.corpora import SOUND_SUFFIXES

    return SOUND_SUFFIXES
