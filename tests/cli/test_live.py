"""Live sound through pipes: packets come before the input ends; microphone and loudspeaker, by a stand-in."""

import io
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import children
import numpy as np
import pytest
import soundfile
from conftest import Run
from sounds import noise

from vqaudio.bitstream.packets import HEADER_BYTES, PacketHeader, PacketReader
from vqaudio.bitstream.stream import Stream
from vqaudio.codecs.speech import load
from vqaudio.errors import SoundError
from vqaudio.io.live_sound import LiveSound, endless_wav_header, to_pcm

RATE = 16000


def samples(frames: int) -> bytes:
    return to_pcm(noise(1, frames)[0])


def wav(frames: int, rate: int = RATE, channels: int = 1, subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, noise(channels, frames).T, rate, format="WAV", subtype=subtype)
    return file.getvalue()


# ------------------------------------------------------------------------------------------------- bytes that are sound


@pytest.mark.parametrize("size", [1, 3, 7, 100_000])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_32", "FLOAT"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_wav_in_any_cut_is_its_samples(size: int, subtype: str, channels: int) -> None:
    data, sound = wav(500, 22050, channels, subtype), LiveSound(8000, 1)
    parts = [sound.push(data[first : first + size]) for first in range(0, len(data), size)]
    expected = soundfile.read(io.BytesIO(data), always_2d=True)[0].mean(axis=1)
    np.testing.assert_allclose(np.concatenate([*parts, sound.flush()]), expected, atol=1e-6)
    assert sound.sample_rate_hz == 22050


@pytest.mark.parametrize("beginning", [b"", b"R", b"RIF", b"RIFFabcdWAVX", b"\0\1\2\3"])
def test_what_is_no_wav_is_samples(beginning: bytes) -> None:
    data = beginning + samples(10) if len(beginning) != 1 else beginning
    sound = LiveSound(8000, 1)
    found = np.concatenate([*(sound.push(data[i : i + 1]) for i in range(len(data))), sound.flush()])
    expected = np.frombuffer(data[: len(data) // 2 * 2], "<i2") / 32768
    assert sound.sample_rate_hz == 8000
    assert np.array_equal(found, expected.astype(np.float32))


def test_a_wav_without_a_length_is_read_to_its_end_and_one_with_a_length_no_further() -> None:
    endless, told = LiveSound(8000, 1), LiveSound(8000, 1)
    assert len(endless.push(endless_wav_header(12345) + samples(70))) == 70
    assert endless.sample_rate_hz == 12345
    assert len(told.push(wav(50) + b"LIST" + bytes(100))) == 50


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (wav(10)[:30], "ends inside its header"),
        (wav(10, subtype="PCM_24"), "24 bits"),
        (b"RIFF0000WAVEdata0000", "does not say its format"),
        (b"RIFF0000WAVEjunk\xff\xff\xff\xff", "within a megabyte"),
    ],
)
def test_other_wavs_are_refused(data: bytes, match: str) -> None:
    sound = LiveSound(8000, 1)
    with pytest.raises(SoundError, match=match):
        sound.push(data), sound.flush()


# ---------------------------------------------------------------------------------------------------- encode and decode


@pytest.mark.parametrize("source", [samples(9000), wav(9000), endless_wav_header(RATE) + samples(9000)])
def test_sound_goes_into_packets_and_back(run: Run, vocoded_model: Path, source: bytes) -> None:
    encoded = run("encode", "--live", "-", "-o", "-", "--model", vocoded_model, "--gain", "1.5", stdin=source)
    assert (encoded.code, encoded.err) == (0, "")
    reader = PacketReader()
    codes = np.concatenate([arrived.codes for arrived in reader.push(encoded.out)], axis=1)
    assert reader.ended
    live, codec = LiveSound(RATE, 1), load(vocoded_model, "cpu")
    wave = np.concatenate([live.push(source), live.flush()])
    encoder = codec.stream_encoder(RATE, gain=1.5)
    assert np.array_equal(codes, np.concatenate([encoder.push(wave), encoder.flush()], axis=1))
    decode = "decode", "--live", "-", "-o", "-", "--model", vocoded_model
    decoded = run(*decode, stdin=encoded.out)
    assert (decoded.code, decoded.err) == (0, "")
    raw = run(*decode, "--raw", stdin=encoded.out)
    assert len(raw.out) == 2 * 9000
    assert decoded.out == endless_wav_header(RATE) + raw.out
    whole = codec.decode(codec.stream_of(codes[None], 1 / 1.5), exact=True)[0, :9000]
    assert raw.out == to_pcm(whole)


