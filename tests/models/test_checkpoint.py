"""checkpoint.py: a model folder is whole or not there, holds no pickle, and says in one line what is wrong with it."""

import dataclasses
import json
import resource
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vqaudio.errors import ModelError, OutputError
from vqaudio.models import checkpoint
from vqaudio.models.config import AudioVQVAEConfig, ConditioningConfig, EncoderConfig, QuantizerConfig, WaveNetConfig
from vqaudio.models.speech_vqvae import AudioVQVAE

CONFIG = AudioVQVAEConfig(
    quantizer=QuantizerConfig(codebook_size=4, code_dim=3),
    encoder=EncoderConfig(channels=(4, 4)),
    conditioning=ConditioningConfig(channels=4, residual_dilations=(1,), features=4),
    decoder=WaveNetConfig(residual=4, skip=4, hidden=4, dilations=(1, 2), features=4, hop_length=4),
)


@pytest.fixture(scope="module")
def model() -> AudioVQVAE:
    torch.manual_seed(0)
    return checkpoint.build(CONFIG)


@pytest.fixture
def folder(tmp_path: Path, model: AudioVQVAE) -> Path:
    path = tmp_path / "model"
    checkpoint.save_model(path, CONFIG, model.state_dict(), {"step": 3})
    return path


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        checkpoint.load_model(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# --- Round trips ------------------------------------------------------------------------------------------------------


def test_a_model_survives(folder: Path, model: AudioVQVAE) -> None:
    loaded = checkpoint.load_model(folder)
    assert loaded.config == CONFIG
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert checkpoint.read_document(folder)["training"] == {"step": 3}


def test_half_precision_is_loaded_as_float32(tmp_path: Path, model: AudioVQVAE) -> None:
    checkpoint.save_model(tmp_path / "half", CONFIG, model.state_dict(), {}, half=True)
    stored = load_file(tmp_path / "half" / checkpoint.WEIGHTS_FILE)
    assert {t.dtype for t in stored.values()} == {torch.float16, torch.int64}
    loaded = checkpoint.load_model(tmp_path / "half").state_dict()
    for name, tensor in model.state_dict().items():
        assert loaded[name].dtype == tensor.dtype
        torch.testing.assert_close(loaded[name], tensor.half().to(tensor.dtype), rtol=0, atol=0)


def test_views_and_training_tensors_are_kept(tmp_path: Path, model: AudioVQVAE) -> None:
    training = {"transposed": torch.arange(6.0).view(2, 3).T, "step": torch.tensor(5.0)}
    checkpoint.save_model(tmp_path / "run", CONFIG, model.state_dict(), {}, training)
    read = checkpoint.read_tensors(tmp_path / "run" / checkpoint.TRAINING_FILE)
    assert all(torch.equal(read[name], tensor) for name, tensor in training.items())


def test_an_optimizer_survives_without_a_pickle() -> None:
    def optimizer_of(weights: torch.nn.Linear) -> torch.optim.Optimizer:
        return torch.optim.AdamW(weights.parameters(), lr=0.1)

    def step(weights: torch.nn.Linear, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        weights(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()

    first, second = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    optimizer = optimizer_of(first)
    step(first, optimizer)
    second.load_state_dict(first.state_dict())
    restored = optimizer_of(second)
    stored = {name: tensor.clone() for name, tensor in checkpoint.flat_state(optimizer).items()}
    checkpoint.load_flat_state(restored, stored)
    step(first, optimizer)
    step(second, restored)
    assert torch.equal(first.weight, second.weight)
    for other in (torch.nn.Linear(2, 3), torch.nn.Linear(3, 2, bias=False), torch.nn.Sequential(first, second)):
        with pytest.raises(ModelError, match="does not fit its phase"):
            checkpoint.load_flat_state(torch.optim.AdamW(other.parameters()), stored)


def test_nothing_is_pickled(folder: Path) -> None:
    for name, data in contents(folder).items():
        assert not data.startswith((b"\x80", b"PK")), name
    assert set(contents(folder)) == {"config.json", "model.safetensors"}


# --- The fingerprint --------------------------------------------------------------------------------------------------


def test_a_model_is_named_by_its_codes(tmp_path: Path, model: AudioVQVAE, folder: Path) -> None:
    first = checkpoint.fingerprint(folder)
    assert len(first) == 32
    shutil.copytree(folder, tmp_path / "copy")
    assert checkpoint.fingerprint(tmp_path / "copy") == first
    checkpoint.save_model(tmp_path / "facts", CONFIG, model.state_dict(), {"step": 4})
    assert checkpoint.fingerprint(tmp_path / "facts") == first, "what the training was does not change a stream"

    def changed(name: str, **settings: object) -> bytes:
        weights = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        if name in weights:
            weights[name].view(-1)[0] += 1e-3
        config = dataclasses.replace(CONFIG, **settings)
        checkpoint.save_model(tmp_path / "changed", config, weights, {})
        assert checkpoint.whole_sha256(tmp_path / "changed") != checkpoint.whole_sha256(folder)
        return checkpoint.fingerprint(tmp_path / "changed")

    assert changed("quantizer.codebook") != first
    assert changed("", sample_rate_hz=8000) != first
    for decoder in ("decoder.logits.weight", "conditioning.out.weight", "encoder.out.weight"):
        assert changed(decoder) == first, "a decoder that learnt more speaks the same streams"
    assert changed("", temperature=0.5) == first


def test_models_of_the_first_format_keep_their_names(folder: Path) -> None:
    document = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(document | {"format_version": 1}))
    assert checkpoint.fingerprint(folder) == checkpoint.whole_sha256(folder)
    assert checkpoint.load_model(folder).config == CONFIG


# --- Atomicity --------------------------------------------------------------------------------------------------------


def test_a_failed_write_leaves_the_old_folder(folder: Path, monkeypatch: pytest.MonkeyPatch, model: AudioVQVAE) -> None:
    before = contents(folder)

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="no space left"):
        checkpoint.save_model(folder, CONFIG, model.state_dict(), {"step": 9})
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_folder_is_replaced_whole(folder: Path, model: AudioVQVAE) -> None:
    (folder / "stray").touch()
    checkpoint.save_model(folder, CONFIG, model.state_dict(), {"step": 9})
    assert set(contents(folder)) == {"config.json", "model.safetensors"}
    assert checkpoint.read_document(folder)["training"] == {"step": 9}
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_parents_are_made_and_an_interrupted_block_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with checkpoint.atomic_folder(tmp_path / "a" / "b") as temporary:
            (temporary / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list((tmp_path / "a").iterdir()) == []


# --- Damage -----------------------------------------------------------------------------------------------------------


def test_no_model_at_all(tmp_path: Path) -> None:
    assert "has no config.json" in refused(tmp_path / "nowhere")
    assert "has no config.json" in refused(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format_version": 2}', "\xff"])
def test_a_damaged_document(folder: Path, text: str) -> None:
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    assert "config.json" in refused(folder)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (None, "model.kind is missing"),
        ({"kind": "other"}, "'other'"),
        ({"kind": "audio-vqvae", "temprature": 1}, "temprature is not known"),
        ({"kind": "audio-vqvae", "quantizer": {"codebook_size": "x"}}, "codebook_size"),
    ],
)
def test_a_damaged_configuration(folder: Path, table: object, said: str) -> None:
    (folder / "config.json").write_text(json.dumps({"format_version": 1, "model": table}), encoding="utf-8")
    assert said in refused(folder)
    with pytest.raises(ModelError):
        checkpoint.fingerprint(folder)


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_damaged_weights(folder: Path, keep: int) -> None:
    path = folder / checkpoint.WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:keep])
    assert "model.safetensors: cannot be read" in refused(folder)


