"""The pitch of a voice, by probabilistic YIN (Mauch and Dixon 2014, librosa's)."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vqaudio.evaluation.metrics.packages import needed_for
from vqaudio.io.resample import resample

Wave = npt.NDArray[np.float32]
PitchTrack = npt.NDArray[np.float64]  # Hz ``[frames]``, NaN where there is no voice

LOWEST_HZ, HIGHEST_HZ = 65.0, 500.0
FRAME_S = 0.02
_RATE_HZ = 16000
_WINDOW = 1024


@dataclass(frozen=True)
class PitchError:
    """What became of the pitch: the median distance in semitones, where both have a voice, and the share of frames in
    which only one of them has."""

    semitones: float
    voicing: float


def pitch_hz(wave: Wave, sample_rate_hz: int) -> PitchTrack:
    """The pitch of ``wave[T]`` every 20 ms, 65 to 500 Hz; NaN where there is no voice."""
    with needed_for("pitch is"):
        import librosa
    wave = resample(wave[None], sample_rate_hz, _RATE_HZ)[0]
    if not wave.any():
        return np.full(1 + len(wave) // round(FRAME_S * _RATE_HZ), np.nan)
    track, _, _ = librosa.pyin(
        wave,
        fmin=LOWEST_HZ,
        fmax=HIGHEST_HZ,
        sr=_RATE_HZ,
        frame_length=_WINDOW,
        hop_length=round(FRAME_S * _RATE_HZ),
    )
    return np.asarray(track, np.float64)


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
    semitones = 12 * np.abs(np.log2(theirs[both] / ours[both]))
    return PitchError(
        semitones=float(np.median(semitones)) if len(semitones) else math.nan,
        voicing=float(np.mean(voiced[0] != voiced[1])) if length else math.nan,
    )
