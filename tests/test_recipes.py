"""Recipes as their documentation runs them, on what they make up themselves."""

import json
import subprocess
import sys
from pathlib import Path

import children
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
    assert set(results["table"]) == {"reconstruction", "conversion", "to a learnt voice"}
    assert len(results["renderings"]["conversion"]) == 2
    assert "| nearer to the target |" in (tmp_path / "results" / "conversion.md").read_text(encoding="utf-8")
    assert len(list((tmp_path / "results").glob("*.png"))) == 1
