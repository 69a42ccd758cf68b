"""Where the sound lies in AIFF, AU, CAF, RF64 and W64 files, and how much of it their headers promise.

Each file has one place where its length is told, in bytes of sound. A file that holds fewer was cut. RF64, W64 and AU
files whose lengths were never written, as programs leave them that were stopped or wrote to a pipe, get them here.
"""

import math
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

Patches = tuple[tuple[int, bytes], ...]

_UNKNOWN = (0, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)  # lengths that stand for "not known"
_MOST_CHUNKS = 4096  # before the sound
_W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # of every other name in a W64
_W64_HEAD = 24  # bytes of a chunk's name and size; the size counts them
_AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}  # of a sample, by encoding


class Told(NamedTuple):
    """What a header says of the sound: it begins at ``place`` and has ``length`` bytes, None where it does not say.

    ``bytes_per_s`` is 0 where it cannot be known. ``patches`` gives, for the bytes of sound that there are,
    what to show libsndfile instead of the header's own sizes.
    """

    place: int
    length: int | None
    bytes_per_s: float
    frame_bytes: int = 1
    patches: Callable[[int], Patches] = lambda sound: ()

    def missing_s(self, size: int) -> float:
        """Seconds that a file of ``size`` bytes lacks of what is told; 0 where nothing is missing."""
        if self.length is None or self.place + self.length <= size:
            return 0.0
        missing = self.place + self.length - max(size, self.place)
        return missing / self.bytes_per_s if self.bytes_per_s else math.nan


def told_by(file: BinaryIO, size: int) -> Told | None:
    """What the header of an open file of ``size`` bytes says; None for other formats, and where it makes no sense."""
    head = _at(file, 0, 16)
    readers = {b"FORM": _aiff, b".snd": _au, b"dns.": _au, b"caff": _caf, b"RF64": _rf64, b"riff": _w64}
    reader = readers.get(head[:4])
    try:
        return reader(file, size) if reader else None
    except struct.error:  # cut inside the header, which libsndfile tells
        return None


def _at(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)


def _chunks(file: BinaryIO, place: int, size: int, form: str, even: bool = True) -> Iterator[tuple[bytes, int, int]]:
    """Name, place of the content and length of each chunk from ``place`` on, whose heads are of ``form``."""
    head = struct.calcsize(form)
    for _ in range(_MOST_CHUNKS):
        if place + head > size:
            return
        name, length = struct.unpack(form, _at(file, place, head))
        yield name, place + head, length
        place += head + length + (length % 2 if even else 0)


def _rate(value: float) -> float:
    return value if math.isfinite(value) and value > 0 else 0.0


def _aiff(file: BinaryIO, size: int) -> Told | None:
    bytes_per_frame = seconds = 0.0
    for name, place, length in _chunks(file, 12, size, ">4sI"):
        if name == b"COMM":
            channels, frames, bits = struct.unpack(">HIH", _at(file, place, 8))
            seconds = frames / rate if (rate := _extended(_at(file, place + 8, 10))) else 0.0
            bytes_per_frame = channels * -(-bits // 8)
        if name == b"SSND":
            told = length - 8
            if told <= 0 or not bytes_per_frame:
                return None
            return Told(place + 8, told, told / seconds if seconds else 0.0)
    return None


def _extended(data: bytes) -> float:
    """The 80-bit number in which AIFF has its sample rate."""
    exponent, mantissa = struct.unpack(">HQ", data)
    return _rate(math.ldexp(mantissa, min((exponent & 0x7FFF) - 16383 - 63, 64)))


def _au(file: BinaryIO, size: int) -> Told | None:
    order = ">" if _at(file, 0, 4) == b".snd" else "<"
    place, length, encoding, rate, channels = struct.unpack(f"{order}5I", _at(file, 4, 20))
    frame = _AU_BYTES.get(encoding, 0) * channels

    def patches(sound: int) -> Patches:
        return ((8, struct.pack(f"{order}I", sound)),) if length == 0 and sound < 2**32 else ()

    return Told(place, None if length in _UNKNOWN else length, frame * rate, max(1, frame), patches)


def _caf(file: BinaryIO, size: int) -> Told | None:
    bytes_per_s, packet_bytes = 0.0, 0
    for name, place, length in _chunks(file, 8, size, ">4sq", even=False):
        if name == b"desc":
            rate, packet_bytes, packet_frames = struct.unpack(">d8xII", _at(file, place, 24))
            bytes_per_s = packet_bytes * _rate(rate) / packet_frames if packet_frames else 0.0
        if name == b"data" and length > 4:
            return Told(place + 4, length - 4, bytes_per_s, max(1, packet_bytes), _caf_patches(place))
        if length < 0:
            return None
    return None


def _caf_patches(place: int) -> Callable[[int], Patches]:
    """Those of a CAF whose data begin at ``place``, where an edit count of 4 bytes stands before the sound."""
    return lambda sound: ((place - 8, struct.pack(">q", sound + 4)),)


def _rf64(file: BinaryIO, size: int) -> Told | None:
    sizes, long_place, frame_bytes, byte_rate = (0, 0, 0), 0, 1, 0
    for name, place, length in _chunks(file, 12, size, "<4sI"):
        if name == b"ds64":
            sizes, long_place = struct.unpack("<3Q", _at(file, place, 24)), place
        if name == b"fmt ":
            byte_rate, frame_bytes = struct.unpack("<8xIH", _at(file, place, 14))
        if name == b"data":
            told = sizes[1] if length == 0xFFFFFFFF else length
            break
    else:
        return None

    def patches(sound: int) -> Patches:
        if not long_place:
            return ()
        numbers = struct.pack("<3Q", place + sound - 8, sound, sound // max(1, frame_bytes))
        return ((long_place, numbers), (place - 4, b"\xff" * 4))

    return Told(place, None if told in _UNKNOWN else told, byte_rate, max(1, frame_bytes), patches)


def _w64(file: BinaryIO, size: int) -> Told | None:
    if _at(file, 0, 16) != _W64_RIFF:
        return None
    place, frame_bytes, byte_rate = 40, 1, 0
    for _ in range(_MOST_CHUNKS):
        name, length = struct.unpack("<16sQ", _at(file, place, _W64_HEAD))
        if name == b"fmt " + _W64_TAIL:
            byte_rate, frame_bytes = struct.unpack("<8xIH", _at(file, place + _W64_HEAD, 14))
        if name == b"data" + _W64_TAIL:
            break
        if length < _W64_HEAD or place + length > size:
            return None
        place += -(-length // 8) * 8
    else:
        return None

    def patches(sound: int) -> Patches:
        whole = struct.pack("<Q", place + _W64_HEAD + sound)
        return ((16, whole), (place + 16, struct.pack("<Q", _W64_HEAD + sound)))

    told = None if length in (*_UNKNOWN, _W64_HEAD) else length - _W64_HEAD
    return Told(place + _W64_HEAD, told, byte_rate, max(1, frame_bytes), patches)
