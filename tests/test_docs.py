"""The documentation says what is true: its commands are commands, its snippets run, its links lead somewhere."""

import importlib
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import typer

import vqaudio
from vqaudio.cli import main as cli  # the verbs add themselves
from vqaudio.cli.options import app

ROOT = Path(__file__).resolve().parents[1]
LISTED = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
DOCUMENTS = [ROOT / name for name in LISTED.splitlines()]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
WRONG_USAGE = typer.BadParameter.__mro__[1]  # of wrong options, too
BLOCK = re.compile(r"(?:^ {4}.*\n|^\n(?= {4}))+", re.MULTILINE)


def commands() -> list[tuple[str, str]]:
    """Each command of ours in a code block, and the page that has it."""
    found = []
    for page in PAGES:
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in block.splitlines():
                parts = re.split(r"&&|\|", line.split("  #")[0])
                found += [(page.name, part.strip()) for part in parts if part.strip().startswith("vqaudio ")]
    return found


@pytest.mark.parametrize(("page", "command"), commands())
def test_commands_are_understood(page: str, command: str) -> None:
    assert cli.VERBS
    context, here = None, typer.main.get_command(app)
    words = [word for word in shlex.split(command)[1:] if word not in ("[-o", "...")]
    name = "vqaudio"
    while hasattr(here, "resolve_command"):
        context = here.make_context(name, words, parent=context, resilient_parsing=False)
        name, here, words = here.resolve_command(context, [*context._protected_args, *context.args])
    here.make_context(name, words, parent=context)


def test_there_are_commands() -> None:
    assert len(commands()) > 20


def test_a_wrong_command_would_be_seen() -> None:
    with pytest.raises(WRONG_USAGE, match="No such option"):
        test_commands_are_understood("", "vqaudio encode talk.wav --no-such-option")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = [*re.findall(r"\]\(([^)#\s]+)", text), *re.findall(r'src="([^"#]+)"', text)]
    own = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in own if not (path.parent / target).exists()] == []


def test_the_python_of_the_docs_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The snippet of compress.md, on a second of sound."""
    monkeypatch.chdir(tmp_path)
    (snippet,) = (
        block for block in BLOCK.findall((ROOT / "docs/compress.md").read_text("utf-8")) if "import vqaudio" in block
    )
    wave = 0.1 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    known = {"wave": wave, "sample_rate_hz": 16000}
    exec(textwrap.dedent(snippet), known)
    assert known["samples"].shape == (1, 16000)  # type: ignore[attr-defined]
    assert known["stream"].codes.shape[:2] == (1, 8)  # type: ignore[attr-defined]


def test_the_api_page_names_what_there_is() -> None:
    for name in re.findall(r"^::: (\S+)", (ROOT / "docs/api.md").read_text("utf-8"), re.MULTILINE):
        module, _, attribute = name.rpartition(".")
        assert importlib.util.find_spec(name if name == "vqaudio.errors" else module)  # type: ignore[attr-defined]
        if name != "vqaudio.errors":
            assert hasattr(importlib.import_module(module), attribute)
    assert set(vqaudio.__all__) >= {"Codec", "Stream", "load"}


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    for page in ("index.html", "api/index.html", "format/index.html"):
        assert (tmp_path / "site" / page).stat().st_size > 5000
