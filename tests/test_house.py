"""The law of the house, held by reading the source: who imports whom, who prints, and what nobody does.

The tables below are the law. A new module goes on a floor; a module imports from lower floors or from earlier ones of
its own floor, never upward. Imports inside functions and under ``if TYPE_CHECKING`` count too.
"""

import ast
import importlib
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import children
import pytest

import vqaudio

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "vqaudio"

FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "output", "strict", "settings", "image_config", "config", "entropy", "container", "stream"),
    ("audio", "soundfiles", "resample", "image", "perturb", "source", "quantize", "scores"),
    ("wavenet", "pixelcnn", "prior", "logistic", "autoencoder", "image_autoencoder"),
    ("kernels", "checkpoint", "corpora", "data", "image_corpora", "image_data"),
    ("speaking", "sample", "image_sample", "journal", "train"),
    (
        "stretches",
        "streaming",
        "voices",
        "codec",
        "generate",
        "evaluate",
        "report",
        "transcode",
        "image_codec",
        "models",
        "image_generate",
        "image_evaluate",
    ),
    ("console", "places", "image_jobs", "jobs", "conversion", "judging", "cli"),
    ("__main__",),
)
ANYTHING = {"__init__"}  # the public face fetches its names lazily from any floor
GROUND_FLOOR_ONLY = {"kernels"}  # arrays in, arrays out
KERNEL_CALLERS = {"speaking", "sample", "codec", "image_sample"}  # and those only inside functions
FREE_OF_TORCH = {*FLOORS[0]}
PRINTERS = {"console", "places", "jobs", "conversion", "cli"}  # the command line: may use the standard streams
EXITERS = {"cli", "__main__"}
LIGHT = ("vqaudio", "vqaudio.stream", "vqaudio.entropy", "vqaudio.cli")  # importing these loads nothing heavy
HEAVY = ("torch", "torchaudio", "numba", "librosa", "lightning_fabric")

PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
EXECUTORS = {"exec", "eval", "compile"}
HIDDEN_IMPORTS = {"__import__", "import_module", "importlib.import_module"}
ENDINGS = {"sys.exit", "os._exit", "exit", "quit", "SystemExit"}
STANDARD_STREAMS = {"sys.stdout", "sys.stderr", "sys.stdin"}

POSITION = {name: (floor, place) for floor, names in enumerate(FLOORS) for place, name in enumerate(names)}


@dataclass(frozen=True)
class Import:
    """One imported name; ``loads`` when it happens as the module is imported, not later or for type checkers only."""

    name: str
    line: int
    loads: bool


