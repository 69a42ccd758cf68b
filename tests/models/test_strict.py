"""strict.py: tables that say nothing unnoticed, errors that name field, value and remedy, and overrides."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqaudio.errors import ConfigError
from vqaudio.models.config import (
    AudioVQVAEConfig,
    EncoderConfig,
    PhaseConfig,
    QuantizerConfig,
    TrainConfig,
)
from vqaudio.models.strict import from_mapping, read_toml, to_mapping

PHASE = {"name": "all", "steps": 10, "learning_rate": 1e-3, "train": ["encoder"], "objective": {"mel": 1, "nll": 0.5}}


@pytest.mark.parametrize(
    ("cls", "table", "said"),
    [
        (QuantizerConfig, {"codebok_size": 5}, ["codebok_size is not known", "codebook_size"]),
        (QuantizerConfig, {"codebook_size": "many"}, ["codebook_size", "'many'", "type int"]),
        (QuantizerConfig, {"codebook_size": True}, ["codebook_size", "True", "type int"]),
        (QuantizerConfig, {"codebook_size": 12.0}, ["codebook_size", "12.0", "type int"]),
        (QuantizerConfig, {"commitment": False}, ["commitment", "False", "type float"]),
        (EncoderConfig, {"channels": [8, "9"]}, ["channels[1]", "'9'", "type int"]),
        (EncoderConfig, {"channels": 8}, ["channels", "8", "give a list"]),
        (AudioVQVAEConfig, {"quantizer": 3}, ["quantizer", "3", "give a table"]),
        (AudioVQVAEConfig, {"quantizer": {"code_dim": -1}}, ["quantizer.code_dim", "-1", "above 0"]),
        (AudioVQVAEConfig, {"prior": "big"}, ["prior", "'big'", "give a table"]),
        (PhaseConfig, {"name": "x"}, ["steps is missing"]),
        (PhaseConfig, PHASE | {"objective": [["mel"]]}, ["objective[0]", "2 entries"]),
        (PhaseConfig, PHASE | {"objective": {"mel": "1"}}, ["objective[0]", "'1'", "type float"]),
        (TrainConfig, {"phases": [PHASE | {"steps": 0}]}, ["phases[0].steps", "0", "above 0"]),
    ],
)
def test_a_bad_table_is_named_in_one_line(cls: type, table: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping(cls, table, "here")
    message = str(caught.value)
    assert message.startswith("here.")
    assert "\n" not in message
    for words in said:
        assert words in message


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text(min_size=1), min_size=1, max_size=4, unique=True),
    st.dictionaries(st.text(min_size=1), st.floats(0, 10), min_size=1),
)
def test_a_training_survives_its_table(names: list[str], objective: dict[str, float]) -> None:
    phases = tuple(PhaseConfig(name, 5, 0.1, ("encoder",), tuple(objective.items())) for name in names)
    config = TrainConfig(phases, start_from="runs/codes/model")
    assert from_mapping(TrainConfig, to_mapping(config)) == config


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text("[model]\nkind = 'a'\n[train]\nphases = [{ steps = 1 }, { steps = 2 }]\n", encoding="utf-8")
    return path


def test_overrides_reach_every_depth(run_file: Path) -> None:
    changes = ("model.encoder.dilations=[1, 2]", "train.phases.1.steps=7", "train.precision=32-true", "seed = 3")
    assert read_toml(run_file, changes) == {
        "model": {"kind": "a", "encoder": {"dilations": [1, 2]}},
        "train": {"phases": [{"steps": 1}, {"steps": 7}], "precision": "32-true"},
        "seed": 3,
    }


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("train.phases.1.steps", "key.path=value"),
        ("train.phases.7.steps=1", "no such place"),
        ("train.phases.first.steps=1", "no such place"),
        ("model.kind.x=1", "no such place"),
    ],
)
def test_an_override_without_a_place_is_refused(run_file: Path, assignment: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_toml(run_file, (assignment,))


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    with pytest.raises(ConfigError, match=r"run\.toml: cannot be read"):
        read_toml(path)
    path.write_text("[model", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"run\.toml: is not TOML"):
        read_toml(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"run\.toml: cannot be read"):
        read_toml(path)
