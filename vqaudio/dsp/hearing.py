"""What a network hears of a wave, and reads of a pitch, in NumPy alone: equal, but for rounding, to what
:mod:`vqaudio.dsp.mel`, :mod:`vqaudio.dsp.pitch` and :mod:`vqaudio.dsp.emphasis` work out in torch. Time comes first.
"""

import functools
import math

import numpy as np

from vqaudio.arrays import Doubles, Floats, Mask
from vqaudio.dsp.pitch_scale import (
    FAINTEST,
    HIGHEST_HARMONIC_HZ,
    HIGHEST_HZ,
    LOWEST_HZ,
    NEAR,
    OCTAVE_COST,
    PITCH_WINDOW,
    PITCHES,
    VOICED,
    scale_hz,
)
from vqaudio.dsp.window import frames_of, hann

MEL_FLOOR = 1e-3  # below it all is silence: the log is never less than -6.9
_TRANSFORM = 2 * PITCH_WINDOW  # so that no lag meets its own beginning


def emphasised(wave: Floats, coefficient: float) -> Floats:
    """``y[t] = x[t] - coefficient * x[t-1]`` of ``wave[T]``, with ``x[-1] = 0``."""
    out = wave.copy()
    out[1:] -= np.float32(coefficient) * wave[:-1]
    return out