def _absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    """The module that a ``from`` statement names, with its leading dots resolved."""
    if node.level == 0:
        return node.module or ""
    package = module.split(".") if is_package else module.split(".")[:-1]
    base = package[: len(package) - (node.level - 1)]
    return ".".join([*base, *([node.module] if node.module else [])])


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports_of(tree: ast.AST, module: str, is_package: bool = False, loads: bool = True) -> Iterator[Import]:
    """Every import below ``tree``; ``from a import b`` gives ``a.b``, which may be a module or a name in one."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, loads) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, is_package)
            yield from (Import(f"{base}.{alias.name}", node.lineno, loads) for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from imports_of(node, module, is_package, loads=False)
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            yield from imports_of(ast.Module(node.body, []), module, is_package, loads=False)
            yield from imports_of(ast.Module(node.orelse, []), module, is_package, loads)
        else:
            yield from imports_of(node, module, is_package, loads)


def _may_import(unit: str, other: str) -> bool:
    if unit in ANYTHING or unit == other:
        return True
    if unit in GROUND_FLOOR_ONLY:
        return POSITION[other][0] == 0
    return POSITION[other] < POSITION[unit]


def _house_violation(unit: str, found: Import) -> str | None:
    """What the import law says of one import from the package."""
    parts = found.name.split(".")
    if unit in ANYTHING or parts == ["vqaudio", "__version__"]:
        return None
    if len(parts) == 1 or parts[1] not in POSITION:
        return f"imports {found.name}: import from the module that has it"
    other = parts[1]
    if not _may_import(unit, other):
        return f"imports {other}, which is not below it"
    if other == "kernels" and unit != "kernels":
        if unit not in KERNEL_CALLERS:
            return f"imports kernels: only {' and '.join(sorted(KERNEL_CALLERS))} may"
        if found.loads:
            return "imports kernels when it is loaded: move it into the function that needs it"
    return None


def import_violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """Where ``module`` breaks the import law, a line each."""
    unit = "__init__" if module == "vqaudio" else module.split(".")[1]
    broken = []
    for found in imports_of(ast.parse(source), module, is_package):
        top = found.name.split(".")[0]
        problem = _house_violation(unit, found) if top == "vqaudio" else None
        if unit in FREE_OF_TORCH and top in ("torch", "torchaudio", "lightning_fabric"):
            problem = f"imports {top}: this module is free of torch"
        if top in PICKLES:
            problem = f"imports {top}: nothing here is pickled"
        if problem:
            broken.append(f"{module}:{found.line} {problem}")
    return broken


def _unpickles(call: ast.Call) -> bool:
    """Whether a call may read a pickle: ``torch.load`` that is not restricted, or ``allow_pickle``."""
    given = {word.arg: ast.unparse(word.value) for word in call.keywords if word.arg}
    if ast.unparse(call.func) == "torch.load" and given.get("weights_only") != "True":
        return True
    return given.get("allow_pickle", "False") != "False"


def conduct_violations(source: str, module: str) -> list[str]:
    """Where ``module`` prints, ends the program, executes text or unpickles without leave, a line each."""
    unit = "__init__" if module == "vqaudio" else module.split(".")[1]
    broken = []
    for node in ast.walk(ast.parse(source)):
        problem = None
        if not isinstance(node, ast.Name | ast.Attribute | ast.Call):
            continue
        text = ast.unparse(node.func if isinstance(node, ast.Call) else node)
        if isinstance(node, ast.Name | ast.Attribute):
            if (text == "print" or text in STANDARD_STREAMS) and unit not in PRINTERS:
                problem = f"uses {text}: only the command line talks to the user"
            if text in ENDINGS and unit not in EXITERS:
                problem = f"uses {text}: raise a VqaudioError instead"
        else:
            if text in EXECUTORS:
                problem = f"calls {text}: nothing here executes text"
            if text in HIDDEN_IMPORTS and unit not in ANYTHING:
                problem = f"calls {text}: write the import out, so that the law can be read"
            if _unpickles(node):
                problem = "may read a pickle: say weights_only=True, or read another format"
        if problem:
            broken.append(f"{module}:{node.lineno} {problem}")
    return broken


def _module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_module_of(path): path for path in sorted(SOURCE.rglob("*.py"))}


def test_every_module_has_a_floor() -> None:
    units = {name.split(".")[1] for name in MODULES if name != "vqaudio"}
    homeless = sorted(units - set(POSITION))
    assert not homeless, f"{homeless}: on no floor; add each to FLOORS in {Path(__file__).name}"


@pytest.mark.parametrize("module", [name for name in MODULES if name == "vqaudio" or name.split(".")[1] in POSITION])
def test_module_keeps_the_law(module: str) -> None:
    path = MODULES[module]
    source = path.read_text(encoding="utf-8")
    broken = import_violations(source, module, path.name == "__init__.py") + conduct_violations(source, module)
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("vqaudio.audio", "from vqaudio.cli import main"),
        ("vqaudio.audio", "from vqaudio import cli"),
        ("vqaudio.audio", "from . import cli"),
        ("vqaudio.audio", "from .codec import Codec"),
        ("vqaudio.audio", "import vqaudio.codec as c"),
        ("vqaudio.audio", "import vqaudio"),
        ("vqaudio.audio", "from vqaudio import load"),
        ("vqaudio.audio", "def f():\n    from vqaudio.codec import Codec"),
        ("vqaudio.audio", "if TYPE_CHECKING:\n    from vqaudio.codec import Codec"),
        ("vqaudio.entropy", "from vqaudio.container import StreamReader"),
        ("vqaudio.container", "def f():\n    import torch.nn"),
        ("vqaudio.kernels.cpu", "from vqaudio.quantize import VectorQuantizer"),
        ("vqaudio.kernels.cpu", "from ..quantize import VectorQuantizer"),
        ("vqaudio.sample", "from vqaudio.kernels import cpu"),
        ("vqaudio.train", "def f():\n    from vqaudio.kernels import cpu"),
        ("vqaudio.data", "import pickle"),
    ],
)
def test_the_law_sees_a_bad_import(module: str, source: str) -> None:
    assert import_violations(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("vqaudio.container", "from vqaudio.entropy import pack"),
        ("vqaudio.kernels.cpu", "from vqaudio.errors import VqaudioError\nfrom vqaudio.kernels import reference"),
        ("vqaudio.kernels.cpu", "from .reference import step\nfrom ..errors import VqaudioError"),
        ("vqaudio.sample", "def f():\n    from vqaudio.kernels import cpu"),
        ("vqaudio.sample", "if TYPE_CHECKING:\n    from vqaudio.kernels.reference import Weights"),
        ("vqaudio.cli", "import torch\nfrom vqaudio import __version__\nfrom vqaudio.codec import load"),
        ("vqaudio", "from vqaudio.cli import main"),
    ],
)
def test_the_law_lets_a_good_import_pass(module: str, source: str) -> None:
    assert not import_violations(source, module)


@pytest.mark.parametrize(
    "source",
    [
        "print('hello')",
        "sys.exit(1)",
        "raise SystemExit(1)",
        "sys.stderr.write('hello')",
        "eval('1')",
        "exec('1')",
        "importlib.import_module('vqaudio.' + 'cli')",
        "__import__('vqaudio.cli')",
        "torch.load(path)",
        "numpy.load(path, allow_pickle=True)",
    ],
)
def test_the_law_sees_bad_conduct(source: str) -> None:
    assert conduct_violations(source, "vqaudio.train")


def test_the_law_lets_good_conduct_pass() -> None:
    source = (
        "model.eval()\nre.compile('x')\ntorch.compile(model)\ntorch.load(path, weights_only=True)\nnumpy.load(path)"
    )
    assert not conduct_violations(source, "vqaudio.train")
    assert not conduct_violations("print('hello')\nsys.exit(1)", "vqaudio.cli")


@pytest.mark.parametrize("module", [name for name in LIGHT if name in MODULES])
def test_import_is_light(module: str, tmp_path: Path) -> None:
    code = f"import sys, vqaudio, {module}; assert not set(sys.modules) & {set(HEAVY)}, set(sys.modules) & {set(HEAVY)}"
    settings = {"cwd": tmp_path, "env": children.environment(), "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", code], check=False, **settings)
    assert done.returncode == 0, done.stderr


def test_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == vqaudio.__version__


def test_the_public_face() -> None:
    assert set(vqaudio.__all__) <= set(dir(vqaudio))
    with pytest.raises(AttributeError, match="no_such_name"):
        vqaudio.no_such_name  # noqa: B018 - the access is the test
    for name in vqaudio.__all__:
        home = vqaudio._HOME.get(name)
        if home in MODULES:
            assert getattr(vqaudio, name) is getattr(importlib.import_module(home), name)
