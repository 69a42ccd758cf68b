"""The C decoder beside Python and Numba, in one run: results/speed.json and speed.md.

python recipes/c-decoder/speed.py -o recipes/c-decoder/results [--seconds 60]

Counts seconds of the processor, not of a clock, one core each, so that what else runs on the machine hardly shows. The
sound is the package's own clip, over and over. WebAssembly is measured where page/build.sh and node can run.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import vqaudio
from vqaudio.codecs.speech import Codec

HERE = Path(__file__).resolve().parent
PRETRAINED = Path(vqaudio.__file__).parent / "pretrained"
BUILDS = {"C, cc -O2": ("-O2",), "C, cc -O3 -march=native": ("-O3", "-march=native")}
REPEATS = 3  # of which the quickest counts, of commands and of calls
STREAMS = {"codes": "prior", "sound": "packed"}  # what is asked for, and of which coder's stream


def used(*words: object) -> float:
    """Seconds of the processor that a command takes, by the quickest of several runs."""
    runs = []
    for _ in range(REPEATS):
        process = subprocess.Popen(list(map(str, words)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(map(str, words))} ended with {process.returncode}")
        runs.append(usage.ru_utime + usage.ru_stime)
    return min(runs)


def make_streams(codec: Codec, seconds: float, folder: Path) -> None:
    """folder/prior.vqa and packed.vqa, and empty.vqa, by which the time to start is known."""
    clip, rate_hz = soundfile.read(PRETRAINED / "demo.flac", dtype="float32")
    wave = np.resize(clip, round(seconds * rate_hz))
    for coder in ("prior", "packed"):
        codec.encode(wave, rate_hz, coder=coder).save(folder / f"{coder}.vqa")
    codec.encode(wave[:0], rate_hz).save(folder / "empty.vqa")


def by_program(program: dict[str, list[object]], seconds: float, folder: Path) -> dict[str, float]:
    """Of a program that is called, for codes and for sound, with a stream and an output."""
    output = folder / "output"
    start = {what: used(*words, folder / "empty.vqa", output) for what, words in program.items()}
    found = {"start_s": start["sound"]}
    for what, words in program.items():
        whole = used(*words, folder / f"{STREAMS[what]}.vqa", output)
        found[what] = seconds / (whole - start[what])
    return found


def in_node(seconds: float, folder: Path) -> dict[str, float] | None:
    """WebAssembly; None where it cannot be built or run."""
    page = folder / "page"
    try:
        subprocess.run([HERE / "page" / "build.sh", page], check=True, capture_output=True)
        node = ["node", HERE / "page" / "decode.mjs", page]
        return by_program({"codes": [*node, "--codes"], "sound": node}, seconds, folder)
    except (OSError, subprocess.CalledProcessError):
        return None


def in_python(codec: Codec, seconds: float, folder: Path) -> dict[str, float]:
    """The package, its kernels compiled and in memory; the start is that of the command."""
    found = {}
    for what, coder in STREAMS.items():
        runs = []
        for _ in range(REPEATS):
            begun = time.process_time()
            with (folder / f"{coder}.vqa").open("rb") as file:
                stream = codec.read(file)
            if what == "sound":
                codec.decode(stream)
            runs.append(time.process_time() - begun)
        found[what] = seconds / min(runs)
    command = (sys.executable, "-m", "vqaudio", "decode", "--force", "-o", folder / "output.wav")
    found["start_s"] = used(*command, folder / "empty.vqa")
    return found


def measure(seconds: float, folder: Path) -> Iterator[dict[str, Any]]:
    """The document, after each row that is added to it."""
    codec = vqaudio.load("speech", "cpu")
    codec.warm_up()
    make_streams(codec, seconds, folder)
    rows: dict[str, dict[str, float]] = {}
    document = {"seconds": seconds, "machine": platform.machine(), "rows": rows}
    for name, flags in BUILDS.items():
        program = folder / "decode"
        sources = (HERE / "vqaudio.c", HERE / "main.c")
        subprocess.run(["cc", "-std=c99", *flags, *sources, "-o", program, "-lm"], check=True)
        model = PRETRAINED / "speech"
        rows[name] = by_program({"codes": [program, "--codes", model], "sound": [program, model]}, seconds, folder)
        yield document
    if (found := in_node(seconds, folder)) is not None:
        rows["C, WebAssembly in node"] = found
        yield document
    rows["Python and Numba"] = in_python(codec, seconds, folder)
    yield document


def page(document: dict[str, Any]) -> str:
    """The document as Markdown."""
    lines = [
        "# The C decoder beside Python and Numba",
        "",
        f"{document['seconds']:.0f} s of speech, {document['machine']}, one core, by the processor's time.",
        "",
        "| times real time | bytes to codes under the prior | packed bytes to sound | start, s |",
        "| --- | --- | --- | --- |",
    ]
    for name, row in document["rows"].items():
        speeds = " | ".join(f"{row[what]:.1f}" for what in STREAMS)
        lines.append(f"| {name} | {speeds} | {row['start_s']:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for document in measure(arguments.seconds, Path(folder)):
            (arguments.output / "speed.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
            (arguments.output / "speed.md").write_text(page(document), encoding="utf-8")


if __name__ == "__main__":
    main()
