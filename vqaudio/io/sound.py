"""Sound files, read block by block.

Blocks are ``float32`` NumPy arrays ``[channels, n]``: nothing here holds a whole recording. Full scale is 1.0.
"""

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Self, cast

import numpy as np
import soundfile

from vqaudio.arrays import Block
from vqaudio.errors import SoundError
from vqaudio.io.sound_layout import Window, layout_of
from vqaudio.io.sound_library import Sequential, Source, name_of, os_error, reason_of

_COUNTING_FRAMES = 65536  # read at once where only their number matters
_SALVAGED_FRAMES = 1024  # read at once where damage is near: more is saved before it
_NO_COUNT = 2**40  # frames from which on a header's number stands for "not known"
_SILENT = (b"RIFF", b"RF64", b"riff", b"fLaC", b"OggS", b"FORM", b".snd", b"caff")  # beginnings of what is no MP3
_MPEG_IN_WAV = (0x50, 0x55)  # formats
_NOT_READ = (b"\xf0\x7e",)  # of MIDI sample dumps: libsndfile prints on standard output what it finds wrong there


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
        raise os_error(name, error, "read") from error


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
        self.name = name_of(source)
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
            head = self._head()
            self._talks = _talks(head)
            if head.startswith(_NOT_READ):
                raise SoundError(f"{self.name}: is a MIDI sample dump, which is not read; convert it to WAV first")
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
        self._close_sound()
        if self._owns_file:
            self._file.close()

    def _close_sound(self) -> None:
        with _hushed(self._talks):
            self._sound.close()

    def _rewind(self) -> None:
        self._close_sound()
        self._part = 0
        self._sound = self._open()  # afresh, for seeking is not exact in every format
        self._position = 0

    def _head(self) -> bytes:
        self._file.seek(0)
        return self._file.read(256)

    def _open(self) -> Sequential:
        try:
            self._window = Window(self._file, self._parts[self._part], self.name)
            with _hushed(self._talks):
                return Sequential(self._window)
        except soundfile.LibsndfileError as error:
            remedy = f'convert it first, e.g. ffmpeg -i "{self.name}" out.wav'
            raise SoundError(
                f"{self.name}: is no sound file that libsndfile reads ({reason_of(error)}); {remedy}"
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
        if self._window.error is not None:
            raise os_error(self.name, self._window.error, "read")
        self._position += len(samples)
        if len(samples) == 0:
            if self._part + 1 < len(self._parts):
                self._close_sound()
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
        self.problem = f"{place} ({reason_of(error)}); copy it again or cut it there"
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


def _talks(head: bytes) -> bool:
    """Says whether the library for MP3, which prints warnings, may come to read a file that begins with ``head``."""
    if head.startswith(b"RIFF"):
        at = head.find(b"fmt ")
        return at < 0 or int.from_bytes(head[at + 8 : at + 10], "little") in _MPEG_IN_WAV
    return not head.startswith(_SILENT)


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
