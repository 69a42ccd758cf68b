"""The Python of docs/corpora.md runs as it stands there."""

import re
from pathlib import Path

import pytest
from conftest import Run
from sounds import tone

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "corpora.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def made(run: Run, tmp_path: Path) -> Path:
    """The folders that the page speaks of, and the working directory there."""
    for number in range(3):
        tone(tmp_path / "corpus" / "ann" / f"{number}.wav", 0.5)
    for folder, format in (("tokens", "parquet"), ("tars", "webdataset")):
        done = run("tokenize", "corpus", "-o", folder, "--format", format, "--workers", 1, "--shard-rows", 2)
        assert done.code == 0, done.err
    return tmp_path


def test_the_page_runs(made: Path) -> None:
    assert len(BLOCKS) == 3
    for block in BLOCKS:
        names: dict[str, object] = {}
        exec(block, names)
        if "codes" in names:
            assert names["codes"].shape == (8, 15)
        else:
            assert names["wave"].shape == (1, 29 * 544)
