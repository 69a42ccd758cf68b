"""Who is to speak, as the command line names them, and the work of ``vqaudio convert``."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vqaudio.cli.console import Report
from vqaudio.cli.inputs import expanded, sound_suffixes
from vqaudio.cli.jobs import DecodeRequest, convert_open, tell_of
from vqaudio.cli.paths import STANDARD, Job, check_targets, plan, standard_input
from vqaudio.errors import SoundError

VOICE_SUFFIX = ".voice"
CONVERTED = "the voice was converted by vqaudio; this is no recording of whoever it sounds like"

if TYPE_CHECKING:
    from vqaudio.codecs.speakers import Voice
    from vqaudio.codecs.speech import Codec

_FEW_S = 3  # below which a recording tells little of a voice


class Voices:
    """Voices by a speaker's name, by a file that keeps one, or by a sound file, which may take a while: each once."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._learnt: dict[tuple[str, bytes], Voice] = {}

    def of(self, codec: "Codec", speaker: str | None) -> "str | Voice | None":
        """What ``codec`` is to be told: the name itself where it is one, or no file, else the voice in the file.

        Raises:
            ModelError: the model knows no speakers.
            SoundError: the file cannot be read, or there is too little speech in it to learn a voice from.
        """
        if speaker is None or speaker in codec.speakers or not os.path.isfile(speaker):
            return speaker
        if speaker.endswith(VOICE_SUFFIX):
            return codec.load_voice(speaker)
        key = (os.path.realpath(speaker), codec.fingerprint)
        if key not in self._learnt:
            self._report.note(f"taking on the voice in {speaker}: only with the consent of whoever it is")
            self._learnt[key] = voice_in(codec, speaker, self._report)
        return self._learnt[key]


def voice_in(codec: "Codec", path: str, report: Report) -> "Voice":
    """The voice in a sound file; ``SoundError`` where there is too little speech in it, or none."""
    from vqaudio.codecs.encoding import mixed
    from vqaudio.io.sound import SoundReader

    with SoundReader(path) as sound:
        try:
            wave = mixed(sound)
            voice = codec.voice_of(wave, sound.sample_rate_hz)
            if len(wave) < _FEW_S * sound.sample_rate_hz:
                seconds = len(wave) / sound.sample_rate_hz
                report.note(f"{path}: {seconds:.1f} s are little to know a voice by; {_FEW_S} s and more are better")
            return voice
        except SoundError as error:
            raise SoundError(f"{path}: {error}") from None


def check_speakers(model: str, speakers: list[str]) -> None:
    """Raises ``ModelError``, before the model is loaded, for a speaker that is neither a name of its nor a file."""
    from vqaudio.codecs.bundled import model_folder
    from vqaudio.codecs.speakers import check_name
    from vqaudio.codecs.voice_file import speaker_names
    from vqaudio.models.config import SpeechModelConfig
    from vqaudio.models.folder import read_config

    folder = model_folder(model)
    config = read_config(folder)
    for speaker in speakers:
        if isinstance(config, SpeechModelConfig) and not os.path.isfile(speaker):
            check_name(speaker_names(folder, config), speaker)


@dataclass(frozen=True)
class Conversion:
    """One input, and for each speaker (a name or a sound file) where the result goes."""

    source: str
    targets: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """The input, as messages call it."""
        return Job(self.source, "").name


def plan_conversions(inputs: list[str], speakers: list[str], output: str | None) -> list[Conversion]:
    """Which result goes where; raises ``typer.BadParameter`` where that is not clear.

    With one input and one speaker ``output`` may be a file; else it is a folder. A result that it does not name is
    called as its input and its speaker, beside the input or in the folder.
    """
    speakers = list(dict.fromkeys(speakers))
    several = len(speakers) > 1
    if several and (output == STANDARD or (output is None and STANDARD in inputs)):
        raise typer.BadParameter("several speakers do not fit into standard output: give a folder with -o")
    folder = os.path.join(output, "") if several and output is not None else output
    found = expanded(inputs, sound_suffixes())
    jobs = {speaker: plan(found, folder, _ending(speaker)) for speaker in speakers}
    check_targets([job for row in jobs.values() for job in row])
    return [
        Conversion(source, tuple((speaker, row[place].target) for speaker, row in jobs.items()))
        for place, source in enumerate(found.sources)
    ]


def _ending(speaker: str) -> Callable[[str], str]:
    ending = f"-{Path(speaker).stem}.wav"
    return lambda source: ending


def semitones_of(word: str) -> float:
    """By how much --pitch moves the pitch, before it is known which to keep; ``typer.BadParameter`` where that is
    unclear."""
    if word in ("auto", "keep"):
        return 0.0
    try:
        return float(word)
    except ValueError:
        raise typer.BadParameter(f"--pitch {word!r} is not valid: give auto, keep, or a number of semitones") from None


def convert_one(
    codec: "Codec", conversion: Conversion, request: DecodeRequest, keep_pitch: bool, voices: Voices, report: Report
) -> None:
    """Encodes a sound once and speaks it with each voice; a result that fails does not keep the others from being made.

    The tokens go through a temporary file, so that memory does not grow with the length. With ``keep_pitch`` the pitch
    of the result is moved to that of the input.
    """
    from vqaudio.bitstream.header import Coder
    from vqaudio.codecs.encoding import beginning
    from vqaudio.codecs.files import OpenStream
    from vqaudio.codecs.pitch_shift import LONGEST_S
    from vqaudio.io.sound import SoundReader, spool

    name = conversion.name
    with tempfile.TemporaryFile() as tokens:
        with (
            spool(standard_input()) if conversion.source == STANDARD else SoundReader(conversion.source) as sound,
            report.progress(name) as progress,
        ):
            codec.encode_file(sound, tokens, coder=Coder.PACKED, progress=progress)
            keeper = codec.pitch_keeper(beginning(sound, LONGEST_S), sound.sample_rate_hz) if keep_pitch else None
        tell_of(sound, name, report)
        for speaker, target in conversion.targets:
            with report.guard(target if len(conversion.targets) > 1 else name):
                tokens.seek(0)
                job, voice = Job(conversion.source, target), voices.of(codec, speaker)
                asked = request
                if keeper is not None:
                    asked = replace(request, pitch=keeper.semitones(codec.check_speaker(voice)))
                convert_open(codec, OpenStream(tokens), job, asked, voice, report)
