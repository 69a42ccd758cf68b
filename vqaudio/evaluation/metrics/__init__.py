"""Metrics of a decoded sound beside its original: plain functions on float32 waves ``[T]`` at a rate in Hz.

What other packages measure needs ``pip install 'vqaudio[evaluate]'``; they are loaded when first used, and a missing
one is a :class:`vqaudio.errors.ConfigError` that names it. A figure that a sound does not have (no speech in it, too
short) is NaN. :class:`Ruler` takes any of :data:`METRICS` by name, and keeps what was found.
"""

from vqaudio.evaluation.metrics.alignment import Alignment, align, find_alignment
from vqaudio.evaluation.metrics.cache import MetricCache, default_cache
from vqaudio.evaluation.metrics.catalogue import METRICS, Original, check_names, missing
from vqaudio.evaluation.metrics.intrusive import estoi, mel_distance_db, pesq_nb, pesq_wb, stoi
from vqaudio.evaluation.metrics.naturalness import distillmos, dnsmos
from vqaudio.evaluation.metrics.pitch import PitchError, median_pitch_hz, pitch_error, pitch_hz
from vqaudio.evaluation.metrics.ruler import Figures, Ruler, difference, summary
from vqaudio.evaluation.metrics.speaker import similarity, speaker_embedding
from vqaudio.evaluation.metrics.statistics import Mean, bootstrap_mean, bootstrap_rate
from vqaudio.evaluation.metrics.transcript import WordErrors, normalised_words, spoken_words, word_errors
from vqaudio.evaluation.metrics.words import recognise

__all__ = [
    "METRICS",
    "Alignment",
    "Figures",
    "Mean",
    "MetricCache",
    "Original",
    "PitchError",
    "Ruler",
    "WordErrors",
    "align",
    "bootstrap_mean",
    "bootstrap_rate",
    "check_names",
    "default_cache",
    "difference",
    "distillmos",
    "dnsmos",
    "estoi",
    "find_alignment",
    "median_pitch_hz",
    "mel_distance_db",
    "missing",
    "normalised_words",
    "pesq_nb",
    "pesq_wb",
    "pitch_error",
    "pitch_hz",
    "recognise",
    "similarity",
    "speaker_embedding",
    "spoken_words",
    "stoi",
    "summary",
    "word_errors",
]
