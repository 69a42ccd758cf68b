"""Output files that appear whole or not at all."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from vqaudio.errors import OutputError


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
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise _unwritable(name, error) from error
        raise


@contextmanager
def atomic_write(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[BinaryIO]:
    """Give a binary file whose content becomes ``path`` when the block ends well; see :func:`atomic_path`."""
    with atomic_path(path, overwrite) as temporary, open(temporary, "wb") as file:
        yield file


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
