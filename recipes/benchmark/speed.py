"""Measures speed and memory on this machine, all in one run, and writes them as JSON and Markdown.

python recipes/benchmark/speed.py -o recipes/benchmark/results [--model speech] [--wavenet voices] [--hour]

Conversions, starts and memory are those of the model; samples a second those of the WaveNet that decodes in the other.
With --before CHECKOUT conversions and whole commands of the package in another checkout stand beside them.
"""

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core, unless a row says otherwise

import numba
import numpy as np
import soundfile
import torch
from limits import best, cores, layer_costs, macs_per_sample, peaks, samplers, training

import vqaudio
from vqaudio.bitstream.header import Coder
from vqaudio.codecs.bundled import PRETRAINED
from vqaudio.codecs.speech import Codec
from vqaudio.io.resample import resample

RATE = 16000
LENGTHS_S = (1, 3, 10, 60, 300)
COMMANDS_S = (3, 60)
CONVERSIONS = "times real time, one core unless it says otherwise"
STARTS, LENGTHS, COMMANDS = "seconds of a command, start included", "by length", "whole commands"
PROCESSOR, MEMORY = "seconds of the processor", "MB"
BEFORE = "before"


def speech(seconds: float) -> np.ndarray:
    """The package's clip, over and over."""
    clip, _ = soundfile.read(PRETRAINED / "demo.flac", dtype="float32")
    return np.resize(clip, round(seconds * RATE))


def conversions(codec: Codec) -> dict[str, float]:
    """Times real time of each direction, one core unless it says otherwise."""
    wave, short, most = speech(60), speech(6), os.cpu_count() or 1
    fast = resample(wave[None], RATE, 48000)[0]
    stream, short_stream = codec.encode(wave, RATE), codec.encode(short, RATE)
    codec.decode(stream)  # compiles
    with cores(1):
        rows = {
            "encode 60 s": 60 / best(lambda: codec.encode(wave, RATE)),
            "encode 60 s at 48 kHz": 60 / best(lambda: codec.encode(fast, 48000)),
            "encode 3 s": 3 / best(lambda: codec.encode(short[: 3 * RATE], RATE)),
            "decode 6 s": 6 / best(lambda: codec.decode(short_stream)),
            "decode 60 s": 60 / best(lambda: codec.decode(stream), 3),
        }
    if most > 1:
        with cores(2):
            rows["decode 6 s, two cores"] = 6 / best(lambda: codec.decode(short_stream))
            rows["decode 60 s, two cores"] = 60 / best(lambda: codec.decode(stream))
    if codec.default_coder() is Coder.PRIOR:
        coder, codes = codec.block_coder(Coder.PRIOR), stream.tokens[0, :2048]
        payload = coder.encode(codes)
        seconds = len(codes) * codec.model.samples_per_token / RATE
        with cores(1):
            rows["tokens to bytes under the prior"] = seconds / best(lambda: coder.encode(codes), 3)
            rows["bytes to tokens under the prior"] = seconds / best(lambda: coder.decode(payload, len(codes)), 3)
            codec.sample(seconds=0.1)
            rows["drawing new tokens"] = 10 / best(lambda: codec.sample(seconds=10), 3)
            codec.sample(16, seconds=0.1)
            rows["drawing new tokens, 16 at a time"] = 160 / best(lambda: codec.sample(16, seconds=10), 3)
    return rows


class Ran(NamedTuple):
    """What a command took: seconds by the clock and of the processor, and its peak memory."""

    seconds: float
    processor_s: float
    megabytes: float


def run_program(*arguments: object) -> Ran:
    """One ``vqaudio`` command."""
    script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
    script += "of = resource.getrusage(resource.RUSAGE_CHILDREN); "
    script += "print(of.ru_utime + of.ru_stime, of.ru_maxrss / 1024)"
    # -P: not what lies in the folder that this runs in, but what this process found
    command = [sys.executable, "-c", script, sys.executable, "-P", "-m", "vqaudio", *map(str, arguments)]
    started = time.perf_counter()
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Ran(time.perf_counter() - started, *map(float, printed.split()))


def start_up(folder: Path, model: str) -> dict[str, float]:
    """Seconds of short commands, each the best of a few, after their first run."""
    soundfile.write(folder / "short.wav", speech(3), RATE)
    encode = ("encode", folder / "short.wav", "--model", model, "--force")
    decode = ("decode", folder / "short.vqa", "--model", model, "--force")
    commands = {"`vqaudio --help`": ("--help",), "`vqaudio encode` of 3 s": encode, "`vqaudio decode` of 3 s": decode}
    for command in commands.values():
        run_program(*command)
    return {name: min(run_program(*command).seconds for _ in range(3)) for name, command in commands.items()}


def of_commands(folder: Path, model: str) -> dict[str, dict[str, float]]:
    """Of whole commands: seconds of the processor, the least of a few, and peak memory."""
    rows = {}
    for seconds in COMMANDS_S:
        path = folder / f"command{seconds}.wav"
        soundfile.write(path, speech(seconds), RATE)
        for verb, source in (("encode", path), ("decode", path.with_suffix(".vqa"))):
            ran = [run_program(verb, source, "--model", model, "--force") for _ in range(3)]
            least = min(one.processor_s for one in ran)
            rows[f"`vqaudio {verb}` of {seconds} s"] = {PROCESSOR: least, MEMORY: max(one.megabytes for one in ran)}
    return rows


