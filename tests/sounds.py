"""Sounds that several test files make, and how they cut them."""

from pathlib import Path

import numpy as np
import soundfile


def noise(channels: int, frames: int, amplitude: float = 0.1, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((channels, frames)) * amplitude).astype(np.float32)


def talk(hz: float, seconds: float = 2.0, rate_hz: int = 16000) -> np.ndarray:
    """What passes for speech: syllables of harmonics whose pitch, about ``hz``, rises and falls. ``[T]``"""
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    phase = 2 * np.pi * np.cumsum(hz * (1 + 0.1 * np.sin(2 * np.pi * 1.7 * time))) / rate_hz
    harmonics = sum(np.sin(k * phase) / k for k in range(1, max(2, int(4000 / hz))))
    syllables = np.clip(np.sin(2 * np.pi * 3.3 * time) + 0.5, 0.005, 1)
    return (0.1 * harmonics * syllables).astype(np.float32)


def tone(path: Path, seconds: float = 0.3, rate_hz: int = 16000, channels: int = 1, amplitude: float = 0.1) -> Path:
    """A sound whose pitch is its path's own, so that files differ."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = amplitude * np.sin(2 * np.pi * (200 + len(path.name) * 10 + sum(path.name.encode()) % 300) * time)
    soundfile.write(path, np.stack([wave] * channels, 1), rate_hz)
    return path


def cut(wave: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """``wave`` in blocks of the given sizes, over and over."""
    blocks, start, turn = [], 0, 0
    while start < wave.shape[1]:
        blocks.append(wave[:, start : start + sizes[turn % len(sizes)]])
        start, turn = start + sizes[turn % len(sizes)], turn + 1
    return blocks
