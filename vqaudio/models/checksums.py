"""Checksums beside a model's files, which are held against them before the model is used."""

import hashlib
from functools import lru_cache
from pathlib import Path

from vqaudio.errors import ModelError
from vqaudio.models.folder import CONFIG_FILE, VOICES_FILE, WEIGHTS_FILE
from vqaudio.models.sources import SOURCES_FILE

SUMS_FILE = "SHA256SUMS"
# what decides how a model codes and speaks, and on what it may be measured
CHECKED = (CONFIG_FILE, WEIGHTS_FILE, SOURCES_FILE, VOICES_FILE)


def write_sums(folder: Path) -> None:
    """Writes the SHA-256 of those of :data:`CHECKED` that ``folder`` holds, in the form of ``sha256sum``."""
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in CHECKED if (folder / name).is_file()]
    (folder / SUMS_FILE).write_text("".join(lines), encoding="ascii")


@lru_cache(maxsize=16)
def check_sums(folder: Path) -> None:
    """Holds the files in ``folder`` against its checksums, once in a process.

    Raises:
        ModelError: a checksum is wrong or missing, or a file is.
    """
    try:
        lines = (folder / SUMS_FILE).read_text(encoding="ascii").splitlines()
        known = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        found = {name: _sha256(folder / name) for name in CHECKED if name in known or (folder / name).is_file()}
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: cannot be checked ({error}); install vqaudio anew") from None
    wrong = [name for name in found if found[name] != known.get(name)]
    if wrong or not {CONFIG_FILE, WEIGHTS_FILE} <= set(found):
        raise ModelError(f"{folder}: the checksum of {(wrong or [WEIGHTS_FILE])[0]} is wrong; install vqaudio anew")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
