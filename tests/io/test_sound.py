"""soundfiles.py: what is read and written, and what hostile files do."""

import errno
import io
import os
import struct
import threading
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import soundfile
from sounds import cut, noise

from vqaudio.errors import SoundError
from vqaudio.io import sound_writer
from vqaudio.io.sound import SoundReader, Source, spool
from vqaudio.io.sound_writer import SoundWriter

RATE_HZ = 16000


def save(path: Path, wave: np.ndarray, rate_hz: int = RATE_HZ, **kind: str) -> Path:
    soundfile.write(path, wave.T, rate_hz, **kind)
    return path


def read_all(source: Source, frames: int = 1000) -> np.ndarray:
    with SoundReader(source) as reader:
        return np.concatenate([np.zeros((reader.channels, 0), np.float32), *reader.blocks(frames)], axis=1)


# --- Reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [
        ("wav", "PCM_U8", 2**-7),
        ("wav", "PCM_16", 2**-15),
        ("wav", "PCM_24", 2**-23),
        ("wav", "FLOAT", 0),
        ("wav", "DOUBLE", 0),
        ("flac", "PCM_24", 2**-23),
        ("aiff", "PCM_16", 2**-15),
        ("ogg", "VORBIS", None),
    ],
)
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_reads_what_was_written(
    tmp_path: Path, suffix: str, subtype: str, tolerance: float | None, channels: int
) -> None:
    wave = noise(channels, 4321)
    path = save(tmp_path / f"a.{suffix}", wave, 22050, subtype=subtype)
    with SoundReader(path) as reader:
        assert (reader.sample_rate_hz, reader.channels) == (22050, channels)
        blocks = list(reader.blocks(1000))
        assert [block.shape for block in blocks] == [(channels, 1000)] * 4 + [(channels, 321)]
        assert all(block.dtype == np.float32 and block.flags.c_contiguous for block in blocks)
        assert reader.frames == 4321
    if tolerance is not None:
        np.testing.assert_allclose(np.concatenate(blocks, axis=1), wave, atol=tolerance, rtol=0)


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_counting_keeps_the_samples(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path / f"a.{kind}", noise(1, 9000))
    with SoundReader(path) as reader:
        blocks = reader.blocks(2500)
        first = next(blocks)
        assert reader.frames == 9000
        whole = np.concatenate([first, *blocks], axis=1)
        again = np.concatenate(list(reader.blocks(4096)), axis=1)
    np.testing.assert_array_equal(whole, again)


def test_reads_open_files_and_pipes(tmp_path: Path) -> None:
    wave = noise(2, 5000)
    data = save(tmp_path / "a.wav", wave, subtype="FLOAT").read_bytes()
    file = io.BytesIO(data)
    np.testing.assert_array_equal(read_all(file), wave)
    assert not file.closed
    receiver, sender = os.pipe()
    with os.fdopen(receiver, "rb") as pipe:
        writing = threading.Thread(target=lambda: os.fdopen(sender, "wb").write(data))
        writing.start()
        with spool(pipe) as reader:
            np.testing.assert_array_equal(np.concatenate(list(reader.blocks(800)), axis=1), wave)
        writing.join()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_reads_a_path_that_is_a_pipe(tmp_path: Path) -> None:
    data = save(tmp_path / "a.flac", noise(1, 3000)).read_bytes()
    os.mkfifo(tmp_path / "pipe")
    writing = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(data,))
    writing.start()
    assert read_all(tmp_path / "pipe").shape == (1, 3000)
    writing.join()


@pytest.mark.parametrize("frames", [0, 1])
def test_the_shortest_files(tmp_path: Path, frames: int) -> None:
    path = save(tmp_path / "a.wav", noise(2, frames))
    assert read_all(path).shape == (2, frames)
    with SoundReader(path) as reader:
        assert reader.frames == frames


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_float_file_with_no_number_is_refused_with_its_place(tmp_path: Path, bad: float) -> None:
    wave = noise(2, 8000)
    wave[1, 4000] = wave[0, 6000] = bad
    path = save(tmp_path / "bad.wav", wave, subtype="FLOAT")
    with pytest.raises(SoundError, match=r"bad\.wav: holds NaN or infinity, first at 0\.250000 s"):
        read_all(path, frames=1500)


def test_floats_beyond_full_scale_are_legal(tmp_path: Path) -> None:
    wave = noise(1, 1000, amplitude=1e4)
    np.testing.assert_array_equal(read_all(save(tmp_path / "a.wav", wave, subtype="FLOAT")), wave)


