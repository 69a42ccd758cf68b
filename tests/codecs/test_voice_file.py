"""Voices in files: kept for one model, refused for all else; and taken on at once by models that hear who speaks."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import VOCODED, Run
from safetensors.numpy import save_file
from sounds import talk

from vqaudio.codecs.speech import Codec, load
from vqaudio.errors import ModelError, OutputError, SoundError
from vqaudio.io.sound_writer import SoundWriter
from vqaudio.models import checkpoint
from vqaudio.models.config import SpeakerEncoderConfig

RATE = 16000
VOICES = dataclasses.replace(VOCODED, speakers=("ann", "bob"), speaker_encoder=SpeakerEncoderConfig(12, (1, 2)))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("models") / "heard"
    network = checkpoint.build(VOICES)
    for name, weight in network.named_parameters():
        if ".voice." in name:
            torch.nn.init.normal_(weight, std=0.5)  # so that voices are far apart
    checkpoint.save_model(folder, VOICES, network.state_dict(), {"step": 1})
    return folder


@pytest.fixture(scope="module")
def codec(model: Path) -> Codec:
    return load(model, "cpu")


def test_a_voice_is_heard_at_once_whatever_the_level(codec: Codec) -> None:
    low, soft, high = (codec.voice_of(wave, RATE) for wave in (talk(100), 0.01 * talk(100), talk(250)))
    np.testing.assert_allclose(low, soft, atol=1e-3)
    assert np.linalg.norm(low - high) > 10 * np.linalg.norm(low - soft)
    stream = codec.encode(talk(150), RATE)
    assert not np.allclose(codec.decode(stream, speaker=low), codec.decode(stream, speaker=high))
    with pytest.raises(SoundError, match="too little speech"):
        codec.voice_of(talk(100, 0.3), RATE)


def test_there_and_back(codec: Codec, tmp_path: Path) -> None:
    voice = codec.voice_of(talk(120), RATE)
    codec.save_voice(tmp_path / "a.voice", voice)
    assert np.array_equal(codec.load_voice(tmp_path / "a.voice"), voice)
    with pytest.raises(OutputError, match="exists"):
        codec.save_voice(tmp_path / "a.voice", voice)
    codec.save_voice(tmp_path / "a.voice", 2 * voice, overwrite=True)
    assert np.array_equal(codec.load_voice(tmp_path / "a.voice"), 2 * voice)


def test_what_is_no_voice_of_this_model(codec: Codec, voiced_codec: Codec, tmp_path: Path) -> None:
    codec.save_voice(tmp_path / "a.voice", codec.voice_of(talk(120), RATE))
    with pytest.raises(ModelError, match="a voice for another model"):
        voiced_codec.load_voice(tmp_path / "a.voice")
    save_file({"voice": np.zeros(4, np.float32)}, tmp_path / "plain.voice")
    (tmp_path / "noise.voice").write_bytes(b"\xff" * 100)
    with open(tmp_path / "huge.voice", "wb") as file:
        file.truncate(2**40)
    for name in ("plain", "noise", "huge", "missing"):
        with pytest.raises(ModelError, match=rf"{name}\.voice: .*'vqaudio voices save'"):
            codec.load_voice(tmp_path / f"{name}.voice")
    facts = {"format": "vqaudio voice 1", "weights_sha256": checkpoint.whole_sha256(codec._folder).hex()}  # type: ignore[arg-type]
    save_file({"voice": np.full(4, np.nan, np.float32)}, tmp_path / "nan.voice", facts)
    with pytest.raises(ModelError, match="damaged"):
        codec.load_voice(tmp_path / "nan.voice")


def test_the_command(run: Run, model: Path, tmp_path: Path, codec: Codec) -> None:
    waves = {"one.wav": talk(110), "two.wav": talk(115), "short.wav": talk(110, 0.2), "talk.wav": talk(180)}
    for name, wave in waves.items():
        with SoundWriter(tmp_path / name, RATE, 1) as writer:
            writer.write(wave[None])
    done = run("voices", "save", "me", "one.wav", "two.wav", "--model", str(model))
    assert done.code == 0, done.err
    each = [codec.voice_of(waves[name], RATE) for name in ("one.wav", "two.wav")]
    np.testing.assert_allclose(codec.load_voice(tmp_path / "me.voice"), np.mean(each, axis=0), atol=0.05)
    failed = run("voices", "save", "you", "one.wav", "short.wav", "--model", str(model))
    assert failed.code == 1
    assert "short.wav: 0.2 s with too little speech" in failed.err
    assert not (tmp_path / "you.voice").exists()
    assert run("convert", "talk.wav", "--speaker", "me.voice", "-o", "out.wav", "--model", str(model)).code == 0
    assert (tmp_path / "out.wav").exists()
