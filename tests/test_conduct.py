"""What no file of the package does: print outside the command line, end the program, execute text, unpickle; and what
its face shows."""

import ast
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import children
import pytest
from test_house import MODULES, ROOT

import vqaudio

EXECUTORS = {"eval", "exec", "compile", "__import__"}
PICKLES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
STANDARD_STREAMS = {"sys.stdout", "sys.stderr", "sys.stdin"}
ENDINGS = {"sys.exit", "SystemExit", "os._exit", "exit", "quit"}
HEAVY = ("torch", "torchaudio", "numba", "librosa", "lightning_fabric", "scipy", "rich", "typer")
LIGHT = ("vqaudio", "vqaudio.errors")


def _unpickles(call: ast.Call) -> bool:
    """Whether a call may read a pickle: ``torch.load`` that is not restricted, or ``allow_pickle``."""
    given = {word.arg: ast.unparse(word.value) for word in call.keywords if word.arg}
    if ast.unparse(call.func) == "torch.load" and given.get("weights_only") != "True":
        return True
    return given.get("allow_pickle", "False") != "False"


def misconduct(source: str, module: str) -> list[str]:
    """Where ``module`` does what it must not, a line each."""
    room, broken = module.split(".")[1] if "." in module else "", []
    for node in ast.walk(ast.parse(source)):
        text = ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""
        talks = text == "print" or text in STANDARD_STREAMS
        if talks and room != "cli":
            broken.append(f"{module}: {text}: only the command line talks to the user")
        if text in ENDINGS and room not in ("cli", "__main__"):
            broken.append(f"{module}: {text}: raise a VqaudioError instead")
        if isinstance(node, ast.Call):
            if ast.unparse(node.func) in EXECUTORS:
                broken.append(f"{module}: {ast.unparse(node.func)}: nothing here executes text")
            if _unpickles(node):
                broken.append(f"{module}: may read a pickle")
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            broken += [f"{module}: imports {name}" for name in names if name.split(".")[0] in PICKLES]
    return broken


@pytest.mark.parametrize("module", MODULES)
def test_a_module_behaves(module: str) -> None:
    assert not misconduct(MODULES[module].read_text(encoding="utf-8"), module)


@pytest.mark.parametrize(
    "source",
    [
        "print('hello')",
        "sys.exit(1)",
        "raise SystemExit(1)",
        "sys.stderr.write('hello')",
        "eval('1')",
        "exec('1')",
        "__import__('vqaudio.cli')",
        "torch.load(path)",
        "numpy.load(path, allow_pickle=True)",
        "def f():\n    import pickle",
        "from pickle import loads",
    ],
)
def test_misconduct_is_seen(source: str) -> None:
    assert misconduct(source, "vqaudio.training.loop")


def test_good_conduct_passes() -> None:
    fine = "model.eval()\nre.compile('x')\ntorch.compile(model)\ntorch.load(path, weights_only=True)\nnumpy.load(path)"
    assert not misconduct(fine, "vqaudio.training.loop")
    assert not misconduct("print('hello')\nsys.exit(1)", "vqaudio.cli.main")


@pytest.mark.parametrize("module", LIGHT)
def test_import_is_light(module: str, tmp_path: Path) -> None:
    code = f"import sys, {module}; print(*(set(sys.modules) & {set(HEAVY)}))"
    settings = {"cwd": tmp_path, "env": children.environment(), "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", code], check=True, **settings)
    assert done.stdout.split() == []


def test_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == vqaudio.__version__


def test_the_public_face() -> None:
    assert set(vqaudio.__all__) <= set(dir(vqaudio))
    with pytest.raises(AttributeError, match="no_such_name"):
        vqaudio.no_such_name  # noqa: B018 - the access is the test
    for name, home in vqaudio._HOME.items():
        assert getattr(vqaudio, name) is getattr(importlib.import_module(home), name)
    assert {*vqaudio._HOME, "__version__"} == set(vqaudio.__all__)
