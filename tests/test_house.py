"""The import law, held by reading the source of the whole tree. docs/how-it-works.md draws the floors."""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = (
    {"errors", "arrays"},
    {"io", "kernels"},
    {"bitstream", "dsp"},
    {"models"},
    {"codecs"},
    {"training", "evaluation"},
    {"cli"},
)
FREE_OF_TORCH = {"errors", "arrays", "bitstream", "kernels"}
TORCH = {"torch", "torchaudio", "lightning_fabric"}
DOORS = {"vqaudio", "vqaudio.__main__"}  # the lazy face and the program: they open onto any floor
LONGEST = 400  # lines of a file

FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in sorted((ROOT / "vqaudio").rglob("*.py"))}


def imports(source: str) -> Iterator[str]:
    """The modules that ``source`` imports, anywhere in it; of the package, those that there are."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            base = node.module or ""
            named = (f"{base}.{alias.name}" for alias in node.names)
            yield from {name if name in MODULES else base for name in named}


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def broken_laws(module: str, source: str) -> list[str]:
    """What ``module`` imports against the law, a line each."""
    room, broken = _room(module), []
    for name in imports(source):
        own, below = name.split(".")[0] == "vqaudio", FLOOR_OF.get(_room(name), -1) < FLOOR_OF.get(room, 99)
        if own and name != "vqaudio" and not below and _room(name) != room:
            broken.append(f"{module} imports {name}, which is not on a lower floor")
        if room in FREE_OF_TORCH and name.split(".")[0] in TORCH:
            broken.append(f"{module} imports {name}: its room is free of torch")
    return broken


@pytest.mark.parametrize("module", [name for name in MODULES if name not in DOORS])
def test_a_module_keeps_the_law(module: str) -> None:
    assert _room(module) in FLOOR_OF, "a room that is on no floor"
    source = MODULES[module].read_text(encoding="utf-8")
    assert not broken_laws(module, source)
    assert source.count("\n") <= LONGEST


def test_no_circles() -> None:
    graph = {name: {n for n in imports(path.read_text("utf-8")) if n in MODULES} for name, path in MODULES.items()}
    graph["vqaudio"] = set()
    list(graphlib.TopologicalSorter(graph).static_order())


def test_at_most_nine_rooms() -> None:
    assert len({_room(name) for name, path in MODULES.items() if path.name == "__init__.py"} - {""}) <= 9


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("vqaudio.dsp.mel", "def f():\n    from vqaudio.models.wavenet import WaveNet"),
        ("vqaudio.io.sound", "import vqaudio.kernels.wavenet"),
        ("vqaudio.kernels.wavenet", "if TYPE_CHECKING:\n    import torch.nn"),
        ("vqaudio.bitstream.stream", "from vqaudio.codecs import speech"),
    ],
)
def test_the_law_sees_a_bad_import(module: str, source: str) -> None:
    assert broken_laws(module, source)
