"""The plain excitation of speech: a pulse a period where there is a voice, and noise.

Pulses are band-limited and may lie between two samples. Below the cut a voice is its pulses; above it, and where there
is no voice, all is noise (harmonic plus noise, Stylianou 2001). The power is one everywhere.
"""

import math

import numpy as np

from vqaudio.arrays import Doubles, Floats
from vqaudio.kernels.elementwise import compiled

_HALF = 24  # samples on either side of a pulse
_FILTER_HALF = 32  # of the filter that parts noise at the cut
_FADE_HALF = 34  # samples over which voice and noise fade into each other
REACH = _FADE_HALF  # samples that the excitation looks ahead, the widest of the three
_IDLE_HZ = 150.0  # at which the phase goes on where there is no voice


@compiled
def _phases(f0, hop, first, rate, voiced, f0_cycles, phase, state):  # type: ignore[no-untyped-def]
    """Voicing, periods a sample and phase of samples ``first`` on, between the frames of ``f0``."""
    for n in range(voiced.shape[0]):
        frame = (first + n) // hop
        share = (first + n - frame * hop) / hop
        here, there = f0[frame], f0[frame + 1]
        voiced[n] = (here if share < 0.5 else there) > 0
        hz = here * (1 - share) + there * share if here > 0 and there > 0 else max(here, there)
        f0_cycles[n] = (hz if voiced[n] else _IDLE_HZ) / rate
        state[0] += f0_cycles[n]
        phase[n] = state[0]


@compiled
def _add_pulses(voiced, f0_cycles, phase, before, share, half, place, pulses):  # type: ignore[no-untyped-def]
    """Adds a windowed sinc for each whole number that ``phase`` passes; sample n of it is ``pulses[place + n]``."""
    last = before
    for n in range(phase.shape[0]):
        whole = math.floor(phase[n])
        if whole > last and voiced[n]:
            late = (phase[n] - whole) / f0_cycles[n]
            size = share / math.sqrt(f0_cycles[n])
            for k in range(-half, half + 1):
                u = k + late
                x = math.pi * share * u
                sinc = 1.0 if x == 0 else math.sin(x) / x
                pulses[place + n + k] += size * sinc * math.cos(math.pi * u / (2 * (half + 2))) ** 2
        last = whole


@compiled
def _mix(pulses, noise, voiced, fade, high, out):  # type: ignore[no-untyped-def]
    """``out[n]`` of the windows around sample n, which are centred in those given."""
    fade_half, high_half = fade.shape[0] // 2, high.shape[0] // 2
    for n in range(out.shape[0]):
        voice = 0.0
        for k in range(fade.shape[0]):
            voice += fade[k] * voiced[n + k]
        voice = math.sqrt(min(max(voice, 0.0), 1.0))
        above = 0.0
        for k in range(high.shape[0]):
            above += high[k] * noise[n + fade_half - high_half + k]
        out[n] = voice * (pulses[n] + above) + (1 - voice) * noise[n + fade_half]


class PulseNoise:
    """One stream's excitation; its state lives across calls, in double precision."""

    def __init__(self, sample_rate_hz: int, hop_length: int, cut_hz: float, generator: np.random.Generator) -> None:
        """Pulses lie below ``cut_hz``; ``generator`` draws the noise."""
        self._rate, self._hop, self._generator = float(sample_rate_hz), hop_length, generator
        self._share = 2 * cut_hz / sample_rate_hz
        window = np.hanning(2 * _FADE_HALF + 1)
        self._fade = window / window.sum()
        grid = np.arange(-_FILTER_HALF, _FILTER_HALF + 1)
        self._high = -self._share * np.sinc(self._share * grid) * np.hanning(2 * _FILTER_HALF + 1)
        self._high[_FILTER_HALF] += 1
        self._state, self._begun = np.zeros(1), False
        self._voiced, self._noise = np.zeros(_FADE_HALF), np.zeros(_FADE_HALF)  # of the samples before the next
        self._pulses = np.zeros(0)  # what earlier pulses leave for the samples to come

    def push(self, f0_hz: Floats) -> Doubles:
        """The next ``n * hop_length`` samples.

        ``f0_hz[n + 2]`` (0: no voice) is of their frames and of the two after them, which the next call gives again.
        """
        count = (len(f0_hz) - 2) * self._hop
        ahead = min(REACH, self._hop) if not self._begun else 0
        assert self._hop >= REACH, "frames must be as long as the excitation looks ahead"
        first = 0 if not self._begun else REACH  # samples up to here were worked out in the call before
        new = count + ahead
        voiced, f0_cycles, phase = np.zeros(new), np.zeros(new), np.zeros(new)
        before = math.floor(self._state[0])
        _phases(f0_hz.astype(np.float64), self._hop, first, self._rate, voiced, f0_cycles, phase, self._state)
        # the buffer begins _HALF samples before the first of the samples that this call gives out
        pulses = np.zeros(_HALF + count + REACH + _HALF + 1)
        pulses[: len(self._pulses)] += self._pulses
        _add_pulses(voiced, f0_cycles, phase, before, self._share, _HALF, _HALF + first, pulses)
        voiced = np.concatenate([self._voiced, voiced])
        noise = np.concatenate([self._noise, self._generator.standard_normal(new)])
        excitation = np.empty(count)
        _mix(pulses[_HALF : _HALF + count], noise, voiced, self._fade, self._high, excitation)
        kept = len(voiced) - 2 * REACH
        self._voiced, self._noise = voiced[kept:], noise[kept:]
        self._pulses, self._begun = pulses[count:], True
        return excitation
