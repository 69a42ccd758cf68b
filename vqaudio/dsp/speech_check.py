"""Whether a recording can be somebody's speech: noise, tones and most music differ from it in how pitch and level move.

Measured on 150 recordings of LibriSpeech and VCTK (least and most): 41 to 90 % of the loud frames have a pitch, the
level deviates by 8 to 15 dB, and the pitch stands still between 3 to 36 % of voiced frames. Noise has no pitch, a tone
no changes of level, and notes and chords stand still in nine frames of ten.
"""

import numpy as np

from vqaudio.arrays import Floats
from vqaudio.dsp.hearing import heard_pitch

_FRAME_S = 0.01
_RANGE_DB = 40.0  # below the loudest frame
_LEAST_VOICED = 0.12
_LEAST_DEVIATION_DB = 3.5
_MOST_STILL = 0.6  # of the steps from voiced frame to voiced frame
_STILL_SEMITONES = 0.02


def speech_problem(wave: Floats, sample_rate_hz: int) -> str:
    """Why ``wave[T]``, 1 s or more, cannot be speech, such as "no voice is heard in it"; "" where it can.

    What is refused is no speech; what is not refused need not be any.
    """
    hop = round(_FRAME_S * sample_rate_hz)
    hz, voiced = heard_pitch(wave, sample_rate_hz, hop)
    power = np.square(wave[: len(hz) * hop].reshape(len(hz), hop), dtype=np.float64).mean(1)
    level_db = 10 * np.log10(np.maximum(power, power.max() * 10 ** (-_RANGE_DB / 10)) + 1e-20)
    if voiced[level_db > level_db.max() - 0.9 * _RANGE_DB].mean() < _LEAST_VOICED:
        return "no voice is heard in it"
    if level_db.std() < _LEAST_DEVIATION_DB:
        return "it is as loud throughout as no speech is"
    steps = np.abs(np.diff(12 * np.log2(hz)))[voiced[1:] & voiced[:-1]]
    if len(steps) and np.mean(steps < _STILL_SEMITONES) > _MOST_STILL:
        return "its pitch stands still as that of an instrument"
    return ""
