"""Where the inputs of a command come from, what they are, and where its results go."""

import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import typer

from vqaudio.cli.console import Report
from vqaudio.cli.inputs import STANDARD as STANDARD
from vqaudio.cli.inputs import Inputs
from vqaudio.errors import OutputError, SoundError


@dataclass(frozen=True)
class Job:
    """One input and where its result goes; either may be :data:`STANDARD`."""

    source: str
    target: str

    @property
    def name(self) -> str:
        """The input, as messages call it."""
        return "standard input" if self.source == STANDARD else self.source


def plan(inputs: Inputs, output: str | None, suffix_of: Callable[[str], str]) -> list[Job]:
    """Which result goes where, with the suffix that fits its input; what was found in a folder keeps its sub-folder.

    Raises:
        typer.BadParameter: that is not clear or makes no sense.
    """
    if inputs.sources.count(STANDARD) > 1:
        raise typer.BadParameter("standard input (-) can be read only once")
    if inputs.several and output is not None:
        if output == STANDARD:
            raise typer.BadParameter("several inputs do not fit into standard output: give a folder with -o")
        if os.path.exists(output) and not os.path.isdir(output):
            raise typer.BadParameter(f"{output} is no folder: with several inputs -o takes a folder")
        output = os.path.join(output, "")
    jobs = [Job(source, _target(source, inputs, output, suffix_of)) for source in inputs.sources]
    check_targets(jobs)
    return jobs


def _target(source: str, inputs: Inputs, output: str | None, suffix_of: Callable[[str], str]) -> str:
    if source != STANDARD and not Path(source).name:
        raise typer.BadParameter(f"{source!r} names no file")
    if output is None:
        return STANDARD if source == STANDARD else str(Path(source).with_name(Path(source).stem + suffix_of(source)))
    if output == STANDARD or not (output.endswith(os.sep) or os.path.isdir(output)):
        return output
    if source in inputs.below:
        output = os.path.normpath(os.path.join(output, inputs.below[source]))
    return os.path.join(output, ("stdin" if source == STANDARD else Path(source).stem) + suffix_of(source))


def check_targets(jobs: list[Job]) -> None:
    """Raises ``typer.BadParameter`` where a result would overwrite another one or an input, or fill a terminal."""
    sources: dict[str, str] = {}
    for job in jobs:
        if job.target == STANDARD:
            if sys.stdout is not None and sys.stdout.isatty():
                raise typer.BadParameter("a terminal cannot show the result: redirect standard output, or give -o FILE")
            continue
        place = os.path.realpath(job.target)
        if place in sources:
            raise typer.BadParameter(f"{sources[place]} and {job.source} would both become {job.target}")
        sources[place] = job.source
        if job.source != STANDARD and os.path.realpath(job.source) == place:
            raise typer.BadParameter(f"{job.source} would be overwritten by its own result: give -o")


def make_folders(jobs: list[Job], output: str | None) -> None:
    """Makes the folder that the user named for the results, and those below it; no other."""
    if output in (None, STANDARD):
        return
    top = os.path.normpath(output)
    for folder in {os.path.normpath(os.path.dirname(job.target)) for job in jobs}:
        if os.path.join(folder, "").startswith(os.path.join(top, "")):
            os.makedirs(folder, exist_ok=True)


# ---------------------------------------------------------------------------------------------- inputs and outputs


@contextmanager
def binary_output(target: str, force: bool) -> Iterator[BinaryIO]:
    """Gives the open file ``target``, which appears whole or not at all, or standard output."""
    from vqaudio.io.atomic import atomic_write

    if target == STANDARD:
        yield standard_output()
        standard_output().flush()
        return
    with atomic_write(target, force) as file:
        yield file


def binary_input(source: str) -> Any:
    """A context manager that gives the open binary file."""
    return nullcontext(standard_input()) if source == STANDARD else open(source, "rb")


def standard_input() -> BinaryIO:
    """Standard input, as bytes; ``SoundError`` where it is closed."""
    if sys.stdin is None:
        raise SoundError("standard input is closed: name a file, or redirect one to it")
    return sys.stdin.buffer


def standard_output() -> BinaryIO:
    """Standard output, as bytes; ``OutputError`` where it is closed."""
    if sys.stdout is None:
        raise OutputError("standard output is closed: give -o FILE, or redirect it")
    return sys.stdout.buffer


class _Rejoined(io.RawIOBase):
    """The bytes that were read of a pipe to see what it brings, and then the rest of it."""

    name = "<stdin>"

    def __init__(self, head: bytes, rest: io.BufferedReader) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._head:
            self._head = self._rest.read1(len(buffer))
        given = self._head[: len(buffer)]
        self._head = self._head[len(given) :]
        buffer[: len(given)] = given
        return len(given)


def first_bytes(source: str, count: int) -> bytes:
    """What the input begins with, if it can be read; standard input is none the shorter."""
    if source == STANDARD:
        file = standard_input()
        if not isinstance(file, io.BufferedReader):
            head = file.read(count)
            file.seek(-len(head), os.SEEK_CUR)
            return head
        head = file.peek(count)[:count]
        if len(head) < count:  # a slow pipe brings a few bytes at a time
            head = file.read(count)
            sys.stdin = io.TextIOWrapper(io.BufferedReader(_Rejoined(head, file)))
        return head
    try:
        with open(source, "rb") as file:
            return file.read(count)
    except OSError:
        return b""  # whoever opens it in earnest says why


def is_picture(source: str) -> bool:
    """Says whether an input is a picture, by how it begins or, where that tells nothing, by its name."""
    from vqaudio.io.image import HEAD_BYTES, looks_like_picture

    return looks_like_picture(first_bytes(source, HEAD_BYTES), source)


def decoded_suffix(source: str) -> str:
    """What the decoded form of a stream is called: that of a picture, or else that of a sound."""
    from vqaudio.bitstream.header import HEAD_BYTES, Modality, modality_of

    return ".png" if modality_of(first_bytes(source, HEAD_BYTES)) is Modality.IMAGE else ".wav"


_COMPILING = "compiling for this machine, which takes some seconds once; the next start finds what is made now"


@contextmanager
def announced_compiling(report: Report) -> Iterator[None]:
    """Says why it takes long, where it does: the kernels that are warmed up in the block may have to be compiled."""
    from vqaudio.kernels.notice import heard_by

    told = threading.Lock()  # which nobody gives back: it is told once

    def tell() -> None:
        if told.acquire(blocking=False):
            report.note(_COMPILING)

    with heard_by(tell):
        yield
