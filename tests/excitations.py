"""Excitations made by hand."""

import itertools

import numpy as np


def pulses_at(times: np.ndarray, samples: int) -> np.ndarray:
    """Band-limited pulses of power one at ``times`` (samples, fractional)."""
    wave = np.zeros(samples)
    grid = np.arange(-40, 41)
    for before, time in itertools.pairwise(times):
        middle = round(time)
        if 40 <= middle < samples - 41:
            shape = np.sinc(grid + middle - time) * np.cos(np.pi / 2 * (grid + middle - time) / 42) ** 2
            wave[middle - 40 : middle + 41] += np.sqrt(time - before) * shape
    return wave
