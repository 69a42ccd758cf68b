"""What a metric found of a sound is kept by checksum, so that a second evaluation measures only what changed."""

import hashlib
import json
import os
import sqlite3
from pathlib import Path

import numpy as np
import numpy.typing as npt

Wave = npt.NDArray[np.float32]
Finding = dict[str, float | str]

_SCHEMA = "CREATE TABLE IF NOT EXISTS findings (key TEXT PRIMARY KEY, finding TEXT NOT NULL)"
_BUSY_S = 30.0
IN_MEMORY = Path(":memory:")  # a cache that ends with its user


def default_cache() -> Path:
    """The user's own file, below ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "vqaudio" / "metrics.sqlite3"


def checksum(*waves: Wave) -> str:
    """SHA-256 of sounds, length and samples."""
    digest = hashlib.sha256()
    for wave in waves:
        digest.update(str(len(wave)).encode())
        digest.update(np.ascontiguousarray(wave, "<f4").data)
    return digest.hexdigest()


class MetricCache:
    """Findings by key, in one SQLite file that several processes may use; a damaged or unwritable one is not used.

    A cache never fails an evaluation: what cannot be read is measured, what cannot be kept is measured again.
    """

    def __init__(self, path: Path) -> None:
        """``path`` is made with its folders, if it is not there."""
        self._connection: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
            connection.execute(_SCHEMA)
        except (OSError, sqlite3.Error):
            return
        self._connection = connection

    def find(self, key: str) -> Finding | None:
        """What was kept under ``key``."""
        if self._connection is None:
            return None
        try:
            row = self._connection.execute("SELECT finding FROM findings WHERE key = ?", (key,)).fetchone()
            return json.loads(row[0]) if row else None
        except (sqlite3.Error, ValueError):
            return None

    def keep(self, key: str, finding: Finding) -> None:
        """Keeps ``finding``, in place of an earlier one."""
        if self._connection is None:
            return
        try:
            self._connection.execute("INSERT OR REPLACE INTO findings VALUES (?, ?)", (key, json.dumps(finding)))
        except sqlite3.Error:
            self._connection = None

    def close(self) -> None:
        """Closes the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
