"""What can go wrong around a verb: disks, folders, clocks. Each fault is a context manager that sets its scene."""

import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import kills
from kills import content

from vqaudio.cli.main import main as vqaudio

PLACE = Path("place")  # where results go
PAGE = 4096  # bytes that a file of a disk in memory grows by
NOBODY = 65534


@dataclass(frozen=True)
class Verb:
    """``words`` make ``output`` in the place; ``again`` makes it anew where it, or a part of it, is there."""

    name: str
    words: tuple[str, ...]
    output: str
    again: tuple[str, ...] = ("--force",)
    goes_on: bool = False  # with what an earlier attempt has done


@dataclass(frozen=True)
class Ended:
    """How an attempt ended, and what it said on standard error."""

    code: int
    said: str


def attempt(words: tuple[str, ...], first: Callable[[], object] = int, meanwhile: Callable[[], object] = int) -> Ended:
    """Runs a command in a process of its own, which does ``first`` before; here ``meanwhile`` is done."""
    reading, writing = os.pipe()

    def work() -> int:
        os.dup2(writing, 2)
        first()
        return vqaudio(list(words))

    pid = kills.forked(work)
    os.close(writing)
    meanwhile()
    with open(reading, "rb") as pipe:
        said = pipe.read().decode(errors="replace").strip()
    return Ended(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said)


class Impossible(Exception):
    """This machine cannot bring about the fault."""


@contextmanager
def _mounted(*words: str) -> Iterator[None]:
    done = subprocess.run(["mount", *words, str(PLACE)], capture_output=True, check=False)
    if done.returncode:
        raise Impossible(done.stderr.decode())
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(PLACE)], check=True)


@dataclass
class Scene:
    """A verb, the seconds and the result of its unbroken run, and chance."""

    verb: Verb
    seconds: float
    new: dict[str, bytes]
    old: dict[str, bytes]
    rng: random.Random

    @property
    def command(self) -> tuple[str, ...]:
        output = PLACE / self.verb.output
        return (*self.verb.words, *(self.verb.again if output.exists() else ()))

    def put_old(self) -> None:
        """The old result, in the place."""
        for name, data in self.old.items():
            path = PLACE / self.verb.output / name if name else PLACE / self.verb.output
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def share(self) -> float:
        return self.rng.random()


@contextmanager
def full_disk(scene: Scene) -> Iterator[Callable[[], Ended]]:
    """A disk with room for a random share of what the verb writes."""
    pages = sum(len(data) // PAGE + 1 for data in scene.new.values())
    room = int(scene.share() * 2 * (pages + 1)) * PAGE
    with _mounted("-t", "tmpfs", "-o", "size=64m", "tmpfs"):
        scene.put_old()
        with open(PLACE / "other", "wb", buffering=0) as file:
            with suppress(OSError):
                while file.write(bytes(PAGE)):
                    pass
            file.truncate(file.tell() - room)

        def lift() -> None:
            (PLACE / "other").unlink()

        yield lambda: _and(attempt(scene.command), lift)


@contextmanager
def no_more_names(scene: Scene) -> Iterator[Callable[[], Ended]]:
    """A disk on which no, or few, further files can be made."""
    with _mounted("-t", "tmpfs", "-o", "nr_inodes=300", "tmpfs"):
        scene.put_old()
        made = []
        with suppress(OSError):
            while True:
                made.append(PLACE / f"other-{len(made)}")
                made[-1].touch()
        for path in made[: int(scene.share() * 4)]:
            path.unlink(missing_ok=True)

        def lift() -> None:
            for path in made:
                path.unlink(missing_ok=True)

        yield lambda: _and(attempt(scene.command), lift)


@contextmanager
def limited_files(scene: Scene) -> Iterator[Callable[[], Ended]]:
    """No file may grow beyond a random share of the verb's largest."""
    scene.put_old()
    most = int(scene.share() * max(len(data) for data in scene.new.values()))

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    yield lambda: attempt(scene.command, limit)


@contextmanager
def read_only_disk(scene: Scene) -> Iterator[Callable[[], Ended]]:
    """A disk that takes nothing."""
    with _mounted("-t", "tmpfs", "tmpfs"):
        scene.put_old()
        subprocess.run(["mount", "-o", "remount,ro", str(PLACE)], check=True)

        def lift() -> None:
            subprocess.run(["mount", "-o", "remount,rw", str(PLACE)], check=True)

        yield lambda: _and(attempt(scene.command), lift)


@contextmanager
def forbidden_folder(scene: Scene) -> Iterator[Callable[[], Ended]]:
    """A folder that belongs to another user, who lets nobody write."""
    if os.getuid():
        raise Impossible("only root can become somebody else")
    scene.put_old()

    def lessen() -> None:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)

    yield lambda: attempt(scene.command, lessen)


@contextmanager
def vanishing_folder(scene: Scene) -> Iterator[Callable[[], Ended]]:
    """The place goes away, old result and all, after a random share of the time that the verb takes."""
    scene.put_old()
    gone = Path("gone")

    def go() -> None:
        time.sleep(scene.share() * 1.1 * scene.seconds)
        PLACE.rename(gone)

    def lift() -> None:
        """What was written before the place went is there; but for what was being written, which has no name there."""
        for path in gone.rglob(".*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        remade = content(PLACE / scene.verb.output) if PLACE.exists() else {}
        if not remade:
            shutil.rmtree(PLACE, ignore_errors=True)
            gone.rename(PLACE)

    yield lambda: _and(attempt(scene.command, meanwhile=go), lift)
    shutil.rmtree(gone, ignore_errors=True)


@contextmanager
def backward_clock(scene: Scene) -> Iterator[Callable[[], Ended]]:
    """The clock of the day goes back an hour each time that it is looked at; others stand still; files are of 2100."""
    scene.put_old()
    for path in (Path("talk.wav"), *PLACE.rglob("*")):
        os.utime(path, (4102444800, 4102444800))
    now = map(float, range(2_000_000_000, 0, -3600))

    def turn_back() -> None:
        mock.patch("time.time", side_effect=now).start()
        mock.patch("time.perf_counter", return_value=7.0).start()
        mock.patch("time.monotonic", return_value=7.0).start()

    yield lambda: attempt(scene.command, turn_back)


def _and(ended: Ended, lift: Callable[[], None]) -> Ended:
    lift()
    return ended


Fault = Callable[[Scene], AbstractContextManager[Callable[[], Ended]]]
FAULTS: dict[str, Fault] = {
    "full disk": full_disk,
    "no more names": no_more_names,
    "limited files": limited_files,
    "read-only disk": read_only_disk,
    "forbidden folder": forbidden_folder,
    "vanishing folder": vanishing_folder,
    "backward clock": backward_clock,
}
SETTLED = ("read-only disk", "forbidden folder", "backward clock")  # nothing of it is left to chance