def test_missing_weights(folder: Path) -> None:
    (folder / checkpoint.WEIGHTS_FILE).unlink()
    assert "model.safetensors: cannot be read" in refused(folder)
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        checkpoint.fingerprint(folder)


def test_weights_of_another_model(folder: Path) -> None:
    document = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    document["model"]["quantizer"]["codebook_size"] = 5
    (folder / "config.json").write_text(json.dumps(document), encoding="utf-8")
    assert "does not fit config.json" in refused(folder)


def test_parts_can_be_taken_over(folder: Path, model: AudioVQVAE) -> None:
    torch.manual_seed(9)
    prior = WaveNetConfig(levels=4, residual=4, skip=4, hidden=4, dilations=(1,), features=0, hop_length=1)
    fresh = checkpoint.build(dataclasses.replace(CONFIG, prior=prior))
    assert fresh.prior is not None
    untouched = fresh.prior.wavenet.logits.weight.clone()
    checkpoint.load_parts(fresh, folder)
    for name, tensor in model.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], tensor), name
    assert torch.equal(fresh.prior.wavenet.logits.weight, untouched)
    other = checkpoint.build(dataclasses.replace(CONFIG, quantizer=QuantizerConfig(codebook_size=8, code_dim=3)))
    with pytest.raises(ModelError, match="its quantizer does not fit"):
        checkpoint.load_parts(other, folder)


def test_a_model_for_which_there_is_no_room_is_one_clear_line(model: AudioVQVAE, tmp_path: Path) -> None:
    checkpoint.save_model(tmp_path / "model", CONFIG, model.state_dict(), {"step": 3})
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before["config.json"]) + 500, hard))
    try:
        with pytest.raises(OutputError, match=r"model cannot be written: .*File too large.*make room") as caught:
            checkpoint.save_model(tmp_path / "model", CONFIG, model.state_dict(), {"step": 4})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(str(caught.value).splitlines()) == 1
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
