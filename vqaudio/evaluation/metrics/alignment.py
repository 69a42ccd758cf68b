"""Delay and gain of a decoded sound, taken out before anything is scored."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from vqaudio.dsp.loudness import measure_level
from vqaudio.dsp.mel import log_mel

Wave = npt.NDArray[np.float32]

MAX_DELAY_S = 0.5
_STEP_S = 0.002  # of the search among envelopes
_FINE_S = 0.005  # how far around its answer the waves themselves are searched
_WINDOW_S = 0.032
_BANDS = 40


@dataclass(frozen=True)
class Alignment:
    """How many samples the decoded sound comes too late, and how many times as loud as the original it is."""

    delay: int
    gain: float


def find_alignment(original: Wave, decoded: Wave, sample_rate_hz: int) -> Alignment:
    """The :class:`Alignment` of ``decoded`` to ``original``, both ``[T]`` of any lengths; at most 0.5 s late, or early.

    First where the spectra's envelopes agree best, for a vocoder keeps those and not the wave; then, within 5 ms, where
    the waves do. The gain is that of the speech's level (:func:`vqaudio.dsp.loudness.measure_level`). Beside silence
    there is neither.
    """
    if not all(_level(wave, sample_rate_hz) for wave in (original, decoded)):
        return Alignment(0, 1.0)
    step = max(1, round(_STEP_S * sample_rate_hz))
    ours, theirs = (_envelope(wave, sample_rate_hz, step) for wave in (original, decoded))
    coarse = step * _best_shift(ours, theirs, round(MAX_DELAY_S / _STEP_S))
    fine = round(_FINE_S * sample_rate_hz)
    delay = coarse + _best_shift(original[None], _shifted(decoded, coarse, len(original))[None], fine)
    level = _level(_shifted(decoded, delay, len(original)), sample_rate_hz)
    return Alignment(delay, level / _level(original, sample_rate_hz) or 1.0)


def align(original: Wave, decoded: Wave, sample_rate_hz: int) -> Wave:
    """``decoded`` without its delay and gain, cut or filled with silence to the length of ``original``."""
    found = find_alignment(original, decoded, sample_rate_hz)
    return _shifted(decoded, found.delay, len(original)) / np.float32(found.gain)


def _level(wave: Wave, sample_rate_hz: int) -> float:
    return measure_level([wave[None]], sample_rate_hz, 1)[0].rms


def _shifted(wave: Wave, delay: int, length: int) -> Wave:
    """``wave[delay : delay + length]``, silent where there is none."""
    shifted = np.zeros(length, np.float32)
    kept = wave[max(0, delay) : max(0, delay + length)]
    start = max(0, -delay)
    shifted[start : start + len(kept)] = kept[: max(0, length - start)]
    return shifted


def _envelope(wave: Wave, sample_rate_hz: int, step: int) -> Wave:
    """Log-mel spectrum ``[bands, frames]``, every band without its mean."""
    level = measure_level([wave[None]], sample_rate_hz, 1)[0]
    window = max(step, round(_WINDOW_S * sample_rate_hz))
    mel = log_mel(torch.from_numpy(wave * np.float32(level.gain))[None], sample_rate_hz, window, step, _BANDS)[0]
    return (mel - mel.mean(dim=1, keepdim=True)).numpy() if mel.shape[1] else mel.numpy()


def _best_shift(original: Wave, decoded: Wave, most: int) -> int:
    """By how many columns ``decoded[rows, n]`` is later than ``original[rows, m]``, of those within ``most``.

    That of the largest sum of products over all rows, whatever its sign; of equals the smallest shift.
    """
    from scipy.fft import irfft, next_fast_len, rfft

    size = next_fast_len(max(1, original.shape[1] + decoded.shape[1] + most), real=True)
    product = rfft(decoded, size, axis=1) * np.conj(rfft(original, size, axis=1))
    correlation = np.abs(irfft(product.sum(axis=0), size))
    shifts = np.array(sorted(range(-most, most + 1), key=abs))
    return int(shifts[np.argmax(correlation[shifts])])
