"""train.py with pictures: the one loop, resumed exactly, for both kinds of models; what the log says."""

import dataclasses
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import PLAIN, TINY, gradient

from vqaudio.errors import ConfigError
from vqaudio.models import checkpoint
from vqaudio.models.config import ModelConfig, PhaseConfig, RunConfig, TrainConfig
from vqaudio.models.image_config import ImageVAEConfig
from vqaudio.training.image_shards import ImageShards, prepare_pictures
from vqaudio.training.log import LOG_FILE, warnings_of
from vqaudio.training.loop import train
from vqaudio.training.state import RunState

CODES = PhaseConfig(
    name="codes",
    steps=4,
    learning_rate=1e-3,
    train=("encoder", "quantizer", "decoder"),
    objective=(("nll", 1.0), ("codebook", 1.0)),
    batch_size=4,
    warmup_steps=2,
)
PRIOR = dataclasses.replace(CODES, name="prior", train=("prior",), objective=(("prior", 1.0),))
VAE = dataclasses.replace(CODES, train=("encoder", "decoder"), objective=(("nll", 1.0), ("kl", 1.0)))
SETTINGS = TrainConfig(
    phases=(CODES, PRIOR),
    precision="32-true",
    log_every=1,
    validate_every=3,
    validation_crops=6,
    checkpoint_minutes=1e-6,
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for sums to be the same at each run
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ImageShards:
    folder = tmp_path_factory.mktemp("pictures")
    np.savez(folder / "a.npz", images=np.stack([gradient(8, 8, seed) for seed in range(30)]))
    prepare_pictures(folder / "a.npz", folder / "shards", validation_share=0.2)
    return ImageShards(folder / "shards", 8)


class Stopper:
    """Interrupts the run after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, state: RunState, phase: PhaseConfig) -> None:
        if state.step == self.step:
            os.kill(os.getpid(), signal.SIGINT)

    def on_log(self, line: dict[str, Any]) -> None:
        pass


def logged(folder: Path) -> list[dict[str, Any]]:
    """The log without what the clock says."""
    lines = [json.loads(line) for line in (folder / LOG_FILE).read_text(encoding="utf-8").splitlines()]
    return [{name: value for name, value in line.items() if name != "samples_per_second"} for line in lines]


@pytest.mark.parametrize("stop_at", [3, 6])
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(shards: ImageShards, tmp_path: Path, stop_at: int) -> None:
    config = RunConfig(TINY, SETTINGS)
    whole = train(config, shards, tmp_path / "whole", device="cpu")
    with pytest.raises(KeyboardInterrupt):
        train(config, shards, tmp_path / "broken", device="cpu", observer=Stopper(stop_at))
    again = train(config, shards, tmp_path / "broken", resume=True, device="cpu")
    assert logged(tmp_path / "whole") == logged(tmp_path / "broken")
    weights = [checkpoint.read_tensors(model / checkpoint.WEIGHTS_FILE) for model in (whole, again)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    facts = checkpoint.read_document(whole)["training"]
    assert facts["pictures_seen"] == 8 * 4
    assert facts["data_sha256"] == shards.checksum


def test_the_log_has_the_figures_that_tell(shards: ImageShards, tmp_path: Path) -> None:
    train(RunConfig(TINY, SETTINGS), shards, tmp_path / "run", device="cpu")
    lines = [line for line in logged(tmp_path / "run") if line["part"] == "validation"]
    assert {"bits_per_dim", "bits_per_dim_shuffled", "codes_used", "code_entropy_bits"} <= set(lines[0])
    assert "bits_per_token" in lines[-1]


def test_the_vae_goes_through_the_same_loop(shards: ImageShards, tmp_path: Path) -> None:
    model: ModelConfig = ImageVAEConfig(tile=8, latent_dim=3, network=PLAIN.network)
    finished = train(
        RunConfig(model, dataclasses.replace(SETTINGS, phases=(VAE,))), shards, tmp_path / "run", device="cpu"
    )
    assert checkpoint.read_config(finished) == model
    (line, *_) = [line for line in logged(tmp_path / "run") if line["part"] == "validation"]
    assert line["bound_bits_per_dim"] == pytest.approx(line["bits_per_dim"] + line["kl_bits_per_dim"])
    assert "codes_used" not in line


def test_tiles_must_fit(shards: ImageShards, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.tile = 16"):
        train(RunConfig(dataclasses.replace(PLAIN, tile=16), SETTINGS), shards, tmp_path / "run", device="cpu")


def test_warnings_of_pictures() -> None:
    good = {"codes_used": 20.0, "bits_per_dim": 4.0, "bits_per_dim_shuffled": 6.0}
    assert not warnings_of(good, 20)
    (ignored,) = warnings_of(good | {"bits_per_dim_shuffled": 4.0}, 20)
    assert "bits a dim" in ignored
    assert not warnings_of({"bits_per_dim": 4.0}, 0)  # a model without codes
