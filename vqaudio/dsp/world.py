"""Pitch and envelope of speech by WORLD (Morise, Yokomori, Ozawa 2016): what the codes of speech learn to carry.

Harvest (Morise 2017) finds the pitch, CheapTrick (Morise 2015) the envelope with the harmonics smoothed away, whatever
the pitch. Both are slow, some ten times real time: they are worked out once, when a corpus is prepared.
"""

import warnings

import numpy as np

from vqaudio.arrays import Floats
from vqaudio.dsp.mel_envelope import FLOOR, mel_bands
from vqaudio.dsp.speech_parameters import SpeechParameters as SpeechParameters

LOWEST_HZ, HIGHEST_HZ = 60.0, 400.0  # of the pitch


def analyse(wave: Floats, sample_rate_hz: int, hop_length: int, bands: int) -> SpeechParameters:
    """The parameters of ``wave[T]``, ``T // hop_length`` frames of them.

    Silence has empty bands and no pitch. ``wave`` is of any level; the bands are those of its own.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "pkg_resources is deprecated")
        import pyworld

    frames = len(wave) // hop_length
    signal = np.ascontiguousarray(wave, np.float64)
    if frames == 0 or not signal.any():
        return SpeechParameters(np.full((frames, bands), np.log(FLOOR), np.float32), np.zeros(frames, np.float32))
    period_ms = 1000 * hop_length / sample_rate_hz
    f0, times = pyworld.harvest(signal, sample_rate_hz, f0_floor=LOWEST_HZ, f0_ceil=HIGHEST_HZ, frame_period=period_ms)
    bank = mel_bands(bands, sample_rate_hz).bank
    power = pyworld.cheaptrick(signal, f0, times, sample_rate_hz, fft_size=2 * (bank.shape[1] - 1))
    log_power = np.log(power[:frames] @ bank.T + FLOOR)
    return SpeechParameters(log_power.astype(np.float32), f0[:frames].astype(np.float32))
