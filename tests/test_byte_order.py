"""Numbers in files lie one way, whichever way the machine's own do."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import children
import numpy as np
import pytest

from vqaudio.codecs.bundled import PRETRAINED
from vqaudio.models import folder as folders

ROOT = Path(__file__).resolve().parents[1]
# What tests/big_endian.py printed on x86-64 and, under qemu, on s390x.
EVERYWHERE = "6570e727796c014dc4852f68c308e7d587e22a31a584d05a8b843a8f39c3a486"
ARRAYS, STRUCTS = {"frombuffer", "fromfile", "memmap"}, {"pack", "unpack", "unpack_from", "pack_into"}


def test_python_and_numpy_alone_find_the_codes_that_every_machine_finds() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "big_endian.py"],
        env=children.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == [sys.byteorder, EVERYWHERE], done.stderr


class _Turned:
    """A safetensors file as a machine reads it whose numbers lie the other way."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __enter__(self) -> "_Turned":
        self._open = self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._file.__exit__(*error)

    def keys(self) -> Any:
        return self._open.keys()

    def get_tensor(self, name: str) -> np.ndarray:
        tensor = self._open.get_tensor(name)
        return tensor.astype(tensor.dtype.newbyteorder(">"))


def test_a_model_has_one_name_on_all_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    name, opened = folders.fingerprint(PRETRAINED / "speech"), folders.safe_open
    monkeypatch.setattr(folders, "safe_open", lambda *words: _Turned(opened(*words)))
    assert folders.fingerprint(PRETRAINED / "speech") == name


def orders(source: str) -> Iterator[tuple[int, str]]:
    """Of each call that reads or writes numbers as bytes its line and the kind of numbers as it is written."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        name, owner = node.func.attr, ast.unparse(node.func.value)
        if owner == "np" and name in ARRAYS:
            given = [word.value for word in node.keywords if word.arg == "dtype"] or node.args[1:2]
            yield node.lineno, ast.unparse(given[0]) if given else "nothing"
        elif owner == "struct" and name in STRUCTS:
            yield node.lineno, ast.unparse(node.args[0])


def is_told(kind: str) -> bool:
    """Whether the order of the bytes is said, there is none, or the kind is worked out elsewhere."""
    text = kind.removeprefix("f").strip("'\"")
    written = kind[0] in "'\"" or (kind[0] == "f" and kind[1:2] in ("'", '"'))
    return kind == "np.uint8" or (text[0] in "<>{" if written else not kind.startswith(("np.", "nothing")))


def test_the_order_of_bytes_is_said_wherever_numbers_are_read_or_written() -> None:
    found = [
        (str(path.relative_to(ROOT)), line, kind)
        for path in sorted((ROOT / "vqaudio").rglob("*.py"))
        for line, kind in orders(path.read_text(encoding="utf-8"))
    ]
    assert len(found) > 20
    assert [one for one in found if not is_told(one[2])] == []


@pytest.mark.parametrize(
    "call", ["np.frombuffer(b, np.int16)", "np.frombuffer(b)", 'struct.pack("I", 1)', 'np.memmap(p, "i2")']
)
def test_an_order_that_is_not_said_is_seen(call: str) -> None:
    assert [is_told(kind) for _, kind in orders(call)] == [False]
