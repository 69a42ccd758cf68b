"""How an attack is run: in a process of its own that may take so much memory and so many seconds of a processor."""

import multiprocessing
import resource
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROCESSOR_S = 120  # some ten times what the slowest refusal takes; a hang takes all of it
WAITING_S = 1800  # for a machine that does other things
MIB = 1 << 20


def said_by(attack: Callable[[], Any], memory: int = 128 * MIB) -> str:
    """What the package's error says that ``attack`` ends in, or "" where it ends well.

    Fails where the attack ends in anything else, takes more than ``memory`` bytes beyond what this process has, or more
    than :data:`PROCESSOR_S` of a processor.
    """
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_limited, args=(attack, memory, sender))
    process.start()
    sender.close()
    try:
        assert receiver.poll(WAITING_S)
        kind, said = receiver.recv()
    except EOFError:
        kind, said = "ended", ""
    process.join()
    assert kind in ("refused", "done"), f"{kind} ({process.exitcode}): {said}"
    assert "\n" not in said
    return str(said)


def _limited(attack: Callable[[], Any], memory: int, results: Any) -> None:
    from vqaudio.errors import VqaudioError

    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + memory,) * 2)
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + PROCESSOR_S
    resource.setrlimit(resource.RLIMIT_CPU, (seconds,) * 2)
    try:
        attack()
        results.send(("done", ""))
    except VqaudioError as error:
        results.send(("refused", str(error)))
    except BaseException:
        results.send(("raised", traceback.format_exc()))
