"""Pitch pulses at fractional places: the phase of the pitch period, its path through a recording, the pulses' bands.

A pulse's bands are the filter bank's analysis filters, taken between samples, so that no pulse is rounded to a sample.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vqaudio.arrays import Doubles, Floats, Integers
from vqaudio.kernels.elementwise import compiled
from vqaudio.kernels.filterbank import BANDS, DELAY, FINE, FINE_FILTERS
from vqaudio.kernels.long_term_predictor import LONGEST_LAG, period_lags


@compiled
def _advance(f0, hop, rate, phase, advanced, voiced):  # type: ignore[no-untyped-def]
    for t in range(advanced.shape[0]):
        k, share = t // hop, (t % hop) / hop
        here, there = f0[k], f0[min(k + 1, f0.shape[0] - 1)]
        both = here > 0 and there > 0
        hz = here + share * (there - here) if both else max(here, there)
        voiced[t] = (here if share < 0.5 else there) > 0
        phase += hz / rate
        advanced[t] = phase


def pitch_phase(f0: Floats, hop_length: int, sample_rate_hz: int) -> tuple[Doubles, npt.NDArray[np.bool_]]:
    """Periods passed up to each sample, and whether it is voiced: ``[frames * hop_length]`` of each.

    Frame i of ``f0[frames]`` (Hz, 0: no voice) stands at sample ``i * hop_length``. The pitch goes in a straight line
    between voiced frames, and a sample is voiced as the nearer frame is.
    """
    advanced, voiced = np.empty(len(f0) * hop_length), np.empty(len(f0) * hop_length, np.bool_)
    if len(f0):
        _advance(f0.astype(np.float64), hop_length, sample_rate_hz, 0.0, advanced, voiced)
    return advanced, voiced


@compiled
def _add_pulses(phase, voiced, table, bands):  # type: ignore[no-untyped-def]
    for t in range(1, phase.shape[0]):
        if voiced[t] and math.floor(phase[t]) > math.floor(phase[t - 1]):
            step = phase[t] - phase[t - 1]
            time = t - (phase[t] - math.floor(phase[t])) / step
            height = math.sqrt(1 / step)
            first = math.ceil((time - DELAY) / BANDS)
            for n in range(max(first, 0), min(math.floor((time + DELAY) / BANDS) + 1, bands.shape[0])):
                place = (BANDS * n - time + DELAY) * FINE
                lower = min(int(place), table.shape[0] - 2)
                share = np.float32(place - lower)
                for band in range(BANDS):
                    value = table[lower, band] + share * (table[lower + 1, band] - table[lower, band])
                    bands[n, band] += height * value


def pulse_bands(phase: Doubles, voiced: npt.NDArray[np.bool_]) -> Floats:
    """Bands ``[T / BANDS, BANDS]`` of upward pulses of power one; one begins each voiced period of ``phase[T]``."""
    bands = np.zeros((len(phase) // BANDS, BANDS), np.float32)
    _add_pulses(phase, voiced, FINE_FILTERS, bands)
    return bands


class Pulses(NamedTuple):
    """The pulses' ``bands[steps, BANDS]``, and the ``lags[steps]`` in samples to an earlier period, 0 where none is."""

    bands: Floats
    lags: Doubles


class PulseTrain:
    """One stream's pulses at the pitch alone; the phase lives across calls, in double precision."""

    def __init__(self, sample_rate_hz: int, hop_length: int, steps_ahead: int = 0) -> None:
        """``hop_length`` is a multiple of :data:`BANDS`, longer than :data:`DELAY`. With each call's bands come those
        of ``steps_ahead`` more steps, which the next call gives again."""
        self._rate, self._hop, self._steps_ahead = sample_rate_hz, hop_length, steps_ahead
        self.frames_ahead = -(-(BANDS * steps_ahead + DELAY) // hop_length) + 1
        kept = -(-(LONGEST_LAG + 2) // hop_length) * hop_length
        self._phase, self._voiced = np.zeros(kept), np.zeros(kept, np.bool_)  # of the samples before the next

    def push(self, f0_hz: Floats) -> Pulses:
        """The pulses of the next n frames: lags of their steps, bands of them and of ``steps_ahead`` more.

        ``f0_hz[n + frames_ahead]`` (0: no voice) is of them and of those after them, which the next call gives again.
        """
        hop, frames = self._hop, len(f0_hz) - self.frames_ahead
        known = (len(f0_hz) - 1) * hop  # the last frame but ends the line from the one before it
        advanced, voiced = np.empty(known), np.empty(known, np.bool_)
        _advance(f0_hz.astype(np.float64), hop, self._rate, self._phase[-1], advanced, voiced)
        phase, voiced = np.concatenate([self._phase, advanced]), np.concatenate([self._voiced, voiced])
        kept = len(self._phase)
        self._phase, self._voiced = phase[frames * hop :][:kept], voiced[frames * hop :][:kept]
        first, last = kept // BANDS, (kept + frames * hop) // BANDS
        bands, lags = pulse_bands(phase, voiced), period_lags(phase, voiced)
        return Pulses(bands[first : last + self._steps_ahead], lags[first:last])


@compiled
def _best_path(scores, free, widest, path):  # type: ignore[no-untyped-def]
    frames, places = scores.shape
    total, before = scores[0].copy(), np.empty(places)
    came = np.zeros((frames, places), np.int16)
    for i in range(1, frames):
        before[:] = total
        top = np.argmax(before)
        for j in range(places):
            best = top if free[i] else np.int64(j)
            if not free[i]:
                for move in range(-widest, widest + 1):
                    k = (j + move) % places
                    if before[k] > before[best]:
                        best = np.int64(k)
            came[i, j] = best
            total[j] = before[best] + scores[i, j]
    path[frames - 1] = np.argmax(total)
    for i in range(frames - 1, 0, -1):
        path[i - 1] = came[i, path[i]]


def best_path(scores: Doubles, free: npt.NDArray[np.bool_], widest: int) -> Integers:
    """The cyclic places ``[frames]`` of the largest sum of ``scores[frames, places]`` (dynamic programming).

    From frame to frame the path moves by up to ``widest`` places, and to any place where a frame is ``free[frames]``.
    """
    path = np.zeros(len(scores), np.int64)
    if len(scores):
        _best_path(scores, free, widest, path)
    return path
