"""The notebook runs, as it is committed, and shows sounds and plots."""

from collections import Counter
from pathlib import Path

import children
import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
TOUR = ROOT / "recipes" / "tour.ipynb"


@pytest.fixture(scope="module")
def tour() -> nbformat.NotebookNode:
    return nbformat.read(TOUR, as_version=4)


def test_it_is_committed_without_outputs(tour: nbformat.NotebookNode) -> None:
    code = [cell for cell in tour.cells if cell.cell_type == "code"]
    assert code
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


@pytest.mark.slow
def test_it_runs(tour: nbformat.NotebookNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", children.environment().get("PYTHONPATH", ""))
    NotebookClient(tour, timeout=600, kernel_name="python3", resources={"metadata": {"path": TOUR.parent}}).execute()
    outputs = [output for cell in tour.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error"] == []
    kinds = Counter(kind for output in outputs for kind in output.get("data", {}))
    players = sum("<audio" in str(output.get("data", {}).get("text/html", "")) for output in outputs)
    assert players == 4  # original, decoded, new, converted
    assert kinds["image/png"] == 2
    rates = next(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    packed, coded = (int(word) for word in rates.split() if word.isdigit())
    assert 0 < coded < packed
