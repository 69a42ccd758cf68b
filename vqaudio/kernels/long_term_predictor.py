"""The excitation one pitch period ago: what speech is likeliest to repeat.

Speech codecs call it long-term prediction (Atal 1982). Here a step of the sub-band WaveNet is told the bands of the
excitation so many samples earlier, a whole number of periods, by analysis filters that lie between samples.
"""

import math

import numpy as np

from vqaudio.arrays import Doubles, Floats, Mask
from vqaudio.kernels.elementwise import compiled
from vqaudio.kernels.filterbank import BANDS, DELAY, FINE, FINE_FILTERS, STEPS, polyphase_filters

SHORTEST_LAG = 2 * DELAY + 1  # samples, from which on all that an analysis needs is known when a step is drawn
LONGEST_LAG = 300
_MOST_PERIODS = 8
_KEPT = 512  # samples, a power of two


@compiled
def _find_lags(phase, voiced, lags):  # type: ignore[no-untyped-def]
    for n in range(lags.shape[0]):
        t = BANDS * n
        lags[n] = 0
        back = t
        for periods in range(1, _MOST_PERIODS + 1):
            wanted = phase[t] - periods
            while back >= 0 and t - back <= LONGEST_LAG and phase[back] > wanted:
                back -= 1
            if not voiced[t] or back < 0 or t - back > LONGEST_LAG:
                break
            lag = t - back - (wanted - phase[back]) / (phase[back + 1] - phase[back])
            if lag >= SHORTEST_LAG:
                lags[n] = lag
                break


def period_lags(phase: Doubles, voiced: Mask) -> Doubles:
    """How many samples before each step its place in an earlier period lies, ``[T / BANDS]``; 0 where none is known.

    ``phase[T]`` is in periods. It is the period before or, of high voices, the next that is :data:`SHORTEST_LAG` away.
    """
    lags = np.zeros(len(phase) // BANDS)
    _find_lags(phase, voiced, lags)
    return lags


@compiled
def recall(step, lag, last, synthesis, filters, recent, heard, lagged):  # type: ignore[no-untyped-def]
    """Takes in the samples ``last[BANDS]`` of the step before ``step``, and gives the bands ``lag`` samples before it.

    ``synthesis`` and ``filters`` are a :class:`LongTermMemory`'s; ``recent[STEPS, BANDS]``, a ring of steps, and
    ``heard``, a ring of samples, are what a stream remembers.
    """
    begin = BANDS * (step - 1) & (_KEPT - 1)  # of sample BANDS * (step - 1) - DELAY
    for band in range(BANDS):
        recent[step & (STEPS - 1), band] = last[band]
        heard[begin + band] = 0
        lagged[band] = 0
    for back in range(STEPS):
        for band in range(BANDS):
            sample = recent[(step - back) & (STEPS - 1), band]
            for j in range(BANDS):
                heard[begin + j] += synthesis[back, band, j] * sample
    if lag > 0:
        place = BANDS * step - lag
        first, end = math.ceil(place - DELAY), math.floor(place + DELAY) + 1
        row = int((place - first + DELAY) * FINE + 0.5)
        for t in range(first + DELAY, end + DELAY):
            sample = heard[t & (_KEPT - 1)]
            for band in range(BANDS):
                lagged[band] += filters[row, band] * sample
            row -= FINE


class LongTermMemory:
    """What streams remember of their excitation: the arrays that :func:`recall` takes."""

    def __init__(self, streams: int = 1) -> None:
        by_step = np.ascontiguousarray(polyphase_filters().transpose(2, 1, 0), np.float32)
        self.filters = (by_step, FINE_FILTERS)
        self.recent = np.zeros((streams, STEPS, BANDS), np.float32)
        self.heard = np.zeros((streams, _KEPT), np.float32)


@compiled
def _recall_all(known, lags, synthesis, filters, recent, heard, lagged):  # type: ignore[no-untyped-def]
    for n in range(lags.shape[0]):
        recall(n, lags[n], known[n], synthesis, filters, recent, heard, lagged[n])


def lagged_bands(bands: Floats, lags: Doubles) -> Floats:
    """The bands of the excitation of ``bands[T, BANDS]``, ``lags[T]`` samples before each step: ``[T, BANDS]``.

    A lag is 0, for which the bands are 0, or :data:`SHORTEST_LAG` to :data:`LONGEST_LAG`. Before the first step all was
    silent.
    """
    memory, lagged = LongTermMemory(), np.zeros((len(lags), BANDS), np.float32)
    known = np.concatenate([np.zeros((1, BANDS), np.float32), bands[:-1].astype(np.float32)])
    _recall_all(known, lags, *memory.filters, memory.recent[0], memory.heard[0], lagged)
    return lagged
