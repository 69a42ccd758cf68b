"""Recipes as their documentation runs them, on what they make up themselves."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import children
import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_speaker_conversion(tmp_path: Path) -> None:
    recipe = ROOT / "recipes" / "speaker_conversion" / "run.py"
    done = subprocess.run(
        [sys.executable, recipe, "--smoke", "-o", tmp_path],
        cwd=tmp_path,
        env=children.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert soundfile.info(tmp_path / "converted" / "0-bob.wav").frames == 25600
    results = json.loads((tmp_path / "results" / "conversion.json").read_text(encoding="utf-8"))
    assert set(results["table"]) == {
        "reconstruction",
        "conversion",
        "to a stranger's voice",
        "WORLD, moved",
        "copied frames",
    }
    assert len(results["renderings"]["conversion"]) == 2
    assert "| nearer to the target |" in (tmp_path / "results" / "conversion.md").read_text(encoding="utf-8")
    assert len(list((tmp_path / "results").glob("*.png"))) == 1


@pytest.mark.slow
def test_training_in_pieces_goes_on_from_its_parts(tmp_path: Path) -> None:
    """recipes/speech/gpu.sh, without a GPU: a run that is cut, carried away in parts, and gone on with elsewhere."""
    (tmp_path / "corpus" / "ann").mkdir(parents=True)
    time = np.arange(48_000) / 16_000
    for number in range(3):
        wave = 0.2 * np.sin(2 * np.pi * (120 + 30 * number) * time) * (1 + np.sin(2 * np.pi * 3 * time))
        soundfile.write(tmp_path / "corpus" / "ann" / f"{number}.wav", wave, 16_000)
    small = [f"train.phases.{phase}.{key}" for phase in range(3) for key in ("steps=2", "batch_size=2")]
    small += [f"train.phases.{phase}.crop_samples=16320" for phase in range(3)]
    small += [
        "train.validation_crops=2",
        "train.sound_seconds=0.0",
        "train.precision=32-true",
        "model.conditioning.channels=16",
    ]
    small += ["model.encoder.channels=[16]", "model.quantizer.code_dim=8", "model.quantizer.codebook_size=16"]
    small += ["model.prior.levels=16", "model.prior.residual=8", "model.prior.skip=8", "model.prior.hidden=8"]
    recipe = ROOT / "recipes" / "speech" / "gpu.sh"

    def go(run: str, *settings: str) -> subprocess.CompletedProcess[str]:
        words = [word for setting in (*small, *settings) for word in ("--set", setting)]
        return subprocess.run(
            ["bash", recipe, "corpus", run, "600", *words],
            cwd=tmp_path,
            env={**children.environment(), "PYTHON": sys.executable},
            capture_output=True,
            text=True,
            check=False,
        )

    done = go("one")
    assert done.returncode == 0, done.stderr
    parts = {path.name: path.stat().st_size for path in (tmp_path / "one" / "parts").iterdir()}
    assert {"config.json", "name", "000.model.safetensors", "000.training.safetensors"} <= set(parts)
    assert max(parts.values()) < 16 << 20
    shutil.copytree(tmp_path / "one" / "parts", tmp_path / "two" / "parts")
    document = tmp_path / "two" / "parts" / "config.json"
    facts = json.loads(document.read_text(encoding="utf-8"))
    facts["training"] |= {"step": 4, "phase": 2, "phase_step": 0}  # as if it had been cut before its last phase
    document.write_text(json.dumps(facts), encoding="utf-8")
    (tmp_path / "two" / "parts" / "name").write_text("000000004")
    done = go("two")
    assert done.returncode == 0, done.stderr
    assert "prior 6 train" in done.stderr
    assert "codes 2 train" not in done.stderr
    assert (tmp_path / "two" / "parts" / "name").read_text() == "000000006"
    assert (tmp_path / "two" / "run" / "model" / "model.safetensors").is_file()
