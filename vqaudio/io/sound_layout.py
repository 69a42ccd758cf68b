"""Where the sound lies in a file: what headers say wrongly or not at all, before libsndfile reads it.

Sizes that were never written, files that were cut, tags behind the sound, Ogg streams that follow each other: each is
found by walking over the file's own structure, and mended by showing libsndfile other bytes. Nothing is written.
"""

import io
import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from vqaudio.errors import SoundError
from vqaudio.io.sound_chunks import told_by

_RIFF_HEAD, _CHUNK_HEAD = 12, 8
_UNWRITTEN = 0x7FFF0000  # sizes from here on stand for "not known" in what streams write
_LARGEST_SIZE = 0xFFFFFFFF
_LARGEST_OFFSET = 1 << 62
_TAIL = 1 << 16  # bytes at the end of a WAV in which chunks behind the sound are looked for
_BEHIND = (
    b"LIST",
    b"id3 ",
    b"ID3 ",
    b"bext",
    b"fact",
    b"cue ",
    b"JUNK",
    b"junk",
    b"PEAK",
    b"smpl",
    b"iXML",
    b"_PMX",
    b"afsp",
)
_CUT = "ends {}before its header says: it was cut; copy it again"
_ALL_TAKEN = "its header does not say how long it is: all {:.3f} s that follow are taken"
_ID3V1, _APE_FOOTER = 128, 32
_OGG_PAGE, _FIRST, _LAST = 27, 2, 4  # bytes of a page's head; flags of a stream's first and last page


@dataclass(frozen=True)
class Part:
    """Bytes ``start`` to ``stop`` of the file, a sound by themselves, with other bytes at some places."""

    start: int
    stop: int
    patches: tuple[tuple[int, bytes], ...] = ()


@dataclass(frozen=True)
class Layout:
    """The parts of a file, one after the other in time. ``note`` tells what was mended, ``problem`` what is missing."""

    parts: tuple[Part, ...]
    note: str = ""
    problem: str = ""


class Window(io.RawIOBase):
    """A part of an open file, as if it were the whole file.

    Nothing raises here: what is raised in a call that comes from libsndfile is printed, and forgotten. ``error`` keeps
    what went wrong while reading.
    """

    def __init__(self, file: BinaryIO, part: Part, name: str) -> None:
        self.name = name
        self.error: OSError | ValueError | None = None
        self._file, self._part, self._at = file, part, 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As that of a file."""
        size = self._part.stop - self._part.start
        self._at = max(
            0, min(offset, _LARGEST_OFFSET) + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: size}[whence]
        )
        return self._at

    def tell(self) -> int:
        """As that of a file."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """As that of a file; 0 where reading fails."""
        first = self._part.start + self._at
        try:
            self._file.seek(first)
            data = self._file.read(max(0, min(len(buffer), self._part.stop - first)))
        except (OSError, ValueError) as error:
            self.error = error
            return 0
        if self._part.patches:
            data = self._patched(data, first)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _patched(self, found: bytes, first: int) -> bytes:
        data = bytearray(found)
        for place, patch in self._part.patches:
            for at, byte in enumerate(patch, place - first):
                if 0 <= at < len(data):
                    data[at] = byte
        return bytes(data)


def layout_of(file: BinaryIO, size: int, name: str) -> Layout:
    """The layout of the ``size`` bytes of ``file``, an open file that can seek.

    Raises:
        SoundError: Ogg streams that follow each other are not of one sample rate and number of channels.
    """
    head = _at(file, 0, 4)
    if head == b"RIFF" and _at(file, 8, 4) == b"WAVE":
        return _wav(file, size)
    if head == b"OggS":
        return _ogg(file, size, name)
    if head == b"fLaC":
        return Layout((Part(0, _without_tags(file, size)),))
    return _as_told(file, size)


def _at(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)


def _as_told(file: BinaryIO, size: int) -> Layout:
    """That of a file whose header has one length: it holds that much, or was cut, or the length was never written."""
    told, whole = told_by(file, size), (Part(0, size),)
    if told is None:
        return Layout(whole)
    missing_s, known = told.missing_s(size), told.length is not None
    sound = (size - told.place) // told.frame_bytes * told.frame_bytes
    if known and not missing_s:
        return Layout(whole)
    patches = told.patches(sound) if sound > 0 else ()
    parts = (Part(0, told.place + sound, patches),) if patches else whole
    if known:
        return Layout(parts, problem=_CUT.format("" if math.isnan(missing_s) else f"{missing_s:.3f} s "))
    return Layout(parts, _ALL_TAKEN.format(sound / told.bytes_per_s) if patches and told.bytes_per_s else "")


# ---------------------------------------------------------------------------------------------------------------- WAV


def _chunks(file: BinaryIO, place: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, place of the content and size of each chunk from ``place`` on; ends where none can begin."""
    while place + _CHUNK_HEAD <= stop:
        name, length = struct.unpack("<4sI", _at(file, place, _CHUNK_HEAD))
        yield name, place + _CHUNK_HEAD, length
        place += _CHUNK_HEAD + length + length % 2


