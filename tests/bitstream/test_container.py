"""container.py: golden bytes, blocks written and read one at a time, and hostile input."""

import io
import struct
import tracemalloc
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqaudio.bitstream.container import BLOCK_OVERHEAD, SYNC, Block, StreamReader, StreamWriter
from vqaudio.bitstream.entropy import PackedCoder
from vqaudio.bitstream.header import MAX_BLOCKS, Coder, Header, Modality
from vqaudio.errors import ContainerError

SHA = bytes(range(32))
MONO_HEADER_BYTES = 70


def sound_header(**changes: Any) -> Header:
    """Two channels of 7 tokens in blocks of 3: six blocks, the last of each channel short."""
    header = Header(SHA, Modality.AUDIO, Coder.PACKED, (7,), (440,), 16_000, 2, 512, 3, (1.0, 0.5))
    return replace(header, **changes)


def payloads_of(header: Header) -> list[bytes]:
    """A payload a block, of random codes."""
    rng, coder = np.random.default_rng(0), PackedCoder(header.codebook_size)
    counts = [len(header.tokens_of(index)) for index in range(header.block_count)]
    return [coder.encode(rng.integers(0, header.codebook_size, count, np.int32)) for count in counts]


def to_bytes(header: Header) -> bytes:
    """A whole stream, of :func:`payloads_of`."""
    file = io.BytesIO()
    with StreamWriter(file, header) as writer:
        for payload in payloads_of(header):
            writer.write(payload)
    return file.getvalue()


class Pipe(io.RawIOBase):
    """A file that cannot seek, gives a few bytes at a time, and fails where a read asks for more than ``limit``."""

    def __init__(self, data: bytes = b"", piece: int = 7, limit: int = 1 << 20) -> None:
        self.data, self.piece, self.limit = bytearray(data), piece, limit

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        assert 0 <= size <= self.limit
        size = min(size, self.piece)
        given = bytes(self.data[:size])
        del self.data[:size]
        return given

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)


# --- layout ----------------------------------------------------------------------------------------------------------


def test_golden_bytes() -> None:
    header = Header(SHA, Modality.AUDIO, Coder.PACKED, (3,), (192,), 16_000, 1, 512, 2, (0.5,))
    golden = (
        "8b565141 01 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
        "01 00 01 803e0000 0100 ff01 0100 030000000000 c00000000000 0000003f a985ad0d"
        "b54e 000000 030000 00ffc0 c259dd68"
        "b54e 010000 020000 8000 dc14cbe8"
    )
    coder, file = PackedCoder(512), io.BytesIO()
    payloads = [coder.encode(np.array([1, 511])), coder.encode(np.array([256]))]
    with StreamWriter(file, header) as writer:
        for payload in payloads:
            writer.write(payload)
    assert file.getvalue().hex() == golden.replace(" ", "")
    reader = StreamReader(io.BytesIO(bytes.fromhex(golden)))
    assert reader.header == header
    assert list(reader) == [Block(0, 0, payloads[0]), Block(1, 0, payloads[1])]
    assert reader.damage == []


def test_overheads() -> None:
    header = sound_header(channels=1, levels=(1.0,))
    assert len(header.to_bytes()) == MONO_HEADER_BYTES
    file = io.BytesIO()
    writer = StreamWriter(file, header)
    writer.write(b"12345")
    assert file.tell() == MONO_HEADER_BYTES + BLOCK_OVERHEAD + 5


def test_blocks_go_range_by_range_channels_inside() -> None:
    header = sound_header()
    assert header.block_count == 6
    assert [(header.channel_of(index), header.tokens_of(index)) for index in range(6)] == [
        (0, range(0, 3)),
        (1, range(0, 3)),
        (0, range(3, 6)),
        (1, range(3, 6)),
        (0, range(6, 7)),
        (1, range(6, 7)),
    ]


def test_levels_are_float32_from_the_start() -> None:
    assert sound_header(levels=(0.1, 0.2)).levels == (float(np.float32(0.1)), float(np.float32(0.2)))


# --- one block at a time ---------------------------------------------------------------------------------------------


def test_pipes_do_not_seek() -> None:
    header, pipe = sound_header(), Pipe()
    writer = StreamWriter(pipe, header)  # type: ignore[arg-type]
    for payload in payloads_of(header):
        writer.write(payload)
    assert bytes(pipe.data) == to_bytes(header)
    reader = StreamReader(pipe)  # type: ignore[arg-type]
    assert [block.payload for block in reader] == payloads_of(header)
    assert reader.damage == []


def test_blocks_come_before_the_file_ends() -> None:
    header = sound_header()
    pipe = Pipe(to_bytes(header), piece=1)
    blocks = iter(StreamReader(pipe))  # type: ignore[arg-type]
    left = len(pipe.data)
    for payload in payloads_of(header):
        assert next(blocks).payload == payload
        left -= BLOCK_OVERHEAD + len(payload)
        assert len(pipe.data) == left  # not a byte is read ahead, so a live sound can be heard


def test_the_writer_wants_every_block_once() -> None:
    writer = StreamWriter(io.BytesIO(), sound_header(grid=(3,)))
    writer.write(b"")
    with pytest.raises(ContainerError, match="1 of 2 blocks"):
        writer.close()
    with pytest.raises(ContainerError, match="at most 76"):
        writer.write(bytes(77))
    writer.write(bytes(76))
    writer.close()
    with pytest.raises(ContainerError, match="allows 2 blocks"):
        writer.write(b"")


