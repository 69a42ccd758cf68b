"""The command line with pictures: what goes where, which model takes what, one line a failure."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Run
from pictures import CLASSY, TINY, gradient, save_model
from PIL import Image

from vqaudio.codecs import bundled
from vqaudio.io.image import read_picture
from vqaudio.models.checksums import write_sums
from vqaudio.models.config import PhaseConfig, TrainConfig, model_to_mapping
from vqaudio.models.strict import to_mapping


@pytest.fixture(autouse=True)
def shipped(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose bundled models are tiny."""
    folder = tmp_path_factory.mktemp("pretrained")
    (folder / "speech").symlink_to(tiny_model)
    write_sums(save_model(folder / "images"))
    monkeypatch.setattr(bundled, "PRETRAINED", folder)
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(gradient(13, 21)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "talk.wav", np.random.default_rng(0).standard_normal(3000) * 0.1, 16000)
    return tmp_path / "talk.wav"


def test_there_and_back(run: Run, photo: Path, tmp_path: Path) -> None:
    assert run("encode", photo).code == 0
    (tmp_path / "copy").mkdir()
    done = run("decode", "photo.vqa", "-o", "copy/")
    assert done.code == 0
    assert read_picture(tmp_path / "copy" / "photo.png").shape == (13, 21, 3)
    for name in ("a.webp", "a.jpg", "a.tif"):
        assert run("decode", "photo.vqa", "-o", name).code == 0
        assert Image.open(tmp_path / name).size == (21, 13)


def test_sounds_and_pictures_together(run: Run, photo: Path, talk: Path, tmp_path: Path) -> None:
    assert run("encode", photo, talk, "-o", "coded").code == 0
    done = run("decode", "coded/photo.vqa", "coded/talk.vqa", "-o", "back", "--json")
    assert done.code == 0
    entries = json.loads(done.out)["files"]
    assert [entry["output"] for entry in entries] == ["back/photo.png", "back/talk.wav"]
    assert (entries[0]["width"], entries[0]["height"], entries[0]["damage"]) == (21, 13, [])
    assert soundfile.info(str(tmp_path / "back" / "talk.wav")).frames == 3000


def test_standard_input_and_output(run: Run, photo: Path, tmp_path: Path) -> None:
    encoded = run("encode", "-", stdin=photo.read_bytes())
    assert encoded.code == 0
    decoded = run("decode", "-", "-o", "-", "-q", stdin=encoded.out)
    (tmp_path / "out").write_bytes(decoded.out)
    assert read_picture(tmp_path / "out").shape == (13, 21, 3)


@pytest.mark.parametrize("coder", ["prior", "packed"])
def test_either_coder_decodes_to_the_same_picture(run: Run, photo: Path, tmp_path: Path, coder: str) -> None:
    assert run("encode", photo, "-o", "a.vqa", "--coder", coder).code == 0
    assert run("decode", "a.vqa", "-o", "a.png").code == 0
    assert run("encode", photo, "-o", "b.vqa").code == 0
    assert run("decode", "b.vqa", "-o", "b.png").code == 0
    assert np.array_equal(read_picture(tmp_path / "a.png"), read_picture(tmp_path / "b.png"))


