"""Which files a model learnt from: their checksums lie beside its weights, so that nobody measures it on them."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from vqaudio.errors import ModelError

SOURCES_FILE = "training_files.txt"
_DIGITS = 16  # of SHA-256: two of a million files agree by chance once in ten million corpora


def file_checksum(path: Path) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS]


def write_sources(folder: Path, checksums: Iterable[str]) -> None:
    """Writes them, one a line, into a model's folder."""
    (folder / SOURCES_FILE).write_text("".join(f"{line}\n" for line in sorted(set(checksums))), encoding="ascii")


def read_sources(folder: Path) -> frozenset[str]:
    """Those of the model in ``folder``; none where it does not say.

    Raises:
        ModelError: the file is damaged.
    """
    path = folder / SOURCES_FILE
    try:
        lines = path.read_text(encoding="ascii").split()
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); copy the model anew") from None
    if any(len(line) != _DIGITS or set(line) - set("0123456789abcdef") for line in lines):
        raise ModelError(f"{path}: is damaged; copy the model anew")
    return frozenset(lines)