def test_a_lost_packet_is_concealed_and_told_and_a_repeated_one_is_not(run: Run, vocoded_model: Path) -> None:
    encode = "encode", "--live", "-", "--model", vocoded_model
    decode = "decode", "--live", "-", "--raw", "--model", vocoded_model
    for repeat, code in ((0, 1), (3, 0)):
        packets = run(*encode, "--repeat", repeat, stdin=samples(9000)).out
        header, flags = PacketHeader.from_bytes(packets), 2 | (0x40 if repeat else 0)
        first = HEADER_BYTES + header.body_size(2) + 9  # where the second packet begins, which is lost
        torn = packets[:first] + packets[first + header.body_size(flags) + 9 :]
        decoded = run(*decode, stdin=torn)
        assert decoded.code == code
        assert len(decoded.out) == 2 * 9000
        assert ("vectors were lost" in decoded.err) == (code == 1)


def test_packets_that_end_early_are_a_failure(run: Run, vocoded_model: Path) -> None:
    packets = run("encode", "--live", "-", "--model", vocoded_model, stdin=samples(9000)).out
    done = run("decode", "--live", "-", "--raw", "--model", vocoded_model, stdin=packets[:-1])
    assert done.code == 1
    assert len(done.out) > 2 * 8000
    assert done.err.endswith("the packets end before the sound does; what came is decoded\n")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["encode", "--live", "a.wav"], 2, "give - -o -"),
        (["encode", "--live", "-", "-o", "a.vqa"], 2, "give - -o -"),
        (["encode", "--live", "-", "--coder", "packed"], 2, "--coder does not apply to --live"),
        (["encode", "--live", "-", "--gain", "loud"], 2, "--gain loud is not valid"),
        (["encode", "-", "--gain", "2"], 2, "--gain goes with --live"),
        (["decode", "-", "--raw"], 2, "--raw goes with --live"),
        (["decode", "--live", "-", "--exact"], 2, "--exact does not apply to --live"),
        (["decode", "--live", "-", "--rate", "x"], 2, "is no rate"),
        (["record", "-o", "-", "--gain", "0"], 2, "--gain 0 is not valid"),
        (["record", "-o", "a.vqa", "--gain", "2"], 2, "--gain goes with -o -: leave it out"),
    ],
)
def test_wrong_usage_is_told(run: Run, arguments: list[str], code: int, said: str) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (code, b"")
    assert said in " ".join(done.err.replace("│", " ").split())


def test_what_no_packets_are_is_told_in_a_line(run: Run, vocoded_model: Path, other_model: Path) -> None:
    own = run("encode", "--live", "-", "--model", vocoded_model, stdin=samples(3000)).out
    header = PacketHeader.from_bytes(own)
    for model, data, said in (
        (vocoded_model, b"", "holds no header packet"),
        (vocoded_model, b"RIFF", "no packets of vqaudio"),
        (other_model, own, "made with model"),
        (vocoded_model, PacketHeader(header.model_sha256, RATE, RATE, 64, 8, 100, 2).to_bytes(), "contradicts"),
    ):
        done = run("decode", "--live", "-", "--model", model, stdin=data)
        assert (done.code, done.out, len(done.lines)) == (1, b"", 1)
        assert said in done.err