def _wav(file: BinaryIO, size: int) -> Layout:
    whole = Layout((Part(0, size),))
    frame_bytes = rate_hz = 0
    for name, place, length in _chunks(file, _RIFF_HEAD, size):
        if name == b"fmt ":
            rate_hz, _, frame_bytes = struct.unpack("<IIH", _at(file, place + 4, 10).ljust(10, b"\0"))
        if name != b"data":
            continue
        held = size - place
        if not frame_bytes or not rate_hz or (0 < length <= held):
            return whole
        if 0 < length < _UNWRITTEN:
            missing = (length - held) // frame_bytes / rate_hz
            return Layout(whole.parts, problem=_CUT.format(f"{missing:.3f} s "))
        return _unwritten(file, size, place, frame_bytes, rate_hz, whole)
    return whole


def _unwritten(file: BinaryIO, size: int, place: int, frame_bytes: int, rate_hz: int, whole: Layout) -> Layout:
    """That of a WAV whose sound begins at ``place`` and whose header does not say where it ends."""
    stop = _end_of_sound(file, place, size)
    sound = (stop - place) // frame_bytes * frame_bytes
    if sound == 0 or stop - _CHUNK_HEAD > _LARGEST_SIZE:
        return whole
    patches = ((4, struct.pack("<I", place + sound - _CHUNK_HEAD)), (place - 4, struct.pack("<I", sound)))
    return Layout((Part(0, place + sound, patches),), _ALL_TAKEN.format(sound // frame_bytes / rate_hz))


def _end_of_sound(file: BinaryIO, place: int, size: int) -> int:
    """Where chunks begin that lead to the very end of the file, or else its end."""
    first = max(place, size - _TAIL)
    tail = _at(file, first, size - first)
    starts = sorted(at for name in _BEHIND for at in _places(tail, name))
    for at in starts:
        end = at
        while end + _CHUNK_HEAD <= len(tail) and (end == at or tail[end : end + 4] in _BEHIND):
            (length,) = struct.unpack_from("<I", tail, end + 4)
            end += _CHUNK_HEAD + length + length % 2
        if len(tail) <= end <= len(tail) + 1:  # the last may lack its padding
            return first + at
    return size


def _places(data: bytes, name: bytes) -> Iterator[int]:
    at = data.find(name)
    while at >= 0:
        yield at
        at = data.find(name, at + 1)


# --------------------------------------------------------------------------------------------------------------- FLAC


def _without_tags(file: BinaryIO, size: int) -> int:
    """Where the sound ends that ID3v1 and APE tags follow."""
    if size > _ID3V1 and _at(file, size - _ID3V1, 3) == b"TAG":
        size -= _ID3V1
    footer = _at(file, max(0, size - _APE_FOOTER), _APE_FOOTER)
    if footer[:8] == b"APETAGEX":
        length, flags = struct.unpack("<I4xI", footer[12:24])
        size -= min(size, length + _APE_FOOTER * (flags >> 31))
    return size


# ---------------------------------------------------------------------------------------------------------------- Ogg


@dataclass(frozen=True)
class _Page:
    place: int
    flags: int
    serial: int
    head: bytes  # of its content


def _pages(file: BinaryIO, size: int) -> Iterator[_Page | None]:
    """The pages of an Ogg file; None, and no more, where one is cut or something else stands."""
    place = 0
    while place < size:
        head = _at(file, place, _OGG_PAGE)
        if len(head) < _OGG_PAGE or head[:4] != b"OggS":
            yield None
            return
        lengths = file.read(head[26])
        stop = place + _OGG_PAGE + head[26] + sum(lengths)
        if len(lengths) < head[26] or stop > size:
            yield None
            return
        yield _Page(place, head[5], int.from_bytes(head[14:18], "little"), file.read(min(19, sum(lengths))))
        place = stop


def _ogg(file: BinaryIO, size: int, name: str) -> Layout:
    """A new part begins with the first page of a stream that follows pages that are none."""
    starts, formats, last, whole = [0], [], None, True
    for page in _pages(file, size):
        if page is None:
            whole = False
            break
        if page.flags & _FIRST:
            if last is not None and not last.flags & _FIRST:
                starts.append(page.place)
            formats.append(_format_of(page.head))
        last = page
    known = {form for form in formats if form}
    if len(starts) > 1 and len(known) > 1:
        remedy = f'convert it first, e.g. ffmpeg -i "{name}" out.wav'
        raise SoundError(f"{name}: holds streams of different sample rates or channels, one after the other; {remedy}")
    parts = tuple(Part(start, stop) for start, stop in zip(starts, [*starts[1:], size], strict=True))
    cut = not whole or last is None or not last.flags & _LAST
    return Layout(parts, problem="ends in the middle: it was cut; copy it again" if cut else "")


def _format_of(head: bytes) -> tuple[int, int] | None:
    """Channels and sample rate that a stream's first page tells, of Vorbis and Opus."""
    if head[:7] == b"\x01vorbis" and len(head) >= 16:
        return head[11], int.from_bytes(head[12:16], "little")
    return (head[9], 48000) if head[:8] == b"OpusHead" and len(head) >= 10 else None
