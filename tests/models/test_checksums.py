"""Weights are held against their checksums before they are used."""

import shutil
from pathlib import Path

import pytest

from vqaudio.codecs import bundled
from vqaudio.errors import ModelError
from vqaudio.models.checksums import SUMS_FILE, check_sums, write_sums


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_model, tmp_path / "model")
    write_sums(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("name", bundled.bundled())
def test_the_bundled_models_are_those_that_were_bundled(name: str) -> None:
    """Where this fails after a model was trained anew: recipes/speech/bundle.py writes its checksums."""
    check_sums(bundled.PRETRAINED / name)


def test_what_was_written_passes(model: Path) -> None:
    assert len((model / SUMS_FILE).read_text().splitlines()) == 2
    check_sums(model)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_one_other_byte_is_seen(model: Path, name: str) -> None:
    data = bytearray((model / name).read_bytes())
    data[-2] ^= 1
    (model / name).write_bytes(data)
    with pytest.raises(ModelError, match=f"checksum of {name} is wrong; install"):
        check_sums(model)


@pytest.mark.parametrize("sums", [None, "", "no sums\n", "\xff"])
def test_checksums_that_are_missing_are_no_licence(model: Path, sums: str | None) -> None:
    if sums is None:
        (model / SUMS_FILE).unlink()
    else:
        (model / SUMS_FILE).write_bytes(sums.encode("latin-1"))
    with pytest.raises(ModelError):
        check_sums(model)


def test_a_file_that_nobody_signed_is_seen(model: Path) -> None:
    (model / "training_files.txt").write_text("0123456789abcdef\n")
    with pytest.raises(ModelError, match="training_files"):
        check_sums(model)


def test_a_bundled_model_is_checked_before_it_is_used(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundled, "PRETRAINED", tmp_path)
    assert bundled.model_folder("model") == model
    (model / "model.safetensors").write_bytes(b"others")
    check_sums.cache_clear()
    with pytest.raises(ModelError, match="checksum"):
        bundled.model_folder("model")
