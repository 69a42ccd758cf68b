"""What this machine's arithmetic allows, and what a sample costs: the peaks, the kernels, each layer."""

import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from naive import IncrementalSampler
from numba import njit

from vqaudio.codecs.sampler import Sampler
from vqaudio.dsp.mulaw import SILENCE_LEVEL
from vqaudio.kernels.simd import COLUMNS, LANES, ROWS, add_columns, add_rows
from vqaudio.models.config import WaveNetConfig
from vqaudio.models.wavenet import WaveNet

STREAMS = 16
MOST_LAYERS = 16  # of the networks whose difference is the cost of a layer


def best(work: Callable[[], Any], repeats: int = 5) -> float:
    """Seconds of the fastest of a few runs."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


@contextmanager
def cores(count: int) -> Iterator[None]:
    """Keeps the process on ``count`` cores, as far as the system has a say in it."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def macs_per_sample(c: WaveNetConfig) -> int:
    """Multiply-accumulates of one sample through a WaveNet, conditioning left out."""
    layer = 4 * c.residual**2 + c.residual * (c.residual + c.skip)
    return len(c.dilations) * layer + c.skip * c.hidden + c.hidden * c.levels


@njit
def _rows(y, w, x, scales, steps, repeats):  # type: ignore[no-untyped-def]
    for _ in range(repeats):
        for row in range(0, y.shape[0], ROWS):
            add_rows(y, y, w, x, scales, scales, steps, row, x.shape[0])


@njit
def _columns(y, w, x, scales, repeats):  # type: ignore[no-untyped-def]
    for _ in range(repeats):
        for column in range(0, y.shape[0], COLUMNS):
            add_columns(y, y, w, x, scales, scales, np.float32(1), column, x.shape[0])


def peaks() -> dict[str, float]:
    """GMAC/s of one core: float32 by torch, 16 bits by the kernels' own loops, all in the first caches."""
    outputs, inputs, repeats = 256, 256, 200
    square, matrix, vector = torch.randn(1024, 1024), torch.randn(outputs, inputs), torch.randn(inputs)
    w = np.ones(outputs * inputs // 2, np.int32)
    many = (np.zeros((outputs, LANES), np.float32), w, np.ones((inputs // 2, LANES), np.int32))
    one = (np.zeros(outputs, np.float32), w, np.ones(inputs // 2, np.int32))
    scales, steps = np.zeros(outputs, np.float32), np.ones(LANES, np.float32)
    _rows(*many, scales, steps, 1)
    _columns(*one, scales, 1)
    macs = outputs * inputs * repeats / 1e9
    return {
        "matrix product, float32": 1024**3 / 1e9 / best(lambda: square @ square),
        "matrix-vector product, float32": macs / best(lambda: [torch.mv(matrix, vector) for _ in range(repeats)]),
        "matrix product, 16 bits": macs * LANES / best(lambda: _rows(*many, scales, steps, repeats)),
        "matrix-vector product, 16 bits": macs / best(lambda: _columns(*one, scales, repeats)),
    }


def samplers(network: WaveNet, naive: bool = True, frames: int = 24) -> dict[str, float]:
    """Samples a second of the kernels and of plain PyTorch, same network, same features, one core."""
    features = torch.randn(frames, network.config.features)
    samples = frames * network.config.hop_length
    rows = {}
    if naive:
        plain = IncrementalSampler(network, SILENCE_LEVEL)
        rows["plain PyTorch, incremental"] = samples / 4 / best(lambda: plain.generate(features[: frames // 4], 1.0), 2)
    sampler, own = Sampler(network, SILENCE_LEVEL), features.numpy()
    uniforms = np.random.default_rng(0).random((2 * STREAMS, samples))
    with cores(1):
        one = sampler.stream()
        one.push(own[:1], uniforms[0, : network.config.hop_length])
        rows["one stream"] = samples / best(lambda: one.push(own, uniforms[0]))
        for count in (STREAMS, 2 * STREAMS):
            many, held = sampler.streams(count), np.stack([own] * count)
            many.push(held[:, :1], uniforms[:count, : network.config.hop_length])
            rows[f"{count} streams side by side"] = (
                count * samples / best(lambda many=many, held=held, count=count: many.push(held, uniforms[:count]))
            )
    return rows


def layer_costs(config: WaveNetConfig) -> dict[str, dict[str, float]]:
    """Microseconds of a sample: of one layer, and of all beside the layers, for each kernel."""
    sizes = (MOST_LAYERS // 4, MOST_LAYERS)
    dilations = [tuple(config.dilations[i % len(config.dilations)] for i in range(size)) for size in sizes]
    networks = [WaveNet(dataclasses.replace(config, dilations=each)).eval() for each in dilations]
    few, many = ({name: 1e6 / rate for name, rate in samplers(n, naive=False).items()} for n in networks)
    costs = {name: (many[name] - few[name]) / (sizes[1] - sizes[0]) for name in few}
    return {name: {"a layer": cost, "the rest": few[name] - sizes[0] * cost} for name, cost in costs.items()}


def training(config: WaveNetConfig, threads: int, batch: int = 4, samples: int = 4096) -> float:
    """Samples a second of a WaveNet's training step (forward, backward, Adam), in bf16 where the processor has it."""
    half = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    network = WaveNet(config).train()
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    symbols = torch.randint(config.levels, (batch, samples))
    features = torch.randn(batch, config.features, -(-samples // config.hop_length))
    phases = torch.zeros_like(symbols) if config.phases else None

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = network(network.shift(symbols), features, phases)
            network.nll(logits, symbols).mean().backward()
        optimizer.step()

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        step()
        return batch * samples / best(step, 3)
    finally:
        torch.set_num_threads(before)
