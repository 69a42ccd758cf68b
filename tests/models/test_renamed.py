"""Names of old: configurations and weights that have them are read, and go by the same fingerprint."""

import json
from pathlib import Path

import pytest
from conftest import HEARING
from safetensors.numpy import load_file, save_file

from vqaudio.errors import ConfigError
from vqaudio.models import checkpoint
from vqaudio.models.config import model_from_mapping, model_to_mapping
from vqaudio.models.renamed import old_tensor_name, with_new_keys, with_old_keys


def test_old_keys_are_read() -> None:
    table = model_to_mapping(HEARING)
    old = with_old_keys(table)
    assert (old["quantizer"]["stages"], old["prior"]["marks"], old["perturb"]) == (4, 4, None)
    assert "num_quantizers" not in old["quantizer"]
    assert model_from_mapping(old) == HEARING
    assert with_new_keys(old) == table


def test_a_key_by_both_names_is_refused() -> None:
    table = model_to_mapping(HEARING)
    table["quantizer"] |= {"stages": 4}
    with pytest.raises(ConfigError, match="stages"):
        model_from_mapping(table)


def test_a_model_of_old_has_the_same_name(hearing_model: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    document = checkpoint.read_document(hearing_model)
    document["model"] = with_old_keys(document["model"])
    (old / checkpoint.CONFIG_FILE).write_text(json.dumps(document))
    weights = load_file(hearing_model / checkpoint.WEIGHTS_FILE)
    renamed = {old_tensor_name(name): weights[name] for name in weights}
    assert "prior.wavenet.marks.weight" in renamed
    save_file(renamed, old / checkpoint.WEIGHTS_FILE)
    assert checkpoint.fingerprint(old) == checkpoint.fingerprint(hearing_model)
    assert checkpoint.load_model(old).config == HEARING
