"""A gain that brings a live talker to the level that codecs expect, from the past alone."""

import math

import numpy as np

from vqaudio.arrays import Floats
from vqaudio.dsp.loudness import TARGET_RMS

MAX_GAIN = 100.0  # 40 dB: what is softer is noise that nobody wants to hear louder
_SILENT_POWER = 1e-9  # -90 dBFS
_MEMORY_S = 3.0  # over which the level of speech is averaged
_ONSET = 10.0  # times the average power from which on somebody else, or somebody at last, speaks
_PAUSE = 1 / 300  # of the average power, below which nobody speaks


class AutomaticGain:
    """Follows the mean power of one channel's speech, frame by frame, and holds it in pauses.

    The same frames give the same numbers. Over a frame the gain goes straight from the one before to its own, and it
    never lets a frame's peak beyond 1.
    """

    def __init__(self, frame_s: float) -> None:
        """``frame_s``: seconds of a frame."""
        self._most = max(1, round(_MEMORY_S / frame_s))
        self._power = 0.0
        self._frames = 0  # that are in the average
        self._gain = 1.0

    def __call__(self, frame: Floats) -> Floats:
        """The next ``frame[n]`` at the wanted level; n may be smaller in the last."""
        if not len(frame):
            return frame
        power, peak = float(frame.var(dtype=np.float64)), float(np.abs(frame).max())
        if power > _SILENT_POWER:
            self._follow(power)
        wanted = TARGET_RMS / math.sqrt(self._power) if self._power else 1.0
        most = min(MAX_GAIN, 1.0 / peak) if peak else MAX_GAIN
        first, self._gain = min(self._gain, most), min(wanted, most)
        share = np.arange(1, len(frame) + 1) / len(frame)
        return (frame * (first + (self._gain - first) * share)).astype(np.float32)

    def _follow(self, power: float) -> None:
        if power > _ONSET * self._power:
            self._power, self._frames = power, 1
        elif power > _PAUSE * self._power:
            self._frames = min(self._frames + 1, self._most)
            self._power += (power - self._power) / self._frames
