"""Machine code on the disk: whole or not there, and never that of another kernel."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from vqaudio.kernels import object_code
from vqaudio.kernels.object_code import Code, can_be_loaded, keep, kept, undefined

CODE = Code("function", ("memset", "sin"), bytes(range(256)), b"the door")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where code is kept for now."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    object_code._folder.cache_clear()
    yield tmp_path / "cache"
    object_code._folder.cache_clear()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_is_kept_comes_back(folder: Path) -> None:
    assert kept("a.kernel", "i8") is None
    keep("a.kernel", "i8", CODE)
    assert kept("a.kernel", "i8") == CODE
    assert kept("a.kernel", "f8") is None
    assert kept("b.kernel", "i8") is None
    keep("a.kernel", "i8", CODE._replace(body=b"other"))
    found = kept("a.kernel", "i8")
    assert found is not None
    assert found.body == b"other"
    assert len(files(folder)) == 1


@pytest.mark.parametrize("cut", [0, 5, 40, 200])
def test_half_a_file_is_none(folder: Path, cut: int) -> None:
    keep("a.kernel", "i8", CODE)
    (path,) = files(folder)
    path.write_bytes(path.read_bytes()[:cut])
    assert kept("a.kernel", "i8") is None


def test_a_changed_file_is_none(folder: Path) -> None:
    keep("a.kernel", "i8", CODE)
    (path,) = files(folder)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert kept("a.kernel", "i8") is None


def test_where_nothing_can_be_written_nothing_is_kept(folder: Path) -> None:
    folder.write_text("no folder")
    keep("a.kernel", "i8", CODE)
    assert kept("a.kernel", "i8") is None


def test_other_settings_of_numba_are_other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = object_code._made_with.__wrapped__()
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    assert object_code._made_with.__wrapped__() == ours
    monkeypatch.setenv("NUMBA_OPT", "1")
    assert object_code._made_with.__wrapped__() != ours


def test_what_is_missing_is_not_loaded() -> None:
    assert can_be_loaded(CODE)
    assert not can_be_loaded(CODE._replace(needs=("sin", "no_such_function_anywhere")))


def test_what_is_no_object_file() -> None:
    assert undefined(b"") is None
    assert undefined(b"\x7fELF\x01\x01") is None
    assert undefined(b"MZ" + bytes(100)) is None