def _evenly(last: float, count: int) -> Floats:
    """``count`` numbers from 0 to ``last``, rounded as torch rounds them: networks learnt with those."""
    step, place = np.float32(last) / np.float32(count - 1), np.arange(count, dtype=np.float32)
    return np.where(place < count // 2, step * place, np.float32(last) - step * (count - 1 - place)).astype(np.float32)


@functools.lru_cache(maxsize=8)
def mel_bank(sample_rate_hz: int, n_fft: int, n_mels: int) -> Floats:
    """``[bins, n_mels]``, triangles of height 1 on the mel scale (HTK) from 0 to half of the sample rate."""
    hz = _evenly(sample_rate_hz // 2, n_fft // 2 + 1)[:, None]
    mels = _evenly(2595 * math.log10(1 + sample_rate_hz // 2 / 700), n_mels + 2)
    edges = np.float32(700) * (np.float32(10) ** (mels / np.float32(2595)) - 1)
    widths, distance = np.diff(edges), edges - hz
    bank: Floats = np.minimum(-distance[:, :-2] / widths[:-1], distance[:, 2:] / widths[1:])
    return np.maximum(0, bank)


def log_mel(wave: Floats, sample_rate_hz: int, n_fft: int, hop_length: int, n_mels: int) -> Floats:
    """Log-mel magnitudes ``[T // hop_length, n_mels]`` of ``wave[T]``, see :func:`vqaudio.dsp.mel.log_mel`."""
    cut = frames_of(wave, n_fft, hop_length) * hann(n_fft)
    magnitude = np.abs(np.fft.rfft(cut))
    mel: Floats = np.log(np.maximum(magnitude @ mel_bank(sample_rate_hz, n_fft, n_mels), np.float32(MEL_FLOOR)))
    return mel


@functools.lru_cache(maxsize=4)
def _correlations(sample_rate_hz: int) -> tuple[Floats, Floats]:
    """From a power spectrum ``[bins]`` to the autocorrelation at each pitch's lag, the window's own divided out, a
    matrix ``[bins, PITCHES]``; and to that at lag 0, a vector ``[bins]``."""
    bins = round(HIGHEST_HARMONIC_HZ / sample_rate_hz * _TRANSFORM)
    lags = math.ceil(sample_rate_hz / LOWEST_HZ) + 2
    turn = 2 * np.pi / _TRANSFORM * np.outer(np.arange(bins), np.arange(lags))
    inverse = np.cos(turn) * np.where(np.arange(bins) > 0, 2, 1)[:, None] / _TRANSFORM
    own = np.abs(np.fft.rfft(hann(PITCH_WINDOW).astype(np.float64), _TRANSFORM)[:bins]) ** 2 @ inverse
    relative = inverse / (own / own[0])
    lag = np.float32(sample_rate_hz) / scale_hz().astype(np.float32)  # as torch rounds it
    lower = lag.astype(np.int64)
    share = lag - lower
    at_pitches: Doubles = relative[:, lower] * (1 - share) + relative[:, lower + 1] * share
    return at_pitches.astype(np.float32), inverse[:, 0].astype(np.float32)


def periodicity(wave: Floats, sample_rate_hz: int, hop_length: int) -> Floats:
    """How periodic ``wave[T]`` is at each pitch, about -1 to 1: ``[T // hop_length, PITCHES]``."""
    at_pitches, at_zero = _correlations(sample_rate_hz)
    cut = frames_of(wave, PITCH_WINDOW, hop_length)
    cut = (cut - cut.mean(1, keepdims=True)) * hann(PITCH_WINDOW)
    spectrum = np.fft.rfft(cut, _TRANSFORM)[:, : len(at_zero)]
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    energy = power @ at_zero
    found: Floats = (power @ at_pitches) / (energy + np.float32(FAINTEST))[:, None]
    return found


def _shares(logits: Doubles) -> Doubles:
    shares: Doubles = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    return shares


def read_pitch(logits: Floats) -> tuple[Floats, Mask]:
    """Hz ``[frames]``, also where there is no voice, and the frames that are voiced, as ``logits[frames, PITCHES + 1]``
    say; see :func:`vqaudio.dsp.pitch.read_pitch`.

    In double precision: a voice's phase adds up what is wrong in its pitch.
    """
    exact = logits.astype(np.float64)
    voiced = _shares(exact)[:, -1] < 0.5
    shares = _shares(exact[:, :-1])
    near = np.abs(np.arange(PITCHES) - shares.argmax(1)[:, None]) <= NEAR
    shares *= near
    hz = np.exp(shares @ np.log(scale_hz()) / shares.sum(1))
    return hz.astype(np.float32), voiced


def heard_pitch(wave: Floats, sample_rate_hz: int, hop_length: int) -> tuple[Floats, Mask]:
    """Hz ``[T // hop_length]`` of ``wave[T]``, and the frames that are voiced, by autocorrelation (Boersma 1993): what
    :func:`read_pitch` makes of :func:`vqaudio.dsp.pitch.pitch_target`, but that the pitch is exact."""
    bins, lags = round(HIGHEST_HARMONIC_HZ / sample_rate_hz * _TRANSFORM), math.ceil(sample_rate_hz / LOWEST_HZ) + 2

    def correlation(windowed: Floats) -> Floats:
        power = np.square(np.abs(np.fft.rfft(windowed, _TRANSFORM)[:, :bins]))
        return np.fft.irfft(power, _TRANSFORM)[:, :lags].astype(np.float32, copy=False)

    cut = frames_of(wave, PITCH_WINDOW, hop_length)
    own = correlation((cut - cut.mean(1, keepdims=True)) * hann(PITCH_WINDOW))
    shape, energy = correlation(hann(PITCH_WINDOW)[None]), own[:, 0]
    relative = own / (own[:, :1] + np.float32(1e-9)) / (shape / shape[:, :1])
    first, last = math.floor(sample_rate_hz / HIGHEST_HZ), math.ceil(sample_rate_hz / LOWEST_HZ)
    score = relative[:, first : last + 1] - OCTAVE_COST * np.log2(np.arange(first, last + 1) / first)
    lag, rows = first + score.argmax(1), np.arange(len(score))
    left, middle, right = (relative[rows, lag + step] for step in (-1, 0, 1))
    bend = np.minimum(left - 2 * middle + right, -1e-6)
    hz = sample_rate_hz / (lag + np.clip(0.5 * (left - right) / bend, -0.5, 0.5))
    scale = scale_hz()
    voiced = (middle > VOICED) & (energy > 1e-3 * energy.max(initial=0))
    return np.clip(hz, scale[0], scale[-1]).astype(np.float32), voiced
