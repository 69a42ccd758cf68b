"""Pitch and formants moved in decoding: measured in the sound of a model that always says the same."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import VOCODED, Run

from vqaudio.codecs.speech import Codec
from vqaudio.dsp import pitch
from vqaudio.errors import ConfigError, SoundError
from vqaudio.io.sound import SoundReader
from vqaudio.io.sound_writer import SoundWriter
from vqaudio.models import checkpoint
from vqaudio.models.vocoder_vqvae import VocoderVQVAE

RATE, PITCH = 16000, 30  # the pitch's number on the scale


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that predicts one pitch and one envelope, with a peak in band 8 of 20."""
    torch.manual_seed(0)
    model = VocoderVQVAE(VOCODED)
    for head in (model.pitch_head, model.bands_head):
        torch.nn.init.zeros_(head.weight)
    model.pitch_head.bias.data = torch.full((pitch.PITCHES + 1,), -9.0)
    model.pitch_head.bias.data[PITCH] = 9.0
    model.bands_head.bias.data = -0.5 * (torch.arange(20.0) - 8).square()
    path = tmp_path_factory.mktemp("models") / "constant"
    checkpoint.save_model(path, VOCODED, model.state_dict(), {"step": 1})
    return path


@pytest.fixture(scope="module")
def codec(folder: Path) -> Codec:
    return Codec(checkpoint.load_model(folder), b"x" * 32)  # type: ignore[arg-type]


def own_hz() -> float:
    return float(pitch.pitch_scale(torch.device("cpu"))[PITCH])


def period(wave: np.ndarray) -> float:
    """Samples, by autocorrelation."""
    middle = wave[8000:24000].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(middle, 65536)) ** 2
    correlation = np.fft.irfft(spectrum)[20:400]
    return 20 + int(correlation.argmax())


def centre(wave: np.ndarray) -> float:
    """The mean frequency of the power, Hz."""
    power = np.abs(np.fft.rfft(wave)) ** 2
    return float((np.fft.rfftfreq(len(wave), 1 / RATE) * power).sum() / power.sum())


@pytest.mark.parametrize("semitones", [-7.0, 0.0, 5.0])
def test_the_pitch_moves_by_semitones(codec: Codec, semitones: float) -> None:
    stream = codec.encode(np.ones(2 * RATE, np.float32) * 0.1, RATE)
    wave = codec.decode(stream, pitch_semitones=semitones)[0]
    assert period(wave) == pytest.approx(RATE / (own_hz() * 2 ** (semitones / 12)), abs=1.5)


def test_formants_move_and_the_pitch_stays(codec: Codec) -> None:
    stream = codec.encode(np.ones(2 * RATE, np.float32) * 0.1, RATE)
    plain, smaller = (codec.decode(stream, formant_semitones=semitones)[0] for semitones in (0, 6))
    assert centre(smaller) == pytest.approx(centre(plain) * 2**0.5, rel=0.08)
    assert period(smaller) == period(plain)


def test_the_pitch_of_a_recording_is_kept(codec: Codec) -> None:
    time = np.arange(2 * RATE) / RATE
    hz = own_hz() * 1.5
    sung = (0.1 * sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 12))).astype(np.float32)
    assert codec.keeping_semitones(sung, RATE, None) == pytest.approx(12 * np.log2(1.5), abs=0.3)
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    with pytest.raises(SoundError, match="no voice whose pitch could be kept"):
        codec.keeping_semitones(noise, RATE, None)


def test_what_cannot_be_moved(tiny_codec: Codec, codec: Codec) -> None:
    stream = tiny_codec.encode(np.zeros(4000, np.float32), RATE)
    with pytest.raises(ConfigError, match="cannot be moved"):
        tiny_codec.decode(stream, pitch_semitones=2)
    with pytest.raises(ConfigError, match="cannot be kept"):
        tiny_codec.keeping_semitones(np.zeros(4000, np.float32), RATE, None)
    own = codec.encode(np.zeros(4000, np.float32), RATE)
    for option in ({"pitch_semitones": 25}, {"formant_semitones": float("nan")}):
        with pytest.raises(ConfigError, match=next(iter(option))):
            codec.decode(own, **option)


def test_on_the_command_line(run: Run, folder: Path, tmp_path: Path) -> None:
    with SoundWriter(tmp_path / "a.wav", RATE, 1) as writer:
        writer.write(np.ones((1, 2 * RATE), np.float32) * 0.1)
    model = ("--model", str(folder))
    assert run("encode", "a.wav", *model).code == 0
    assert run("decode", "a.vqa", "-o", "up.wav", "--pitch", "5", *model).code == 0
    with SoundReader(tmp_path / "up.wav") as reader:
        wave = next(reader.blocks(2 * RATE))[0]
    assert period(wave) == pytest.approx(RATE / (own_hz() * 2 ** (5 / 12)), abs=1.5)
    for options in (("--pitch", "99"), ("--formants", "13")):
        assert run("decode", "a.vqa", "-o", "no.wav", *options, *model).code == 2
    assert run("convert", "a.wav", "--speaker", "ann", "--pitch", "high", *model).code == 2
    assert not (tmp_path / "no.wav").exists()
