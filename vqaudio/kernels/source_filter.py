"""What turns an excitation into sound: pulses put below a voice's noise, and the all-pole filter, the inverse of
:func:`vqaudio.dsp.all_pole.excitation`."""

import math

import numpy as np
import numpy.typing as npt

from vqaudio.kernels.elementwise import compiled
from vqaudio.kernels.wavenet_reference import Doubles, Floats


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


@compiled
def _cross(pulses, driven, voiced, hop, low, high, common, state, mixed):  # type: ignore[no-untyped-def]
    for t in range(driven.shape[0]):
        below = low[0] * pulses[t] + state[0, 0]
        state[0, 0] = low[1] * pulses[t] - common[0] * below + state[0, 1]
        state[0, 1] = low[2] * pulses[t] - common[1] * below
        above = high[0] * driven[t] + state[1, 0]
        state[1, 0] = high[1] * driven[t] - common[0] * above + state[1, 1]
        state[1, 1] = high[2] * driven[t] - common[1] * above
        mixed[t] = below + above if voiced[t // hop] else driven[t]


class Crossover:
    """One stream's excitation out of two, parted by Butterworth filters of order 2 (transposed direct form II, bilinear
    transform); their memory lives across calls."""

    def __init__(self, share: float) -> None:
        """``share`` of half the sample rate, between 0 and 1, is where they meet."""
        warped = math.tan(math.pi / 2 * share)
        scale = 1 / (1 + math.sqrt(2) * warped + warped**2)
        self._low = scale * warped**2 * np.array([1.0, 2.0, 1.0])
        self._high = scale * np.array([1.0, -2.0, 1.0])
        self._common = scale * np.array([2 * (warped**2 - 1), 1 - math.sqrt(2) * warped + warped**2])
        self._state: Doubles = np.zeros((2, 2))

    def __call__(self, pulses: Doubles, driven: Doubles, voiced: npt.NDArray[np.bool_]) -> Doubles:
        """The next ``frames * hop`` samples: in ``voiced[frames]`` low ``pulses`` and high ``driven``, elsewhere all of
        ``driven``."""
        mixed = np.empty_like(driven)
        if len(driven):
            hop = len(driven) // len(voiced)
            _cross(pulses, driven, voiced, hop, self._low, self._high, self._common, self._state, mixed)
        return mixed
