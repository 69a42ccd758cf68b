"""The pitch of a voice, by Harvest (Morise 2017, pyworld's)."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Wave = npt.NDArray[np.float32]
PitchTrack = npt.NDArray[np.float64]  # Hz ``[frames]``, NaN where there is no voice

LOWEST_HZ, HIGHEST_HZ = 60.0, 500.0
FRAME_S = 0.01
_CENTS_AN_OCTAVE = 1200


@dataclass(frozen=True)
class PitchError:
    """What became of the pitch: the median distance in cents where both have a voice, and the share of frames in which
    only one of them has."""

    cents: float
    voicing: float


def pitch_hz(wave: Wave, sample_rate_hz: int) -> PitchTrack:
    """The pitch of ``wave[T]`` every 10 ms, 60 to 500 Hz; NaN where there is no voice."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyworld's own, about how it finds its version
        import pyworld
    if len(wave) < FRAME_S * sample_rate_hz or not wave.any():
        return np.full(1 + int(len(wave) / (FRAME_S * sample_rate_hz)), np.nan)
    track, _ = pyworld.harvest(wave.astype(np.float64), sample_rate_hz, LOWEST_HZ, HIGHEST_HZ, 1000 * FRAME_S)
    return np.where(track > 0, track, np.nan)


def median_pitch_hz(track: PitchTrack) -> float:
    """Of a track by :func:`pitch_hz`; NaN where there is no voice."""
    voiced = track[np.isfinite(track)]
    return float(np.median(voiced)) if len(voiced) else math.nan


def pitch_error(original: PitchTrack, decoded: PitchTrack) -> PitchError:
    """Of two aligned sounds' tracks; NaN where there is nothing to compare."""
    length = min(len(original), len(decoded))
    ours, theirs = original[:length], decoded[:length]
    voiced = np.isfinite(ours), np.isfinite(theirs)
    both = voiced[0] & voiced[1]
    cents = _CENTS_AN_OCTAVE * np.abs(np.log2(theirs[both] / ours[both]))
    return PitchError(
        cents=float(np.median(cents)) if len(cents) else math.nan,
        voicing=float(np.mean(voiced[0] != voiced[1])) if length else math.nan,
    )
