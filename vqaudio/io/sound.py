"""Sound files, read and written block by block.

Blocks are ``float32`` NumPy arrays ``[channels, n]``: nothing here holds a whole recording. Full scale is 1.0.
"""

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Self, cast

import numpy as np
import soundfile

from vqaudio.arrays import Block
from vqaudio.errors import SoundError
from vqaudio.io.sound_layout import Window, layout_of

Source = str | os.PathLike[str] | BinaryIO

# --- Reading ---------------------------------------------------------------------------------------------------------

_COUNTING_FRAMES = 65536  # read at once where only their number matters
_SALVAGED_FRAMES = 1024  # read at once where damage is near: more is saved before it
_NO_COUNT = 2**40  # frames from which on a header's number stands for "not known"
_TALKS = (
    b"ID3",
    b"\xff\xfb",
    b"\xff\xf3",
    b"\xff\xfa",
    b"\xff\xf2",
)  # beginnings of MP3, whose library prints warnings


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A sound file read or written from end to end.

    soundfile seeks after each block of a seekable file and cuts reads to the header's frame count. Seeking fails or is
    inexact in compressed and in damaged files, and headers lie; called non-seekable, it simply reads on until the end.
    """

    def seekable(self) -> bool:
        return False


def _name(source: Source) -> str:
    name = os.fspath(source) if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    standard = {"<stdin>": "standard input", "<stdout>": "standard output"}
    return standard.get(name, name) if isinstance(name, str) else "sound stream"


def _reason(error: soundfile.LibsndfileError) -> str:
    text: str = error.error_string.strip()
    return text.removeprefix("Error : ").removeprefix("System error : ").rstrip(".")


def _os_error(name: str, error: Exception, doing: str) -> SoundError:
    reasons: dict[type[Exception], str] = {
        FileNotFoundError: "no such file or folder; check the path",
        IsADirectoryError: "is a folder, not a sound file; name a file in it",
        PermissionError: "permission denied; change the file's permissions or choose another place",
    }
    reason = reasons.get(type(error)) or getattr(error, "strerror", None) or error
    return SoundError(f"{name}: cannot {doing}: {reason}")


def _seekable_bytes(source: Source, name: str) -> BinaryIO:
    """``source`` as an open file that can seek: a pipe (also one with a path) is first copied to a temporary file."""
    try:
        file = open(source, "rb") if isinstance(source, str | os.PathLike) else source  # noqa: SIM115
        if file.seekable():
            return file
        copy = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115
        try:
            shutil.copyfileobj(file, copy)
        except BaseException:
            copy.close()
            raise
        finally:
            if file is not source:
                file.close()
        return copy
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _os_error(name, error, "read") from error


class SoundReader:
    """A sound file of any format, sample rate and number of channels that libsndfile reads; a context manager.

    ``source`` is a path or a binary file, which is read from its start and left open. Pipes may be given, too. What is
    no readable sound file raises :class:`SoundError`; of one that is damaged or cut, what lies before is read.

    Attributes:
        name: of the file, for messages.
        sample_rate_hz: as its header has it.
        channels: as its header has them.
        note: what was mended to read it; "" if nothing was.
        problem: once a pass over it has ended, what is missing, and from which second on; "" if nothing is.
    """

    def __init__(self, source: Source) -> None:
        self.name = _name(source)
        self._file = _seekable_bytes(source, self.name)
        self._owns_file = self._file is not source
        self._frames: int | None = None
        self._position = 0
        try:
            self._size = self._file.seek(0, os.SEEK_END)
            if self._size == 0:
                raise SoundError(f"{self.name}: is empty (0 bytes); record or copy it again")
            layout = layout_of(self._file, self._size, self.name)
            self.note, self.problem = layout.note, layout.problem
            self._parts, self._part = layout.parts, 0
            self._talks = self._begins_with(_TALKS)
            self._most = _COUNTING_FRAMES
            self._sound = self._open()
        except BaseException:
            if self._owns_file:
                self._file.close()
            raise
        self.sample_rate_hz: int = self._sound.samplerate
        self.channels: int = self._sound.channels

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened here, and delete the temporary copy of a pipe."""
        self._sound.close()
        if self._owns_file:
            self._file.close()

    def _rewind(self) -> None:
        self._sound.close()
        self._part = 0
        self._sound = self._open()  # afresh, for seeking is not exact in every format
        self._position = 0

    def _begins_with(self, heads: tuple[bytes, ...]) -> bool:
        self._file.seek(0)
        return self._file.read(3).startswith(heads)

    def _open(self) -> _Sequential:
        try:
            part = self._parts[self._part]
            self._file.seek(0)
            whole = (part.start, part.stop, part.patches) == (0, self._size, ())
            with _hushed(self._talks):
                return _Sequential(self._file if whole else Window(self._file, part, self.name))
        except soundfile.LibsndfileError as error:
            remedy = f'convert it first, e.g. ffmpeg -i "{self.name}" out.wav'
            raise SoundError(
                f"{self.name}: is no sound file that libsndfile reads ({_reason(error)}); {remedy}"
            ) from error
        except TypeError as error:  # soundfile's answer to a name that ends in .raw
            raise SoundError(f"{self.name}: headerless samples are not supported; convert it to WAV first") from error

    @property
    def frames(self) -> int:
        """How many frames (samples per channel) there are, counted by decoding and not as the header has it.

        Known at no cost once a pass over the file has ended; else one such pass is made, and the position kept.
        """
        if self._frames is None:
            position = self._position
            self._rewind()
            while len(self._read(_COUNTING_FRAMES)):
                pass
            self._rewind()
            while self._position < position:
                self._read(min(position - self._position, _COUNTING_FRAMES))
        assert self._frames is not None
        return self._frames

    def blocks(self, frames: int) -> Iterator[Block]:
        """The file from its beginning, in blocks ``[channels, frames]`` of which the last may be shorter.

        Integers are scaled to -1..1; floats may go beyond. NaN, infinity and damaged data raise :class:`SoundError`
        with their place in seconds.
        """
        assert frames > 0
        if self._position:
            self._rewind()
        while len(samples := self._read(frames)):
            finite = np.isfinite(samples).all(axis=1)
            if not finite.all():
                place_s = (self._position - len(samples) + int(np.argmin(finite))) / self.sample_rate_hz
                remedy = "cut that part out or repair what wrote it"
                raise SoundError(f"{self.name}: holds NaN or infinity, first at {place_s:.6f} s; {remedy}")
            yield np.ascontiguousarray(samples.T)

    def _read(self, frames: int) -> Block:
        """The next ``[n, channels]`` samples, ``n <= frames``; none at the end."""
        if self._frames is not None and self.problem:  # a pass before has found where the sound ends
            frames = min(frames, self._frames - self._position)
        try:
            with _hushed(self._talks):
                samples = self._sound.read(min(frames, self._most), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            return self._salvaged(error)
        self._position += len(samples)
        if len(samples) == 0:
            if self._part + 1 < len(self._parts):
                self._sound.close()
                self._part += 1
                self._sound = self._open()
                return self._read(frames)
            self._end()
        return cast(Block, samples)

    def _salvaged(self, error: soundfile.LibsndfileError) -> Block:
        """What lies between the last block and damage, in small blocks; at last none, and :attr:`problem` tells."""
        if self._most > _SALVAGED_FRAMES:
            position, self._most = self._position, _SALVAGED_FRAMES
            self._rewind()
            while self._position < position and len(self._read(position - self._position)):
                pass
            return self._read(self._most)
        place = f"damaged or cut short after {self._position / self.sample_rate_hz:.3f} s"
        self.problem = f"{place} ({_reason(error)}); copy it again or cut it there"
        if self._position == 0:
            raise SoundError(f"{self.name}: {self.problem}") from error
        self._frames = self._position
        return np.zeros((0, self.channels), np.float32)

    def _end(self) -> None:
        self._frames = self._position
        told = self._sound.frames if len(self._parts) == 1 else 0
        if self._position < told < _NO_COUNT and not self.problem:
            found, missing = (frames / self.sample_rate_hz for frames in (self._position, told - self._position))
            self.problem = f"ends after {found:.3f} s, {missing:.3f} s before its header says; copy it again"


_HUSHING = threading.Lock()


@contextmanager
def _hushed(wanted: bool) -> Iterator[None]:
    """Keeps what a library prints by itself from standard error, where ``wanted``; all else is quiet meanwhile."""
    if not wanted or sys.__stderr__ is None:
        yield
        return
    with _HUSHING:
        kept = os.dup(2)
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def spool(file: BinaryIO) -> SoundReader:
    """A reader of a byte stream such as ``sys.stdin.buffer``, through a temporary copy (deleted on close) of a pipe."""
    return SoundReader(file)


# --- Writing ---------------------------------------------------------------------------------------------------------


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
    counts the samples beyond -1..1 that were cut to it. Raises :class:`SoundError` before touching ``target`` where the
    format is unknown or cannot hold the sample rate or the channels.
    """

    def __init__(self, target: Source, sample_rate_hz: int, channels: int, format: str | None = None) -> None:
        self.name = _name(target)
        if format is None:
            format = os.path.splitext(target)[1][1:] if isinstance(target, str | os.PathLike) else "wav"
        self.channels = channels
        self.clipped = 0
        self._frames = 0
        self._format = _known_format(self.name, format, sample_rate_hz, channels)
        self._sound: _Sequential | None = None
        try:
            self._target = open(target, "wb") if isinstance(target, str | os.PathLike) else target  # noqa: SIM115
            self._owns_target = self._target is not target
            self._file = self._target
            if not self._target.seekable():
                self._file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115
            self._sound = self._open(sample_rate_hz)
        except (OSError, ValueError) as error:
            raise _os_error(self.name, error, "write") from error

    def _open(self, sample_rate_hz: int) -> _Sequential:
        try:  # by descriptor where there is one: only so does libsndfile report a full disk
            self._file.flush()
            file: BinaryIO | int = self._file.fileno()
        except OSError:  # a BytesIO
            file = self._file
        kind = {"format": self._format.container, "subtype": self._format.encoding, "closefd": False}
        try:
            return _Sequential(file, "w", sample_rate_hz, self.channels, **kind)
        except soundfile.LibsndfileError as error:
            self._discard()
            raise SoundError(f"{self.name}: cannot write: {_reason(error)}") from error

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
            raise SoundError(f"{self.name}: cannot write: {_reason(error)}") from error

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
            if self._file is not self._target:
                self._file.seek(0)
                shutil.copyfileobj(self._file, self._target)
            self._target.flush()
        except (OSError, soundfile.LibsndfileError) as error:
            raise _os_error(self.name, error, "write") from error
        finally:
            self._discard()

    def _discard(self) -> None:
        if self._sound is not None:
            self._sound.close()
            self._sound = None
        if self._file is not self._target:
            self._file.close()
        if self._owns_target:
            self._target.close()
