"""Hostile bytes out of good ones: each mutation a mistake or an attack that files have met, drawn by a seed."""

import copy
import json
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

Repair = Callable[[bytearray], None]

LARGEST = 1 << 16  # bytes of a mutated file: size is for tests/attacks
_INTEGERS = (0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**24 - 1, 2**31 - 1, 2**31)
_WIDE = (*_INTEGERS, 2**32 - 1, 2**32, 2**47, 2**48 - 1, 2**63 - 1, 2**63, 2**64 - 1)
_FORMS = ("<B", "<H", ">H", "<I", ">I", "<Q", ">Q")
_FLOATS = (float("nan"), float("inf"), float("-inf"), 3.5e38, -0.0, 1e-45)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 65, 255, 65536, 2**31, 2**32, 2**53, 2**63, 2**64, -(2**63), 10**30),
    *(0.0, -0.0, 0.5, 1e308, -1e308, 1e-320, float("nan"), float("inf"), float("-inf")),
    *("", "a", "\0", "..", "/etc/passwd", "\ud800", "1" * 1000, "é" * 99),
    *([], {}, [[]], [0] * 100, [1, "a"], {"": {}}, {"kind": "vocoder-vqvae"}),
)


def mutated(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytearray:
    """``data`` after one to some eight mutations, for which ``others`` lend their parts."""
    found = bytearray(data)
    for _ in range(1 + min(7, int(rng.expovariate(0.7)))):
        rng.choice(_STEPS)(found, others, rng)
    del found[LARGEST:]
    return found


def _place(data: bytearray, rng: random.Random) -> int:
    """Anywhere, but rather near the beginning, where headers are."""
    most = min(len(data), rng.choice((16, 64, 256, len(data) + 1)))
    return rng.randrange(most) if most else 0


def _flip(data: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    if data:
        data[_place(data, rng)] ^= 1 << rng.randrange(8)


def _byte(data: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    if data:
        data[_place(data, rng)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _number(data: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    form, at = rng.choice(_FORMS), _place(data, rng)
    size = struct.calcsize(form)
    value = rng.choice(_WIDE) + rng.choice((0, 0, 0, -1, 1, len(data), -len(data)))
    data[at : at + size] = struct.pack(form, value % 256**size)


def _fraction(data: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    at, value = _place(data, rng), rng.choice(_FLOATS)
    form = rng.choice(("<f", ">f", "<d"))
    data[at : at + struct.calcsize(form)] = struct.pack(form, value if abs(value) < 3e38 or form == "<d" else 3e38)


def _cut(data: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _remove(data: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    at = _place(data, rng)
    del data[at : at + rng.choice((1, 2, 4, 8, 27, 100))]


def _repeat(data: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    at, size = _place(data, rng), rng.choice((1, 2, 4, 8, 44, 300, 2000))
    data[at:at] = data[at : at + size] * rng.choice((1, 1, 2, 9))


def _noise(data: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    at, size = _place(data, rng), rng.choice((1, 4, 16, 200))
    data[at : at + rng.choice((0, size))] = rng.randbytes(size)


def _splice(data: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    other = rng.choice(others)
    at, first = _place(data, rng), rng.randrange(len(other) + 1)
    data[at : at + rng.choice((0, 64, len(data)))] = other[first : first + rng.choice((8, 64, 1024, len(other)))]


_STEPS = (_flip, _flip, _byte, _byte, _number, _number, _number, _fraction, _cut, _remove, _repeat, _noise, _splice)


# ------------------------------------------------------------------------------------------------- seals made anew


def reseal_stream(data: bytearray) -> None:
    """Makes the CRCs of a ``.vqa`` stream right again, as somebody would who means harm."""
    from vqaudio.bitstream.header import header_size
    from vqaudio.errors import ContainerError

    try:
        size = header_size(data)
    except ContainerError:
        return
    if len(data) < size:
        return
    data[size - 4 : size] = zlib.crc32(data[: size - 4]).to_bytes(4, "little")
    at = size
    while (at := data.find(b"\xb5\x4e", at)) >= 0:
        length = int.from_bytes(data[at + 5 : at + 8], "little")
        stop = at + 8 + length
        if stop + 4 > len(data):
            at += 2
            continue
        data[stop : stop + 4] = zlib.crc32(data[at + 2 : stop]).to_bytes(4, "little")
        at = stop + 4


def reseal_packets(data: bytearray) -> None:
    """Makes the header packet's CRC right again, and that of each packet as far as its size can be told."""
    from vqaudio.bitstream.packets import HEADER_BYTES, PacketHeader
    from vqaudio.errors import ContainerError

    if len(data) < HEADER_BYTES:
        return
    data[HEADER_BYTES - 4 : HEADER_BYTES] = zlib.crc32(data[: HEADER_BYTES - 4]).to_bytes(4, "little")
    try:
        header = PacketHeader.from_bytes(bytes(data))
    except ContainerError:
        return
    at = HEADER_BYTES
    while (at := data.find(b"\xb5\x4c", at)) >= 0 and at + 5 <= len(data):
        stop = at + 5 + header.body_size(data[at + 4])
        if stop + 4 <= len(data):
            data[stop : stop + 4] = zlib.crc32(data[at + 2 : stop]).to_bytes(4, "little")
            at = stop
        at += 2


_OGG_TABLE = []
for _number_ in range(256):
    _register = _number_ << 24
    for _ in range(8):
        _register = (_register << 1 ^ (0x04C11DB7 if _register >> 31 else 0)) & 0xFFFFFFFF
    _OGG_TABLE.append(_register)


def reseal_ogg(data: bytearray) -> None:
    """Makes the CRCs of the pages of an Ogg file right again (RFC 3533, section 6)."""
    at = 0
    while (at := data.find(b"OggS", at)) >= 0 and at + 27 <= len(data):
        stop = at + 27 + data[at + 26]
        stop += sum(data[at + 27 : stop])
        if stop > len(data):
            return
        data[at + 22 : at + 26] = bytes(4)
        crc = 0
        for byte in data[at:stop]:
            crc = (crc << 8 & 0xFFFFFFFF) ^ _OGG_TABLE[crc >> 24 ^ byte]
        data[at + 22 : at + 26] = crc.to_bytes(4, "little")
        at = stop


# -------------------------------------------------------------------------------------------------------- documents


def mutated_document(document: Any, rng: random.Random) -> Any:
    """A copy of a JSON document with one to some four of its values, keys or lists changed."""
    found = json.loads(json.dumps(document))
    for _ in range(1 + min(3, int(rng.expovariate(0.8)))):
        holders = list(_holders(found))
        if not holders:
            return _value(rng)
        holder = rng.choice(holders)
        key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        _change(holder, key, rng)
    return found


def _value(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(_VALUES))  # which may be changed in its turn


def _holders(node: Any) -> list[Any]:
    """All the tables and lists in a document that hold something."""
    if not isinstance(node, dict | list) or not node:
        return []
    inside = node.values() if isinstance(node, dict) else node
    return [node, *(holder for value in inside for holder in _holders(value))]


def _change(holder: Any, key: Any, rng: random.Random) -> None:
    value, how = holder[key], rng.randrange(6)
    if how == 0:
        del holder[key]
    elif how == 1 and isinstance(holder, dict):
        holder[rng.choice(("", "kind", "x", "codebook_size", "shape"))] = _value(rng)
    elif how == 2 and isinstance(value, list):
        holder[key] = value * rng.choice((0, 2, 50))
    elif how == 3 and isinstance(value, int | float):
        holder[key] = rng.choice((value + 1, value - 1, -value, value * 2, value * 10**6, float(value), str(value)))
    else:
        holder[key] = _value(rng)
