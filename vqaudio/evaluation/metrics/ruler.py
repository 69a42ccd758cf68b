"""Measures decoded sounds by any metrics, and sums up many: figures by name, means with intervals."""

import hashlib
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import numpy.typing as npt

from vqaudio.errors import ConfigError
from vqaudio.evaluation.metrics.alignment import align
from vqaudio.evaluation.metrics.cache import IN_MEMORY, Finding, MetricCache, checksum
from vqaudio.evaluation.metrics.catalogue import HEARD, METRICS, Original, check_names, missing
from vqaudio.evaluation.metrics.statistics import Mean, bootstrap_mean, bootstrap_rate
from vqaudio.evaluation.metrics.transcript import word_errors
from vqaudio.evaluation.metrics.words import load_whisper

Wave = npt.NDArray[np.float32]
Figures = dict[str, float]

# Rates are pooled: this figure of all utterances over that one.
POOLED = {
    "word_error_rate": ("word_errors", "words"),
    "word_error_rate_original": ("word_errors_original", "words"),
}
_PARTS = {name for pair in POOLED.values() for name in pair}  # of no use as a mean


class Ruler:
    """Metrics by name, one recogniser of words, and a cache of what was found."""

    def __init__(self, names: Iterable[str], cache: MetricCache | None = None, whisper: str = "") -> None:
        """Chooses what is measured.

        Args:
            names: out of :data:`METRICS`.
            cache: of findings; without one they are kept in memory.
            whisper: the recogniser of words, see :func:`load_whisper`.

        Raises:
            ConfigError: a name is unknown, its package is not installed, or there is no such recogniser.
        """
        self.names = tuple(names)
        check_names(self.names)
        for line in missing(self.names).values():
            raise ConfigError(line)
        self._cache = cache or MetricCache(IN_MEMORY)
        self._whisper = whisper
        if whisper and "wer" in self.names:
            load_whisper(whisper)  # refused now, if at all

    def measure(self, original: Original, decoded: Wave) -> Figures:
        """The figures of ``decoded[T]``, at the original's rate, once its delay and gain are taken out.

        A figure that cannot be had of these sounds is NaN; an utterance without a transcript has no word errors. Where
        a metric does not compare with the original, the original's own figure stands beside, as ``..._original``.

        Args:
            original: to compare with.
            decoded: of any length and level.
        """
        found = self._findings(original, decoded, self.names)
        own_names = [name for name in self.names if METRICS[name].of_original]
        own = self._findings(original, original.wave, own_names)
        figures = {name: value for name, value in found.items() if isinstance(value, float)}
        figures |= {f"{name}_original": value for name, value in own.items() if isinstance(value, float)}
        if HEARD in found and original.transcript.strip():
            figures |= _word_figures(original.transcript, str(found[HEARD]), str(own[HEARD]))
        return figures

    def _findings(self, original: Original, decoded: Wave, names: Sequence[str]) -> Finding:
        sounds = checksum(original.wave, decoded)
        keys = {name: self._key(name, original.sample_rate_hz, sounds) for name in names}
        kept = {name: self._cache.find(key) for name, key in keys.items()}
        missing = [name for name, finding in kept.items() if finding is None]
        aligned = align(original.wave, decoded, original.sample_rate_hz) if missing else decoded
        for name in missing:
            finding = METRICS[name].measure(original, aligned, self._whisper)
            self._cache.keep(keys[name], finding)
            kept[name] = finding
        return {figure: value for finding in kept.values() for figure, value in (finding or {}).items()}

    def _key(self, name: str, sample_rate_hz: int, sounds: str) -> str:
        metric = METRICS[name]
        versions = [f"{package} {_version(package)}" for package in metric.distributions]
        words = [
            name,
            str(metric.revision),
            *versions,
            str(sample_rate_hz),
            sounds,
            self._whisper if name == "wer" else "",
        ]
        return hashlib.sha256("\0".join(words).encode()).hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _word_figures(transcript: str, heard: str, heard_of_original: str) -> Figures:
    errors, own = word_errors(transcript, heard), word_errors(transcript, heard_of_original)
    figures = {"word_errors": errors.errors, "word_errors_original": own.errors, "words": errors.words}
    rates = {name: figures[part] / figures[whole] for name, (part, whole) in POOLED.items() if figures[whole]}
    return {name: float(value) for name, value in (figures | rates).items()}


def summary(utterances: Sequence[Figures]) -> dict[str, Mean]:
    """Mean and interval of each figure that any of the utterances has; word error rates are pooled."""
    names = dict.fromkeys(name for figures in utterances for name in figures)
    return {name: _mean(utterances, name) for name in names if name not in _PARTS}


def difference(ones: Sequence[Figures], others: Sequence[Figures], name: str) -> Mean:
    """How much more of the figure ``name`` the same utterances have in ``ones`` than in ``others``, pair by pair."""
    part, whole = POOLED.get(name, (name, ""))
    differences = _column(ones, part) - _column(others, part)
    return bootstrap_rate(differences, _column(ones, whole)) if whole else bootstrap_mean(differences)


def _mean(utterances: Sequence[Figures], name: str) -> Mean:
    if name in POOLED:
        return bootstrap_rate(*(_column(utterances, part) for part in POOLED[name]))
    return bootstrap_mean(_column(utterances, name))


def _column(utterances: Sequence[Figures], name: str) -> npt.NDArray[np.float64]:
    return np.array([figures.get(name, np.nan) for figures in utterances], float)
