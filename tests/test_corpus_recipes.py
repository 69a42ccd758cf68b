"""recipes/token_lm and recipes/finetune, small, on what they or the tests make up."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import children
import numpy as np
import pytest
import soundfile
import torch
from conftest import Run

from vqaudio.cli import main as cli
from vqaudio.models import checkpoint
from vqaudio.models.config import load_run

ROOT = Path(__file__).resolve().parents[1]


def recipe(folder: Path, *words: object) -> None:
    command = [sys.executable, *(str(word) for word in words)]
    environment = children.environment(OMP_NUM_THREADS="1")
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_language_model_of_text_and_tokens(tmp_path: Path) -> None:
    recipe(tmp_path, ROOT / "recipes" / "token_lm" / "run.py", "--smoke", "-o", "run")
    result = json.loads((tmp_path / "run" / "curve.json").read_text(encoding="utf-8"))
    assert (result["learnt"], result["held_out"]) == (5, 1)
    for curve in result["curves"].values():
        assert curve[0]["bits"] == result["prior"]  # it begins as the prior
        assert [line["step"] for line in curve] == [0, 1, 2, 3, 4]
        assert 0 < curve[-1]["bits"] < 9
    assert soundfile.info(tmp_path / "run" / "said.wav").frames == 12 * 544


def in_this_process(command: list[str], check: bool) -> None:
    assert check
    assert command[:3] == [sys.executable, "-m", "vqaudio"]
    assert cli.main(command[3:]) == 0


@pytest.mark.slow
def test_fine_tuning_begins_with_the_model_that_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    time = np.arange(32_000) / 16_000
    for name in ("learn/ann/0", "learn/ann/1", "learn/bob/0", "measure/eve/0"):
        path = tmp_path / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.2 * np.sin(2 * np.pi * (400 + 10 * len(name) * time) * time), 16_000)
    small = ["model.encoder.channels=[16]", "model.conditioning.channels=16", "model.quantizer.code_dim=8"]
    small += ["model.quantizer.codebook_size=16", "model.prior.levels=16", "model.prior.residual=8"]
    small += ["model.prior.skip=8", "model.prior.hidden=8", "train.precision=32-true", "train.average_decay=0.0"]
    for phase in range(2):
        small += [f"train.phases.{phase}.{setting}" for setting in ("steps=1", "learning_rate=1e-9", "batch_size=2")]
    toml = ROOT / "recipes" / "finetune" / "finetune.toml"
    model = load_run(toml, tuple(small)).model
    torch.manual_seed(3)
    checkpoint.save_model(tmp_path / "begun", model, checkpoint.build(model).state_dict(), {})
    words = [word for change in small for word in ("--set", change)]
    script = ROOT / "recipes" / "finetune" / "run.py"
    monkeypatch.chdir(tmp_path)
    options = ["--telephone", "--limit", "2", "--metrics", "mel", "--model", "begun", *words]
    monkeypatch.setattr(sys, "argv", [str(script), "learn", "--held-out", "measure", "-o", "run", *options])
    monkeypatch.setattr(subprocess, "run", in_this_process)  # four starts of Python are saved
    runpy.run_path(str(script), run_name="__main__")
    begun, ended = (checkpoint.load_model(tmp_path / folder) for folder in ("begun", "run/run/model"))
    for name in ("encoder.out.weight", "prior.wavenet.embedding.weight"):
        torch.testing.assert_close(ended.state_dict()[name], begun.state_dict()[name], rtol=0, atol=1e-6)
    table = json.loads((tmp_path / "run" / "finetune.json").read_text(encoding="utf-8"))
    assert "mel_distance_db" in table["before"]
    assert "mel_distance_db" in table["after"]
    assert soundfile.info(tmp_path / "run" / "telephone" / "00000.wav").samplerate == 8000


def test_there_must_be_a_model_to_start_from(run: Run) -> None:
    toml = ROOT / "recipes" / "finetune" / "finetune.toml"
    done = run("train", toml, "--data", "none", "-o", "run", "--start-from", "speach")
    assert done.code == 1
    assert done.err.startswith("vqaudio: speach: is no model; did you mean speech?")
    assert len(done.lines) == 1
