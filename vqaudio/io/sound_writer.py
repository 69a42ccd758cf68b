"""Sound files, written block by block.

Blocks are ``float32`` NumPy arrays ``[channels, n]``: nothing here holds a whole recording. Full scale is 1.0.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO, Self, cast

import numpy as np
import soundfile

from vqaudio.arrays import Block
from vqaudio.errors import SoundError
from vqaudio.io.atomic import atomic_path
from vqaudio.io.sound_library import Sequential, Source, Watched, name_of, os_error, reason_of


@dataclass(frozen=True)
class _Format:
    container: str
    encoding: str = "PCM_16"
    rates_hz: range | tuple[int, ...] = range(1, 2**31)
    max_channels: int = 1024
    max_bytes: int = 2**62


_FOUR_GIB = 2**32 - 4096  # 32-bit lengths, less some room for headers
_MP3_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_AIFF, _VORBIS = _Format("AIFF", max_bytes=_FOUR_GIB), _Format("OGG", "VORBIS", range(1, 200_001), 255)
_FORMATS = {
    "wav": _Format("WAV", max_bytes=_FOUR_GIB),
    "flac": _Format("FLAC", rates_hz=range(1, 655_351), max_channels=8),
    "ogg": _VORBIS,
    "oga": _VORBIS,
    "opus": _Format("OGG", "OPUS", (8000, 12000, 16000, 24000, 48000), 255),
    "mp3": _Format("MP3", "MPEG_LAYER_III", _MP3_RATES_HZ, 2),
    "aiff": _AIFF,
    "aif": _AIFF,
    "au": _Format("AU", max_bytes=_FOUR_GIB),
    "caf": _Format("CAF"),
    "w64": _Format("W64"),
    "rf64": _Format("RF64"),
}
_WRITTEN_FRAMES = 16384  # libvorbis puts what it is given on the stack: no more than this at once


def _known_format(name: str, format: str, sample_rate_hz: int, channels: int) -> _Format:
    chosen = _FORMATS.get(format.lower())
    if chosen is None:
        what = f"format '{format}' is not known" if format else "has no suffix that names a format"
        raise SoundError(f"{name}: {what}; choose one of {', '.join(_FORMATS)}")
    if sample_rate_hz not in chosen.rates_hz:
        rates = chosen.rates_hz
        may = f"{rates[0]} to {rates[-1]}" if isinstance(rates, range) else "only " + ", ".join(map(str, rates))
        raise SoundError(f"{name}: {format} cannot hold {sample_rate_hz} Hz ({may} Hz); choose wav or another rate")
    if not 1 <= channels <= chosen.max_channels:
        raise SoundError(f"{name}: {format} cannot hold {channels} channels (1 to {chosen.max_channels}); choose wav")
    return chosen


class SoundWriter:
    """A sound file being written; a context manager that completes the file when its body succeeds.

    ``target`` is a path or a binary file; one that cannot seek gets the whole file when all is written. ``format`` is a
    suffix such as ``"wav"``: by default the path's own, and WAV for a file. Integer formats are 16-bit PCM. ``clipped``
    counts the samples beyond -1..1 that were cut to it. ``comment`` goes into the file's tags, where it has any. Raises
    :class:`SoundError` before touching ``target`` where the format is unknown or cannot hold the rate or the channels.
    """

    def __init__(
        self, target: Source, sample_rate_hz: int, channels: int, format: str | None = None, comment: str = ""
    ) -> None:
        self.name = name_of(target)
        if format is None:
            format = os.path.splitext(target)[1][1:] if isinstance(target, str | os.PathLike) else "wav"
        self.channels = channels
        self.clipped = 0
        self._frames = 0
        self._format = _known_format(self.name, format, sample_rate_hz, channels)
        self._sound: Sequential | None = None
        try:
            self._target = open(target, "wb") if isinstance(target, str | os.PathLike) else target  # noqa: SIM115
            self._owns_target = self._target is not target
            self._file = self._target
            if not self._target.seekable():
                self._file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115
            self._sound = self._open(sample_rate_hz)
            with suppress(soundfile.LibsndfileError):  # of a format without tags
                if comment:
                    self._sound.comment = comment
        except (OSError, ValueError) as error:
            raise os_error(self.name, error, "write") from error

    def _open(self, sample_rate_hz: int) -> Sequential:
        kind = {"format": self._format.container, "subtype": self._format.encoding, "closefd": False}
        self._watched = Watched(self._file)
        try:
            return Sequential(self._watched, "w", sample_rate_hz, self.channels, **kind)
        except soundfile.LibsndfileError as error:
            self._discard()
            raise SoundError(f"{self.name}: cannot write: {reason_of(error)}") from error

    def _check(self) -> None:
        """Raises what has failed by now."""
        if self._watched.error:
            raise os_error(self.name, self._watched.error, "write") from self._watched.error

    def write(self, block: Block) -> None:
        """Append a block ``[channels, n]``, cut to -1..1. A full disk or format raises :class:`SoundError`."""
        assert self._sound is not None and block.ndim == 2 and block.shape[0] == self.channels
        self.clipped += int(np.count_nonzero(np.abs(block) > 1.0))
        self._frames += block.shape[1]
        if self._frames * self.channels * 2 > self._format.max_bytes:
            raise SoundError(f"{self.name}: {self._format.container} ends at 4 GiB; choose w64, rf64, caf or flac")
        samples = np.clip(block.T, -1.0, 1.0).astype(np.float32)
        try:
            for start in range(0, len(samples), _WRITTEN_FRAMES):
                self._sound.write(samples[start : start + _WRITTEN_FRAMES])
        except soundfile.LibsndfileError as error:
            raise SoundError(f"{self.name}: cannot write: {reason_of(error)}") from error
        self._check()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def close(self) -> None:
        """Complete the file. Raises :class:`SoundError` where its last part cannot be written."""
        if self._sound is None:
            return
        try:
            self._sound.close()
            self._check()
            if self._file is not self._target:
                self._file.seek(0)
                shutil.copyfileobj(self._file, self._target)
            self._target.flush()
        except (OSError, soundfile.LibsndfileError) as error:
            raise os_error(self.name, error, "write") from error
        finally:
            self._discard()

    def _discard(self) -> None:
        if self._sound is not None:
            self._sound.close()
            self._sound = None
        if self._file is not self._target:
            self._file.close()
        if self._owns_target:
            with suppress(OSError):  # of what could not be flushed, which was told
                self._target.close()


@contextmanager
def sound_file(
    path: str | os.PathLike[str], overwrite: bool, sample_rate_hz: int, channels: int, comment: str = ""
) -> Iterator[SoundWriter]:
    """Gives the writer of the sound file ``path``, which appears whole or not at all.

    Raises:
        OutputError: see :func:`vqaudio.io.atomic.atomic_path`.
        SoundError: the suffix names no format, or one that cannot hold such sound.
    """
    with atomic_path(path, overwrite) as temporary:
        try:
            with SoundWriter(temporary, sample_rate_hz, channels, comment=comment) as writer:
                yield writer
        except SoundError as error:  # which names the file that it saw
            raise SoundError(str(error).replace(str(temporary), os.fspath(path))) from error
