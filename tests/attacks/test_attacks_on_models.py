"""Models whose files lie about each other, or are too large to be honest."""

import json
import os
import shutil
import struct
from pathlib import Path

import pytest
from attacks.bounded import said_by

from vqaudio.models import checkpoint
from vqaudio.models.config import load_run

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "v1" / "sound-model"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    shutil.copytree(FIXTURE, tmp_path / "model")
    return tmp_path / "model"


def changed(model: Path, *path: str | int, value: object) -> None:
    document = json.loads((model / "config.json").read_text())
    here = document["model"]
    for key in path[:-1]:
        here = here[key]
    here[path[-1]] = value
    (model / "config.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("quantizer", "code_dim"), 10**12),
        (("quantizer", "code_dim"), 10**30),
        (("conditioning", "channels"), 10**6),
        (("conditioning", "features"), 2**40),
        (("conditioning", "residual_dilations"), [1] * 10**5),
        (("conditioning", "residual_dilations"), [2**40]),
        (("encoder", "channels"), [10**5] * 6),
        (("encoder", "spectrum_hop"), 10**15),
        (("prior", "dilations"), [10**12]),
    ],
)
def test_a_configuration_that_asks_for_more_than_the_weights_hold(
    model: Path, path: tuple[str, ...], value: object
) -> None:
    changed(model, *path, value=value)
    assert str(model) in said_by(lambda: checkpoint.load_model(model))


@pytest.mark.parametrize("size", [0, 7, 10**8, 2**63, 2**64 - 1])
def test_a_header_of_tensors_that_is_longer_than_the_file(model: Path, size: int) -> None:
    data = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(struct.pack("<Q", size) + data[8:])
    assert "cannot be read" in said_by(lambda: checkpoint.load_model(model))


@pytest.mark.parametrize(
    "facts",
    [
        {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]},
        {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]},
        {"dtype": "F64", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "X", "shape": [1], "data_offsets": [0, 4]},
    ],
)
def test_tensors_that_lie_about_their_size(model: Path, facts: dict[str, object]) -> None:
    header = json.dumps({"prior.x": facts}).encode()
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    assert "cannot be read" in said_by(lambda: checkpoint.load_model(model))
    assert "cannot be read" in said_by(lambda: checkpoint.fingerprint(model))


def test_a_configuration_of_a_gigabyte(model: Path) -> None:
    os.truncate(model / "config.json", 2**30)  # takes no room on the disk
    assert "more than 16 MB" in said_by(lambda: checkpoint.load_model(model))
    toml = model / "run.toml"
    toml.write_text("[model]\n")
    os.truncate(toml, 2**30)
    assert "more than 4 MB" in said_by(lambda: load_run(toml))


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_a_configuration_that_nests_for_ever(model: Path, opening: str) -> None:
    (model / "config.json").write_text(opening * 200_000)
    assert "cannot be read" in said_by(lambda: checkpoint.load_model(model))
    toml = model / "run.toml"
    toml.write_text("a = " + "[" * 200_000)
    assert "is not TOML" in said_by(lambda: load_run(toml))