def test_models_and_inputs_that_do_not_match(run: Run, photo: Path, talk: Path) -> None:
    done = run("encode", photo, talk, "-o", "out", "--model", "speech")
    assert done.code == 1
    assert done.lines[0] == f"vqaudio: {photo}: is a picture, and model speech codes sounds; use --model images"
    assert done.lines[1].startswith("2 files, 1 failed, ")
    done = run("encode", talk, "--model", "images")
    assert done.lines == [f"vqaudio: {talk}: is a sound, and model images codes pictures; use --model speech"]
    run("encode", photo)
    done = run("decode", "photo.vqa", "-o", "x.png", "--model", "speech")
    assert done.code == 1
    assert "was made with model" in done.lines[0]


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture(content: bytes, run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    done = run("encode", "bad.png")
    assert done.code == 1
    (line,) = done.lines
    assert line.startswith("vqaudio: bad.png: ")
    assert not (tmp_path / "bad.vqa").exists()


def test_a_missing_picture_and_a_format_that_is_not_written(run: Run, photo: Path, tmp_path: Path) -> None:
    assert run("encode", "none.png").lines == ["vqaudio: none.png: No such file or directory"]
    run("encode", photo)
    done = run("decode", "photo.vqa", "-o", "photo.xyz")
    assert done.code == 1
    assert "not written as .xyz" in done.lines[0]
    assert not (tmp_path / "photo.xyz").exists()


def test_a_damaged_stream(run: Run, tmp_path: Path) -> None:
    Image.fromarray(gradient(200, 200)).save(tmp_path / "large.png")
    run("encode", "large.png")
    data = bytearray((tmp_path / "large.vqa").read_bytes())
    data[-20] ^= 1
    (tmp_path / "large.vqa").write_bytes(data)
    done = run("decode", "large.vqa", "-o", "back.png")
    assert done.code == 1
    assert done.lines == ["vqaudio: large.vqa: tiles 513 to 625 of 625, row by row, are damaged and grey"]
    assert read_picture(tmp_path / "back.png").shape == (200, 200, 3)
    assert run("info", "large.vqa").code == 1


def test_info(run: Run, photo: Path, shipped: Path, tmp_path: Path) -> None:
    run("encode", photo)
    facts = json.loads(run("info", "photo.vqa", "--json").out)
    assert (facts["width"], facts["height"], facts["tiles"], facts["model"]) == (21, 13, 6, "images")
    assert facts["raw_bits_per_pixel"] == 6 * 8 * 5 / (13 * 21)
    assert facts["codes_used"] >= 1
    assert b"bits per pixel" in run("info", "images").out
    other = save_model(tmp_path / "other", seed=1)
    run("encode", photo, "--model", other, "-o", "other.vqa")
    facts = json.loads(run("info", "other.vqa", "--json").out)  # under a prior that only its own model knows
    assert facts["model"] is None
    assert "codes_used" not in facts
    listed = run("models").out.decode().splitlines()
    assert [line.split()[0] for line in listed] == ["name", "images", "speech"]
    assert "pictures: 0.62 bits a pixel in tiles of 8 x 8" in listed[1]


def test_sample(run: Run, tmp_path: Path) -> None:
    assert run("sample", "--model", "images", "--count", "16", "-o", "grid.png").code == 0
    assert Image.open(tmp_path / "grid.png").size == (32, 32)
    assert run("sample", "--model", "images", "--count", "16", "-o", "grid.vqa").code == 0
    assert run("decode", "grid.vqa", "-o", "again.png").code == 0
    assert np.array_equal(read_picture(tmp_path / "grid.png"), read_picture(tmp_path / "again.png"))
    assert run("sample", "--model", "images").code == 0
    assert Image.open(tmp_path / "sample.png").size == (8, 8)
    done = run("sample", "--model", "images")
    assert done.code == 1
    assert done.lines[0].endswith("sample.png exists; use --force to overwrite it")
    assert run("sample", "--model", "images", "-o", "a.xyz").code == 1


def test_sample_of_a_class(run: Run, tmp_path: Path) -> None:
    save_model(tmp_path / "classy", CLASSY)
    assert run("sample", "--model", "classy", "--label", "dog", "-o", "dog.png").code == 0
    assert "cat, dog" in run("sample", "--model", "classy", "-o", "cow.png").lines[0]


def test_evaluate(run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.stack([gradient(8, 8, seed) for seed in range(4)]), batch=[0, 0, 1, 1])
    done = run("evaluate", "images", "--data", "a.npz", "--json", "scores.json", "--report", "report")
    assert done.code == 0
    assert b"bound learnt prior" in done.out
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert len(scores["pictures"]) == 2
    assert (tmp_path / "report" / "samples.png").is_file()


def test_prepare_and_train(run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.stack([gradient(9, 9, seed) for seed in range(8)]))
    assert run("prepare", "a.npz", "-o", "shards").out == b"shards: 8 pictures, 1 classes\n"
    phase = PhaseConfig(
        name="all",
        steps=2,
        learning_rate=1e-3,
        train=("encoder", "quantizer", "decoder", "prior"),
        objective=(("nll", 1.0), ("codebook", 1.0), ("prior", 1.0)),
        batch_size=2,
    )
    train = TrainConfig(phases=(phase,), precision="32-true", validation_crops=2)
    write_toml(tmp_path / "run.toml", {"model": model_to_mapping(TINY), "train": to_mapping(train)})
    done = run("train", "run.toml", "--data", "shards", "-o", "run", "--device", "cpu", "-q")
    assert done.out == b"run/model\n"
    assert run("sample", "--model", "run/model", "-o", "new.png").code == 0
    sounds = dataclasses.replace(train, seed=1)
    write_toml(tmp_path / "sounds.toml", {"model": {"kind": "audio-vqvae"}, "train": to_mapping(sounds)})
    done = run("train", "sounds.toml", "--data", "shards", "-o", "other")
    assert done.code == 1
    assert done.lines[0].endswith("learns from sounds, the data are pictures: prepare sounds")


def write_toml(path: Path, table: dict[str, object]) -> None:
    """TOML's inline tables are JSON with other signs."""

    def value(of: object) -> str:
        if isinstance(of, dict):
            return "{" + ", ".join(f"{key} = {value(v)}" for key, v in of.items() if v is not None) + "}"
        if isinstance(of, list):
            return "[" + ", ".join(map(value, of)) + "]"
        return json.dumps(of)

    path.write_text("\n".join(f"{key} = {value(of)}" for key, of in table.items()), encoding="utf-8")
