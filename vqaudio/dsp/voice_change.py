"""Another voice for the same words, by statistics alone: no network learns it, so it works at once for anybody.

A voice is told by the mean and the spread of its spectral envelope, band by band, and of its pitch. Speech takes on
those of another (as Toda et al. 2007 match means and variances, section IV, here without a mixture), after its formants
have moved with the pitch. What is said, and when, and how loud stay as they are.
"""

from typing import NamedTuple

import numpy as np

from vqaudio.arrays import Doubles, Floats, Mask
from vqaudio.dsp.mel_envelope import band_centres
from vqaudio.dsp.speech_parameters import SpeechParameters

_LOUD = 40  # per cent of the frames are softer than those that tell of a voice
_FORMANTS = 1 / 3  # the share of the octaves between two pitches that lies between the formants
_MOST_MOVED = 1.25
_BEYOND = 1.3  # how far the mean envelope goes of the way to the target's: what is left of the source stands against it
_SMOOTHED = 9  # bands over which the spreads' ratio is taken
_SPREADS = 0.6, 1.6  # the least and the most that spreads are changed by
_PITCH_RANGE_HZ = 40.0, 600.0


class VoiceStatistics(NamedTuple):
    """``mean[bands]`` and ``spread[bands]`` of log power, each frame's mean taken off, over the louder frames; and of
    the natural log of the pitch in Hz, over the voiced ones."""

    mean: Doubles
    spread: Doubles
    log_pitch: float
    pitch_spread: float

    @classmethod
    def of(cls, said: SpeechParameters) -> "VoiceStatistics | None":
        """Those of one person's speech; None where nothing is voiced."""
        voiced = said.f0_hz > 0
        if not voiced.any():
            return None
        logs, shapes = np.log(said.f0_hz[voiced].astype(np.float64)), _shapes(said.bands[_loud(said.bands)])
        return cls(shapes.mean(axis=0), shapes.std(axis=0), float(np.median(logs)), float(logs.std()))

    @classmethod
    def from_vector(cls, vector: Floats) -> "VoiceStatistics":
        """The inverse of :meth:`vector`."""
        mean, spread = vector[:-2].astype(np.float64).reshape(2, -1)
        return cls(mean, spread, float(vector[-2]), float(vector[-1]))

    def vector(self) -> Floats:
        """All of it as ``[2 * bands + 2]``; the mean of several vectors is that of several recordings."""
        return np.concatenate([self.mean, self.spread, [self.log_pitch, self.pitch_spread]]).astype(np.float32)


def _loud(bands: Floats) -> Mask:
    peaks = bands.max(axis=1)
    loud: Mask = peaks >= np.percentile(peaks, _LOUD)
    return loud


def _shapes(bands: Floats) -> Doubles:
    exact = bands.astype(np.float64)
    shapes: Doubles = exact - exact.mean(axis=1, keepdims=True)
    return shapes


class VoiceChange:
    """Gives the speech of one voice to another; each frame by itself, so that it does not matter how speech is cut."""

    def __init__(self, source: VoiceStatistics, target: VoiceStatistics, sample_rate_hz: int) -> None:
        bands = len(source.mean)
        moved = np.exp((target.log_pitch - source.log_pitch) * _FORMANTS)
        ratio = float(np.clip(moved, 1 / _MOST_MOVED, _MOST_MOVED))
        centres = band_centres(bands, sample_rate_hz)
        place = np.interp(centres / ratio, centres, np.arange(bands))
        self._low = np.minimum(place.astype(np.int64), bands - 2)
        self._share = place - self._low
        spreads = np.clip(target.spread / np.maximum(self._warped(source.spread[None])[0], 1e-3), *_SPREADS)
        edges = np.pad(spreads, _SMOOTHED // 2, mode="edge")
        self._scale = np.convolve(edges, np.full(_SMOOTHED, 1 / _SMOOTHED), mode="valid")
        self._source_mean = self._warped(source.mean[None])[0]
        self._mean = self._source_mean + _BEYOND * (target.mean - self._source_mean)
        self._pitch_scale = float(np.clip(target.pitch_spread / max(source.pitch_spread, 1e-3), *_SPREADS))
        self._pitches = source.log_pitch, target.log_pitch

    def _warped(self, bands: Doubles) -> Doubles:
        warped: Doubles = bands[:, self._low] * (1 - self._share) + bands[:, self._low + 1] * self._share
        return warped

    def __call__(self, said: SpeechParameters) -> SpeechParameters:
        """``said`` in the other voice."""
        shapes = self._warped(_shapes(said.bands))
        changed = (shapes - self._source_mean) * self._scale + self._mean
        changed += (said.bands.mean(axis=1) - changed.mean(axis=1))[:, None]  # as loud as before
        voiced, (theirs, ours) = said.f0_hz > 0, self._pitches
        logs = (np.log(np.where(voiced, said.f0_hz, 1.0)) - theirs) * self._pitch_scale + ours
        f0_hz = np.where(voiced, np.exp(logs).clip(*_PITCH_RANGE_HZ), 0.0)
        return SpeechParameters(changed.astype(np.float32), f0_hz.astype(np.float32))
