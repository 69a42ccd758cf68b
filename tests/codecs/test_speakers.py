"""Who speaks: voices by name and from recordings, and the command line's conversions."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import HEARING
from sounds import noise, talk, tone

from vqaudio.cli import main as cli
from vqaudio.cli.conversion import plan_conversions
from vqaudio.codecs.speakers import named_voice
from vqaudio.codecs.speech import Codec
from vqaudio.codecs.voice_fitting import fit_speaker_embedding
from vqaudio.errors import ModelError, SoundError
from vqaudio.models import checkpoint
from vqaudio.models.speech_vqvae import AudioVQVAE

RATE = 16000


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- Voices ---------------------------------------------------------------------------------------------------------


def test_another_speaker_another_sound(voiced_codec: Codec) -> None:
    stream = voiced_codec.encode(noise(1, 8000)[0], RATE)
    ann, bob, again = (voiced_codec.decode(stream, speaker=name) for name in ("ann", "bob", "ann"))
    assert ann.shape == (1, 8000)
    assert np.array_equal(ann, again)
    assert not np.array_equal(ann, bob)


def test_several_frames_a_token_in_one_stream_or_side_by_side(voiced_codec: Codec) -> None:
    model = voiced_codec.model
    assert (model.samples_per_token, model.config.decoder.hop_length) == (128, 64)
    stream = voiced_codec.encode(noise(2, 3 * RATE), RATE)
    for exact in (False, True):
        assert voiced_codec.decode(stream, exact=exact, speaker="bob").shape == (2, 3 * RATE)


def test_who_speaks_must_be_known(voiced_codec: Codec, tiny_codec: Codec) -> None:
    stream = voiced_codec.encode(noise(1, 400)[0], RATE)
    with pytest.raises(ModelError, match=r"must be told who speaks: give a speaker \(such as ann, anna, bob\)"):
        voiced_codec.decode(stream)
    with pytest.raises(ModelError, match="'anne' is none of the model's 3 speakers and no sound file; near: ann, anna"):
        voiced_codec.decode(stream, speaker="anne")
    plain = tiny_codec.encode(noise(1, 400)[0], RATE)
    for speaker in ("ann", np.zeros(6, np.float32)):
        with pytest.raises(ModelError, match="knows no speakers"):
            tiny_codec.decode(plain, speaker=speaker)


def test_a_voice_is_learnt_from_a_recording(voiced_codec: Codec) -> None:
    """A recording's error is smaller in the voice learnt from it than in any speaker's."""
    model = voiced_codec.model
    wave = talk(140)
    voice = fit_speaker_embedding(model, wave, RATE)
    own = torch.from_numpy(wave[None])
    with torch.no_grad():
        codes = model.encode(own)

        def error(vector: np.ndarray) -> float:
            return float(model.mel_loss(model.features(codes, torch.from_numpy(vector)[None]), own))

        assert error(voice) < min(error(named_voice(model, name)) for name in model.config.speakers)
    assert np.array_equal(voice, fit_speaker_embedding(model, wave, RATE))


def test_a_voice_has_its_pitch() -> None:
    """Where a model tells the pitch, a voice that is learnt is nearer to its pitch than any speaker's is."""
    config = dataclasses.replace(
        HEARING,
        conditioning=dataclasses.replace(HEARING.conditioning, voice_dim=6),
        speakers=("ann", "anna", "bob"),
        prior=None,
    )
    torch.manual_seed(5)
    model = checkpoint.build(config).eval()
    assert isinstance(model, AudioVQVAE)
    for name, value in model.conditioning.named_parameters():
        if "pointwise" in name:  # which begin at zero
            torch.nn.init.normal_(value, std=0.1)
    spoken = talk(160)
    voice = fit_speaker_embedding(model.requires_grad_(False), spoken, RATE)
    own = torch.from_numpy(spoken[None, : 2 * RATE // 256 * 256])
    with torch.no_grad():
        codes = model.encode(own)

        def error(vector: np.ndarray) -> float:
            return float(model.pitch_loss(model.features(codes, torch.from_numpy(vector)[None]), own))

        assert error(voice) < min(error(named_voice(model, name)) for name in config.speakers)


def test_learning_a_voice_changes_no_model(voiced_codec: Codec) -> None:
    before = {name: tensor.clone() for name, tensor in voiced_codec.model.state_dict().items()}
    voiced_codec.voice_of(talk(120, 1.1), RATE)
    after = voiced_codec.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("wave", [noise(1, 15000)[0], np.zeros(2 * RATE, np.float32)])
def test_too_little_speech_to_learn_from(voiced_codec: Codec, wave: np.ndarray) -> None:
    with pytest.raises(SoundError, match="too little speech to learn a voice from"):
        voiced_codec.voice_of(wave, RATE)


@pytest.mark.parametrize("wave", [noise(1, 2 * RATE)[0], np.sin(np.arange(2 * RATE) / 12).astype(np.float32)])
def test_what_is_no_speech_has_no_voice(voiced_codec: Codec, wave: np.ndarray) -> None:
    with pytest.raises(SoundError, match=r"no speech to learn a voice from: .*; give some seconds of one person's"):
        voiced_codec.voice_of(wave, RATE)


# --- vqaudio convert --------------------------------------------------------------------------------------------------


def test_which_result_goes_where(here: Path) -> None:
    (one,) = plan_conversions(["talk.wav"], ["ann"], None)
    assert one.targets == (("ann", "talk-ann.wav"),)
    (one,) = plan_conversions(["talk.wav"], ["ann"], "out.flac")
    assert one.targets == (("ann", "out.flac"),)
    two = plan_conversions(["a/x.wav", "b.y.ogg"], ["ann", "refs/Zoe.wav", "ann"], "out")
    assert [target for one in two for _, target in one.targets] == [
        *("out/x-ann.wav", "out/x-Zoe.wav", "out/b.y-ann.wav", "out/b.y-Zoe.wav")
    ]


@pytest.mark.parametrize(
    ("inputs", "speakers", "output"),
    [
        (["-"], ["ann", "bob"], None),
        (["a.wav"], ["ann", "bob"], "-"),
        (["a/x.wav", "b/x.wav"], ["ann"], "out"),
        (["x.wav"], ["a/ref.wav", "b/ref.wav"], "out"),
    ],
)
def test_results_that_would_collide(here: Path, inputs: list[str], speakers: list[str], output: str | None) -> None:
    with pytest.raises(cli.typer.BadParameter):
        plan_conversions(inputs, speakers, output)


def test_convert(here: Path, voiced_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.wav", "b.wav"):
        tone(here / name, 0.3, 8000, 2)
    soundfile.write(here / "carol.wav", talk(180, 1.5), RATE)
    speakers = ["--speaker", "ann", "--speaker", "carol.wav"]
    assert cli.main(["convert", "a.wav", "b.wav", *speakers, "-o", "out", "--model", str(voiced_model), "--json"]) == 0
    printed = capsys.readouterr()
    said = json.loads(printed.out)
    assert "carol.wav: 1.5 s are little to know a voice by" in printed.err
    assert len(said["files"]) == 4
    made = sorted(path.name for path in (here / "out").iterdir())
    assert made == ["a-ann.wav", "a-carol.wav", "b-ann.wav", "b-carol.wav"]
    for name in made:
        assert soundfile.info(here / "out" / name).frames == 2400
        assert soundfile.info(here / "out" / name).channels == 2


def test_convert_is_encode_and_decode(here: Path, voiced_model: Path) -> None:
    tone(here / "a.wav")
    model = ["--model", str(voiced_model)]
    assert cli.main(["encode", "a.wav", *model]) == 0
    assert cli.main(["decode", "a.vqa", "--speaker", "bob", "-o", "decoded.wav", "--seed", "4", *model]) == 0
    assert cli.main(["convert", "a.wav", "--speaker", "bob", "-o", "converted.wav", "--seed", "4", *model]) == 0
    decoded, converted = (soundfile.SoundFile(here / f"{name}.wav") for name in ("decoded", "converted"))
    with decoded, converted:
        assert np.array_equal(decoded.read(), converted.read())
        assert (decoded.comment, "no recording of whoever" in converted.comment) == ("", True)


def test_convert_says_what_is_wrong(here: Path, voiced_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tone(here / "a.wav")
    tone(here / "short.wav", 0.2)
    (here / "broken.wav").write_bytes(b"RIFF")
    model = ["--model", str(voiced_model)]
    assert cli.main(["convert", "a.wav", "--speaker", "bop", "--speaker", "ann", "-o", "out", *model]) == 1
    assert "'bop' is none of the model's 3 speakers and no sound file; near: bob" in capsys.readouterr().err
    assert not (here / "out").exists()  # told before any work
    for speaker, said in {
        "short.wav": "short.wav: 0.2 s with too little speech",
        "broken.wav": "broken.wav",
    }.items():
        assert (
            cli.main(["convert", "a.wav", "--speaker", speaker, "--speaker", "ann", "-o", "out", "--force", *model])
            == 1
        )
        assert said in capsys.readouterr().err
        assert [path.name for path in (here / "out").iterdir()] == ["a-ann.wav"]
    assert cli.main(["convert", "a.wav", *model]) == 2


@pytest.mark.parametrize("option", [("--pitch", "keep"), ("--pitch", "2"), ("--formants", "-1")])
def test_what_the_model_cannot_move_is_told_before_the_work(
    here: Path, voiced_model: Path, capsys: pytest.CaptureFixture[str], option: tuple[str, str]
) -> None:
    tone(here / "a.wav")
    arguments = ["convert", "a.wav", "--speaker", "ann", "-o", "new/", "--model", str(voiced_model), *option]
    assert cli.main(arguments) == 1
    assert "cannot be moved" in capsys.readouterr().err
    assert not (here / "new").exists()


def test_sampling_in_a_voice(here: Path, voiced_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sample", "--model", str(voiced_model), "--seconds", "0.2", "-o", "new.wav"]
    assert cli.main(arguments) == 1
    assert "must be told who speaks" in capsys.readouterr().err
    assert cli.main([*arguments, "--speaker", "anna"]) == 0
    assert soundfile.info(here / "new.wav").frames == 3200


def test_models_lists_speakers(here: Path, voiced_codec: Codec, capsys: pytest.CaptureFixture[str]) -> None:
    facts = {
        "speakers": [
            {"name": "ann", "gender": "F", "minutes": 0.5},
            {"name": "anna", "gender": "F", "minutes": 2.0},
            {"name": "bob", "gender": "M", "minutes": 6.04},
        ],
        "licence": "CC BY 4.0, so and so",
    }
    config, state = voiced_codec.config, voiced_codec.model.state_dict()
    checkpoint.save_model(here / "voiced", dataclasses.replace(config), state, facts)
    assert cli.main(["models", "voiced"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:3]] == [["bob", "M", "6.0"], ["anna", "F", "2.0"]]
    assert lines[3:] == ["with less than a minute each: ann F", "CC BY 4.0, so and so"]
    assert cli.main(["models", "voiced", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["speakers"] == facts["speakers"]