def test_the_reader_gives_every_block_once() -> None:
    header = sound_header()
    payloads = payloads_of(header)
    end = len(header.to_bytes()) + sum(BLOCK_OVERHEAD + len(payload) for payload in payloads[:2])
    reader = StreamReader(io.BytesIO(to_bytes(header)[:end]))
    expected = [Block(0, 0, payloads[0]), Block(1, 1, payloads[1]), *(Block(i, i % 2, None) for i in range(2, 6))]
    assert list(reader) == expected
    assert list(reader) == []
    assert reader.damage == ["blocks 2 to 5 are damaged or missing"]


# --- hostile input ---------------------------------------------------------------------------------------------------


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_junk_is_no_stream(junk: bytes) -> None:
    with pytest.raises(ContainerError):
        StreamReader(io.BytesIO(junk))


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_junk_behind_a_header_is_all_damage(junk: bytes) -> None:
    blocks = list(StreamReader(io.BytesIO(sound_header().to_bytes() + junk)))
    assert blocks == [Block(index, index % 2, None) for index in range(6)]


def test_junk_behind_the_magic_is_no_stream() -> None:
    junk = np.random.default_rng(0).bytes(5000)
    with pytest.raises(ContainerError, match="header"):
        StreamReader(io.BytesIO(sound_header().to_bytes()[:5] + junk))


def test_two_wrong_bits_in_the_header_are_refused() -> None:
    data = bytearray(to_bytes(sound_header()))
    data[10] ^= 0x11
    with pytest.raises(ContainerError, match="damaged beyond repair"):
        StreamReader(io.BytesIO(data))


HOSTILE = {
    "version": (4, "B", 2, "format version 2, this program reads 1: update"),
    "modality": (37, "B", 9, "modality is 9"),
    "coder": (38, "B", 2, "coder is 2"),
    "no axes": (39, "B", 0, "grid axes is 0"),
    "many axes": (39, "B", 255, "grid axes is 255"),
    "no sample rate": (40, "<I", 0, "sample_rate_hz is 0"),
    "sample rate": (40, "<I", 2**32 - 1, "sample_rate_hz is 4294967295"),
    "no channels": (44, "<H", 0, "channels is 0"),
    "many channels": (44, "<H", 65_535, "channels is 65535"),
    "codebook": (46, "<H", 0, "codebook_size is 1"),
    "terabytes in blocks": (50, "<Q", 2**47, "grid is 140737488355328"),
    "too many blocks": (50, "<I", 2**32 - 1, "number of blocks .* is 1431655765"),
    "no tokens": (50, "<I", 0, "shape is .440,., allowed is empty only together with the grid"),
    "no samples": (56, "<I", 0, "shape is .0,., allowed is empty only together with the grid"),
    "NaN level": (62, "<f", float("nan"), "levels is nan"),
    "infinite level": (62, "<f", float("inf"), "levels is inf"),
    "negative level": (62, "<f", -1.0, "levels is -1"),
}


@pytest.mark.parametrize(("offset", "kind", "value", "message"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_headers_are_refused(offset: int, kind: str, value: float, message: str) -> None:
    """Each has a right CRC; the file fails where much is read, and memory is watched."""
    mono = sound_header(channels=1, levels=(1.0,)).to_bytes()
    body = bytearray(mono[:-4])
    struct.pack_into(kind, body, offset, value)
    if offset == 50 and kind == "<Q":
        body[56:62] = mono[56:62]  # the shape, which the long number ran into
    if value == 0 and offset == 44:
        del body[62:]  # no channels have no levels
    pipe = Pipe(bytes(body) + zlib.crc32(body).to_bytes(4, "little"), piece=4096, limit=8192)
    tracemalloc.start()
    try:
        with pytest.raises(ContainerError, match=message):
            StreamReader(pipe)  # type: ignore[arg-type]
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


def test_a_file_of_sync_bytes_costs_linear_time_and_a_blocks_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    header = sound_header(grid=(2**20,), tokens_per_block=4096)
    claim = SYNC + b"\0\0\0" + header.max_payload.to_bytes(3, "little")
    junk = claim * 2**15  # each pretends to start the longest block
    file = io.BytesIO(header.to_bytes() + junk)
    summed = 0
    true_crc = zlib.crc32

    def counting_crc(data: bytes, value: int = 0) -> int:
        nonlocal summed
        summed += len(data)
        return true_crc(data, value)

    monkeypatch.setattr(zlib, "crc32", counting_crc)
    tracemalloc.start()
    try:
        assert all(block.payload is None for block in StreamReader(file))
        assert tracemalloc.get_traced_memory()[1] < 4 * header.max_payload + 2**16 < len(junk)
    finally:
        tracemalloc.stop()
    assert summed < 20 * (len(junk) + header.max_payload)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_sha256": b""}, "length of model_sha256 is 0"),
        ({"grid": (1, 2)}, "grid axes is 2"),
        ({"shape": (1, 2)}, "shape axes is 2"),
        ({"shape": (2**48,)}, "shape is 281474976710656"),
        ({"grid": (-1,)}, "grid is -1"),
        ({"levels": (1.0,)}, "number of levels is 1"),
        ({"levels": (1.0, 1e39)}, r"levels is 1e\+39"),
        ({"codebook_size": 65_537}, "codebook_size is 65537, allowed is 2 to 65536"),
        ({"tokens_per_block": 0}, "tokens_per_block is 0"),
        ({"grid": (MAX_BLOCKS,), "tokens_per_block": 1}, "number of blocks"),
        ({"modality": Modality.IMAGE}, "grid axes is 1, allowed is 2 to 3"),
        ({"modality": Modality.IMAGE, "grid": (8, 8), "shape": (32, 32)}, "sample_rate_hz is 16000, allowed is 0"),
    ],
)
def test_every_field_is_bounded(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ContainerError, match=message):
        sound_header(**changes)
