"""Measures speed and memory on this machine, all in one run, and writes them as JSON and Markdown.

python recipes/benchmark/speed.py -o recipes/benchmark/results [--model speech] [--hour]
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core, unless a row says otherwise

import numba
import numpy as np
import soundfile
import torch
from naive import IncrementalSampler

import vqaudio
from vqaudio.audio import SILENCE_LEVEL
from vqaudio.codec import PRETRAINED, Codec
from vqaudio.container import Coder
from vqaudio.generate import generate
from vqaudio.sample import Sampler

RATE = 16000


def best(work: Callable[[], Any], repeats: int = 3) -> float:
    """Seconds of the fastest of a few runs."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def speech(seconds: float) -> np.ndarray:
    """The package's clip, over and over."""
    clip, _ = soundfile.read(PRETRAINED / "demo.flac", dtype="float32")
    return np.resize(clip, round(seconds * RATE))


def macs_per_sample(codec: Codec) -> int:
    """Multiply-accumulates of one sample through the decoder, conditioning left out."""
    c = codec.config.decoder
    layer = 4 * c.residual**2 + c.residual * (c.residual + c.skip)
    return len(c.dilations) * layer + c.skip * c.hidden + c.hidden * c.levels


def matrix_peak() -> float:
    """GMAC/s of a large float32 product on one core."""
    a = torch.randn(1024, 1024)
    return 1024**3 / best(lambda: a @ a, 5) / 1e9


def conversions(codec: Codec) -> dict[str, float]:
    """Times real time of each direction, one core unless it says otherwise."""
    wave = speech(60)
    stream = codec.encode(wave, RATE)
    rows = {"encode, one core": 60 / best(lambda: codec.encode(wave, RATE))}
    short = codec.encode(wave[: 6 * RATE], RATE)
    codec.decode(short)  # compiles
    rows["decode, one stream (--exact), one core"] = 6 / best(lambda: codec.decode(short, exact=True))
    cores = os.cpu_count() or 1
    for count in dict.fromkeys((1, cores)):
        os.sched_setaffinity(0, range(count))
        rows[f"decode, 60 s file, {count} core{'s' * (count > 1)}"] = 60 / best(lambda: codec.decode(stream), 2)
    os.sched_setaffinity(0, range(cores))
    if codec.model.prior is not None:
        coder, codes = codec.block_coder(Coder.PRIOR), stream.codes[0, :2048]
        payload = coder.encode(codes)
        seconds = len(codes) * codec.model.hop_length / RATE
        rows["tokens to bytes under the prior, one core"] = seconds / best(lambda: coder.encode(codes))
        rows["bytes to tokens under the prior, one core"] = seconds / best(lambda: coder.decode(payload, len(codes)))
        generate(codec, 0.1)
        rows["drawing new tokens, one core"] = 10 / best(lambda: generate(codec, 10))
    return rows


def samplers(codec: Codec) -> dict[str, float]:
    """Samples a second of the kernels and of plain PyTorch, same network, same features, one core."""
    features = torch.randn(40, codec.config.decoder.features)
    samples = len(features) * codec.model.hop_length
    naive = IncrementalSampler(codec.model.decoder, SILENCE_LEVEL)
    rows = {
        "plain PyTorch, incremental": 10 * codec.model.hop_length / best(lambda: naive.generate(features[:10], 1.0), 2)
    }
    sampler, own = Sampler(codec.model.decoder, SILENCE_LEVEL), features.numpy()
    one, uniforms = sampler.stream(), np.random.default_rng(0).random((16, samples))
    one.push(own[:1], uniforms[0, : codec.model.hop_length])
    rows["one stream"] = samples / best(lambda: one.push(own, uniforms[0]))
    os.sched_setaffinity(0, [0])
    for count in (8, 16):
        many, held = sampler.streams(count), np.stack([own] * count)
        many.push(held[:, :1], uniforms[:count, : codec.model.hop_length])
        rows[f"{count} streams side by side"] = count * samples / best(partial(many.push, held, uniforms[:count]))
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    return rows


def run_program(*arguments: object) -> tuple[float, float]:
    """Seconds and peak memory in MB of one ``vqaudio`` command."""
    script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
    script += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    command = [sys.executable, "-c", script, sys.executable, "-m", "vqaudio", *map(str, arguments)]
    started = time.perf_counter()
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return time.perf_counter() - started, float(printed)


def program(folder: Path, model: str, hour: bool) -> dict[str, str]:
    """Start-up times, and memory against length."""
    rows = {"`vqaudio --help`": f"{min(run_program('--help')[0] for _ in range(5)):.2f} s"}
    soundfile.write(folder / "short.wav", speech(3), RATE)
    run_program("encode", folder / "short.wav", "--model", model)
    decode = ("decode", folder / "short.vqa", "--model", model, "--force")
    run_program(*decode)
    rows["`vqaudio decode` of 3 s, from the second on"] = f"{run_program(*decode)[0]:.1f} s"
    for minutes in (1, 60) if hour else (1, 5):
        path = folder / f"{minutes}.wav"
        soundfile.write(path, speech(60 * minutes), RATE)
        for verb, source in (("encode", path), ("decode", path.with_suffix(".vqa"))):
            seconds, peak = run_program(verb, source, "--model", model, "--force")
            rows[f"`vqaudio {verb}` of {minutes} min"] = (
                f"{peak:.0f} MB peak, {60 * minutes / seconds:.1f} times real time"
            )
    return rows


def measure(model: str, hour: bool) -> dict[str, Any]:
    """All figures."""
    torch.set_num_threads(1)
    codec = vqaudio.load(model, "cpu")
    speeds, macs = samplers(codec), macs_per_sample(codec)
    naive = speeds["plain PyTorch, incremental"]
    with tempfile.TemporaryDirectory() as folder:
        return {
            "machine": f"{_processor()}, {os.cpu_count()} cores",
            "versions": f"Python {platform.python_version()}, torch {torch.__version__}, numba {numba.__version__}",
            "matrix product on one core": f"{matrix_peak():.0f} GMAC/s; a sample costs {macs / 1e6:.2f} MMAC",
            "times real time": {name: f"{value:.1f}" for name, value in conversions(codec).items()},
            "decoder, samples a second on one core": {
                name: f"{value:,.0f}: {value / RATE:.2f} times real time, {value * macs / 1e9:.1f} GMAC/s, "
                f"{value / naive:.0f} times plain PyTorch"
                for name, value in speeds.items()
            },
            "program": program(Path(folder), model, hour),
        }


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
        lines += ["", f"| {title} | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, help="a folder, for speed.json and speed.md")
    parser.add_argument("--model", default="speech")
    parser.add_argument("--hour", action="store_true", help="take an hour, not 5 minutes, for the memory's sake")
    arguments = parser.parse_args()
    figures = measure(arguments.model, arguments.hour)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "speed.json").write_text(json.dumps(figures, indent=1) + "\n")
    (arguments.output / "speed.md").write_text(as_markdown(figures))
    print(as_markdown(figures))


if __name__ == "__main__":
    main()