@pytest.mark.parametrize("content", [b"", b"hello, this is no sound\n" * 20, b"RIFF", bytes(1000)])
@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "raw", ""])
def test_what_is_no_sound_gives_one_clear_line(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    with pytest.raises(SoundError) as caught:
        read_all(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert "object at" not in str(caught.value)
    assert ("empty" in str(caught.value)) == (content == b"")


def test_what_cannot_be_opened_gives_one_clear_line(tmp_path: Path) -> None:
    cases = [(tmp_path, "is a folder"), (tmp_path / "no.wav", "no such file"), (Path("a\0b"), "null")]
    for path, reason in cases:
        with pytest.raises(SoundError, match=reason):
            SoundReader(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to this user")
def test_a_forbidden_file_gives_one_clear_line(tmp_path: Path) -> None:
    path = save(tmp_path / "a.wav", noise(1, 10))
    path.chmod(0)
    with pytest.raises(SoundError, match="permission denied"):
        SoundReader(path)


@pytest.mark.parametrize("claimed", [0xFFFFFFFF, 0x7FFFFFFF, 60_000])
def test_a_wav_shorter_than_its_header_says(tmp_path: Path, claimed: int) -> None:
    data = bytearray(save(tmp_path / "a.wav", noise(2, 5000)).read_bytes())
    data[40:44] = struct.pack("<I", claimed)
    with SoundReader(io.BytesIO(data[: 44 + 4 * 3000])) as reader:
        assert reader.frames == 3000
        assert sum(block.shape[1] for block in reader.blocks(999)) == 3000


@pytest.mark.parametrize("claimed", [0, 4_000_000_000, 2**36 - 1])
def test_a_flac_whose_header_counts_wrongly(tmp_path: Path, claimed: int) -> None:
    data = bytearray(save(tmp_path / "a.flac", noise(1, 50_000)).read_bytes())
    data[21] = data[21] & 0xF0 | claimed >> 32
    data[22:26] = struct.pack(">I", claimed & 0xFFFFFFFF)
    with SoundReader(io.BytesIO(data)) as reader:
        assert reader.frames == 50_000
    assert read_all(io.BytesIO(data)).shape == (1, 50_000)


def test_a_truncated_mp3_is_as_long_as_it_is(tmp_path: Path) -> None:
    data = save(tmp_path / "a.mp3", noise(1, 30_000)).read_bytes()
    with SoundReader(io.BytesIO(data[: len(data) // 2])) as reader:
        held = sum(block.shape[1] for block in reader.blocks(1000))
        assert 10_000 < held < 20_000
        assert reader.frames == held


@pytest.mark.parametrize("frames", [777, 4096, 1 << 17])
def test_a_damaged_flac_is_read_up_to_its_damage(tmp_path: Path, frames: int) -> None:
    wave = noise(1, 50_000)
    data = save(tmp_path / "a.flac", wave).read_bytes()
    with SoundReader(io.BytesIO(data[: len(data) // 2])) as reader:
        first, again = [], []
        for blocks in (first, again):
            blocks += list(reader.blocks(frames))
        assert "damaged or cut short after" in reader.problem
        held = reader.frames
    assert 20_000 < held < 25_000
    for blocks in (first, again):
        np.testing.assert_allclose(np.concatenate(blocks, axis=1), wave[:, :held], atol=1e-4)


def test_a_flac_without_a_whole_frame_is_refused(tmp_path: Path) -> None:
    data = save(tmp_path / "a.flac", noise(1, 50_000)).read_bytes()
    with pytest.raises(SoundError, match=r"cut short after 0\.000 s"):
        read_all(io.BytesIO(data[:2000]))


# --- Writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "aif", "au", "caf", "w64", "rf64", "ogg", "mp3", "WAV"])
@pytest.mark.parametrize("channels", [1, 2])
def test_writes_what_reads_back(tmp_path: Path, suffix: str, channels: int) -> None:
    wave = noise(channels, 40_000)
    path = tmp_path / f"a.{suffix}"
    with SoundWriter(path, RATE_HZ, channels) as writer:
        for block in cut(wave, [1, 20_000, 999]):
            writer.write(block)
    assert writer.clipped == 0
    back = read_all(path)
    assert back.shape == wave.shape
    if suffix not in ("ogg", "mp3"):
        assert soundfile.info(path).subtype == "PCM_16"
        np.testing.assert_allclose(back, wave, atol=2**-15)


def test_opus_holds_sound_too(tmp_path: Path) -> None:
    with SoundWriter(tmp_path / "a.opus", RATE_HZ, 1) as writer:
        writer.write(noise(1, 1000))
    assert read_all(tmp_path / "a.opus").shape == (1, 1000)


def test_clips_and_counts_instead_of_wrapping(tmp_path: Path) -> None:
    with SoundWriter(tmp_path / "a.wav", RATE_HZ, 1) as writer:
        writer.write(np.array([[0.5, 1.0, 1.5, -1.0, -2.0, np.float32(1e30)]], np.float32))
    assert writer.clipped == 3
    expected = [[0.5, 1, 1, -1, -1, 1]]
    np.testing.assert_allclose(read_all(tmp_path / "a.wav"), expected, atol=2**-15)


@pytest.mark.parametrize(
    ("name", "rate_hz", "channels", "reason"),
    [
        ("a.xyz", 16000, 1, "format 'xyz' is not known; choose one of wav, flac"),
        ("a", 16000, 1, "no suffix"),
        ("a.flac", 700_000, 1, "flac cannot hold 700000 Hz"),
        ("a.flac", 16000, 9, "9 channels"),
        ("a.ogg", 250_000, 1, "ogg cannot hold 250000 Hz"),
        ("a.opus", 44100, 1, "only 8000, 12000, 16000"),
        ("a.mp3", 96000, 1, "mp3 cannot hold 96000 Hz"),
        ("a.mp3", 16000, 3, "3 channels"),
        ("a.wav", 0, 1, "0 Hz"),
        ("a.wav", 16000, 0, "0 channels"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_before_anything_is_written(
    tmp_path: Path, name: str, rate_hz: int, channels: int, reason: str
) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(SoundError, match=reason):
        SoundWriter(tmp_path / name, rate_hz, channels)
    assert (tmp_path / name).read_text() == "precious"


def test_the_limits_of_the_formats_are_libsndfiles_own(tmp_path: Path) -> None:
    for name, rate_hz, channels in [("a.flac", 655_350, 8), ("a.ogg", 200_000, 1), ("a.wav", 10_000_000, 1024)]:
        with SoundWriter(tmp_path / name, rate_hz, channels) as writer:
            writer.write(noise(channels, 10))
        with SoundReader(tmp_path / name) as reader:
            assert (reader.sample_rate_hz, reader.channels, reader.frames) == (rate_hz, channels, 10)


def test_places_that_cannot_be_written_give_one_clear_line(tmp_path: Path) -> None:
    for path, reason in [(tmp_path / "no" / "a.wav", "no such file or folder"), (tmp_path, "is a folder")]:
        with pytest.raises(SoundError, match=reason):
            SoundWriter(path, RATE_HZ, 1, "wav")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("format", ["wav", "flac", "ogg"])
def test_a_full_disk_gives_one_clear_line(format: str) -> None:
    with (
        pytest.raises(SoundError, match=r"/dev/full: cannot write"),
        SoundWriter("/dev/full", RATE_HZ, 1, format) as writer,
    ):
        writer.write(noise(1, 100_000))


class SmallDisk(io.BytesIO):
    """A file that takes so many bytes."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


@pytest.mark.parametrize("format", [name for name in sound_writer._FORMATS if name not in ("oga", "aif")])
def test_no_format_is_cut_in_silence(format: str) -> None:
    """Not where the last bytes alone have no room, either: FLAC and Ogg write these as they are closed."""

    def write(file: BinaryIO) -> None:
        with SoundWriter(file, RATE_HZ, 1, format) as writer:
            writer.write(noise(1, 6000))

    whole = SmallDisk(1 << 20)
    write(whole)
    size = len(whole.getvalue())
    write(SmallDisk(size))
    for room in (0, size // 2, size - 1000, size - 1):
        with pytest.raises(
            SoundError, match="cannot write: No space left on device; choose another place, or make room"
        ):
            write(SmallDisk(room))


def test_writes_to_open_files_and_to_pipes() -> None:
    wave = noise(2, 3000)
    file = io.BytesIO()
    with SoundWriter(file, RATE_HZ, 2) as writer:
        writer.write(wave)
    np.testing.assert_allclose(read_all(file), wave, atol=2**-15)

    receiver, sender = os.pipe()
    with os.fdopen(receiver, "rb") as reading, os.fdopen(sender, "wb") as pipe:
        with SoundWriter(pipe, RATE_HZ, 2) as writer:
            writer.write(wave)
        assert not pipe.closed
        pipe.close()
        assert reading.read() == file.getvalue()


def test_a_failed_body_sends_nothing_down_a_pipe() -> None:
    def fail(pipe: BinaryIO) -> None:
        with SoundWriter(pipe, RATE_HZ, 1) as writer:
            writer.write(noise(1, 100))
            raise KeyError

    receiver, sender = os.pipe()
    with os.fdopen(receiver, "rb") as reading, os.fdopen(sender, "wb") as pipe:
        with pytest.raises(KeyError):
            fail(pipe)
        pipe.close()
        assert reading.read() == b""


def test_a_wav_is_not_let_grow_beyond_its_length_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sound_writer._FORMATS, "wav", sound_writer._Format("WAV", max_bytes=1000))
    with pytest.raises(SoundError, match="4 GiB"), SoundWriter(tmp_path / "a.wav", RATE_HZ, 1) as writer:
        writer.write(noise(1, 501))


def test_a_missing_file_is_told_as_python_tells_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.wav: cannot read: no such file") as caught:
        SoundReader(tmp_path / "gone.wav")
    assert isinstance(caught.value, SoundError)
