"""WebDataset tars: files that share a name up to the first dot are one sample. Listed by their headers alone."""

import itertools
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vqaudio.errors import DataError
from vqaudio.io.corpora import SOUND_SUFFIXES

_TEXTS = (".txt", ".transcript", ".text")
_LONGEST_TEXT = 1 << 20  # bytes of a transcript or of facts


class TarSample(NamedTuple):
    """A sound in a tar: ``size`` bytes from ``offset`` on; ``text`` and ``facts`` are those of the files beside it."""

    key: str
    name: str
    offset: int
    size: int
    text: str
    facts: dict[str, Any]


def samples(path: Path) -> Iterator[TarSample]:
    """The samples of a tar that hold a sound, in their order.

    Raises:
        DataError: it is no plain tar, or damaged.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            files = (member for member in tar if member.isfile())
            for key, members in itertools.groupby(files, lambda member: _key(member.name)):
                sample = _sample(tar, key, list(members))
                if sample is not None:
                    yield sample
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{path}: is no plain tar file, or damaged ({error}); unpack a compressed one first") from None


def _key(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.split(".")[0]


def _sample(tar: tarfile.TarFile, key: str, members: list[tarfile.TarInfo]) -> TarSample | None:
    text, facts, sound = "", dict[str, Any](), None
    for member in members:
        suffix = f".{member.name.rpartition('.')[2].lower()}"
        if suffix in SOUND_SUFFIXES:
            sound = sound or member
        elif suffix in _TEXTS and member.size <= _LONGEST_TEXT:
            text = _bytes(tar, member).decode("utf-8", "replace")
        elif suffix == ".json" and member.size <= _LONGEST_TEXT:
            facts = _facts(tar, member)
    return TarSample(key, sound.name, sound.offset_data, sound.size, text, facts) if sound else None


def _bytes(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file else b""


def _facts(tar: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, Any]:
    try:
        facts = json.loads(_bytes(tar, member))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{tar.name!s}: {member.name} is no JSON ({error}); mend it") from None
    return facts if isinstance(facts, dict) else {}
