"""Conversion without learning, to measure a model beside: WORLD's pitch and formants moved, and frames of the target's.

Both hear some recordings of the target and no other speech.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.fft import dct
from scipy.spatial import cKDTree

from vqaudio.dsp.mel_envelope import TAPS, MinimumPhase
from vqaudio.dsp.speech_parameters import SpeechParameters
from vqaudio.dsp.world import analyse
from vqaudio.kernels.pulse_noise import PulseNoise
from vqaudio.kernels.varying_filter import VaryingFilter

HOP, BANDS, PULSES_HZ = 68, 80, 4500.0
FORMANTS = 1 / 3  # of the octaves between two people's pitches lie between their formants
COEFFICIENTS, AROUND, NEAREST = 20, (-6, 0, 6), 4

Convert = Callable[[np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class Heard:
    """What is known of somebody: their frames, one after another, and the median pitch."""

    said: SpeechParameters
    pitch_hz: float


def hear(waves: Sequence[np.ndarray], rate_hz: int) -> Heard:
    """What ``waves``, each ``[T]``, tell of who speaks."""
    parts = [analyse(wave, rate_hz, HOP, BANDS) for wave in waves]
    said = SpeechParameters(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    voiced = said.f0_hz[said.f0_hz > 0]
    return Heard(said, float(np.median(voiced)) if len(voiced) else 0.0)


def pitch_ratio(source: Heard, target: Heard) -> float:
    """By how much the pitch is to be moved; 1 where either has none."""
    return target.pitch_hz / source.pitch_hz if source.pitch_hz and target.pitch_hz else 1.0


def world_shift(target: Heard) -> Convert:
    """WORLD (Morise et al. 2016) with the pitch moved to the target's median, and the formants by a third of that."""

    def convert(wave: np.ndarray, rate_hz: int) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own, about how it finds its version
            import pyworld

        ratio = pitch_ratio(hear([wave], rate_hz), target)
        exact = wave.astype(np.float64)
        pitch, times = pyworld.harvest(exact, rate_hz)
        envelope = pyworld.cheaptrick(exact, pitch, times, rate_hz)
        aperiodicity = pyworld.d4c(exact, pitch, times, rate_hz)
        bins = np.arange(envelope.shape[1])
        moved = [
            np.array([np.interp(bins / ratio**FORMANTS, bins, frame) for frame in table])
            for table in (np.log(envelope), aperiodicity)
        ]
        again = pyworld.synthesize(pitch * ratio, np.exp(moved[0]), moved[1], rate_hz)
        return again[: len(wave)].astype(np.float32)

    return convert


def copied_frames(target: Heard) -> Convert:
    """Each frame becomes the mean of the target's nearest frames in shape, as in kNN-VC (Baas et al. 2023), but
    by cepstra, whose means are those of each speaker, in place of a network's features; the pitch is moved."""
    tree = cKDTree(shapes(target.said))

    def convert(wave: np.ndarray, rate_hz: int) -> np.ndarray:
        source = hear([np.pad(wave, (0, -len(wave) % HOP))], rate_hz)
        _, nearest = tree.query(shapes(source.said), NEAREST)
        bands = target.said.bands[nearest].mean(axis=1)
        loudness = source.said.bands.mean(axis=1) - bands.mean(axis=1)  # prosody stays the source's
        f0_hz = source.said.f0_hz * np.float32(pitch_ratio(source, target))
        return speak(SpeechParameters(bands + loudness[:, None], f0_hz), rate_hz)[: len(wave)]

    return convert


def shapes(said: SpeechParameters) -> np.ndarray:
    """Cepstra of frames and of those around them, without loudness, each of mean 0 and variance 1 over the speaker."""
    cepstra = dct(said.bands, axis=1, norm="ortho")[:, 1 : COEFFICIENTS + 1]
    loud = said.bands.max(axis=1) > np.percentile(said.bands.max(axis=1), 30)
    cepstra = (cepstra - cepstra[loud].mean(axis=0)) / (cepstra[loud].std(axis=0) + 1e-6)
    return np.concatenate([np.roll(cepstra, -shift, axis=0) for shift in AROUND], axis=1)


def speak(said: SpeechParameters, rate_hz: int) -> np.ndarray:
    """The sound of parameters, by minimum phase, pulses and noise."""
    excitation = PulseNoise(rate_hz, HOP, PULSES_HZ, np.random.default_rng(0)).push(np.pad(said.f0_hz, (0, 2)))
    responses = MinimumPhase(BANDS, rate_hz).responses(np.pad(said.bands, ((0, 1), (0, 0)), mode="edge"))
    return VaryingFilter(HOP, TAPS).push(excitation, responses)
