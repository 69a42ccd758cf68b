"""Output files and folders that appear whole or not at all."""

import ctypes
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from vqaudio.errors import OutputError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk, a quota, a file


@contextmanager
def atomic_path(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Give the path of an empty temporary file beside ``path`` that takes its place when the block ends well.

    On any exception, KeyboardInterrupt included, the temporary file is removed and ``path`` is as it was. The temporary
    file has the same suffix, and the permissions that the umask grants. A symbolic link keeps pointing where it does.

    Raises:
        OutputError: the file exists (without ``overwrite``) or is no regular file, or its folder is missing or cannot
            be written to, or the disk is full.
    """
    name, target = os.fspath(path), Path(os.path.realpath(path))
    _check_target(name, target, overwrite)
    temporary = target.with_name(f".{secrets.token_hex(8)}{target.suffix}")
    try:
        _create(name, temporary)
        yield temporary
        _move(name, temporary, target, overwrite)
    except BaseException as error:
        with suppress(OSError):  # it may never have been made
            temporary.unlink()
        if isinstance(error, OSError) and error.errno in FULL:
            raise _unwritable(name, error) from error
        raise


@contextmanager
def atomic_write(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[BinaryIO]:
    """Give a binary file whose content becomes ``path`` when the block ends well; see :func:`atomic_path`."""
    with atomic_path(path, overwrite) as temporary, open(temporary, "wb") as file:
        yield file


@contextmanager
def atomic_files(folder: Path, overwrite: bool = False) -> Iterator[Callable[[str, bytes], None]]:
    """Give what writes files into ``folder``, by their names below it: all appear when the block ends well, or none.

    Folders that are made for them, ``folder`` among these, go again where the block does not end well.

    Raises:
        OutputError: a file exists (without ``overwrite``), or the folder cannot be written to, or the disk is full.
    """
    with _new_folders() as make, ExitStack() as files:
        make(folder)

        def write(name: str, data: bytes) -> None:
            make((folder / name).parent)
            temporary = files.enter_context(atomic_path(folder / name, overwrite))
            temporary.write_bytes(data)

        yield write


@contextmanager
def _new_folders() -> Iterator[Callable[[Path], None]]:
    """Give what makes a folder, and those above it, where there is none; on any exception those that are empty go."""
    made: list[Path] = []

    def make(path: Path) -> None:
        if path.is_dir():
            return
        make(path.parent)
        try:
            path.mkdir()
        except OSError as error:
            raise _unwritable(os.fspath(path), error) from error
        made.append(path)

    try:
        yield make
    except BaseException:
        for path in reversed(made):
            with suppress(OSError):
                path.rmdir()
        raise


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path`` that takes its place when the block ends without an error.

    All that is in it is on the disk by then. A folder that is there already stays until the very moment at which the
    two change places, where the system can do that at once; elsewhere there is a moment without any.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for written in (*temporary.rglob("*"), temporary):
            _sync(written)
        if not path.exists():
            temporary.rename(path)
        elif not _exchange(temporary, path):
            retired = path.with_name(f".{path.name}.{secrets.token_hex(8)}.old")
            path.rename(retired)
            temporary.rename(path)
            shutil.rmtree(retired)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # by now, after an exchange, it holds what was there before


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # some systems open no folders
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of renameat2(2)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places in one step; False, and nothing done, where the system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return bool(rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)


def _check_target(name: str, target: Path, overwrite: bool) -> None:
    """Refuse a ``target``, which the user calls ``name``, that cannot or must not be replaced."""
    if not target.parent.is_dir():
        raise OutputError(f"{name} cannot be written: there is no folder {target.parent}; make it first")
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(name, error) from error
    if stat.S_ISDIR(mode):
        raise OutputError(f"{name} is a folder; name a file")
    if not stat.S_ISREG(mode):  # replacing a device such as /dev/null would break the machine
        raise OutputError(f"{name} is no regular file; name another, or - for standard output")
    if not overwrite:
        raise OutputError(f"{name} exists; use --force to overwrite it")


def _create(name: str, temporary: Path) -> None:
    """Make an empty file; unlike ``tempfile``, with the permissions that any new file gets."""
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except OSError as error:
        raise _unwritable(name, error) from error


def _move(name: str, temporary: Path, target: Path, overwrite: bool) -> None:
    """Put the finished ``temporary`` file in the place of ``target``."""
    try:
        with open(temporary, "r+b") as file:
            os.fsync(file.fileno())
        _check_target(name, target, overwrite)  # another program may have made it meanwhile
        os.replace(temporary, target)
    except OSError as error:
        raise _unwritable(name, error) from error


def _unwritable(name: str, error: OSError) -> OutputError:
    return OutputError(f"{name} cannot be written: {error.strerror}; choose another place, or make room there")
