"""Small files that claim to be huge sounds or pictures, or truly are."""

import io
import struct
import zlib

import numpy as np
import pytest
import soundfile
from attacks.bounded import MIB, said_by

from vqaudio.io.image import read_picture
from vqaudio.io.sound import SoundReader


def wav(data: bytes, channels: int = 1, rate: int = 16000, size: int | None = None) -> bytes:
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * 2 * channels % 2**32, 2 * channels % 65536, 16)
    length = len(data) if size is None else size
    chunks = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", length) + data
    return b"RIFF" + struct.pack("<I", min(len(chunks), 2**32 - 1)) + chunks


def read(data: bytes, most: int = 10**9) -> int:
    with SoundReader(io.BytesIO(data)) as reader:
        found = 0
        for block in reader.blocks(65536):
            found += block.shape[1]
        return found


@pytest.mark.parametrize("channels", [0, 1025, 65535])
def test_more_channels_than_there_can_be(channels: int) -> None:
    assert said_by(lambda: read(wav(bytes(4000), channels)))


def test_a_thousand_channels() -> None:
    assert said_by(lambda: read(wav(bytes(2048 * 10), 1024)), 600 * MIB) == ""


@pytest.mark.parametrize("size", [2**31 - 1, 2**31, 2**32 - 1])
def test_a_length_that_overflows(size: int) -> None:
    assert said_by(lambda: read(wav(bytes(4000), size=size))) == ""


def test_a_million_chunks() -> None:
    data = bytearray(wav(b""))
    data[12:12] = (b"LIST" + bytes(4)) * 2**20
    assert "is no sound file" in said_by(lambda: read(bytes(data)), 256 * MIB)


def test_a_million_pages() -> None:
    page = b"OggS" + bytes(22) + b"\0"
    assert said_by(lambda: read(page * 2**20), 256 * MIB)


def test_silence_that_packs_to_nothing_is_read_block_by_block() -> None:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 16000, 1, "PCM_16", format="FLAC") as writer:
        for _ in range(200):
            writer.write(np.zeros(100_000, np.int16))
    data = file.getvalue()
    assert len(data) < 200_000  # 80 MB of float32 out of it

    def attack() -> None:
        assert read(data) == 20_000_000

    assert said_by(attack, 32 * MIB) == ""


def png(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("width", "height"), [(65536, 32768), (2**31 - 1, 1), (2**31 - 1, 2**31 - 1), (0, 5)])
def test_a_picture_of_two_thousand_million_pixels(width: int, height: int) -> None:
    assert said_by(lambda: read_picture(io.BytesIO(png(width, height)), "x.png"))
