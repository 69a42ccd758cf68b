"""A filter whose impulse response changes from frame to frame, as the vocal tract does."""

import numpy as np

from vqaudio.arrays import Doubles, Floats
from vqaudio.kernels.elementwise import compiled


@compiled
def _filter(signal, responses, fade, one, other, out):  # type: ignore[no-untyped-def]
    """Outputs of the responses of two neighbouring frames, cross-faded. ``signal`` begins ``taps - 1`` samples early;
    ``one[hop]`` and ``other[hop]`` are scratch.

    The inner loop runs over samples, not taps, so that no sum is ever put in another order.
    """
    hop, taps = fade.shape[0], responses.shape[1]
    for frame in range(out.shape[0] // hop):
        one[:] = 0
        other[:] = 0
        begin = frame * hop + taps - 1
        for tap in range(taps):
            now, then = responses[frame, tap], responses[frame + 1, tap]
            past = signal[begin - tap : begin - tap + hop]
            for n in range(hop):
                one[n] += now * past[n]
                other[n] += then * past[n]
        for n in range(hop):
            out[frame * hop + n] = (1 - fade[n]) * one[n] + fade[n] * other[n]


class VaryingFilter:
    """One stream's filter. It filters the past and cross-fades outputs; its memory lives across calls."""

    def __init__(self, hop_length: int, taps: int) -> None:
        self._past = np.zeros(taps - 1, np.float32)
        self._fade = (0.5 - 0.5 * np.cos(np.pi * np.arange(hop_length) / hop_length)).astype(np.float32)

    def push(self, excitation: Doubles | Floats, responses: Floats) -> Floats:
        """``excitation[n * hop_length]`` to samples; ``responses[n + 1, taps]`` are of their frames and one more."""
        signal = np.concatenate([self._past, excitation.astype(np.float32)])
        wave = np.empty(len(excitation), np.float32)
        one, other = np.empty_like(self._fade), np.empty_like(self._fade)
        _filter(signal, responses, self._fade, one, other, wave)
        self._past = signal[len(signal) - len(self._past) :]
        return wave
