"""A second reader of .vqa streams, written from docs/format.md alone: it imports nothing of the package."""

import math
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

TOTAL = 1 << 24  # what the frequencies of a step add up to


class Header(NamedTuple):
    """The fields by the names of the document; ``size`` is the header's, in bytes."""

    version: int
    model: bytes
    modality: int
    coder: int
    sample_rate: int
    channels: int
    codebook_size: int
    tokens_per_block: int
    grid: tuple[int, ...]
    shape: tuple[int, ...]
    levels: tuple[float, ...]
    size: int


def read_header(data: bytes) -> Header:
    """The header that ``data`` begins with."""
    magic, version, model, modality, coder, axes, rate, channels, last_code, last_token = struct.unpack_from(
        "<4sB32sBBBIHHH", data
    )
    assert magic == b"\x8bVQA", magic
    at, sizes = 50, []
    for _ in range(axes + modality):  # a sound has one length, a picture two
        sizes.append(int.from_bytes(data[at : at + 6], "little"))
        at += 6
    levels = struct.unpack_from(f"<{channels}f", data, at)
    at += 4 * channels
    assert zlib.crc32(data[:at]) == int.from_bytes(data[at : at + 4], "little")
    grid, shape = tuple(sizes[:axes]), tuple(sizes[axes:])
    counts = (last_code + 1, last_token + 1)
    return Header(version, model, modality, coder, rate, channels, *counts, grid, shape, levels, at + 4)


def read_blocks(data: bytes, header: Header) -> list[bytes]:
    """The payloads, in order."""
    at, payloads = header.size, []
    while at < len(data):
        assert data[at : at + 2] == b"\xb5\x4e"
        sequence, length = (int.from_bytes(data[i : i + 3], "little") for i in (at + 2, at + 5))
        end = at + 8 + length
        assert sequence == len(payloads)
        assert zlib.crc32(data[at + 2 : end]) == int.from_bytes(data[end : end + 4], "little")
        payloads.append(data[at + 8 : end])
        at = end + 4
    return payloads


def unpack(payload: bytes, count: int, codebook_size: int) -> list[int]:
    """Codes of the packed coder."""
    bits = max(1, (codebook_size - 1).bit_length())
    number, size = int.from_bytes(payload, "big"), 8 * len(payload)
    return [number >> (size - bits * (i + 1)) & ((1 << bits) - 1) for i in range(count)]


def range_decode(payload: bytes, count: int, next_frequencies: Callable[[int | None], Sequence[int]]) -> list[int]:
    """Codes under a prior: ``next_frequencies`` gives those of a step, from the code before (None at the first)."""
    words = payload + bytes(-len(payload) % 4)
    taken = 8
    point = int.from_bytes(words[:8].ljust(8, b"\0"), "big")
    low, width, mask = 0, (1 << 64) - 1, (1 << 64) - 1
    codes: list[int] = []
    for _ in range(count):
        frequencies = next_frequencies(codes[-1] if codes else None)
        assert sum(frequencies) == TOTAL
        share = width >> 24
        quantile = ((point - low) & mask) // share
        assert quantile < TOTAL, "no code has these bits"
        code, below = 0, 0
        while below + frequencies[code] <= quantile:
            below += frequencies[code]
            code += 1
        low, width = (low + share * below) & mask, share * frequencies[code]
        if width < 1 << 32:
            low, width = low << 32 & mask, width << 32
            point = (point << 32 | int.from_bytes(words[taken : taken + 4].ljust(4, b"\0"), "big")) & mask
            taken += 4
        codes.append(code)
    return codes


def read_packed(data: bytes) -> list[list[int]]:
    """The codes of each channel of a whole, undamaged, packed stream."""
    header = read_header(data)
    assert header.coder == 0
    tokens = math.prod(header.grid)
    channels: list[list[int]] = [[] for _ in range(header.channels)]
    for index, payload in enumerate(read_blocks(data, header)):
        first = index // header.channels * header.tokens_per_block
        count = min(header.tokens_per_block, tokens - first)
        channels[index % header.channels] += unpack(payload, count, header.codebook_size)
    return channels
