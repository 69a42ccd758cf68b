"""Kills each verb that writes at random moments, and looks at what it leaves.

python recipes/robustness/kills.py --kills 100 --json recipes/robustness/results/kills.json

Each attempt begins with an old result in its place, runs the verb in a process of its own, and ends it by SIGKILL
after a random share of the time that the verb takes. Then the old result, or the new one, must be there whole; the same
command, or the one that goes on, must come to the very bytes that an unbroken run gives. What a full disk does, and a
folder that is not there, is tried likewise, without a kill. Hidden temporary files may stay behind a SIGKILL, which
nothing can catch; they are counted.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import torch

from vqaudio.cli.main import main as vqaudio

RATE_HZ = 16000
MODEL = Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "v1" / "sound-model"
CONFIG = """
[model]
kind = "audio-vqvae"
quantizer = {codebook_size = 16, code_dim = 8}
encoder = {channels = [8, 8, 8, 8, 8, 8]}
conditioning = {channels = 8, residual_dilations = [1], features = 8}
decoder = {residual = 8, skip = 8, hidden = 8, dilations = [1, 2], features = 8}
decoder_window = 512
mels = [{n_fft = 256, n_mels = 8}]

[train]
precision = "32-true"
log_every = 1
validate_every = 4
validation_crops = 2
sound_seconds = 0.0
checkpoint_minutes = 1e-6

[[train.phases]]
name = "codes"
steps = 12
learning_rate = 1e-3
batch_size = 2
crop_samples = 2048
train = ["encoder", "quantizer", "conditioning", "mel_head"]
objective = {mel = 1.0, codebook = 1.0}
"""


@dataclass(frozen=True)
class Verb:
    """``first`` makes the result at ``output``; ``again`` is the command that makes it anew, or goes on with it."""

    name: str
    first: tuple[str, ...]
    again: tuple[str, ...]
    output: str
    keeps_old: bool  # whether ``again`` replaces a whole old result; else it goes on with a broken one


_WITH = ("--model", str(MODEL))
VERBS = (
    Verb("encode", ("encode", "talk.wav", "-o", "x.vqa", *_WITH), ("--force",), "x.vqa", True),
    Verb("decode", ("decode", "talk.vqa", "-o", "x.wav", *_WITH), ("--force",), "x.wav", True),
    Verb("prepare", ("prepare", "corpus", "-o", "new", "--no-analysis"), ("--force",), "new", True),
    Verb("tokenize", ("tokenize", "corpus", "-o", "tokens", "--shard-rows", "2", "--workers", "1", *_WITH), (),
         "tokens", False),
    Verb("train", ("train", "run.toml", "--data", "shards", "-o", "run", "--device", "cpu"), ("--resume",),
         "run", False),
)  # fmt: skip


@dataclass
class Tally:
    """What came of a verb's attempts. ``lost`` names each that ended in anything but a whole result."""

    kills: int = 0
    in_time: int = 0  # kills that came before the verb had ended
    old_whole: int = 0
    new_whole: int = 0
    resumed_exactly: int = 0
    left_behind: int = 0  # temporary files and folders
    lost: list[str] = field(default_factory=list)
    run_s: float = 0.0


def forked(work: Callable[[], int]) -> int:
    """Starts ``work`` in a process of its own, which has all modules loaded; gives its id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1):
            os.dup2(nowhere, stream)
        os.dup2(os.open("errors.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        code = work()
    finally:
        os._exit(code)


def finished(arguments: tuple[str, ...]) -> int:
    """Runs a command to its end in a process of its own; gives its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(forked(lambda: vqaudio(list(arguments))), 0)[1])


def content(path: Path) -> dict[str, bytes]:
    """The bytes of a file, or of each in a folder that are the result: of a run its model, which tells no times."""
    if path.is_file():
        return {"": path.read_bytes()}
    files = (file for file in sorted(path.rglob("*")) if file.is_file() and not is_temporary(file.relative_to(path)))
    found = {str(file.relative_to(path)): file.read_bytes() for file in files}
    of_run = {name: data for name, data in found.items() if name == "model/model.safetensors"}
    return of_run if of_run or "log.jsonl" in found else found


def is_temporary(path: Path) -> bool:
    """Whether a path is of what is being made, and is moved to its name when it is whole."""
    return any(part.startswith(".") for part in path.parts)


def make_inputs(folder: Path) -> None:
    """A sound, its stream, a corpus, its shards and a run's configuration."""
    rng, seconds = np.random.default_rng(0), 0.6
    for number in range(7):
        wave = 0.1 * rng.standard_normal(int(seconds * RATE_HZ)) + 0.2 * np.sin(np.arange(int(seconds * RATE_HZ)) / 20)
        path = folder / "corpus" / "ab"[number % 2] / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wave, RATE_HZ)
    soundfile.write(folder / "talk.wav", 0.1 * rng.standard_normal(4 * RATE_HZ), RATE_HZ)
    (folder / "run.toml").write_text(CONFIG, encoding="utf-8")
    commands = (
        ("encode", "talk.wav", "-o", "talk.vqa", "--model", str(MODEL)),
        ("prepare", "corpus", "-o", "shards", "--no-analysis"),
    )
    for command in commands:
        assert vqaudio([*command, "--quiet"]) == 0, command


