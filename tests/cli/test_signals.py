"""Signals that end the program: the conventional exit status, no temporary file, nothing on standard error."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import children
import pytest
import sounds

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# The child encodes, and waits at its first packet, with the temporary file open, for the signal.
WAITING = """
import ctypes, signal, sys, time
from pathlib import Path
from vqaudio.cli.main import main
from vqaudio.bitstream import container
if "nohup" not in sys.argv:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever these tests run under
def sleep():
    Path("ready").touch()
    time.sleep(60)
def wait(*arguments):
    if "callback" in sys.argv:
        ctypes.CFUNCTYPE(None)(sleep)()  # what is raised there is dropped
        time.sleep(60)
    sleep()
container.StreamWriter.write = wait
sys.exit(main(["encode", "talk.wav", "--model", sys.argv[1]]))
"""


@pytest.fixture(autouse=True)
def _signals_are_heard() -> Iterator[None]:
    """Whatever these tests run under: a shell's background job ignores Ctrl-C, and so would its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def begin(folder: Path, model: Path, *before: str, how: str = "") -> subprocess.Popen[bytes]:
    """Starts the child and returns when it waits."""
    sounds.tone(folder / "talk.wav")
    command = [*before, sys.executable, "-c", WAITING, str(model), how]
    child = subprocess.Popen(
        command, cwd=folder, env=children.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    while not (folder / "ready").exists():
        assert child.poll() is None, child.communicate()
        time.sleep(0.05)
    return child


@pytest.mark.parametrize("how", ["", "callback"])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_leaves_nothing_behind(tmp_path: Path, tiny_model: Path, number: signal.Signals, how: str) -> None:
    child = begin(tmp_path, tiny_model, how=how)
    child.send_signal(number)
    _, said = child.communicate(timeout=60)
    assert (child.returncode, said) == (128 + number, b"")
    assert {path.name for path in tmp_path.iterdir()} == {"talk.wav", "ready"}


def test_a_hang_up_that_is_ignored_stays_so(tmp_path: Path, tiny_model: Path) -> None:
    child = begin(tmp_path, tiny_model, "nohup", how="nohup")
    child.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(timeout=1)
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=60)
    assert child.returncode == 128 + signal.SIGTERM
    assert {path.name for path in tmp_path.iterdir()} == {"talk.wav", "ready"}


# The child is sent the signal by itself, at the moment that it first loads the module that it was told.
LOADING = """
import os, signal, sys, importlib.abc
signal.signal(signal.SIGHUP, signal.SIG_DFL)
wanted, number = sys.argv[1], int(sys.argv[2])
class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == wanted:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), number)
sys.meta_path.insert(0, Watch())
from vqaudio.cli.start import main
sys.argv[1:] = sys.argv[3:]
sys.exit(main())
"""
LOADED = {  # by each verb, at some stage
    "typer": ["encode", "talk.wav", "--quiet"],
    "vqaudio.cli.options": ["--help"],
    "vqaudio.io.sound": ["encode", "talk.wav", "--quiet"],
    "vqaudio.models.numpy_vocoder": ["encode", "talk.wav", "--quiet"],
    "vqaudio.models.folder": ["models"],
    "numba": ["sample", "--seconds", "0.1", "--quiet"],
    "vqaudio.training.shards": ["prepare", "talk", "-o", "shards"],
}


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("module", LOADED)
def test_a_signal_while_modules_load_ends_in_silence(tmp_path: Path, module: str, number: signal.Signals) -> None:
    sounds.tone(tmp_path / "talk.wav")
    (tmp_path / "talk").mkdir()
    sounds.tone(tmp_path / "talk" / "talk.wav")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    command = [sys.executable, "-c", LOADING, module, str(int(number)), *LOADED[module]]
    done = subprocess.run(command, cwd=tmp_path, env=children.environment(), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (128 + number, b"")
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
