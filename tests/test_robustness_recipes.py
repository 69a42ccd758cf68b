"""The campaigns of recipes/robustness, cut short: kills of each verb that writes, and a soak."""

import json
import subprocess
import sys
from pathlib import Path

import children
import pytest

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "recipes" / "robustness"
sys.path.insert(0, str(RECIPE))

import campaign_table  # noqa: E402 - from the recipe's folder
import soak  # noqa: E402


def run(script: str, folder: Path, *words: str) -> dict[str, object]:
    command = [sys.executable, RECIPE / script, *words, "--json", folder / "found.json"]
    environment = children.environment(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found: dict[str, object] = json.loads((folder / "found.json").read_text())
    return found


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["encode", "decode", "prepare", "tokenize", "train"])
def test_kills_lose_nothing(tmp_path: Path, verb: str) -> None:
    (found,) = run("kills.py", tmp_path, "--kills", "3", "--verb", verb).values()
    assert isinstance(found, dict)
    assert (found["kills"], found["resumed_exactly"], found["lost"]) == (3, 3, [])
    assert set(found["cannot write"].values()) == {"told"}


@pytest.mark.slow
def test_a_short_soak_is_flat_in_files_threads_and_descriptors(tmp_path: Path) -> None:
    found = run("soak.py", tmp_path, "--minutes", "0", "--files", "100")
    assert found["files"] == 100
    assert found["flat"] == {"memory_mb": True, "descriptors": True, "threads": True, "temporary": True}


def test_a_leak_is_seen() -> None:
    flat = [soak.Look(25 * n, 300.0, 12, 1, 0) for n in range(1, 9)]
    assert all(soak.is_flat(flat).values())
    for kind in ("memory_mb", "descriptors", "threads", "temporary"):
        leaking = [soak.Look(**(vars(one) | {kind: getattr(one, kind) + 10 * n})) for n, one in enumerate(flat)]
        assert [name for name, fine in soak.is_flat(leaking).items() if not fine] == [kind]


def test_the_table_of_the_campaign_is_that_of_its_results() -> None:
    assert (RECIPE / "results" / "campaign.md").read_text(encoding="utf-8") == campaign_table.page()
