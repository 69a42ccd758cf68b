"""Files whose headers say wrongly, or not at all, where the sound lies: each kind as users have met it."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from conftest import Run
from io_sounds import read, saved, tone

from vqaudio.errors import SoundError
from vqaudio.io.sound_layout import Part, Window


def unwritten(size: int, behind: bytes = b"", channels: int = 1) -> bytes:
    """A WAV with ``size`` as both of its sizes."""
    data = bytearray(saved("WAV", tone(channels=channels)))
    data[4:8] = data[40:44] = struct.pack("<I", size)
    return bytes(data) + behind


LIST = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf58.29.100\0"


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000])
@pytest.mark.parametrize("behind", [b"", LIST, LIST + b"id3 " + struct.pack("<I", 3) + b"abc"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_wav_whose_sizes_were_never_written_is_read_whole(size: int, behind: bytes, channels: int) -> None:
    wave, reader = read(unwritten(size, behind, channels))
    np.testing.assert_allclose(wave, tone(channels=channels).T, atol=1e-4)
    assert "does not say how long it is: all 1.000 s" in reader.note
    assert reader.problem == ""


def test_a_wav_of_no_sound_stays_empty() -> None:
    for behind in (b"", LIST):
        wave, reader = read(saved("WAV", tone(0)) + behind)
        assert (wave.shape, reader.note, reader.problem) == ((1, 0), "", "")


def test_a_cut_wav_tells_how_much_is_missing() -> None:
    wave, reader = read(saved("WAV")[: 44 + 2 * 10_000])
    assert wave.shape == (1, 10_000)
    assert "0.375 s before its header says" in reader.problem


@pytest.mark.parametrize("kind", [("OGG", "VORBIS"), ("OGG", "OPUS")])
def test_ogg_streams_that_follow_each_other_are_all_read(kind: tuple[str, str]) -> None:
    link = saved(kind[0], subtype=kind[1])
    wave, reader = read(link * 3)
    assert wave.shape == (1, 48_000)
    one, _ = read(link)
    np.testing.assert_array_equal(wave, np.tile(one, 3))
    assert reader.problem == ""


def test_ogg_streams_of_different_kinds_are_refused() -> None:
    with pytest.raises(SoundError, match=r"different sample rates or channels.*convert it first"):
        read(saved("OGG", subtype="VORBIS") + saved("OGG", tone(channels=2), subtype="VORBIS"))


@pytest.mark.parametrize("kind", [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None), ("FLAC", None)])
def test_cut_files_tell_so(kind: tuple[str, str | None], capfd: pytest.CaptureFixture[str]) -> None:
    wave = np.random.default_rng(0).standard_normal((32_000, 1)) * 0.1
    data = saved(kind[0], wave, subtype=kind[1])
    found, reader = read(data[: len(data) * 6 // 10])
    assert 5_000 < found.shape[1] < 25_000
    assert "cut" in reader.problem or "before its header says" in reader.problem
    assert capfd.readouterr().err == ""


TAG = b"TAG".ljust(128, b"x")
APE = b"APETAGEX" + struct.pack("<IIII8x", 2000, 40, 0, 0x80000000)


@pytest.mark.parametrize("behind", [TAG, APE + b"y" * 8 + APE, APE + b"y" * 8 + APE + TAG])
def test_tags_behind_a_flac_are_no_sound(behind: bytes) -> None:
    wave, reader = read(saved("FLAC") + behind)
    np.testing.assert_allclose(wave, tone().T, atol=1e-4)
    assert reader.problem == ""


def test_a_window_shows_patched_bytes_of_a_part() -> None:
    window = Window(io.BytesIO(b"0123456789"), Part(2, 8, ((4, b"ab"), (7, b"c"))), "name")
    assert window.read() == b"23ab6c"
    assert (window.seek(-2, io.SEEK_END), window.read(1), window.tell()) == (4, b"6", 5)


def test_the_program_codes_what_can_be_read_and_fails(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.wav").write_bytes(saved("WAV")[: 44 + 2 * 8000])
    (tmp_path / "unwritten.wav").write_bytes(unwritten(0, LIST))
    done = run("encode", "cut.wav", "unwritten.wav", "--model", tiny_model)
    assert done.code == 1
    *told, summary = done.lines
    assert [line.split(": ")[:2] for line in told] == [["vqaudio", "cut.wav"], ["vqaudio", "unwritten.wav"]]
    assert summary.startswith("2 files, 1 failed, ")
    assert "what could be read is coded" in done.lines[0]
    for name, seconds in (("cut", "0.50"), ("unwritten", "1.00")):
        assert f"{name}.vqa: {seconds} s".encode() in done.out