def clear(verb: Verb) -> None:
    """Removes the result and all temporary files."""
    for path in Path().iterdir():
        if path.name == verb.output or is_temporary(path):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def attempt(verb: Verb, seconds: float, old: dict[str, bytes], new: dict[str, bytes], tally: Tally) -> None:
    """One kill after ``seconds``, and what follows."""
    pid = forked(lambda: vqaudio([*verb.first, *(verb.again if verb.keeps_old else ())]))
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    tally.kills += 1
    tally.in_time += code == -signal.SIGKILL
    output = Path(verb.output)
    tally.left_behind += sum(is_temporary(path) for path in [*Path().iterdir(), *output.rglob("*")])
    if verb.keeps_old:
        found = content(output)
        tally.old_whole += found == old
        tally.new_whole += found == new
        if found not in (old, new):
            tally.lost.append(f"after {seconds:.3f} s: {verb.output} is neither old nor new")
    again = verb.again if verb.keeps_old or output.exists() else ()
    code = finished((*verb.first, *again))
    if code == 1 and not verb.keeps_old and again and not content(output):  # killed before its first checkpoint
        shutil.rmtree(output)
        code = finished(verb.first)
    if code == 0 and content(output) == new:
        tally.resumed_exactly += 1
    else:
        said = Path("errors.txt").read_text(encoding="utf-8", errors="replace").strip()[-200:]
        tally.lost.append(f"after {seconds:.3f} s: the same command then gave {code}, or other bytes; {said}")


def kill(verb: Verb, kills: int, rng: random.Random, seconds: float = 1e9) -> Tally:
    """That many attempts on a verb, or those that begin within ``seconds``, in the working folder."""
    tally = Tally()
    for run in range(2):  # here, so that all modules are loaded, and then in a process of its own, as the others
        clear(verb)
        started = time.monotonic()
        code = finished(verb.first) if run else vqaudio([*verb.first])
        assert code == 0, f"{verb.name} fails"
        tally.run_s = round(time.monotonic() - started, 2)
    new, ends = content(Path(verb.output)), time.monotonic() + seconds
    while tally.kills < kills and time.monotonic() < ends:
        old = begin(verb)
        attempt(verb, rng.random() * 1.1 * tally.run_s, old, new, tally)
    return tally


def begin(verb: Verb) -> dict[str, bytes]:
    """Clears the folder and puts an old result in its place, where the verb replaces one; gives it."""
    clear(verb)
    output = Path(verb.output)
    if not verb.keeps_old:
        return {}
    if output.suffix:
        output.write_bytes(b"old")
    else:
        shutil.copytree("shards", output)
        (output / "old").write_bytes(b"old")
    return content(output)


# --------------------------------------------------------------------------------------------- without a kill


def full(verb: Verb) -> int:
    """The verb where no file can grow beyond some bytes, as on a full disk or under a quota."""

    def work() -> int:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
        return vqaudio([*verb.first, *(verb.again if verb.keeps_old else ())])

    return os.waitstatus_to_exitcode(os.waitpid(forked(work), 0)[1])


def vanished(verb: Verb) -> int:
    """The verb whose result belongs into a folder that is not there, and cannot be made: a file has its name."""
    Path("gone").write_bytes(b"")
    place = verb.first.index("-o") + 1
    return finished((*verb.first[:place], f"gone/{verb.output}", *verb.first[place + 1 :]))


def refusals(verb: Verb) -> dict[str, str]:
    """How the verb ends where it cannot write; "told" is exit status 1, one line, and an old result that is whole."""
    found = {}
    for name, way in {"full disk": full, "no such folder": vanished}.items():
        old = begin(verb)
        code = way(verb)
        lines = Path("errors.txt").read_text(encoding="utf-8", errors="replace").splitlines()
        lines = [] if way is full else lines  # which cannot grow either
        whole = not verb.keeps_old or content(Path(verb.output)) == old
        left = [path.name for path in Path().iterdir() if is_temporary(path)]
        fine = code in (1, 2) and whole and not left and len(lines) <= 1
        found[name] = "told" if fine else f"exit {code}, old whole: {whole}, left {left}, {lines[-1:]}"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="of each verb")
    parser.add_argument("--seconds", type=float, default=1e9, help="of each verb, at most")
    parser.add_argument("--verb", action="append", help="one of the verbs; repeatable; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where the counts go")
    chosen = parser.parse_args()
    target = chosen.json.resolve() if chosen.json else None
    rng, results = random.Random(chosen.seed), {}
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        os.chdir(folder)
        torch.set_num_threads(1)  # forked processes then need no others of the kind
        make_inputs(Path())
        for verb in VERBS:
            if chosen.verb and verb.name not in chosen.verb:
                continue
            tally = kill(verb, chosen.kills, rng, chosen.seconds)
            results[verb.name] = asdict(tally) | {"cannot write": refusals(verb)}
            print(verb.name, json.dumps(results[verb.name]), flush=True)
            if target:
                target.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        os.chdir("/")
    sys.exit(any(entry["lost"] for entry in results.values()))


if __name__ == "__main__":
    main()
