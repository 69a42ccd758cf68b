"""Scores of a decoded sound beside its original: plain functions on float32 waves ``[T]`` at a rate in Hz.

What other packages measure needs ``pip install 'vqaudio[evaluate]'``; they are loaded when first used, and a missing
one is a :class:`vqaudio.errors.ConfigError` that names it. A score that a sound does not have (no speech in it, too
short) is NaN. :mod:`vqaudio.evaluation.metrics.card` has all of them by name.
"""

from vqaudio.evaluation.metrics.alignment import Alignment, align, find_alignment
from vqaudio.evaluation.metrics.card import SCORES, Original, Scores, check_names, missing, score, summary
from vqaudio.evaluation.metrics.likeness import estoi, mel_distance_db, pesq_nb, pesq_wb, stoi
from vqaudio.evaluation.metrics.pitch import PitchError, median_pitch_hz, pitch_error, pitch_hz
from vqaudio.evaluation.metrics.statistics import Mean, bootstrap_mean, bootstrap_rate
from vqaudio.evaluation.metrics.voice import similarity, voice_embedding
from vqaudio.evaluation.metrics.words import WordErrors, normalised_words, recognise, word_errors

__all__ = [
    "SCORES",
    "Alignment",
    "Mean",
    "Original",
    "PitchError",
    "Scores",
    "WordErrors",
    "align",
    "bootstrap_mean",
    "bootstrap_rate",
    "check_names",
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
    "score",
    "similarity",
    "stoi",
    "summary",
    "voice_embedding",
    "word_errors",
]
