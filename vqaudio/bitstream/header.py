"""The header of a ``.vqa`` stream, every field bounded; container.py has the whole format."""

import math
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import numpy as np

from vqaudio.bitstream.entropy import MAX_CODEBOOK_SIZE, bits_per_code
from vqaudio.errors import ConfigError, ContainerError

MAGIC = b"\x8bVQA"  # no text starts with a lone continuation byte
VERSION = 1

MAX_CHANNELS = 1024
MAX_SAMPLE_RATE_HZ = 10_000_000
MAX_TOKENS_PER_BLOCK = 65_536
MAX_BLOCKS = 2**20  # also bounds the time (seconds) that a header without blocks behind it can cost
MAX_TOKENS = MAX_BLOCKS * MAX_TOKENS_PER_BLOCK  # a channel
MAX_LENGTH = 2**48 - 1  # of one axis of the original

FIXED = struct.Struct("<4sB32sBBBIHHH")
CRC = struct.Struct("<I")
HEAD_BYTES = struct.calcsize("<4sB32sB")  # of a stream, up to its modality
U24, U48 = 3, 6  # bytes
MAX_HEADER = FIXED.size + (3 + 2) * U48 + 4 * MAX_CHANNELS + CRC.size


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

    @classmethod
    def named(cls, coder: "Coder | str") -> "Coder":
        """``coder`` itself, or the one whose name ("prior", "packed") it is.

        Raises:
            ConfigError: there is none of that name.
        """
        if isinstance(coder, Coder):
            return coder
        if isinstance(coder, str) and coder.upper() in cls.__members__:
            return cls[coder.upper()]
        raise ConfigError(f"coder = {coder!r} is not valid: give 'prior' or 'packed'")


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
        fixed = FIXED.pack(
            *(MAGIC, VERSION, self.model_sha256, self.modality, self.coder, len(self.grid)),
            *(self.sample_rate_hz, self.channels, self.codebook_size - 1, self.tokens_per_block - 1),
        )
        sizes = b"".join(size.to_bytes(U48, "little") for size in (*self.grid, *self.shape))
        body = fixed + sizes + struct.pack(f"<{self.channels}f", *self.levels)
        return body + CRC.pack(zlib.crc32(body))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the header that ``data`` starts with; ``ContainerError`` where it is none, damaged or refused."""
        if data[: len(MAGIC)] != MAGIC:
            raise ContainerError("this is not a .vqa stream: it starts with other bytes; give a file made by encode")
        if len(data) > len(MAGIC) and data[len(MAGIC)] != VERSION:
            raise ContainerError(
                f"the stream has format version {data[len(MAGIC)]}, this program reads {VERSION}: update vqaudio"
            )
        size = header_size(data)
        if len(data) < size:
            raise ContainerError("the stream ends inside its header; get a whole copy")
        if not is_sealed(data):
            raise ContainerError("the header is damaged beyond repair (its CRC is wrong); get an intact copy")
        _, _, sha256, modality, coder, axes, rate, channels, last_code, last_token = FIXED.unpack_from(data)
        if coder not in set(Coder):
            raise bad_field("coder", coder, "0 (packed) or 1 (prior)")
        levels_at = size - CRC.size - 4 * channels
        sizes = [int.from_bytes(data[at : at + U48], "little") for at in range(FIXED.size, levels_at, U48)]
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


def header_size(data: bytes | bytearray) -> int:
    """Return the size in bytes of the header whose fixed fields ``data`` starts with, CRC included."""
    if len(data) < FIXED.size:
        raise ContainerError("the stream ends inside its header; get a whole copy")
    _, _, _, modality, _, axes, _, channels, _, _ = FIXED.unpack_from(data)
    if modality not in set(Modality):
        raise bad_field("modality", modality, "1 (sound) or 2 (picture)")
    _check_bounds("number of grid axes", axes, 1, 3)
    _check_bounds("channels", channels, 0, MAX_CHANNELS)  # 0 has a size; Header refuses it
    return int(FIXED.size + (axes + Modality(modality).shape_axes) * U48 + 4 * channels + CRC.size)


def is_sealed(data: bytes | bytearray) -> bool:
    """Say whether ``data`` starts with a header whose CRC is right."""
    try:
        size = header_size(data)
    except ContainerError:
        return False
    body = size - CRC.size
    return len(data) >= size and zlib.crc32(memoryview(data)[:body]) == CRC.unpack_from(data, body)[0]


def repaired(data: bytes) -> bytes | None:
    """Return ``data`` with the one bit flipped that makes its header's CRC right; None unless there is exactly one."""
    trial = bytearray(data)
    try:
        size = min(header_size(data), len(data))
    except ContainerError:
        size = min(FIXED.size, len(data))
    found = []
    for bit in range(8 * size):
        trial[bit // 8] ^= 1 << bit % 8
        if is_sealed(trial):
            found.append(bytes(trial))
        trial[bit // 8] ^= 1 << bit % 8
    return found[0] if len(found) == 1 else None


def modality_of(head: bytes) -> Modality | None:
    """Return the modality of the stream that begins with ``head`` (:data:`HEAD_BYTES` of it), or None if none does."""
    whole = len(head) >= HEAD_BYTES and head[: len(MAGIC)] == MAGIC
    return Modality(head[HEAD_BYTES - 1]) if whole and head[HEAD_BYTES - 1] in set(Modality) else None
