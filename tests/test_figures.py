"""No figure in README, cards or docs differs from the committed results, and none of README's is typed by hand."""

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "recipes" / "benchmark"))

import tables  # noqa: E402 - from the recipe's folder

MARKED = re.compile(r"<!-- (?:table|value) .*?<!-- end -->", re.DOTALL)


def test_no_figure_is_stale() -> None:
    assert tables.stale(tables.documents()) == []


LOGS = {  # tables kept by hand: what was tried once, and what stands in a training run's log
    "recipes/benchmark/README.md": {"| lever | predicted | measured |"},
    "recipes/images/README.md": {"| what | result |"},
    "recipes/speaker_conversion/README.md": {"| what | result |"},
    "recipes/speech/README.md": {"| what | result |"},
    "CARD.md": {"| | |", "| phase |", "| bottleneck |"},
}


def typed_results(path: Path) -> list[str]:
    """Rows with two decimal fractions, which makes them results, outside the markers and outside the logs."""
    logs = LOGS.get(str(path.relative_to(ROOT)), LOGS["CARD.md"] if path.name == "CARD.md" else set())
    rows, head = [], ""
    for line in MARKED.sub("", path.read_text(encoding="utf-8")).splitlines():
        head = (head or line) if line.startswith("|") else ""
        if head and not any(head.startswith(log) for log in logs) and len(re.findall(r"\d\.\d", line)) > 1:
            rows.append(line)
    return rows


@pytest.mark.parametrize(
    "path",
    [path for path in tables.documents() if path.parent.name != "results"],  # those are results themselves
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_measured_tables_stand_between_markers(path: Path) -> None:
    assert typed_results(path) == []


def test_a_result_typed_by_hand_is_found_and_a_log_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "README.md"
    path.write_text("| a | b |\n| --- | --- |\n| 1.5 | 2.5 |\n\n<!-- table x -->\n| 1.5 | 2.5 |\n<!-- end -->\n")
    assert typed_results(path) == ["| 1.5 | 2.5 |"]
    card = path.with_name("CARD.md")
    card.write_text(
        "| phase | at its end |\n| --- | --- |\n| codes | 1.5, 2.5 |\n\n| a | b |\n| --- | --- |\n| 1.5 | 2.5 |\n"
    )
    assert typed_results(card) == ["| 1.5 | 2.5 |"]


@pytest.mark.parametrize("path", tables.documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_number_begins_a_line(path: Path) -> None:
    """There Markdown would take its comment for a block of HTML, which ends the paragraph."""
    assert not re.search(r"^ *<!-- value", path.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A document with a table and a number out of results of its own."""
    results = tmp_path / "recipes" / "r" / "results"
    results.mkdir(parents=True)
    (results / "a.json").write_text(json.dumps({"of 3 s": {"x": 1234.5}}))
    (results / "b.md").write_text("# B\n\n| a | b | c |\n| --- | --- | --- |\n| x | | 2 |\n| y | 3 | |\n\ntext\n")
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    tables.text_of.cache_clear()
    path = tmp_path / "README.md"
    path.write_text(
        "Takes <!-- value r/a.json | of 3 s/x | .2f | .001 -->?<!-- end --> s.\n\n"
        "<!-- table r/b.md -->\n<!-- end -->\n\n<!-- table r/b.md | 0 2 --><!-- end -->\n"
    )
    yield path
    tables.text_of.cache_clear()


def test_figures_are_written_from_results_and_stay(document: Path) -> None:
    assert len(tables.stale([document])) == 3
    text = tables.renewed(document.read_text())
    assert "-->1.23<!-- end --> s." in text
    assert "<!-- table r/b.md -->\n| a | b | c |\n| --- | --- | --- |\n| x | | 2 |\n| y | 3 | |\n<!-- end -->" in text
    assert "<!-- table r/b.md | 0 2 -->\n| a | c |\n| --- | --- |\n| x | 2 |\n<!-- end -->" in text
    assert tables.renewed(text) == text
    document.write_text(text)
    assert tables.stale([document]) == []


@pytest.mark.parametrize(
    ("old", "new"), [("1.23", "1.24"), ("| y | 3 | |", "| y | 4 | |"), ("| x | 2 |", "| x | 2.0 |")]
)
def test_a_figure_changed_by_hand_is_named(document: Path, old: str, new: str) -> None:
    text = tables.renewed(document.read_text())
    document.write_text(text.replace(old, new))
    (line,) = tables.stale([document])
    assert line.startswith("README.md: ")
    assert line.endswith("differs from the results")


def test_changed_results_make_it_stale(document: Path) -> None:
    document.write_text(tables.renewed(document.read_text()))
    (document.parent / "recipes" / "r" / "results" / "a.json").write_text(json.dumps({"of 3 s": {"x": 2000}}))
    tables.text_of.cache_clear()
    assert len(tables.stale([document])) == 1
