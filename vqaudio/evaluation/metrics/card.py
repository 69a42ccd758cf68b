"""All scores by name, of one utterance and of many."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from vqaudio.errors import ConfigError
from vqaudio.evaluation.metrics.alignment import align
from vqaudio.evaluation.metrics.likeness import estoi, mel_distance_db, pesq_nb, pesq_wb, stoi
from vqaudio.evaluation.metrics.packages import missing_package, remedy
from vqaudio.evaluation.metrics.pitch import PitchTrack, median_pitch_hz, pitch_error, pitch_hz
from vqaudio.evaluation.metrics.statistics import Mean, bootstrap_mean, bootstrap_rate
from vqaudio.evaluation.metrics.voice import Embedding, similarity, voice_embedding
from vqaudio.evaluation.metrics.words import WordErrors, recognise, word_errors

Wave = npt.NDArray[np.float32]
Scores = dict[str, float]

# Rates are pooled: this figure of all utterances over that one.
_POOLED = {
    "word_error_rate": ("word_errors", "words"),
    "word_error_rate_original": ("word_errors_original", "words"),
}
_PARTS = {name for pair in _POOLED.values() for name in pair}  # of no use as a mean


@dataclass(frozen=True, eq=False)
class Original:
    """An utterance to compare with. What is dear to find out about it is found once, however often it is compared."""

    wave: Wave
    sample_rate_hz: int
    transcript: str = ""

    @cached_property
    def pitch(self) -> PitchTrack:
        """See :func:`pitch_hz`."""
        return pitch_hz(self.wave, self.sample_rate_hz)

    @cached_property
    def voice(self) -> Embedding:
        """See :func:`voice_embedding`."""
        return voice_embedding(self.wave, self.sample_rate_hz)

    @cached_property
    def word_errors(self) -> WordErrors:
        """What the recogniser makes of the original itself."""
        return word_errors(self.transcript, recognise(self.wave, self.sample_rate_hz))


def _pesq(original: Original, decoded: Wave) -> Scores:
    sounds = (original.wave, decoded, original.sample_rate_hz)
    return {"pesq_nb": pesq_nb(*sounds), "pesq_wb": pesq_wb(*sounds)}


def _pitch(original: Original, decoded: Wave) -> Scores:
    track = pitch_hz(decoded, original.sample_rate_hz)
    error = pitch_error(original.pitch, track)
    return {
        "pitch_error_semitones": error.semitones,
        "voicing_error": error.voicing,
        "median_pitch_hz": median_pitch_hz(track),
        "median_pitch_hz_original": median_pitch_hz(original.pitch),
    }


def _speaker(original: Original, decoded: Wave) -> Scores:
    return {"speaker_similarity": similarity(original.voice, voice_embedding(decoded, original.sample_rate_hz))}


def _wer(original: Original, decoded: Wave) -> Scores:
    if not original.transcript.strip():
        return {}
    found = word_errors(original.transcript, recognise(decoded, original.sample_rate_hz))
    own, words = original.word_errors.errors, float(found.words)
    figures: Scores = {"word_errors": found.errors, "word_errors_original": own, "words": words}
    return figures | {name: figures[part] / figures[whole] for name, (part, whole) in _POOLED.items() if words}


@dataclass(frozen=True)
class _Score:
    """One of :data:`SCORES`: the figures that it gives, and the packages that it takes."""

    measure: Callable[[Original, Wave], Scores]
    packages: tuple[str, ...]


SCORES = {
    "stoi": _Score(lambda o, d: {"stoi": stoi(o.wave, d, o.sample_rate_hz)}, ("pystoi",)),
    "estoi": _Score(lambda o, d: {"estoi": estoi(o.wave, d, o.sample_rate_hz)}, ("pystoi",)),
    "pesq": _Score(_pesq, ("pesq",)),
    "mel": _Score(lambda o, d: {"mel_distance_db": mel_distance_db(o.wave, d, o.sample_rate_hz)}, ()),
    "pitch": _Score(_pitch, ("librosa",)),
    "speaker": _Score(_speaker, ("resemblyzer", "webrtcvad", "pkg_resources")),
    "wer": _Score(_wer, ("pocketsphinx",)),
}


def check_names(names: Iterable[str]) -> None:
    """Refuses what is none of :data:`SCORES` with a :class:`ConfigError`."""
    for name in names:
        if name not in SCORES:
            raise ConfigError(f"{name!r} is no score: give some of {', '.join(SCORES)}, with commas between")


def missing(names: Iterable[str]) -> dict[str, str]:
    """Of ``names`` out of :data:`SCORES` those whose packages are not installed, each with a line that says so."""
    absent = {name: missing_package(SCORES[name].packages) for name in names}
    return {name: remedy(f"{name} is", package) for name, package in absent.items() if package}


def score(original: Original, decoded: Wave, names: Iterable[str]) -> Scores:
    """The figures of ``decoded[T]``, at the original's rate, once its delay and gain are taken out.

    Args:
        original: to compare with.
        decoded: of any length and level.
        names: out of :data:`SCORES`. An utterance without a transcript has no word errors; a figure that cannot be
            had of these sounds is NaN.

    Raises:
        ConfigError: a name is unknown, or its package is not installed.
    """
    names = list(names)
    check_names(names)
    aligned = align(original.wave, decoded, original.sample_rate_hz)
    return {figure: value for name in names for figure, value in SCORES[name].measure(original, aligned).items()}


def summary(utterances: Sequence[Scores]) -> dict[str, Mean]:
    """Mean and interval of each figure that any of the utterances has; word error rates are pooled."""
    names = dict.fromkeys(name for scores in utterances for name in scores)
    columns = {name: np.array([scores.get(name, np.nan) for scores in utterances], float) for name in names}
    rates = {name: pair for name, pair in _POOLED.items() if name in names}
    return {
        name: bootstrap_rate(*(columns[part] for part in rates[name])) if name in rates else bootstrap_mean(values)
        for name, values in columns.items()
        if name not in _PARTS
    }
