"""Windows that glide over a wave, in NumPy."""

import functools

import numpy as np

from vqaudio.arrays import Floats


@functools.lru_cache(maxsize=8)
def hann(length: int) -> Floats:
    """The periodic Hann window ``[length]``."""
    return (0.5 - 0.5 * np.cos(2 * np.pi / length * np.arange(length))).astype(np.float32)


def frames_of(wave: Floats, length: int, hop_length: int) -> Floats:
    """``[T // hop_length, length]`` of ``wave[T]``, each around the middle of its own ``hop_length`` samples.

    Beyond its ends the wave is silent. The frames overlap in memory: to be read only.
    """
    count, before = len(wave) // hop_length, length // 2 - hop_length // 2
    if count == 0:
        return np.zeros((0, length), np.float32)
    padded = np.pad(wave, (max(before, 0), length + hop_length))[max(-before, 0) :]
    cut: Floats = np.lib.stride_tricks.sliding_window_view(padded, length)[::hop_length][:count]
    return cut
