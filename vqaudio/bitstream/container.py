"""The wire format of a ``.vqa`` stream: a header and blocks, written and read one at a time.

All numbers are little-endian. Header, then blocks::

    magic 4 | version u8 | model sha256 32 | modality u8 | coder u8 | grid axes u8 | sample rate u32 | channels u16
    | codebook size - 1 u16 | tokens per block - 1 u16 | grid u48 each | shape u48 each | level f32 each channel
    | CRC-32 of all before

    sync 2 | sequence u24 | payload length u24 | payload | CRC-32 of sequence, length and payload

A block holds the codes of one channel in one range of tokens (the grid flattened, last axis fastest). Blocks go range
by range, channels inside: the sequence number is ``range * channels + channel``. Payloads vary in length, so a reader
that meets damage looks for the next sync bytes that start a block with a right CRC.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from vqaudio.bitstream.entropy import MAX_CODEBOOK_SIZE, bits_per_code
from vqaudio.errors import ContainerError

MAGIC = b"\x8bVQA"  # no text starts with a lone continuation byte
VERSION = 1
SYNC = b"\xb5\x4e"
BLOCK_OVERHEAD = 12  # bytes: sync 2, sequence 3, length 3, CRC 4

MAX_CHANNELS = 1024
MAX_SAMPLE_RATE_HZ = 10_000_000
MAX_TOKENS_PER_BLOCK = 65_536
MAX_BLOCKS = 2**20  # also bounds the time (seconds) that a header without blocks behind it can cost
MAX_TOKENS = MAX_BLOCKS * MAX_TOKENS_PER_BLOCK  # a channel
MAX_LENGTH = 2**48 - 1  # of one axis of the original

_FIXED = struct.Struct("<4sB32sBBBIHHH")
_CRC = struct.Struct("<I")
HEAD_BYTES = struct.calcsize("<4sB32sB")  # of a stream, up to its modality
_U24, _U48 = 3, 6  # bytes
_BLOCK_HEAD = len(SYNC) + 2 * _U24
_MAX_HEADER = _FIXED.size + (3 + 2) * _U48 + 4 * MAX_CHANNELS + _CRC.size
_CHUNK = 4096
_SCAN_WORK = 16  # bytes checksummed in vain for each byte skipped, at most: keeps the search linear in hostile files


class Modality(IntEnum):
    """What the codes stand for."""

    AUDIO = 1
    IMAGE = 2

    @property
    def shape_axes(self) -> int:
        """Axes of the original: samples, or height and width."""
        return 1 if self is Modality.AUDIO else 2


class Coder(IntEnum):
    """How the payloads were made: with the same bits for each code, or with the model's prior."""

    PACKED = 0
    PRIOR = 1