def by_length(folder: Path, model: str, lengths_s: tuple[int, ...]) -> dict[str, dict[str, float]]:
    """Peak memory in MB and times real time of both commands, start included, on all cores, by the sound's length."""
    rows = {}
    for seconds in lengths_s:
        path = folder / f"{seconds}.wav"
        soundfile.write(path, speech(seconds), RATE)
        row = {}
        for verb, source in (("encode", path), ("decode", path.with_suffix(".vqa"))):
            ran = run_program(verb, source, "--model", model, "--force")
            row |= {f"{verb}, MB": ran.megabytes, f"{verb}, times real time": seconds / ran.seconds}
        rows[f"{seconds} s"] = row
    return rows


def of_codec(model: str) -> dict[str, Any]:
    """What another checkout is compared by: conversions and whole commands."""
    rows: dict[str, Any] = {CONVERSIONS: conversions(vqaudio.load(model, "cpu"))}
    with tempfile.TemporaryDirectory() as folder:
        rows[COMMANDS] = of_commands(Path(folder), model)
    return rows


def of_checkout(checkout: Path, model: str) -> dict[str, Any]:
    """:func:`of_codec` of the package in another checkout, in processes of its own."""
    environment = os.environ | {"PYTHONPATH": str(checkout.resolve())}
    command = [sys.executable, __file__, "--codec-only", "--model", model]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    return {f"{BEFORE}: {title}": rows for title, rows in found.items()}


def measure(
    model: str = "speech", wavenet: str = "voices", hour: bool = False, before: Path | None = None
) -> dict[str, Any]:
    """All figures, as a document for JSON: numbers and texts in dictionaries."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    drawing = vqaudio.load(wavenet, "cpu")
    decoder = drawing.config.decoder
    earlier = of_checkout(before, model) if before else {}
    now = of_codec(model)
    with tempfile.TemporaryDirectory() as folder:
        starts = start_up(Path(folder), model)
        lengths = by_length(Path(folder), model, (*LENGTHS_S, 3600) if hour else LENGTHS_S)
    limits, speeds, macs = peaks(), samplers(drawing.model.decoder), macs_per_sample(decoder)
    larger = dataclasses.replace(decoder, dilations=tuple(2 ** (i % 10) for i in range(20)), residual=64, skip=128)
    figures = {
        "machine": f"{_processor()}, {os.cpu_count()} cores",
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}, numba {numba.__version__}",
        "model": model,
        "decoder": f"the WaveNet of {wavenet}: a sample costs {macs / 1e6:.2f} MMAC",
        "peak of one core, GMAC/s": limits,
        CONVERSIONS: now[CONVERSIONS],
        "decoder on one core": {
            name: {
                "samples a second": value,
                "times real time": value / drawing.config.sample_rate_hz,
                "GMAC/s": value * macs / 1e9,
                "of the 16-bit peak": value * macs / 1e9 / limits[_limit(name)],
                "times plain PyTorch": value / speeds["plain PyTorch, incremental"],
            }
            for name, value in speeds.items()
        },
        "microseconds of one stream's sample": layer_costs(decoder),
        "training step, samples a second": {
            f"{len(c.dilations)} layers, {c.residual} residual, {c.skip} skip channels": {
                "one core": training(c, 1),
                "all cores": training(c, os.cpu_count() or 1),
            }
            for c in (decoder, larger)
        },
        STARTS: starts,
        LENGTHS: lengths,
        COMMANDS: now[COMMANDS],
        **earlier,
    }
    torch.set_num_threads(threads)
    return figures


def _limit(sampler: str) -> str:
    return "matrix product, 16 bits" if "side by side" in sampler else "matrix-vector product, 16 bits"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def as_markdown(figures: dict[str, Any]) -> str:
    """The figures as tables."""
    lines = ["# Speed and memory", ""]
    for title, rows in figures.items():
        if isinstance(rows, str):
            lines += [f"- {title}: {rows}"]
            continue
        first = next(iter(rows.values()))
        columns = list(first) if isinstance(first, dict) else [""]
        lines += ["", f"| {title} | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
        for name, row in rows.items():
            cells = [_number(value) for value in (row.values() if isinstance(row, dict) else [row])]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, help="a folder, for speed.json and speed.md")
    parser.add_argument("--model", default="speech")
    parser.add_argument("--wavenet", default="voices", help="a model whose decoder is a WaveNet")
    parser.add_argument("--hour", action="store_true", help="also a file of an hour, for the memory's sake")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="another checkout of this package, to compare")
    parser.add_argument("--codec-only", action="store_true", help="only what --before compares, as JSON")
    arguments = parser.parse_args()
    if arguments.codec_only:
        torch.set_num_threads(1)
        print(json.dumps(of_codec(arguments.model)))
        return
    if arguments.output is None:
        parser.error("-o is missing: give a folder")
    figures = measure(arguments.model, arguments.wavenet, arguments.hour, arguments.before)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "speed.json").write_text(json.dumps(figures, indent=1) + "\n")
    (arguments.output / "speed.md").write_text(as_markdown(figures))
    print(as_markdown(figures))


if __name__ == "__main__":
    main()
