"""How many talkers at once `vqaudio serve` holds: serve_load.json and serve_load.md.

python recipes/live/serve_load.py CORPUS -o FOLDER [--model speech] [--hops 2 4 8] [--cores 1 2] [--seconds 12]

A server on the loopback, held to so many cores, and clients that send blocks of 20 ms while they happen. A number of
clients holds if 95 of 100 blocks of decoded sound come within a quarter of a second of the delay that is promised. On
a machine that others use that tells of them, too: so the processor time that a client's sound takes from its beginning
to its end is measured as well, and what the others took meanwhile.
"""

import argparse
import asyncio
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from results import originals, parser_of, write
from websockets.asyncio.client import ClientConnection, connect

import vqaudio
from vqaudio.io.live_sound import to_pcm

BLOCK_S = 0.02
LATE_S = 0.25  # more than is promised
REST_S = 1.0  # after a talk, in which the last of it may come
SETTLED = 1 / 3  # of a run, after which delays count
SHARE = 95  # of 100 blocks that come in time
MOST = 64  # clients
_TICKS = os.sysconf("SC_CLK_TCK")
_SOUND = b"\x02"


@dataclass(frozen=True)
class Server:
    """A server that runs: where, and its process."""

    address: str
    process: int


@contextmanager
def server(model: str, hop: int, cores: int) -> Iterator[Server]:
    """`vqaudio serve` on so many of the machine's first cores."""
    command = [
        sys.executable,
        "-m",
        "vqaudio",
        "serve",
        model,
        "--port",
        "0",
        "--hop",
        str(hop),
        "--clients",
        str(MOST),
    ]
    first = set(sorted(os.sched_getaffinity(0))[:cores])
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, preexec_fn=lambda: os.sched_setaffinity(0, first), **pipes) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            yield Server(line.split()[2].rstrip(";").replace("http", "ws") + "live", process.pid)
        finally:
            process.terminate()


# ------------------------------------------------------------------------------------------------------------ clients


