"""The utterances that a report lets one hear. Sounds are WAV, which any browser plays and winds; pictures are PNG."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from vqaudio.evaluation.metrics import Figures, align, pitch_hz
from vqaudio.evaluation.report.listening import REFERENCE, ListeningCase
from vqaudio.evaluation.report.pictures import pitch_svg, spectrogram, token_strip
from vqaudio.evaluation.report.sounds import wav
from vqaudio.evaluation.speech import Utterance, Wave


@dataclass(frozen=True)
class Exhibit:
    """A sound to hear and to see."""

    label: str
    wav: bytes
    spectrogram: bytes
    pitch_contour: str


@dataclass(frozen=True)
class Case:
    """One utterance: its sounds side by side, the tokens between them, and its figures."""

    name: str
    group: str
    speaker: str
    transcript: str
    duration_s: float
    exhibits: tuple[Exhibit, ...]
    tokens: int
    token_strip: bytes
    figures: Figures


@dataclass
class Gallery:
    """Takes the first ``count`` utterances of each group that :meth:`watch` is shown.

    ``more`` gives further sounds of an utterance by what they are called, such as its words in other voices.
    ``blind`` has the sounds for listening tests: in time with the original and of its level.
    """

    count: int
    more: Callable[[Utterance], dict[str, Wave]] = lambda utterance: {}
    cases: list[Case] = field(default_factory=list)
    blind: list[ListeningCase] = field(default_factory=list)
    _taken: Counter[str] = field(default_factory=Counter)

    def watch(self, utterance: Utterance) -> None:
        """Keeps the utterance, if there is room for its group."""
        recording = utterance.recording
        if self._taken[recording.group] >= self.count:
            return
        self._taken[recording.group] += 1
        rate_hz, wave = utterance.original.sample_rate_hz, utterance.original.wave
        sounds = {REFERENCE: wave, "decoded": utterance.decoded} | self.more(utterance)
        self.cases.append(
            Case(
                name=utterance.name,
                group=recording.group,
                speaker=recording.speaker,
                transcript=recording.transcript,
                duration_s=len(wave) / rate_hz,
                exhibits=tuple(_exhibit(label, sound, rate_hz) for label, sound in sounds.items()),
                tokens=utterance.stream.tokens.shape[1],
                token_strip=token_strip(utterance.stream.tokens[0]),
                figures=utterance.figures,
            )
        )
        aligned = {label: align(wave, sound, rate_hz) for label, sound in sounds.items() if label != REFERENCE}
        self.blind.append(ListeningCase(utterance.name, rate_hz, {REFERENCE: wave, **aligned}))


def _exhibit(label: str, sound: Wave, rate_hz: int) -> Exhibit:
    return Exhibit(label, wav(sound, rate_hz), spectrogram(sound, rate_hz), pitch_svg(pitch_hz(sound, rate_hz)))
