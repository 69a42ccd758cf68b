"""Signals at any stage of a verb: it ends in silence with the conventional status, and what was there is there.

python recipes/robustness/signals.py --stages 20 --json recipes/robustness/results/signals.json

The calls of the package's functions that a verb makes are counted; then the verb runs again, and the signal comes at a
call that is chosen, the first, the last and those evenly between: while it loads, reads, codes, writes. SIGPIPE, which
the program ignores, must change nothing.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from disks import VERBS, Tally, make_inputs, scene_of
from faults import PLACE, Ended, Scene, attempt
from kills import content, is_temporary

import vqaudio
from vqaudio.cli.start import end_at_once

PACKAGE = str(Path(vqaudio.__file__).parent)
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE")
ENDED = ("SIGINT", "SIGTERM", "SIGHUP")
COUNT = Path("count.txt")


def watch(act: Callable[[int, FrameType], None]) -> None:
    """Lets ``act`` hear of each call of the package's functions in this thread: its number, from 1, and its frame."""
    count = 0

    def profile(frame: FrameType, event: str, _: Any) -> None:
        nonlocal count
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            count += 1
            act(count, frame)

    for name in ENDED:
        signal.signal(getattr(signal, name), end_at_once)  # as the program begins
    sys.setprofile(profile)


def calls_of(scene: Scene) -> int:
    """How many there are in an unbroken run."""
    begin(scene)
    with open(COUNT, "wb", buffering=0) as file:  # the last number stays

        def write(number: int, _: FrameType) -> None:
            os.pwrite(file.fileno(), b"%12d" % number, 0)

        assert attempt(scene.command, lambda: watch(write)) == Ended(0, "")
    return int(COUNT.read_text())


def begin(scene: Scene) -> None:
    """The place, with the old result alone in it."""
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir()
    scene.put_old()


def once(scene: Scene, name: str, stage: int, tally: Tally) -> None:
    """A signal at a call, and the same command behind it."""
    begin(scene)
    number = getattr(signal, name)
    where = Path("where.txt")

    def send(count: int, frame: FrameType) -> None:
        if count == stage:
            sys.setprofile(None)
            where.write_text(f"{frame.f_code.co_filename[len(PACKAGE) + 1 :]}: {frame.f_code.co_name}")
            os.kill(os.getpid(), number)

    ended = attempt(scene.command, lambda: watch(send))
    came = judged(scene, ended, 128 + number if name in ENDED else 0)
    again = attempt(scene.command)
    if (again.code, content(PLACE / scene.verb.output)) != (0, scene.new):
        came = f"{came}; then exit {again.code}: {again.said[-300:]!r}, or other bytes"
    tally.tried += 1
    tally.refused += came == "refused"
    tally.survived += came == "survived"
    if came not in ("refused", "survived"):
        tally.lost.append(f"{name} at call {stage} ({where.read_text()}): {came}")


def judged(scene: Scene, ended: Ended, code: int) -> str:
    """ "refused" where the verb ended in silence with ``code``, "survived" where it ended well; or what is wrong."""
    found = content(PLACE / scene.verb.output)
    left = [str(path) for path in PLACE.rglob("*") if is_temporary(path)]
    if left or ended.said:
        return f"exit {ended.code}, left {left}, said {ended.said[-300:]!r}"
    if ended.code == 0 and found == scene.new:
        return "survived"
    whole = scene.verb.goes_on or found in (scene.old, scene.new)
    return "refused" if ended.code == code and whole else f"exit {ended.code} for {code}, whole: {whole}"


def stages(count: int, calls: int, rng: random.Random) -> list[int]:
    """So many calls: the first, the last, and one of each share between."""
    shares = [calls * part / (count - 1) for part in range(1, count - 1)]
    return sorted({1, calls, *(max(1, round(share - rng.random() * calls / count)) for share in shares)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", type=int, default=20, help="of each verb, for each signal")
    parser.add_argument("--verb", action="append", help="one of the verbs; repeatable; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where the counts go")
    chosen = parser.parse_args()
    target = chosen.json.resolve() if chosen.json else None
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="signals-") as folder:
        os.chdir(folder)
        torch.set_num_threads(1)  # forked processes then need no others of the kind
        make_inputs()
        for verb in VERBS:
            if chosen.verb and verb.name not in chosen.verb:
                continue
            rng = random.Random(chosen.seed)
            scene, tally = scene_of(verb, rng), Tally()
            calls = calls_of(scene)
            for name in SIGNALS:
                for stage in stages(chosen.stages if name in ENDED else 2, calls, rng):
                    once(scene, name, stage, tally)
            results[verb.name] = {"calls": calls} | asdict(tally)
            print(verb.name, json.dumps(results[verb.name], indent=1), flush=True)
            if target:
                target.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        os.chdir("/")
    sys.exit(any(entry["lost"] for entry in results.values()))


if __name__ == "__main__":
    main()
