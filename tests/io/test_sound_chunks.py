"""AIFF, AU, CAF, RF64 and W64 files that were cut, or whose sizes were never written."""

import struct

import numpy as np
import pytest
from io_sounds import read, saved, tone

CUT = (
    *(("AIFF", "PCM_16"), ("AIFF", "FLOAT"), ("AIFF", "PCM_24"), ("AU", "PCM_16"), ("AU", "ULAW"), ("AU", "DOUBLE")),
    *(("CAF", "PCM_16"), ("CAF", "FLOAT"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("W64", "FLOAT")),
)


@pytest.mark.parametrize("kind", CUT, ids="-".join)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_cut_file_tells_how_much_is_missing(kind: tuple[str, str], channels: int) -> None:
    data = saved(kind[0], tone(channels=channels), subtype=kind[1])
    whole, reader = read(data)
    assert (whole.shape, reader.problem, reader.note) == ((channels, 16000), "", "")
    sample = {"PCM_16": 2, "FLOAT": 4, "PCM_24": 3, "ULAW": 1, "DOUBLE": 8}[kind[1]]
    found, reader = read(data[: len(data) - 6000 * sample * channels])
    assert found.shape[1] == pytest.approx(10_000, abs=300)  # what stands behind the sound is cut first
    np.testing.assert_array_equal(found, whole[:, : found.shape[1]])
    missing_s = float(reader.problem.split()[1])
    assert reader.problem == f"ends {missing_s:.3f} s before its header says: it was cut; copy it again"
    assert missing_s == pytest.approx((16000 - found.shape[1]) / 16000, abs=0.001)


@pytest.mark.parametrize("size", [0, 2**64 - 1, 2**63 - 1])
@pytest.mark.parametrize("channels", [1, 2])
def test_an_rf64_whose_sizes_were_never_written_is_read_whole(size: int, channels: int) -> None:
    data = bytearray(saved("RF64", tone(channels=channels)))
    assert data[12:16] == b"ds64"
    data[20:44] = struct.pack("<3Q", size, size, 0 if size else size)
    taken_whole(bytes(data), channels)


@pytest.mark.parametrize("size", [0, 24, 2**64 - 1, 2**63 - 1])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_w64_whose_sizes_were_never_written_is_read_whole(size: int, channels: int) -> None:
    data = bytearray(saved("W64", tone(channels=channels)))
    at = data.index(b"data\xf3\xac")
    data[16:24] = data[at + 16 : at + 24] = struct.pack("<Q", size)
    taken_whole(bytes(data), channels)


def test_an_au_whose_size_was_never_written_is_read_whole() -> None:
    data = bytearray(saved("AU"))
    data[8:12] = bytes(4)
    taken_whole(bytes(data), 1)
    data[8:12] = b"\xff" * 4  # by the format, this says that nobody knows
    wave, reader = read(bytes(data))
    assert (wave.shape, reader.problem) == ((1, 16000), "")


def taken_whole(data: bytes, channels: int) -> None:
    wave, reader = read(data)
    np.testing.assert_allclose(wave, tone(channels=channels).T, atol=1e-4)
    assert reader.problem == ""
    assert "does not say how long it is: all 1.000 s" in reader.note
