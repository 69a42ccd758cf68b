"""What reading and writing sound files share: libsndfile as it is used here, and its words for what went wrong."""

import os
from typing import BinaryIO

import soundfile

from vqaudio.errors import MissingSoundError, SoundError
from vqaudio.io.atomic import FULL

Source = str | os.PathLike[str] | BinaryIO


class Sequential(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A sound file read or written from end to end.

    soundfile seeks after each block of a seekable file and cuts reads to the header's frame count. Seeking fails or is
    inexact in compressed and in damaged files, and headers lie; called non-seekable, it simply reads on until the end.
    """

    def seekable(self) -> bool:
        """False, whatever the file is."""
        return False


class Watched:
    """A file that libsndfile writes, and that fails in silence: the first failure is kept in ``error``.

    The library drops what fails as it completes a file: a full disk would cost the end of a FLAC or an Ogg file without
    a word. What it does notice, it has no words for.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """How many bytes ``data`` has."""
        if self.error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self.error = error
        return len(data)

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        """Where the file then is."""
        try:
            return self._file.seek(place, whence)
        except OSError as error:  # what was held back until now is written first
            self.error = self.error or error
            return place

    def tell(self) -> int:
        """Where the file is."""
        return self._file.tell()


def name_of(source: Source) -> str:
    """What messages call it."""
    name = os.fspath(source) if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    standard = {"<stdin>": "standard input", "<stdout>": "standard output"}
    return standard.get(name, name) if isinstance(name, str) else "sound stream"


def reason_of(error: soundfile.LibsndfileError) -> str:
    """What libsndfile says, as part of a sentence."""
    text: str = error.error_string.strip()
    return text.removeprefix("Error : ").removeprefix("System error : ").rstrip(".")


def os_error(name: str, error: Exception, doing: str) -> SoundError:
    """The package's error for one of the operating system, met while ``doing`` (a verb) something with ``name``."""
    reasons: dict[type[Exception], str] = {
        FileNotFoundError: "no such file or folder; check the path",
        IsADirectoryError: "is a folder, not a sound file; name a file in it",
        PermissionError: "permission denied; change the file's permissions or choose another place",
    }
    reason = reasons.get(type(error)) or getattr(error, "strerror", None) or error
    if isinstance(error, OSError) and error.errno in FULL:
        reason = f"{reason}; choose another place, or make room there"
    kind = MissingSoundError if isinstance(error, FileNotFoundError) else SoundError
    return kind(f"{name}: cannot {doing}: {reason}")
