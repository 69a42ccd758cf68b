"""What a codec of sounds knows of voices: those with names, and those that recordings let hear."""

import functools
from pathlib import Path

import numpy.typing as npt

from vqaudio.bitstream.header import Coder
from vqaudio.codecs.base import BaseCodec
from vqaudio.codecs.encoding import WaveSound, beginning, mixed
from vqaudio.codecs.pitch_shift import LONGEST_S, PitchKeeper, check_movable
from vqaudio.codecs.speakers import Voice, check_name, named_voice, speaker_embedding
from vqaudio.codecs.voice_change import changes_voices, check_vector
from vqaudio.codecs.voice_file import load_table, load_voice, save_voice
from vqaudio.errors import ModelError
from vqaudio.models.folder import whole_sha256
from vqaudio.models.sound_model import SoundModel


class VoiceCodec(BaseCodec):
    """A codec whose decoder may have to be told who speaks."""

    model: SoundModel

    def __init__(self, model: SoundModel, fingerprint: bytes, folder: Path | None = None) -> None:
        """``folder`` is the model's, where it has one."""
        self.model = model.frozen()
        self.fingerprint = fingerprint
        self._folder = folder

    @functools.cached_property
    def _weights_sha256(self) -> bytes:
        """The name of the whole model, the decoder included, to which voices belong."""
        return self.fingerprint if self._folder is None else whole_sha256(self._folder)

    @functools.cached_property
    def speakers(self) -> tuple[str, ...]:
        """The names of those whom ``decode`` can be told to speak as."""
        return self.model.config.speakers or tuple(self._table)

    def voice_of(self, wave: npt.ArrayLike, sample_rate_hz: int) -> Voice:
        """The voice in a recording (floats ``[T]`` or ``[channels, T]``) of anybody, for :meth:`decode` to speak with.

        Of several recordings of one person, take the mean of their voices.

        Raises:
            SoundError: the array is no sound, too short, silent, or no speech.
            ModelError: the model knows no speakers, and its codes do not say who speaks.
        """
        sound = WaveSound(wave, sample_rate_hz)
        return speaker_embedding(self.model, mixed(sound), sound.sample_rate_hz)

    def save_voice(self, path: str | Path, voice: Voice, *, overwrite: bool = False) -> None:
        """Keeps a voice out of :meth:`voice_of` in a file; see :func:`vqaudio.codecs.voice_file.save_voice`."""
        save_voice(Path(path), voice, self._weights_sha256, overwrite)

    def load_voice(self, path: str | Path) -> Voice:
        """The voice in a file that :meth:`save_voice` wrote; ``ModelError`` where it is none, or of another model."""
        return load_voice(Path(path), self._weights_sha256)

    def _named(self, speaker: str) -> Voice:
        if not changes_voices(self.model):
            return named_voice(self.model, speaker)
        check_name(self.speakers, speaker)
        check_vector(self.model, self._table[speaker])
        return self._table[speaker]

    @functools.cached_property
    def _table(self) -> dict[str, Voice]:
        """The voices with names that lie beside the weights."""
        return load_table(self._folder) if self._folder else {}

    def check_speaker(self, speaker: str | Voice | None) -> Voice | None:
        """The voice that ``speaker`` stands for; ``ModelError`` where :meth:`decode` would refuse it."""
        if isinstance(speaker, str):
            return self._named(speaker)
        if speaker is not None and changes_voices(self.model):
            check_vector(self.model, speaker)
            return speaker
        if (speaker is None) != bool(self.model.config.speakers):
            return speaker
        if speaker is not None:
            raise ModelError("the model knows no speakers: leave the speaker out, or give a model that does")
        some = ", ".join(self.model.config.speakers[:3])
        raise ModelError(f"the model must be told who speaks: give a speaker (such as {some}) or a recording of one")

    def pitch_keeper(self, wave: npt.ArrayLike, sample_rate_hz: int) -> PitchKeeper:
        """The pitch of ``wave``, to be kept by voices; see :class:`vqaudio.codecs.pitch_shift.PitchKeeper`."""
        check_movable(self.model)  # before any work
        own = beginning(WaveSound(wave, sample_rate_hz), LONGEST_S)
        tokens = self.encode(own, sample_rate_hz, coder=Coder.PACKED).tokens[0]
        return PitchKeeper(self.model, own, sample_rate_hz, tokens)

    def keeping_semitones(self, wave: npt.ArrayLike, sample_rate_hz: int, speaker: str | Voice | None) -> float:
        """By how many semitones ``speaker`` must be moved (``pitch_semitones``) to keep the pitch of ``wave``."""
        return self.pitch_keeper(wave, sample_rate_hz).semitones(self.check_speaker(speaker))
