"""Streams that promise more than they hold, or hold more than they promise."""

import io
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from attacks.bounded import MIB, said_by

from vqaudio.bitstream.container import MAX_MESSAGES, StreamReader
from vqaudio.bitstream.header import Coder, Header, Modality
from vqaudio.bitstream.packets import PacketHeader, PacketReader
from vqaudio.bitstream.stream import Stream
from vqaudio.codecs.loading import load

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "v1"
HEADER = Header(bytes(32), Modality.AUDIO, Coder.PACKED, (2**20,), (2**26,), 16000, 1, 512, 1, (1.0,))


def block(index: int, payload: bytes = b"") -> bytes:
    body = index.to_bytes(3, "little") + len(payload).to_bytes(3, "little") + payload
    return b"\xb5\x4e" + body + zlib.crc32(body).to_bytes(4, "little")


def test_a_million_blocks_of_length_0() -> None:
    data = HEADER.to_bytes() + b"".join(map(block, range(2**20)))

    def attack() -> None:
        found = Stream.read(io.BytesIO(data))
        assert found.damage[0].last_token == 2**20 - 1
        assert len(found.messages) <= MAX_MESSAGES + 1

    assert said_by(attack) == ""


def test_half_a_million_gaps() -> None:
    data = HEADER.to_bytes() + b"".join(block(index, b"\0\0") for index in range(0, 2**20, 2))

    def attack() -> None:
        reader = StreamReader(io.BytesIO(data))
        assert sum(found.payload is None for found in reader) == 2**19
        assert len(reader.damage) <= MAX_MESSAGES + 1

    assert said_by(attack) == ""


def test_a_header_alone_that_promises_a_terabyte() -> None:
    header = replace(HEADER, grid=(2**36,), shape=(2**42,), tokens_per_block=65536)
    assert "in memory" in said_by(lambda: Stream.read(io.BytesIO(header.to_bytes())))


def test_a_length_that_is_not_that_of_the_codes() -> None:
    """2**48 samples out of 8 tokens, which would be decoded for years."""
    data = (FIXTURES / "sound-packed.vqa").read_bytes()
    codec = load(FIXTURES / "sound-model", "cpu")
    header = replace(StreamReader(io.BytesIO(data)).header, shape=(2**48 - 1,))
    stream = Stream(header, np.zeros((header.channels, header.tokens), np.int32))
    assert "contradict each other" in said_by(lambda: codec.decode(stream), 512 * MIB)


def test_a_picture_of_two_thousand_million_pixels() -> None:
    codec = load(FIXTURES / "picture-model", "cpu")
    header = replace(StreamReader(io.BytesIO((FIXTURES / "picture-packed.vqa").read_bytes())).header)
    huge = replace(header, shape=(2**16, 2**15))
    stream = Stream(huge, np.zeros((1, *huge.grid), np.int32))
    assert said_by(lambda: codec.decode(stream), 512 * MIB)


def test_a_prior_coded_block_that_never_ends() -> None:
    codec = load(FIXTURES / "sound-model", "cpu")
    coder = codec.block_coder(Coder.PRIOR)
    assert "not 65536 codes" in said_by(lambda: coder.decode(b"\xff" * 4, 65536), 512 * MIB)


def test_a_flood_of_bytes_that_are_no_packets() -> None:
    header = PacketHeader(bytes(32), 16000, 16000, 544, 32, 65536, 63, 32)
    head = b"\xb5\x4c\x00\x00\xff"  # each claims the longest packet

    def attack() -> None:
        reader = PacketReader(header)
        for _ in range(400):
            assert reader.push(head * 200) == []
        assert len(reader._held) < 64 * 1024

    assert said_by(attack, 64 * MIB) == ""