@dataclass(frozen=True)
class Header:
    """All that is known of a stream before its blocks; every field is bounded when it is made.

    Attributes:
        model_sha256: 32 bytes that name the model that the codes belong to.
        modality: sound or picture.
        coder: how the payloads were made.
        grid: tokens a channel along each axis; 1 axis for sound, 2 or 3 for pictures.
        shape: the original's length: samples a channel (0 is legal, then with 0 tokens), or height and width.
        sample_rate_hz: of the original; 0 for pictures.
        channels: 1 to 1024.
        codebook_size: 2 to 65,536.
        tokens_per_block: 1 to 65,536; the last block of a channel may hold fewer.
        levels: a linear gain for each channel that decoding restores; finite, not negative, rounded to float32.

    Raises:
        ContainerError: a field is out of bounds; the message names it, its value and the remedy.
    """

    model_sha256: bytes
    modality: Modality
    coder: Coder
    grid: tuple[int, ...]
    shape: tuple[int, ...]
    sample_rate_hz: int
    channels: int
    codebook_size: int
    tokens_per_block: int
    levels: tuple[float, ...]

    def __post_init__(self) -> None:
        sound = self.modality is Modality.AUDIO
        _check_bounds("length of model_sha256", len(self.model_sha256), 32, 32)
        _check_bounds("number of grid axes", len(self.grid), 1 if sound else 2, 1 if sound else 3)
        _check_bounds("number of shape axes", len(self.shape), *[self.modality.shape_axes] * 2)
        for tokens in (*self.grid, self.tokens):
            _check_bounds("grid", tokens, 0 if sound else 1, MAX_TOKENS)
        for length in self.shape:
            _check_bounds("shape", length, 0 if sound else 1, MAX_LENGTH)
        if (self.tokens == 0) != (self.shape[0] == 0):
            raise bad_field("shape", self.shape, f"empty only together with the grid, which is {self.grid}")
        _check_bounds("sample_rate_hz", self.sample_rate_hz, int(sound), MAX_SAMPLE_RATE_HZ if sound else 0)
        _check_bounds("channels", self.channels, 1, MAX_CHANNELS)
        _check_bounds("codebook_size", self.codebook_size, 2, MAX_CODEBOOK_SIZE)
        _check_bounds("tokens_per_block", self.tokens_per_block, 1, MAX_TOKENS_PER_BLOCK)
        _check_bounds("number of blocks (channels x tokens / tokens_per_block)", self.block_count, 0, MAX_BLOCKS)
        _check_bounds("number of levels", len(self.levels), self.channels, self.channels)
        for level in self.levels:
            if not 0 <= level <= float(np.finfo(np.float32).max):  # NaN fails too
                raise bad_field("levels", level, "a finite float32, not negative")
        object.__setattr__(self, "levels", tuple(float(np.float32(level)) for level in self.levels))

    @property
    def tokens(self) -> int:
        """Tokens a channel."""
        return math.prod(self.grid)

    @property
    def blocks_per_channel(self) -> int:
        """Blocks that hold one channel."""
        return -(-self.tokens // self.tokens_per_block)

    @property
    def block_count(self) -> int:
        """Blocks of the whole stream."""
        return self.channels * self.blocks_per_channel

    @property
    def bits(self) -> int:
        """Bits that one packed code takes."""
        return bits_per_code(self.codebook_size)

    @property
    def max_payload(self) -> int:
        """Most bytes of one payload: 32 bits a code, which no coder with 32-bit probabilities exceeds, and 64 bytes."""
        return 4 * min(self.tokens_per_block, self.tokens) + 64

    def channel_of(self, index: int) -> int:
        """Return the channel of block ``index``."""
        return index % self.channels

    def tokens_of(self, index: int) -> range:
        """Return the tokens of its channel that block ``index`` holds."""
        first = index // self.channels * self.tokens_per_block
        return range(first, min(first + self.tokens_per_block, self.tokens))

    def to_bytes(self) -> bytes:
        """Return the header as it stands in the file, CRC included."""
        fixed = _FIXED.pack(
            *(MAGIC, VERSION, self.model_sha256, self.modality, self.coder, len(self.grid)),
            *(self.sample_rate_hz, self.channels, self.codebook_size - 1, self.tokens_per_block - 1),
        )
        sizes = b"".join(size.to_bytes(_U48, "little") for size in (*self.grid, *self.shape))
        body = fixed + sizes + struct.pack(f"<{self.channels}f", *self.levels)
        return body + _CRC.pack(zlib.crc32(body))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the header that ``data`` starts with; ``ContainerError`` where it is none, damaged or refused."""
        if data[: len(MAGIC)] != MAGIC:
            raise ContainerError("this is not a .vqa stream: it starts with other bytes; give a file made by encode")
        if len(data) > len(MAGIC) and data[len(MAGIC)] != VERSION:
            raise ContainerError(
                f"the stream has format version {data[len(MAGIC)]}, this program reads {VERSION}: update vqaudio"
            )
        size = _header_size(data)
        if len(data) < size:
            raise ContainerError("the stream ends inside its header; get a whole copy")
        if not _is_sealed(data):
            raise ContainerError("the header is damaged beyond repair (its CRC is wrong); get an intact copy")
        _, _, sha256, modality, coder, axes, rate, channels, last_code, last_token = _FIXED.unpack_from(data)
        if coder not in set(Coder):
            raise bad_field("coder", coder, "0 (packed) or 1 (prior)")
        levels_at = size - _CRC.size - 4 * channels
        sizes = [int.from_bytes(data[at : at + _U48], "little") for at in range(_FIXED.size, levels_at, _U48)]
        levels = struct.unpack_from(f"<{channels}f", data, levels_at)
        return cls(
            *(sha256, Modality(modality), Coder(coder), tuple(sizes[:axes]), tuple(sizes[axes:])),
            *(rate, channels, last_code + 1, last_token + 1, levels),
        )


def bad_field(name: str, value: object, allowed: str) -> ContainerError:
    """Return the error that says which field of a header is out of bounds, and what the bounds are."""
    return ContainerError(
        f"header: {name} is {value}, allowed is {allowed}; correct it, or get an intact copy of the stream"
    )


def _check_bounds(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise bad_field(name, value, f"{low} to {high}" if low < high else f"{low}")


def _header_size(data: bytes | bytearray) -> int:
    """Return the size in bytes of the header whose fixed fields ``data`` starts with, CRC included."""
    if len(data) < _FIXED.size:
        raise ContainerError("the stream ends inside its header; get a whole copy")
    _, _, _, modality, _, axes, _, channels, _, _ = _FIXED.unpack_from(data)
    if modality not in set(Modality):
        raise bad_field("modality", modality, "1 (sound) or 2 (picture)")
    _check_bounds("number of grid axes", axes, 1, 3)
    _check_bounds("channels", channels, 0, MAX_CHANNELS)  # 0 has a size; Header refuses it
    return int(_FIXED.size + (axes + Modality(modality).shape_axes) * _U48 + 4 * channels + _CRC.size)


def _is_sealed(data: bytes | bytearray) -> bool:
    """Say whether ``data`` starts with a header whose CRC is right."""
    try:
        size = _header_size(data)
    except ContainerError:
        return False
    body = size - _CRC.size
    return len(data) >= size and zlib.crc32(memoryview(data)[:body]) == _CRC.unpack_from(data, body)[0]


def _repaired(data: bytes) -> bytes | None:
    """Return ``data`` with the one bit flipped that makes its header's CRC right; None unless there is exactly one."""
    trial = bytearray(data)
    try:
        size = min(_header_size(data), len(data))
    except ContainerError:
        size = min(_FIXED.size, len(data))
    found = []
    for bit in range(8 * size):
        trial[bit // 8] ^= 1 << bit % 8
        if _is_sealed(trial):
            found.append(bytes(trial))
        trial[bit // 8] ^= 1 << bit % 8
    return found[0] if len(found) == 1 else None


def modality_of(head: bytes) -> Modality | None:
    """Return the modality of the stream that begins with ``head`` (:data:`HEAD_BYTES` of it), or None if none does."""
    whole = len(head) >= HEAD_BYTES and head[: len(MAGIC)] == MAGIC
    return Modality(head[HEAD_BYTES - 1]) if whole and head[HEAD_BYTES - 1] in set(Modality) else None


class StreamWriter:
    """Writes header and blocks to ``file``, a buffered binary file that need not seek and that the caller closes."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self.header = header
        self._file = file
        self._written = 0
        file.write(header.to_bytes())

    def write(self, payload: bytes) -> None:
        """Write the next block; ``ContainerError`` if the header has no more blocks or none of that size."""
        if self._written == self.header.block_count:
            raise ContainerError(f"the header allows {self.header.block_count} blocks; write no more")
        if len(payload) > self.header.max_payload:
            raise ContainerError(
                f"block {self._written} has {len(payload)} bytes, at most {self.header.max_payload}; pack it instead"
            )
        body = self._written.to_bytes(_U24, "little") + len(payload).to_bytes(_U24, "little") + payload
        self._file.write(SYNC + body + _CRC.pack(zlib.crc32(body)))
        self._written += 1

    def close(self) -> None:
        """Flush the file; ``ContainerError`` unless all blocks were written."""
        if self._written != self.header.block_count:
            raise ContainerError(f"{self._written} of {self.header.block_count} blocks were written; write them all")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()


@dataclass(frozen=True)
class Block:
    """Block ``index`` of a stream, of one ``channel``; its ``payload`` is None where it is damaged or missing."""

    index: int
    channel: int
    payload: bytes | None


class _Source:
    """The next bytes of a file that need not seek; holds no more than was asked for, and one chunk."""

    def __init__(self, file: BinaryIO) -> None:
        self.data = bytearray()
        self._file = file
        self._ended = False

    def fill(self, size: int) -> bool:
        """Read until ``size`` bytes are held; False if the file ends before."""
        while len(self.data) < size and not self._ended:
            more = self._file.read(size - len(self.data))
            self.data += more
            self._ended = not more
        return len(self.data) >= size

    def drop(self, size: int) -> None:
        """Forget the first ``size`` bytes held."""
        del self.data[:size]

    def skip_to(self, mark: bytes) -> int | None:
        """Drop what stands before the next two-byte ``mark``; return how many bytes, or None if the file ends."""
        dropped = 0
        wanted = len(mark)  # at first no more, so that a live stream is not read ahead
        while (at := self.data.find(mark)) < 0:
            useless = len(self.data) - self.data.endswith(mark[:1])
            self.drop(useless)
            dropped += useless
            held = len(self.data)
            self.fill(wanted)
            if len(self.data) == held:
                return None
            wanted = _CHUNK
        self.drop(at)
        return dropped + at


class StreamReader:
    """Reads a stream from ``file``, a binary file that need not seek, holding one block at a time.

    Iterating gives exactly ``header.block_count`` blocks in order, once. Time is linear in the length of the file (plus
    the number of blocks), and memory stays within ``header.max_payload`` and some kilobytes, whatever the bytes are.

    Attributes:
        header: the stream's facts, every field within its bounds.
        damage: a message for each damage met so far; the blocks that are lost have the payload None.

    Raises:
        ContainerError: the file is no stream, or its header is refused or damaged by more than a bit.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.damage: list[str] = []
        self._source = _Source(file)
        self.header = self._read_header()
        self._skipped = 0  # bytes passed over in search of a block
        self._wasted = 0  # bytes checksummed in vain
        self._blocks = self._iterate()

    def __iter__(self) -> Iterator[Block]:
        return self._blocks

    def _read_header(self) -> Header:
        source = self._source
        source.fill(_FIXED.size)
        if bin(int.from_bytes(MAGIC) ^ int.from_bytes(source.data[: len(MAGIC)])).count("1") > 1:
            return Header.from_bytes(bytes(source.data))  # raises: no stream at all
        with suppress(ContainerError):  # the damaged bit may be one that tells the size
            source.fill(_header_size(source.data))
        if not _is_sealed(source.data):
            source.fill(_MAX_HEADER)
            repaired = _repaired(bytes(source.data))
            if repaired is not None:
                source.data[:] = repaired
                self.damage.append("the header had one wrong bit, which was repaired")
        header = Header.from_bytes(bytes(source.data))
        source.drop(_header_size(source.data))
        return header

    def _iterate(self) -> Iterator[Block]:
        header, expected = self.header, 0
        while expected < header.block_count:
            found = self._find_block(expected)
            index = header.block_count if found is None else found.index
            if index > expected:
                which = f"block {expected} is" if index == expected + 1 else f"blocks {expected} to {index - 1} are"
                self.damage.append(f"{which} damaged or missing")
            for lost in range(expected, index):
                yield Block(lost, header.channel_of(lost), None)
            if found is not None:
                yield found
            expected = index + 1
        if self._source.fill(1):
            self.damage.append("other bytes follow the last block; they were ignored")

    def _find_block(self, expected: int) -> Block | None:
        """Return the next whole block that is not before ``expected``; None if the file holds no more."""
        while (skipped := self._source.skip_to(SYNC)) is not None:
            self._skipped += skipped
            block = self._block_here(expected)
            if block is not None:
                return block
            self._source.drop(1)
            self._skipped += 1
        return None

    def _block_here(self, expected: int) -> Block | None:
        """Return the block that the sync bytes in front start, and drop it; None if they start no block."""
        source, header = self._source, self.header
        if not source.fill(_BLOCK_HEAD):
            return None
        index = int.from_bytes(source.data[2:5], "little")
        length = int.from_bytes(source.data[5:8], "little")
        if not expected <= index < header.block_count or length > header.max_payload:
            return None
        if self._wasted + length > _SCAN_WORK * (self._skipped + header.max_payload):
            return None
        if not source.fill(_BLOCK_HEAD + length + _CRC.size):
            return None
        body = bytes(source.data[len(SYNC) : _BLOCK_HEAD + length])
        if zlib.crc32(body) != _CRC.unpack_from(source.data, _BLOCK_HEAD + length)[0]:
            self._wasted += length
            return None
        source.drop(_BLOCK_HEAD + length + _CRC.size)
        return Block(index, header.channel_of(index), body[2 * _U24 :])
