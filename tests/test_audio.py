"""audio.py: levels, files, loudness, sample rates and mel spectra, and what hostile files do."""

import io
import os
import struct
import threading
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import soundfile
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st

from vqaudio import audio
from vqaudio.errors import SoundError

RATE_HZ = 16000


def noise(channels: int, frames: int, amplitude: float = 0.1, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((channels, frames)) * amplitude).astype(np.float32)


def save(path: Path, wave: np.ndarray, rate_hz: int = RATE_HZ, **kind: str) -> Path:
    soundfile.write(path, wave.T, rate_hz, **kind)
    return path


def read_all(source: audio.Source, frames: int = 1000) -> np.ndarray:
    with audio.SoundReader(source) as reader:
        return np.concatenate([np.zeros((reader.channels, 0), np.float32), *reader.blocks(frames)], axis=1)


def cut(wave: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """``wave`` in blocks of the given sizes, over and over."""
    blocks, start, turn = [], 0, 0
    while start < wave.shape[1]:
        blocks.append(wave[:, start : start + sizes[turn % len(sizes)]])
        start, turn = start + sizes[turn % len(sizes)], turn + 1
    return blocks


# --- Levels -----------------------------------------------------------------------------------------------------------


def test_every_level_survives_decoding_and_encoding() -> None:
    levels = torch.arange(audio.LEVELS)
    wave = audio.mu_law_decode(levels)
    assert wave.dtype == torch.float32
    assert torch.equal(audio.mu_law_encode(wave), levels)
    assert (wave.diff() > 0).all()
    assert wave[0] == -1.0
    assert wave[-1] == 1.0


def test_silence_is_one_level_and_exact() -> None:
    assert audio.mu_law_encode(torch.zeros(2, 3)).eq(audio.SILENCE_LEVEL).all()
    wave = audio.mu_law_decode(torch.arange(audio.LEVELS))
    assert (wave == 0.0).nonzero().flatten().tolist() == [audio.SILENCE_LEVEL]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_levels_saturate_and_follow_the_law(dtype: torch.dtype) -> None:
    assert audio.mu_law_encode(torch.tensor([-7.0, -1.0, 1.0, 7.0], dtype=dtype)).tolist() == [0, 0, 255, 255]
    wave = torch.linspace(-1, 1, 4001)
    error = (audio.mu_law_decode(audio.mu_law_encode(wave)) - wave).abs()
    assert (error <= 0.0223 * wave.abs() + 1.8e-4).all()


@given(st.lists(st.integers(1, 200), min_size=1, max_size=5), st.floats(0.0, 0.99))
@settings(max_examples=20, deadline=None)
def test_de_emphasis_undoes_pre_emphasis_across_blocks(sizes: list[int], coefficient: float) -> None:
    wave = noise(2, 3000)
    emphasised = audio.pre_emphasis(torch.from_numpy(wave), coefficient).numpy()
    np.testing.assert_allclose(emphasised[:, 1:], wave[:, 1:] - coefficient * wave[:, :-1], atol=1e-6)
    restore = audio.DeEmphasis(coefficient)
    restored = np.concatenate([restore(block) for block in cut(emphasised, sizes)], axis=1)
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, wave, atol=2e-6)


