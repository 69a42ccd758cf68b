"""Mel bands of a spectral envelope, and the minimum-phase filter that they stand for.

The envelope of speech is coded as log power in mel bands, natural logarithm; white noise of power one has 0. Going
back, the bands are interpolated to a spectrum, and the minimum-phase response with that magnitude follows from the real
cepstrum, folded onto its causal half (Oppenheim, Schafer 1989, section 12.8).
"""

import functools
from typing import NamedTuple

import numpy as np

from vqaudio.arrays import Doubles, Floats
from vqaudio.errors import ConfigError

FLOOR = 1e-12  # power under which a band counts as empty
TAPS = 512  # of an impulse response
_FFT = 2 * TAPS
_BATCH = 32  # responses that are worked out at once, always as many, so that none depends on its company


class MelBands(NamedTuple):
    """``bank[bands, bins]`` averages a power spectrum in mel bands; ``interpolation[bins, bands]`` goes back."""

    bank: Doubles
    interpolation: Doubles


def _band_edges(bands: int, sample_rate_hz: int) -> Doubles:
    """Where ``bands`` triangles begin, peak and end, Hz: band i at ``i``, ``i + 1`` and ``i + 2``."""
    top = 2595 * np.log10(1 + sample_rate_hz / 2 / 700)
    edges: Doubles = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    return edges


def band_centres(bands: int, sample_rate_hz: int) -> Doubles:
    """The frequencies ``[bands]`` of the bands of :func:`mel_bands`, Hz."""
    return _band_edges(bands, sample_rate_hz)[1:-1]


@functools.lru_cache(maxsize=8)
def mel_bands(bands: int, sample_rate_hz: int) -> MelBands:
    """``bands`` triangles that are equally wide on the mel scale, from 0 to half of the sample rate.

    Their bins are those of a transform of 1,024 samples. A triangle that misses every bin takes the nearest.

    Raises:
        ConfigError: fewer than 2 bands, or more than there are bins.
    """
    bins = _FFT // 2 + 1
    if not 2 <= bands <= bins:
        raise ConfigError(f"bands = {bands} is not valid: give 2 to {bins} mel bands")
    edges = _band_edges(bands, sample_rate_hz)
    hz = np.arange(bins) * sample_rate_hz / _FFT
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bank = np.maximum(0, np.minimum((hz - low) / (centre - low), (high - hz) / (high - centre)))
    empty = bank.sum(1) < 1e-6
    bank[empty, np.rint(edges[1:-1] / sample_rate_hz * _FFT).astype(int)[empty]] = 1
    bank /= bank.sum(1, keepdims=True)
    centres = edges[1:-1]
    upper = np.clip(np.searchsorted(centres, hz), 1, bands - 1)
    share = np.clip((hz - centres[upper - 1]) / (centres[upper] - centres[upper - 1]), 0, 1)
    interpolation = np.zeros((bins, bands))
    rows = np.arange(bins)
    interpolation[rows, upper - 1] = 1 - share
    interpolation[rows, upper] += share
    return MelBands(bank, interpolation)


def sharpening(bands: int, factor: float, first: int = 2) -> Doubles:
    """The matrix ``[bands, bands]`` that multiplies the cepstrum of log bands by ``factor``, from number ``first`` on.

    Spectra that a network predicts are smoother than those of speech: a factor somewhat above 1 gives back the
    spread that the mean has lost. The cepstrum is the orthonormal cosine transform of the log bands.
    """
    places = np.arange(bands)
    basis = np.sqrt(2 / bands) * np.cos(np.pi / bands * np.outer(places, places + 0.5))
    basis[0] /= np.sqrt(2)
    scale = np.where(np.arange(bands) < first, 1.0, factor)
    matrix: Doubles = basis.T @ (scale[:, None] * basis)
    return matrix


def moved(interpolation: Doubles, ratio: float) -> Doubles:
    """``interpolation[bins, bands]`` to a spectrum whose features lie at ``ratio`` times their frequencies."""
    bins = np.arange(len(interpolation))
    places = np.minimum(bins / ratio, len(interpolation) - 1)
    lower = np.minimum(places.astype(int), len(interpolation) - 2)
    share = (places - lower)[:, None]
    mixed: Doubles = (1 - share) * interpolation[lower] + share * interpolation[lower + 1]
    return mixed


class MinimumPhase:
    """From log bands to impulse responses."""

    def __init__(self, bands: int, sample_rate_hz: int, sharpen: float = 1.0, formants: float = 1.0) -> None:
        """``sharpen`` is the factor of :func:`sharpening`, ``formants`` the ratio of :func:`moved`; 1 leaves all as it
        is."""
        interpolation = mel_bands(bands, sample_rate_hz).interpolation
        if formants != 1:
            interpolation = moved(interpolation, formants)
        to_log_magnitude = 0.5 * interpolation @ sharpening(bands, sharpen)
        fold = np.zeros((_FFT, 1))
        fold[0], fold[1:TAPS], fold[TAPS] = 1, 2, 1
        # the way to the cepstrum, its folding, and the way back are linear: one matrix
        to_phase = np.fft.rfft(np.fft.irfft(to_log_magnitude, axis=0) * fold, axis=0).imag
        self._to_both = np.concatenate([to_log_magnitude, to_phase]).astype(np.float32)

    def responses(self, log_power: Floats) -> Floats:
        """``log_power[frames, bands]`` to minimum-phase impulse responses ``[frames, TAPS]``."""
        frames = len(log_power)
        padded = np.pad(log_power, ((0, -frames % _BATCH), (0, 0))).astype(np.float32)
        return np.concatenate(
            [self._batch(padded[first : first + _BATCH]) for first in range(0, len(padded), _BATCH)]
            or [np.zeros((0, TAPS), np.float32)]
        )[:frames]

    def _batch(self, log_power: Floats) -> Floats:
        # one product a frame: a product of many rounds a row by its place among them
        both = np.stack([self._to_both @ frame for frame in log_power])
        log_magnitude, phase = np.split(both, 2, axis=1)
        # exp in its two parts: of complex numbers it is five times slower
        spectrum = np.empty(phase.shape, np.complex64)
        magnitude = np.exp(log_magnitude)
        np.multiply(magnitude, np.cos(phase), out=spectrum.real)
        np.multiply(magnitude, np.sin(phase), out=spectrum.imag)
        return np.fft.irfft(spectrum, axis=1)[:, :TAPS].astype(np.float32, copy=False)
