"""The campaigns of recipes/robustness, cut short: kills, disks, signals, and a soak."""

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
@pytest.mark.parametrize("verb", ["encode", "convert", "voices save", "evaluate --report", "prepare", "train"])
def test_disks_folders_and_clocks_lose_nothing(tmp_path: Path, verb: str) -> None:
    (found,) = run("disks.py", tmp_path, "--tries", "1", "--verb", verb).values()
    assert isinstance(found, dict)
    for fault in ("limited files", "vanishing folder", "backward clock"):  # the others need root
        assert found[fault]["tried"] == 1, fault
    assert {fault: tally["lost"] for fault, tally in found.items() if tally["lost"]} == {}


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["convert", "voices save", "evaluate --json", "prepare", "tokenize", "train"])
def test_signals_at_any_stage_leave_what_was_there(tmp_path: Path, verb: str) -> None:
    (found,) = run("signals.py", tmp_path, "--stages", "3", "--verb", verb).values()
    assert isinstance(found, dict)
    assert found["lost"] == []
    assert found["refused"] >= 3  # at the first call, each of the three that end it
    assert found["survived"] >= 2  # the one that is ignored


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


def test_runs_of_a_campaign_are_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign_table, "RESULTS", tmp_path)
    for number, verb in enumerate(("a", "a", "b")):
        tally = {"kills": 3, "lost": ["x"], "seed": number, "cannot write": {"full disk": "told"}}
        (tmp_path / f"kills-{number}.json").write_text(json.dumps({verb: tally}))
    a, b = campaign_table.summed("kills*.json").values()
    assert (a["kills"], a["lost"], b["kills"], b["lost"]) == (6, ["x", "x"], 3, ["x"])


def test_the_table_of_the_campaign_is_that_of_its_results() -> None:
    assert (RECIPE / "results" / "campaign.md").read_text(encoding="utf-8") == campaign_table.page()
