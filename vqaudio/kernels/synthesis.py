"""The all-pole filter that turns the excitation into sound: the inverse of :func:`vqaudio.source.excitation`."""

import numpy as np
import numpy.typing as npt

from vqaudio.kernels.elementary import compiled
from vqaudio.kernels.reference import Doubles, Floats


@compiled
def _filter(driven, coefficients, gain, hop, wave):  # type: ignore[no-untyped-def]
    order = coefficients.shape[1]
    for t in range(driven.shape[0]):
        taps = coefficients[t // hop]
        sample = gain[t // hop] * driven[t]
        for k in range(order):
            sample -= taps[k] * wave[order + t - 1 - k]
        wave[order + t] = sample


class Synthesis:
    """One stream's filter; its memory lives across calls, in double precision."""

    def __init__(self, order: int) -> None:
        self._past: Doubles = np.zeros(order)

    def __call__(self, driven: npt.NDArray[np.floating], coefficients: Floats, gain: Floats) -> Floats:
        """The next ``frames * hop`` samples, of the excitation ``driven``; ``coefficients[frames, order]``,
        ``gain[frames]``."""
        order = len(self._past)
        wave = np.concatenate([self._past, np.zeros(len(driven))])
        if len(driven):
            _filter(driven.astype(np.float64), coefficients, gain, len(driven) // len(gain), wave)
            self._past = wave[len(driven) :]
        return wave[order:].astype(np.float32)