def test_an_unstable_coefficient_is_refused() -> None:
    with pytest.raises(SoundError, match="unstable"):
        audio.DeEmphasis(1.0)


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
    with audio.SoundReader(path) as reader:
        assert (reader.sample_rate_hz, reader.channels) == (22050, channels)
        blocks = list(reader.blocks(1000))
        assert [block.shape for block in blocks] == [(channels, 1000)] * 4 + [(channels, 321)]
        assert all(block.dtype == np.float32 and block.flags.c_contiguous for block in blocks)
        assert reader.frames == 4321
    if tolerance is not None:
        np.testing.assert_allclose(np.concatenate(blocks, axis=1), wave, atol=tolerance, rtol=0)


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_rewinding_and_counting_keep_the_samples(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path / f"a.{kind}", noise(1, 9000))
    with audio.SoundReader(path) as reader:
        first = next(reader.blocks(2500))
        assert reader.frames == 9000
        rest = np.concatenate(list(reader.blocks(700)), axis=1)
        reader.rewind()
        again = np.concatenate(list(reader.blocks(4096)), axis=1)
    np.testing.assert_array_equal(np.concatenate([first, rest], axis=1), again)


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
        with audio.spool(pipe) as reader:
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
    with audio.SoundReader(path) as reader:
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
            audio.SoundReader(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to this user")
def test_a_forbidden_file_gives_one_clear_line(tmp_path: Path) -> None:
    path = save(tmp_path / "a.wav", noise(1, 10))
    path.chmod(0)
    with pytest.raises(SoundError, match="permission denied"):
        audio.SoundReader(path)


@pytest.mark.parametrize("claimed", [0xFFFFFFFF, 0x7FFFFFFF, 60_000])
def test_a_wav_shorter_than_its_header_says(tmp_path: Path, claimed: int) -> None:
    data = bytearray(save(tmp_path / "a.wav", noise(2, 5000)).read_bytes())
    data[40:44] = struct.pack("<I", claimed)
    with audio.SoundReader(io.BytesIO(data[: 44 + 4 * 3000])) as reader:
        assert reader.frames == 3000
        assert sum(block.shape[1] for block in reader.blocks(999)) == 3000


@pytest.mark.parametrize("claimed", [0, 4_000_000_000, 2**36 - 1])
def test_a_flac_whose_header_counts_wrongly(tmp_path: Path, claimed: int) -> None:
    data = bytearray(save(tmp_path / "a.flac", noise(1, 50_000)).read_bytes())
    data[21] = data[21] & 0xF0 | claimed >> 32
    data[22:26] = struct.pack(">I", claimed & 0xFFFFFFFF)
    with audio.SoundReader(io.BytesIO(data)) as reader:
        assert reader.frames == 50_000
    assert read_all(io.BytesIO(data)).shape == (1, 50_000)


def test_a_truncated_mp3_is_as_long_as_it_is(tmp_path: Path) -> None:
    data = save(tmp_path / "a.mp3", noise(1, 30_000)).read_bytes()
    with audio.SoundReader(io.BytesIO(data[: len(data) // 2])) as reader:
        held = sum(block.shape[1] for block in reader.blocks(1000))
        assert 10_000 < held < 20_000
        assert reader.frames == held


def test_a_damaged_flac_tells_where(tmp_path: Path) -> None:
    data = save(tmp_path / "a.flac", noise(1, 50_000)).read_bytes()
    with pytest.raises(SoundError, match=r"damaged or cut short after \d\.\d+ s"):
        read_all(io.BytesIO(data[: len(data) // 2]))


def test_a_recording_whose_length_was_never_written_is_refused(tmp_path: Path) -> None:
    data = bytearray(save(tmp_path / "a.wav", noise(1, 50_000)).read_bytes())
    data[40:44] = bytes(4)
    with pytest.raises(SoundError, match="holds no sound, yet 100044 bytes"):
        read_all(io.BytesIO(data))


# --- Writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "aif", "au", "caf", "w64", "rf64", "ogg", "mp3", "WAV"])
@pytest.mark.parametrize("channels", [1, 2])
def test_writes_what_reads_back(tmp_path: Path, suffix: str, channels: int) -> None:
    wave = noise(channels, 40_000)
    path = tmp_path / f"a.{suffix}"
    with audio.SoundWriter(path, RATE_HZ, channels) as writer:
        for block in cut(wave, [1, 20_000, 999]):
            writer.write(block)
    assert writer.clipped == 0
    back = read_all(path)
    assert back.shape == wave.shape
    if suffix not in ("ogg", "mp3"):
        assert soundfile.info(path).subtype == "PCM_16"
        np.testing.assert_allclose(back, wave, atol=2**-15)


def test_opus_holds_sound_too(tmp_path: Path) -> None:
    with audio.SoundWriter(tmp_path / "a.opus", RATE_HZ, 1) as writer:
        writer.write(noise(1, 1000))
    assert read_all(tmp_path / "a.opus").shape == (1, 1000)


def test_clips_and_counts_instead_of_wrapping(tmp_path: Path) -> None:
    with audio.SoundWriter(tmp_path / "a.wav", RATE_HZ, 1) as writer:
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
        audio.SoundWriter(tmp_path / name, rate_hz, channels)
    assert (tmp_path / name).read_text() == "precious"


def test_the_limits_of_the_formats_are_libsndfiles_own(tmp_path: Path) -> None:
    for name, rate_hz, channels in [("a.flac", 655_350, 8), ("a.ogg", 200_000, 1), ("a.wav", 10_000_000, 1024)]:
        with audio.SoundWriter(tmp_path / name, rate_hz, channels) as writer:
            writer.write(noise(channels, 10))
        with audio.SoundReader(tmp_path / name) as reader:
            assert (reader.sample_rate_hz, reader.channels, reader.frames) == (rate_hz, channels, 10)


def test_places_that_cannot_be_written_give_one_clear_line(tmp_path: Path) -> None:
    for path, reason in [(tmp_path / "no" / "a.wav", "no such file or folder"), (tmp_path, "is a folder")]:
        with pytest.raises(SoundError, match=reason):
            audio.SoundWriter(path, RATE_HZ, 1, "wav")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("format", ["wav", "flac", "ogg"])
def test_a_full_disk_gives_one_clear_line(format: str) -> None:
    with (
        pytest.raises(SoundError, match=r"/dev/full: cannot write"),
        audio.SoundWriter("/dev/full", RATE_HZ, 1, format) as writer,
    ):
        writer.write(noise(1, 100_000))


def test_writes_to_open_files_and_to_pipes() -> None:
    wave = noise(2, 3000)
    file = io.BytesIO()
    with audio.SoundWriter(file, RATE_HZ, 2) as writer:
        writer.write(wave)
    np.testing.assert_allclose(read_all(file), wave, atol=2**-15)

    receiver, sender = os.pipe()
    with os.fdopen(receiver, "rb") as reading, os.fdopen(sender, "wb") as pipe:
        with audio.SoundWriter(pipe, RATE_HZ, 2) as writer:
            writer.write(wave)
        assert not pipe.closed
        pipe.close()
        assert reading.read() == file.getvalue()


def test_a_failed_body_sends_nothing_down_a_pipe() -> None:
    def fail(pipe: BinaryIO) -> None:
        with audio.SoundWriter(pipe, RATE_HZ, 1) as writer:
            writer.write(noise(1, 100))
            raise KeyError

    receiver, sender = os.pipe()
    with os.fdopen(receiver, "rb") as reading, os.fdopen(sender, "wb") as pipe:
        with pytest.raises(KeyError):
            fail(pipe)
        pipe.close()
        assert reading.read() == b""


def test_a_wav_is_not_let_grow_beyond_its_length_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(audio._FORMATS, "wav", audio._Format("WAV", max_bytes=1000))
    with pytest.raises(SoundError, match="4 GiB"), audio.SoundWriter(tmp_path / "a.wav", RATE_HZ, 1) as writer:
        writer.write(noise(1, 501))


# --- Loudness ---------------------------------------------------------------------------------------------------------


def level_of(wave: np.ndarray, rate_hz: int = RATE_HZ, sizes: tuple[int, ...] = (1000,)) -> tuple[audio.Level, ...]:
    return audio.measure_level(cut(wave, list(sizes)), rate_hz, len(wave))


def test_silence_dc_and_nothing_keep_their_gain() -> None:
    silence, dc = np.zeros((1, 5000), np.float32), np.full((1, 5000), 0.7, np.float32)
    for wave, peak in [(silence, 0.0), (dc, 0.7), (noise(1, 1), 0.01257), (silence[:, :0], 0.0)]:
        (level,) = level_of(wave)
        assert level.rms == 0.0
        assert level.peak == pytest.approx(peak, rel=1e-3)
        assert level.gain == 1.0
    assert level_of(3 * dc)[0].gain == pytest.approx(1 / 2.1)


@pytest.mark.parametrize("amplitude", [1e-3, 0.1, 1.0, 3e4, 1e30])
def test_noise_is_brought_to_the_target_unless_its_peak_forbids(amplitude: float) -> None:
    wave = noise(1, 20_000, amplitude)
    (level,) = level_of(wave)
    assert level.rms == pytest.approx(amplitude, rel=0.02)
    assert level.rms * level.gain == pytest.approx(audio.TARGET_RMS, rel=1e-6)
    assert np.abs(wave).max() * level.gain <= 1.0
    wave[0, 100] = 20 * amplitude
    (level,) = level_of(wave)
    assert level.peak * level.gain == pytest.approx(1.0)


def test_gain_is_limited() -> None:
    assert level_of(noise(1, 5000, 5e-5))[0].gain == audio.MAX_GAIN
    assert level_of(noise(1, 5000, 1e-6))[0].gain == 1.0


def test_pauses_do_not_count_and_channels_are_their_own() -> None:
    talk = noise(1, 8000, 0.05)
    wave = np.concatenate([talk, noise(1, 80_000, 1e-4), talk], axis=1)
    quiet, loud = level_of(np.concatenate([wave, 4 * wave]))
    assert quiet.rms == pytest.approx(0.05, rel=0.05)
    assert loud.rms == pytest.approx(4 * quiet.rms, rel=1e-5)
    assert level_of(wave + 0.3)[0].rms == pytest.approx(quiet.rms, rel=0.01)


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=4))
@settings(max_examples=15, deadline=None)
def test_level_does_not_depend_on_the_blocks(sizes: list[int]) -> None:
    wave = noise(2, 5000) * np.linspace(0, 1, 5000, dtype=np.float32)
    for one, other in zip(level_of(wave, sizes=tuple(sizes)), level_of(wave, sizes=(5000,)), strict=True):
        assert one.rms == pytest.approx(other.rms, rel=1e-12)
        assert one.peak == other.peak


# --- Sample rates -----------------------------------------------------------------------------------------------------

PAIRS = [(44100, 16000), (16000, 44100), (8000, 16000), (48000, 16000), (16000, 48000), (44099, 16000), (16000, 44099)]


def stream(wave: np.ndarray, from_hz: int, to_hz: int, sizes: list[int]) -> np.ndarray:
    resampler = audio.StreamingResampler(from_hz, to_hz)
    parts = [resampler.push(block) for block in cut(wave, sizes)]
    return np.concatenate([*parts, resampler.flush()], axis=1)


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS[:5])
def test_resampling_is_torchaudios(from_hz: int, to_hz: int) -> None:
    wave = noise(2, 7001)
    kaiser = {"resampling_method": "sinc_interp_kaiser", "beta": audio._BETA, "rolloff": audio._ROLLOFF}
    expected = torchaudio.functional.resample(
        torch.from_numpy(wave).double(), from_hz, to_hz, lowpass_filter_width=audio._ZERO_CROSSINGS, **kaiser
    )
    np.testing.assert_allclose(stream(wave, from_hz, to_hz, [513]), expected.float().numpy(), atol=1e-6)


@given(st.sampled_from(PAIRS), st.lists(st.integers(1, 3000), min_size=1, max_size=4), st.integers(0, 6000))
@settings(max_examples=15, deadline=None)
def test_blocks_do_not_change_the_resampled_signal(pair: tuple[int, int], sizes: list[int], frames: int) -> None:
    wave = noise(2, frames)
    whole = audio.resample(wave, *pair)
    assert whole.dtype == np.float32
    assert whole.shape == (2, audio.resampled_length(frames, *pair))
    if frames:
        np.testing.assert_allclose(stream(wave, *pair, sizes), whole, atol=1e-6)


@pytest.mark.parametrize(("from_hz", "to_hz"), [*PAIRS, (191_999, 16000), (1001, 16000), (16000, 1001)])
def test_a_tone_keeps_its_pitch_phase_and_strength(from_hz: int, to_hz: int) -> None:
    tone_hz, duration_s = 0.35 * min(from_hz, to_hz), 0.3
    wave = np.sin(2 * np.pi * tone_hz / from_hz * np.arange(int(from_hz * duration_s)))[None].astype(np.float32)
    resampled = audio.resample(wave, from_hz, to_hz)[0]
    expected = np.sin(2 * np.pi * tone_hz / to_hz * np.arange(len(resampled)))
    inner = slice(len(resampled) // 4, -len(resampled) // 4)
    np.testing.assert_allclose(resampled[inner], expected[inner], atol=3e-4)


@pytest.mark.parametrize(("from_hz", "to_hz"), [(48000, 16000), (44099, 16000)])
def test_what_the_lower_rate_cannot_hold_is_removed(from_hz: int, to_hz: int) -> None:
    wave = np.sin(2 * np.pi * 9000 / from_hz * np.arange(from_hz // 4))[None].astype(np.float32)
    inner = audio.resample(wave, from_hz, to_hz)[0, 1000:-1000]
    assert np.abs(inner).max() < 1e-4


def test_interpolated_filters_agree_with_exact_ones() -> None:
    wave = torch.from_numpy(noise(2, 441 * 8))
    exact, interpolated = audio._ConvolvedPeriod(441, 160), audio._InterpolatedPeriod(441, 160)
    padding = [torch.nn.functional.pad(wave, (period.width, period.width)) for period in (exact, interpolated)]
    torch.testing.assert_close(interpolated(padding[1]), exact(padding[0]), atol=2e-6, rtol=0)


def test_equal_rates_change_nothing_and_any_rate_will_do() -> None:
    wave = noise(2, 100)
    for rate_hz in (1, 16000, 10_000_000):
        np.testing.assert_array_equal(stream(wave, rate_hz, rate_hz, [7]), wave)


@pytest.mark.parametrize("pair", [(1, 16000), (16000, 10_000_000), (999, 16000), (0, 16000), (16000, -1), (0, 0)])
def test_rates_out_of_range_are_refused(pair: tuple[int, int]) -> None:
    with pytest.raises(SoundError, match="rates may be 1000 to 768000 Hz"):
        audio.StreamingResampler(*pair)


def test_what_is_pending_stays_small() -> None:
    resampler = audio.StreamingResampler(44100, 16000)
    returned = sum(resampler.push(noise(1, 1000)).shape[1] for _ in range(100))
    assert audio.resampled_length(100_000, 44100, 16000) - returned < 300


# --- Mel spectra ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_fft", "hop_length"), [(512, 64), (512, 160), (64, 128), (400, 75)])
@pytest.mark.parametrize("frames", [0, 1, 63, 640, 1000])
def test_there_is_one_mel_frame_a_hop(n_fft: int, hop_length: int, frames: int) -> None:
    wave = torch.from_numpy(noise(2, frames))
    mel = audio.log_mel(wave, RATE_HZ, n_fft, hop_length, 10)
    assert mel.shape == (2, 10, frames // hop_length)
    assert torch.isfinite(mel).all()


def test_mel_frames_are_centred_on_their_hop() -> None:
    for token in (0, 3, 9):
        wave = torch.zeros(1, 1280)
        wave[0, token * 128 + 64] = 1.0
        energy = audio.log_mel(wave, RATE_HZ, 256, 128, 20).mean(dim=1)[0]
        assert energy.argmax() == token
        if 0 < token < 9:
            assert energy[token - 1] == pytest.approx(energy[token + 1].item(), abs=1e-3)


def test_mel_of_silence_is_the_floor() -> None:
    mel = audio.log_mel(torch.zeros(1, 1000), RATE_HZ, 256, 100, 20)
    assert torch.allclose(mel, torch.tensor(audio.MEL_FLOOR).log())


def test_mel_grows_with_amplitude_not_power() -> None:
    wave = torch.from_numpy(noise(1, 4000))
    louder = audio.log_mel(10 * wave, RATE_HZ, 512, 160, 20)
    torch.testing.assert_close(louder, audio.log_mel(wave, RATE_HZ, 512, 160, 20) + np.log(10), atol=1e-4, rtol=0)
