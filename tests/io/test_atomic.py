"""output.py: files that appear whole or not at all."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from vqaudio.errors import OutputError
from vqaudio.io.atomic import atomic_files, atomic_path, atomic_write


def test_atomic_write_replaces_when_told_to(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    for content in (b"old", b"new"):
        with atomic_write(path, overwrite=True) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_atomic_write_leaves_nothing_behind(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")

    def fail(target: Path) -> None:
        with atomic_write(target, overwrite=True) as file:
            file.write(b"half")
            raise error

    for target in (path, tmp_path / "b.wav"):
        with pytest.raises(error):
            fail(target)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_does_not_overwrite_unasked(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match=r"a\.wav exists; use --force"), atomic_write(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"old"


def test_atomic_write_does_not_overwrite_what_came_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with pytest.raises(OutputError, match="--force"), atomic_write(path):
        path.write_bytes(b"another program's")
    assert path.read_bytes() == b"another program's"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_grants_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    plain, path = tmp_path / "plain", tmp_path / "a.wav"
    plain.write_bytes(b"")
    with atomic_write(path):
        pass
    assert path.stat().st_mode == plain.stat().st_mode


def test_atomic_path_keeps_the_suffix_and_the_link(tmp_path: Path) -> None:
    path, link = tmp_path / "real.flac", tmp_path / "link.flac"
    link.symlink_to(path)
    with atomic_path(link) as temporary:
        assert (temporary.parent, temporary.suffix) == (path.parent.resolve(), ".flac")
        temporary.write_bytes(b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/a.wav", "no folder .*missing; make it first"),
        (".", "is a folder"),
        ("file/a.wav", "no folder"),
        ("x" * 300, "cannot be written: File name too long"),
        ("fifo", "no regular file"),
    ],
)
def test_atomic_write_says_what_is_wrong(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OutputError, match=message), atomic_write(tmp_path / name, overwrite=True):
        pass
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["fifo", "file"]


def test_atomic_write_needs_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:  # root is never refused by the file system itself
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)
    with (
        pytest.raises(OutputError, match=r"a\.wav cannot be written: Permission denied"),
        atomic_write(tmp_path / "a.wav"),
    ):
        pass


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="make room"), atomic_write(tmp_path / "a.wav"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_disk_quota_or_file_that_is_full_leaves_half_a_folder(tmp_path: Path, number: int) -> None:
    (tmp_path / "page").mkdir()
    for name in ("a.html", "b.html"):
        (tmp_path / "page" / name).write_bytes(b"old")

    def write(folder: Path) -> None:
        with atomic_files(folder, overwrite=True) as add:
            add("a.html", b"new")
            add("sounds/c.wav", b"new")
            raise OSError(number, os.strerror(number))

    for folder in (tmp_path / "page", tmp_path / "fresh" / "page"):
        with pytest.raises(OutputError, match="make room"):
            write(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["page"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "page").iterdir()} == {
        "a.html": b"old",
        "b.html": b"old",
    }


def test_files_of_a_folder_appear_together(tmp_path: Path) -> None:
    with atomic_files(tmp_path / "new" / "page") as add:
        add("a.html", b"one")
        add("sounds/c.wav", b"two")
        assert not list(tmp_path.rglob("*.html")) or all(path.name.startswith(".") for path in tmp_path.rglob("*.html"))
    found = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"new/page/a.html": b"one", "new/page/sounds/c.wav": b"two"}
    with pytest.raises(OutputError, match="--force"), atomic_files(tmp_path / "new" / "page") as add:
        add("a.html", b"three")
    assert (tmp_path / "new" / "page" / "a.html").read_bytes() == b"one"