@dataclass
class Heard:
    """What a client was given: the delay promised, and of each block of decoded sound when it came, how late its first
    sample was, and how long it is, all in seconds."""

    promised_s: float
    blocks: list[tuple[float, float, float]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Of decoded sound."""
        return sum(length for _, _, length in self.blocks)


async def talk(address: str, wave: np.ndarray, rate_hz: int, seconds: float, wait_s: float, rest_s: float) -> Heard:
    """A client that talks for so long, after a while, and hangs up ``rest_s`` later, if not all has come before."""
    async with connect(address, compression=None, ping_interval=None) as client:
        await client.send(json.dumps({"sample_rate_hz": rate_hz}))
        heard = Heard(json.loads(await client.recv())["delay_s"])
        await asyncio.sleep(wait_s)
        begun_s, decoded_s = time.monotonic(), 0.0
        sending = asyncio.create_task(send(client, wave, rate_hz, seconds, begun_s))
        async for message in client:
            now_s = time.monotonic() - begun_s
            if isinstance(message, bytes) and message[:1] == _SOUND:
                length_s = (len(message) - 1) / 2 / rate_hz
                heard.blocks.append((now_s, now_s - decoded_s, length_s))
                decoded_s += length_s
            if now_s > seconds + rest_s:
                break
        sending.cancel()
    return heard


async def send(client: ClientConnection, wave: np.ndarray, rate_hz: int, seconds: float, begun_s: float) -> None:
    """The sound, over and over, each block when its last sample has been spoken; then the end."""
    size = round(BLOCK_S * rate_hz)
    for number in range(round(seconds / BLOCK_S)):
        await asyncio.sleep(begun_s + (number + 1) * BLOCK_S - time.monotonic())
        await client.send(to_pcm(np.take(wave, range(number * size, (number + 1) * size), mode="wrap")))
    await client.send('{"end": true}')


async def talks(
    address: str, waves: list[np.ndarray], rate_hz: int, count: int, seconds: float, rest_s: float = REST_S
) -> list[Heard]:
    """``count`` clients at once, each beginning at another moment."""
    starts = np.linspace(0, 0.5, count, endpoint=False)
    own = (talk(address, waves[i % len(waves)], rate_hz, seconds, starts[i], rest_s) for i in range(count))
    return await asyncio.gather(*own)


# ----------------------------------------------------------------------------------------------------------- measures


def processor_s(process: int) -> float:
    """Seconds of a processor that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def busy_s() -> float:
    """Seconds that all processors have worked, for anyone."""
    fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / _TICKS  # idle, waiting for a disk


def cost(own: Server, wave: np.ndarray, rate_hz: int, seconds: float) -> float:
    """Cores that a client takes whose sound is worked on to its end, however long that takes."""
    before = processor_s(own.process)
    heard = asyncio.run(talk(own.address, wave, rate_hz, seconds, 0.0, rest_s=math.inf))
    return (processor_s(own.process) - before) / heard.seconds


def one_run(own: Server, waves: list[np.ndarray], rate_hz: int, count: int, seconds: float) -> dict[str, Any]:
    """The figures of ``count`` clients."""
    before = time.monotonic(), busy_s(), processor_s(own.process), time.process_time()
    found = asyncio.run(talks(own.address, waves, rate_hz, count, seconds))
    after = time.monotonic(), busy_s(), processor_s(own.process), time.process_time()
    wall_s, busy, server_s, clients_s = (b - a for a, b in zip(before, after, strict=True))
    others = max(0.0, busy - server_s - clients_s) / wall_s
    return {"clients": count, **figures(found, seconds), "cores_of_others": others}


def figures(found: list[Heard], seconds: float) -> dict[str, Any]:
    """What came of talks of so long; sound that did not come counts as late as it would be at best."""
    promised_s, late = max(one.promised_s for one in found), list[float]()
    for one in found:
        late += [delay_s for when_s, delay_s, _ in one.blocks if when_s >= SETTLED * seconds]
        missing_s = seconds - one.seconds
        late += [missing_s + REST_S] * round(missing_s / BLOCK_S)
    quantiles = {f"delay_{share}_s": float(np.percentile(late, share)) for share in (50, SHARE)}
    holds = quantiles[f"delay_{SHARE}_s"] <= promised_s + BLOCK_S + LATE_S
    return {"promised_s": promised_s, **quantiles, "longest_s": max(late), "holds": holds}


def most_that_hold(run: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    """Runs with ever more clients, then between the most that held and the fewest that did not."""
    runs, held, failed = list[dict[str, Any]](), 0, MOST + 1
    while failed - held > 1:
        count = min(2 * held or 1, MOST) if failed > MOST else (held + failed) // 2
        runs.append(run(count))
        held, failed = (count, failed) if runs[-1]["holds"] else (held, count)
    return sorted(runs, key=lambda one: one["clients"])


# --------------------------------------------------------------------------------------------------------------- page


HEAD = (
    "cores",
    "hop, vectors",
    "clients that hold",
    "delay promised, ms",
    "median",
    f"{SHARE} %",
    "cores that a client takes",
    "clients by processor time alone",
    "cores that others took",
)


def row(case: dict[str, Any]) -> str:
    """The run of the most clients that held, or the first where none did."""
    held = [one for one in case["runs"] if one["holds"]]
    best = held[-1] if held else case["runs"][0]
    others = [one["cores_of_others"] for one in case["runs"]]
    cells = (
        case["cores"],
        case["hop"],
        best["clients"] if held else 0,
        *(round(1000 * best[name]) for name in ("promised_s", "delay_50_s", f"delay_{SHARE}_s")),
        f"{case['cores_a_client']:.2f}",
        int(case["cores"] / case["cores_a_client"]),
        f"{min(others):.1f} to {max(others):.1f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def page(document: dict[str, Any]) -> str:
    """The document as Markdown."""
    lines = [
        "# Talkers that a server holds",
        "",
        f"Model {document['model']}, runs of {document['seconds']:.0f} s on the loopback of a machine of "
        f"{document['machine_cores']} cores; the last column is what others took of them.",
        "",
        f"| {' | '.join(HEAD)} |",
        f"|{' --- |' * len(HEAD)}",
        *map(row, document["cases"]),
    ]
    return "\n".join(lines) + "\n"


def arguments() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--hops", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=12.0, help="of each run")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    rate_hz = vqaudio.load(given.model, "cpu").sample_rate
    waves = [one.wave for one in originals(given.corpus, given.count, rate_hz)]
    cases = []
    for cores in given.cores:
        for hop in given.hops:
            with server(given.model, hop, cores) as own:
                cost(own, waves[0], rate_hz, 2.0)  # whatever has to be made ready
                taken = cost(own, waves[0], rate_hz, given.seconds)
                runs = most_that_hold(lambda count: one_run(own, waves, rate_hz, count, given.seconds))
            cases.append({"cores": cores, "hop": hop, "cores_a_client": taken, "runs": runs})
            facts = {"model": given.model, "seconds": given.seconds, "machine_cores": os.cpu_count()}
            document = facts | {"cases": cases}
            write(given.output, "serve_load", document, page(document))  # what is done is kept, whatever comes
            print(row(cases[-1]), flush=True)


if __name__ == "__main__":
    main()
