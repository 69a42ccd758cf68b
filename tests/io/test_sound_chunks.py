"""AIFF, AU, CAF, RF64 and W64 files that were cut, or whose sizes were never written."""

import io
import struct
from contextlib import suppress

import numpy as np
import pytest
from io_sounds import read, saved, tone

from vqaudio.errors import SoundError
from vqaudio.io.sound import SoundReader
from vqaudio.io.sound_layout import Part, Window

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


@pytest.mark.parametrize("before", [b"", b"ID3\3\0\0\0\0\0\0", b"\0" * 700])
def test_the_library_of_mp3_says_nothing_by_itself(before: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(saved("MP3"))
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    data[-100:] = b"\xff\xff\0\0" * 25
    for hostile in (data, data[:500], b"\xff\xe3" + data[2:], b"\xff\xff" + data):
        with suppress(SoundError):
            read(before + bytes(hostile))
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_file_that_fails_under_the_reader_is_told_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 3000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with pytest.raises(SoundError, match="cannot read: Input/output error"):  # noqa: SIM117
        with SoundReader(Failing(saved("WAV"))) as reader:
            list(reader.blocks(500))
    assert capfd.readouterr().err == ""


def test_a_seek_before_the_beginning_is_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(saved("AIFF"))
    data[4:8] = b"\xff\xff\xff\xff"
    data[16:20] = b"\x80\0\0\0"
    with suppress(SoundError):
        read(bytes(data))
    window = Window(io.BytesIO(bytes(data)), Part(0, len(data)), "x")
    assert window.seek(-5) == 0
    assert capfd.readouterr().err == ""