def test_packets_and_sound_come_before_the_input_ends(vocoded_model: Path, tmp_path: Path) -> None:
    """A second of sound in pieces: before the next is given, all comes out that the promised delay lets expect."""
    codec = load(vocoded_model, "cpu")
    promised_s = codec.stream_encoder(gain=None).delay_s + codec.stream_decoder().delay_s
    program = [sys.executable, "-m", "vqaudio"]
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "env": children.environment(), "cwd": tmp_path, "bufsize": 0}
    encode = [*program, "encode", "--live", "-", "-o", "-", "--model", str(vocoded_model)]
    decode = [*program, "decode", "--live", "-", "-o", "-", "--raw", "--model", str(vocoded_model)]
    with (
        subprocess.Popen(encode, stdin=subprocess.PIPE, **options) as encoder,
        subprocess.Popen(decode, stdin=encoder.stdout, **options) as decoder,
    ):
        assert encoder.stdin is not None
        assert decoder.stdout is not None
        data, heard = samples(RATE), b""
        for first in range(0, RATE, 4000):
            encoder.stdin.write(data[2 * first : 2 * first + 8000])
            given = first + 4000
            while len(heard) < 2 * (given - promised_s * RATE):
                assert select.select([decoder.stdout], [], [], 120)[0], "nothing came"
                more = os.read(decoder.stdout.fileno(), 1 << 16)
                assert more, "the sound ended early"
                heard += more
        assert len(heard) < 2 * RATE
        encoder.stdin.close()
        while more := os.read(decoder.stdout.fileno(), 1 << 16):
            heard += more
    assert (encoder.returncode, decoder.returncode) == (0, 0)
    assert len(heard) == 2 * RATE


# ------------------------------------------------------------------------------------------------------------- devices


class _Device(ModuleType):
    """A sounddevice whose microphone hears noise, then Ctrl-C."""

    class PortAudioError(Exception):
        pass

    def __init__(self, broken: bool = False) -> None:
        super().__init__("sounddevice")
        self.played: list[np.ndarray] = []
        device = self

        class Stream:
            def __init__(self, **settings: object) -> None:
                if broken:
                    raise device.PortAudioError("Error querying device -1")
                self.blocks = 50

            def start(self) -> None: ...
            def stop(self) -> None: ...
            def close(self) -> None: ...

            def read(self, count: int) -> tuple[np.ndarray, bool]:
                self.blocks -= 1
                if self.blocks == 0:
                    signal.raise_signal(signal.SIGINT)
                return noise(1, count).T, False

            def write(self, block: np.ndarray) -> None:
                device.played.append(block)

        self.InputStream = self.OutputStream = Stream


def test_what_is_recorded_is_played(run: Run, vocoded_model: Path, tmp_path: Path, monkeypatch: Any) -> None:
    device = _Device()
    monkeypatch.setitem(sys.modules, "sounddevice", device)
    done = run("record", "-o", "a.vqa", "--rate", 16000, "--model", vocoded_model)
    assert done.code == 0
    assert Stream.load(tmp_path / "a.vqa", load(vocoded_model, "cpu").block_coder(1)).header.shape == (16000,)
    assert run("play", "a.vqa", "--model", vocoded_model).code == 0
    assert sum(map(len, device.played)) == 16000
    device.played.clear()
    packets = run("record", "-o", "-", "--seconds", "0.5", "--rate", 16000, "--model", vocoded_model)
    assert run("play", "-", "--model", vocoded_model, stdin=packets.out).code == 0
    assert sum(map(len, device.played)) == 8000


@pytest.mark.parametrize("verb", [["play", "a.vqa"], ["play", "-"], ["record", "-o", "a.vqa"]])
@pytest.mark.parametrize("missing", ["package", "library", "device"])
def test_without_a_device_one_line_says_so(
    run: Run, vocoded_model: Path, tmp_path: Path, monkeypatch: Any, verb: list[str], missing: str
) -> None:
    codec = load(vocoded_model, "cpu")
    codec.encode(noise(1, 3000)[0], RATE).save(tmp_path / "a.vqa")
    packets = run("encode", "--live", "-", "--model", vocoded_model, stdin=samples(3000)).out
    if missing == "library":
        finder = type("F", (), {"find_spec": staticmethod(_no_library)})
        monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
        monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    else:
        monkeypatch.setitem(sys.modules, "sounddevice", None if missing == "package" else _Device(broken=True))
    (tmp_path / "a.vqa").unlink() if verb[0] == "record" else None
    done = run(*verb, "--model", vocoded_model, stdin=packets)
    said = {"package": "vqaudio[live]", "library": "PortAudio", "device": "can be used"}[missing]
    assert (done.code, len(done.lines)) == (1, 1)
    assert said in done.err


def _no_library(name: str, *_: object) -> None:
    if name == "sounddevice":
        raise OSError("PortAudio library not found")
