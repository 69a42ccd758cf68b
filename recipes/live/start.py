"""What the command line takes to start: adds a row to start.json and writes start.md.

python recipes/live/start.py -o FOLDER [--name NAME]

Seconds of a clock, each the least of several, so that nothing else should run meanwhile. The package measured is the
one that this Python finds; rows of other names stay, for packages of before.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from vqaudio.codecs.bundled import PRETRAINED

RATE_HZ, SECONDS = 16000, 3
REPEATS = 6  # of which the quickest counts
LIBRARIES = ("numpy", "numba", "llvmlite", "typer")
COLUMNS = {
    "help_s": "`vqaudio --help`, s",
    "encode_s": "`encode` of 3 s, s",
    "decode_s": "`decode` of 3 s, s",
    "decode_mb": "its peak memory, MB",
    "first_decode_s": "the very first `decode`, s",
}


def run(folder: Path, *words: str, **settings: str) -> tuple[float, float]:
    """Seconds and peak megabytes of one command."""
    command = [sys.executable, "-m", "vqaudio", *words]
    begun = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"vqaudio {' '.join(words)} ended with {process.returncode}")
    return seconds, usage.ru_maxrss / 1000


def measured(folder: Path) -> dict[str, float]:
    """A row."""
    clip, _ = soundfile.read(PRETRAINED / "demo.flac", dtype="float32")
    soundfile.write(folder / "short.wav", np.resize(clip, SECONDS * RATE_HZ), RATE_HZ)
    commands = {
        "help": ("--help",),
        "encode": ("encode", "short.wav", "--force"),
        "decode": ("decode", "short.vqa", "-o", "again.wav", "--force"),
    }
    found: dict[str, float] = {}
    for name, words in commands.items():
        run(folder, *words)  # compiles, and writes what later starts find
        runs = [run(folder, *words) for _ in range(REPEATS)]
        found[f"{name}_s"] = min(seconds for seconds, _ in runs)
        found[f"{name}_mb"] = max(megabytes for _, megabytes in runs)
    found["first_decode_s"], _ = run(folder, *commands["decode"], NUMBA_CACHE_DIR=str(folder / "empty"))
    return found


def page(document: dict[str, Any]) -> str:
    """The document as Markdown."""
    lines = [
        "# The start of the command line",
        "",
        f"{document['machine']}. Files of 3 s; seconds of a clock, start and end of the program included; the very "
        "first decode compiles.",
        "",
        f"| | {' | '.join(COLUMNS.values())} | with |",
        f"| --- |{' --- |' * (len(COLUMNS) + 1)}",
    ]
    for name, row in document["rows"].items():
        figures = [f"{row[key]:.0f}" if key.endswith("_mb") else f"{row[key]:.2f}" for key in COLUMNS]
        lines.append(f"| {name} | {' | '.join(figures)} | {row['with']} |")
    return "\n".join(lines) + "\n"


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--name", default="now", help="of the row")
    arguments = parser.parse_args()
    path = arguments.output / "start.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else {}
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    with tempfile.TemporaryDirectory() as folder:
        row = measured(Path(folder))
    rows[arguments.name] = row | {"with": f"Python {platform.python_version()}, {libraries}"}
    document = {"machine": f"{processor()}, {os.cpu_count()} cores", "rows": rows}
    arguments.output.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (arguments.output / "start.md").write_text(page(document), encoding="utf-8")


if __name__ == "__main__":
    main()
