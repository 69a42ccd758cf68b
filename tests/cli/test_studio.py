"""The work of the studio, without its page: what the verbs make, limits, and requests side by side."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pictures
import pytest
import soundfile
import typer
from conftest import Run
from sounds import tone

from vqaudio.cli import studio_view as view
from vqaudio.cli.studio_work import Limits, Models, Studio, Take, line_for
from vqaudio.errors import ConfigError, ModelError, PictureError, SoundError
from vqaudio.io.image import read_picture, write_picture

SPEECH = Path(__file__).resolve().parents[2] / "data" / "samples" / "kettle.flac"


def silent(share: float, what: str) -> None:
    pass


@pytest.fixture(scope="module")
def models(talking_model: Path, voiced_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Models:
    images = pictures.save_model(tmp_path_factory.mktemp("models") / "pictures")
    return Models(str(talking_model), str(voiced_model), str(images))


@pytest.fixture
def studio(models: Models, tmp_path: Path) -> Studio:
    (tmp_path / "studio").mkdir()
    return Studio(models, "cpu", tmp_path / "studio", Limits(sound_s=2.0, file_bytes=500_000, pixels=400))


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    return tone(tmp_path / "talk.wav", 0.3, 22050)


def test_a_take_is_what_the_verbs_make(studio: Studio, models: Models, talk: Path, run: Run, tmp_path: Path) -> None:
    result = studio.take(Take(talk, seed=3, temperature=0.8, speaker="bob"), silent)
    chosen = ("--seed", 3, "--temperature", 0.8)
    assert run("encode", talk, "--model", models.speech, "-o", "a.vqa").code == 0
    assert run("decode", "a.vqa", "--model", models.speech, "-o", "a.wav", *chosen).code == 0
    assert run("convert", talk, "--speaker", "bob", "--model", models.voices, "-o", "b.wav", *chosen).code == 0
    for role, name in (("stream", "a.vqa"), ("decoded", "a.wav"), ("converted", "b.wav")):
        assert result.files[role].read_bytes() == (tmp_path / name).read_bytes(), role
    assert result.facts["bytes"] == (tmp_path / "a.vqa").stat().st_size
    assert np.array_equal(soundfile.read(result.files["original"])[0], soundfile.read(talk)[0])
    assert result.codes.shape == (1, 75)
    assert result.files["converted"].name == "talk-bob.wav"


def test_an_own_voice(studio: Studio, models: Models, talk: Path, tmp_path: Path) -> None:
    (tmp_path / "patient").mkdir()
    patient = Studio(models, "cpu", tmp_path / "patient", Limits())
    result = patient.take(Take(talk, reference=SPEECH), silent)
    assert result.files["converted"].name == "talk-kettle-reference.wav"
    assert "taking on the voice in kettle-reference.wav: only with the consent of whoever it is" in result.lines
    with pytest.raises(SoundError) as refused:
        studio.take(Take(talk, reference=tone(tmp_path / "tone.wav", 1.5)), silent)
    assert studio.line_of(refused.value).startswith("tone-reference.wav: ")  # and no folder


def test_requests_do_not_meet(studio: Studio, tmp_path: Path) -> None:
    """Sounds of one name, at once: each gets what it gets alone."""
    sounds = [tone(tmp_path / f"{number}" / "talk.wav", 0.2 + 0.1 * number) for number in range(6)]
    alone = [studio.take(Take(sound, seed=7), silent) for sound in sounds]
    gate = threading.Barrier(3)

    def together(sound: Path) -> dict[str, bytes]:
        gate.wait(60)
        return {role: path.read_bytes() for role, path in studio.take(Take(sound, seed=7), silent).files.items()}

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(together, sounds))
    for one, other in zip(alone, found, strict=True):
        assert {role: path.read_bytes() for role, path in one.files.items()} == other
    assert len({one["stream"] for one in found}) == len(sounds)


@pytest.mark.parametrize("prompted", [False, True])
def test_new_speech(studio: Studio, talk: Path, prompted: bool) -> None:
    result = studio.draw(0.5, 1, 1.0, 0.9, talk if prompted else None, silent)
    seconds = soundfile.info(result.files["sample"]).duration
    assert seconds == pytest.approx(0.8 if prompted else 0.5, abs=0.01)
    assert result.facts["duration_s"] == pytest.approx(seconds)
    assert result.files["stream"].stat().st_size > 50


def test_pictures(studio: Studio, tmp_path: Path) -> None:
    path = tmp_path / "view.png"
    with path.open("wb") as file:
        write_picture(file, pictures.gradient(12, 20), ".png")
    result = studio.picture(path, silent)
    assert np.array_equal(read_picture(result.files["original"]), pictures.gradient(12, 20))
    assert read_picture(result.files["decoded"]).shape == (12, 20, 3)
    assert (result.facts["width"], result.facts["height"]) == (20, 12)
    assert result.codes.size == 6 * 4 * 2  # tiles, cells of a tile, codes of a cell
    drawn = studio.draw_pictures(4, 0, 1.0, silent)
    assert read_picture(drawn.files["sample"]).shape == (16, 16, 3)


# ------------------------------------------------------------------------------------------------------------- limits


def test_limits_are_told(studio: Studio, talk: Path, tmp_path: Path) -> None:
    long, many = tone(tmp_path / "long.wav", 2.1), tone(tmp_path / "many.wav", 0.1, channels=3)
    large = tone(tmp_path / "large.wav", 1.9, 96000, 2)
    with pytest.raises(SoundError, match="longer than the studio's 2 s"):
        studio.take(Take(long), silent)
    with pytest.raises(SoundError, match=r"many\.wav: has 3 channels"):
        studio.take(Take(talk, reference=many), silent)
    with pytest.raises(SoundError, match=r"has 0\.7 MB, more than the studio's 0\.5 MB"):
        studio.take(Take(large), silent)
    with pytest.raises(ConfigError, match="above 0 to 2"):
        studio.draw(2.5, 0, 1.0, 1.0, None, silent)
    with pytest.raises(ConfigError, match="1 to 64"):
        studio.draw_pictures(65, 0, 1.0, silent)
    with (tmp_path / "large.png").open("wb") as file:
        write_picture(file, pictures.gradient(21, 20), ".png")
    with pytest.raises(PictureError, match="20 x 21 pixels, more than the studio's 400"):
        studio.picture(tmp_path / "large.png", silent)


def test_sound_without_samples(studio: Studio, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16000)
    with pytest.raises(SoundError, match="holds no sound"):
        studio.take(Take(tmp_path / "none.wav"), silent)


def test_work_ends_in_time(models: Models, talk: Path, tmp_path: Path) -> None:
    hurried = Studio(models, "cpu", tmp_path, Limits(work_s=0.0))
    with pytest.raises(ConfigError, match="took more than 0 s"):
        hurried.take(Take(talk), silent)
    with pytest.raises(ConfigError, match="took more than 0 s"):
        hurried.draw(1.0, 0, 1.0, 1.0, None, silent)


def test_old_files_go(studio: Studio, talk: Path) -> None:
    first = studio.take(Take(talk), silent).files["stream"].parent
    second = studio.take(Take(talk), silent).files["stream"].parent
    os.utime(first, (0, 0))
    studio.take(Take(talk), silent)
    assert not first.exists()
    assert second.exists()


def test_errors_are_the_verbs_lines(studio: Studio, talk: Path) -> None:
    with pytest.raises(ModelError) as unknown:
        studio.take(Take(talk, speaker="nobody"), silent)
    assert "'nobody' is none of the model's 3 speakers" in line_for(unknown.value)
    assert line_for(typer.BadParameter("two\n lines")) == "two lines"
    assert line_for(ValueError("odd")).startswith("internal error (ValueError: odd)")


# ------------------------------------------------------------------------------------------------------- what is shown


def test_names_are_escaped(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>"
    shown = [
        view.failure(hostile),
        view.notes([hostile]),
        view.facts({hostile: hostile}),
        view.download(tmp_path / "a<b>&.vqa"),
        view.sound(hostile, tone(tmp_path / "a<b>.wav"), "original"),
        view.picture(hostile, tmp_path / "a<b>.png", "picture"),
    ]
    for html in shown:
        assert "<script" not in html
        assert "<b>" not in html


def test_pitch_of_a_tone(tmp_path: Path) -> None:
    time = np.arange(44100) / 44100
    buzz = np.sign(np.sin(2 * np.pi * 150 * time)).astype(np.float32) * 0.1
    track = view.pitch_track(np.concatenate([buzz, np.zeros(44100, np.float32)]), 44100)
    assert len(track) == 200
    assert np.nanmedian(track[:95]) == pytest.approx(150, rel=0.03)
    assert np.isnan(track[110:]).all()
    assert np.isnan(view.pitch_track(np.zeros(10, np.float32), 16000)).all()


def test_codes_have_colours() -> None:
    one, other = (view.code_strip(np.array([[1, number]], np.int32)) for number in (1, 2))
    assert one != other
    assert "2 codes" in one
    assert view.code_strip(np.zeros((1, 0), np.int32)) == ""


def test_without_gradio(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    done = run("studio")
    assert done.code == 1
    assert len(done.lines) == 1
    assert "pip install 'vqaudio[studio]'" in done.err
