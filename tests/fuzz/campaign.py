"""Hostile bytes for every door of the package, in processes of bounded memory; counts what came of them.

python tests/fuzz/campaign.py --seconds 60                      # each target for a minute
python tests/fuzz/campaign.py --target stream --inputs 1000000  # or so many inputs
python tests/fuzz/campaign.py --target stream --seconds 600 --atheris   # guided by coverage, where atheris is installed

An input is lost that ends in anything but a result that holds or an error of the package's own: another exception, the
end of the process, too much memory, no end. Lost inputs are kept in build/fuzz and named in the JSON.
"""

import argparse
import json
import mmap
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

MEMORY = 1 << 30  # bytes beyond those of the program with all its modules
ENDLESS_S = 60  # of one input; the slowest honest one takes less than one
MOST_LOST = 25  # kept; a campaign that loses more has told enough
_PIECE = 64  # inputs between two looks at the clock


@dataclass
class Tally:
    """What came of a target's inputs. ``lost`` names each lost one and why; ``memory_mb`` is what they all took."""

    tried: int = 0
    refused: int = 0
    accepted: int = 0
    lost: list[str] = field(default_factory=list)
    seconds: float = 0.0
    memory_mb: float = 0.0


def _resident_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_inputs(name: str, seed: int, first: int, stop: int, seconds: float, told: Any = None) -> Tally:
    """Gives inputs ``first`` to ``stop`` to a target, in this process, until ``seconds`` are over."""
    from fuzz.targets import TARGETS

    from vqaudio.errors import VqaudioError

    target, tally, started = TARGETS[name], Tally(), time.monotonic()
    for number in range(first, stop):
        if number % _PIECE == 0 and time.monotonic() - started > seconds:
            break
        if told is not None:
            told[:8] = number.to_bytes(8, "little")
            signal.alarm(ENDLESS_S)  # which ends the process
        tally.tried += 1
        data = target.input(seed, number)
        try:
            target.run(data)
            tally.accepted += 1
        except VqaudioError as error:
            tally.refused += 1
            if "\n" in str(error) or not str(error):
                tally.lost.append(f"{number}: its error is not one line: {error!s:.80}")
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = " ".join(str(error).split())[:120]
            tally.lost.append(f"{number}: {type(error).__name__}: {text} ({Path(where.filename).name}:{where.lineno})")
            keep(name, seed, number, data)
            if len(tally.lost) >= MOST_LOST:
                break
    if told is not None:
        signal.alarm(0)
    tally.seconds = time.monotonic() - started
    return tally


def keep(name: str, seed: int, number: int, data: bytes) -> None:
    """A lost input as a file, to look at and to make a test of."""
    folder = ROOT / "build" / "fuzz"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}-{seed}-{number}").write_bytes(data)


def bound_memory(extra: int = MEMORY) -> None:
    """Lets this process take ``extra`` bytes more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + extra,) * 2)


def _child(name: str, seed: int, first: int, stop: int, seconds: float, told: Any, results: Any) -> None:
    run_inputs(name, seed, 0, 1, seconds)  # loads all modules
    bound_memory()
    before = _resident_mb()
    tally = run_inputs(name, seed, first, stop, seconds, told)
    tally.memory_mb = round(_resident_mb() - before, 1)
    results.send(tally)


def campaign(name: str, seed: int, inputs: int, seconds: float) -> Tally:
    """All inputs of a target; where one ends the process, another process goes on behind it."""
    whole, first, ends = Tally(), 0, time.monotonic() + seconds
    while first < inputs and time.monotonic() < ends and len(whole.lost) < MOST_LOST:
        told = mmap.mmap(-1, 8)
        receiver, sender = multiprocessing.Pipe(duplex=False)
        left = ends - time.monotonic()
        child = multiprocessing.get_context("fork").Process(
            target=_child, args=(name, seed, first, inputs, left, told, sender)
        )
        child.start()
        sender.close()
        try:
            tally = receiver.recv()
        except EOFError:
            tally = _ended(name, seed, first, int.from_bytes(told[:8], "little"), child)
        child.join()
        for key in ("tried", "refused", "accepted", "seconds"):
            setattr(whole, key, getattr(whole, key) + getattr(tally, key))
        whole.lost += tally.lost
        whole.memory_mb = max(whole.memory_mb, tally.memory_mb)
        first += tally.tried
        if tally.tried == 0:
            break
    return whole


def _ended(name: str, seed: int, first: int, number: int, child: multiprocessing.Process) -> Tally:
    """The tally of a process that came to its end with input ``number``; what came before it is counted as refused."""
    from fuzz.targets import TARGETS

    child.join()
    keep(name, seed, number, TARGETS[name].input(seed, number))
    why = f"{number}: ended the process ({child.exitcode})"
    return Tally(tried=number - first + 1, refused=number - first, lost=[why])


def guided(name: str, seconds: float) -> None:
    """Atheris: inputs that reach new code are kept and mutated further. Ends the process."""
    import random

    import atheris

    with atheris.instrument_imports(include=["vqaudio"]):
        from fuzz.targets import TARGETS
    from fuzz import mutation

    from vqaudio.errors import VqaudioError

    target = TARGETS[name]
    corpus = ROOT / "build" / "fuzz" / f"{name}-corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(data)

    def one(data: bytes) -> None:
        try:
            target.run(data)
        except VqaudioError:
            return

    def change(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        found = bytearray(atheris.Mutate(data, most)) if rng.random() < 0.4 else None
        if found is None:
            found = mutation.mutated(data, target.seeds(), rng)
        if rng.random() < 0.8:
            target.seal(found)
        return bytes(found[:most])

    limits = [f"-max_total_time={int(seconds)}", "-max_len=65536", "-rss_limit_mb=3000", f"-timeout={ENDLESS_S}"]
    kept = f"-artifact_prefix={ROOT / 'build' / 'fuzz'}/{name}-"
    atheris.Setup([sys.argv[0], *limits, kept, str(corpus)], one, custom_mutator=change)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", action="append", help="one of the targets; repeatable; all by default")
    parser.add_argument("--seconds", type=float, default=60, help="of each target")
    parser.add_argument("--inputs", type=int, default=2**40, help="of each target, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", action="store_true", help="guided by coverage; takes one target")
    parser.add_argument("--json", type=Path, help="where the counts go, added to those of other targets there")
    chosen = parser.parse_args()
    if chosen.atheris:
        guided(chosen.target[0], chosen.seconds)
    from fuzz.targets import TARGETS

    found = json.loads(chosen.json.read_text()) if chosen.json and chosen.json.exists() else {}
    for name in chosen.target or TARGETS:
        tally = campaign(name, chosen.seed, chosen.inputs, chosen.seconds)
        found[name] = asdict(tally) | {"seed": chosen.seed, "seconds": round(tally.seconds, 1)}
        line = (
            f"{name}: {tally.tried} tried, {tally.refused} refused, {tally.accepted} accepted, {len(tally.lost)} lost"
        )
        print(f"{line}; {tally.seconds:.0f} s, {tally.memory_mb:.0f} MB")
        for lost in tally.lost:
            print(f"  {lost}")
        if chosen.json:
            chosen.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    os._exit(bool(any(entry["lost"] for entry in found.values())))


if __name__ == "__main__":
    main()
