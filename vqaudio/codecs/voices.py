"""What a codec of sounds knows of voices: those with names, and those that recordings let hear."""

import functools
from pathlib import Path

import numpy.typing as npt

from vqaudio.codecs.base import BaseCodec
from vqaudio.codecs.encoding import WaveSound, mixed
from vqaudio.codecs.speakers import Voice, named_voice, speaker_embedding
from vqaudio.codecs.voice_file import load_voice, save_voice
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

    def voice_of(self, wave: npt.ArrayLike, sample_rate_hz: int) -> Voice:
        """The voice in a recording (floats ``[T]`` or ``[channels, T]``) of anybody, for :meth:`decode` to speak with.

        Of several recordings of one person, take the mean of their voices.

        Raises:
            SoundError: the array is no sound, too short, silent, or no speech.
            ModelError: the model knows no speakers.
        """
        sound = WaveSound(wave, sample_rate_hz)
        return speaker_embedding(self.model, mixed(sound), sound.sample_rate_hz)

    def save_voice(self, path: str | Path, voice: Voice, *, overwrite: bool = False) -> None:
        """Keeps a voice out of :meth:`voice_of` in a file; see :func:`vqaudio.codecs.voice_file.save_voice`."""
        save_voice(Path(path), voice, self._weights_sha256, overwrite)

    def load_voice(self, path: str | Path) -> Voice:
        """The voice in a file that :meth:`save_voice` wrote; ``ModelError`` where it is none, or of another model."""
        return load_voice(Path(path), self._weights_sha256)

    def check_speaker(self, speaker: str | Voice | None) -> Voice | None:
        """The voice that ``speaker`` stands for; ``ModelError`` where :meth:`decode` would refuse it."""
        if isinstance(speaker, str):
            return named_voice(self.model, speaker)
        if (speaker is None) != bool(self.model.config.speakers):
            return speaker
        if speaker is not None:
            raise ModelError("the model knows no speakers: leave the speaker out, or give a model that does")
        some = ", ".join(self.model.config.speakers[:3])
        raise ModelError(f"the model must be told who speaks: give a speaker (such as {some}) or a recording of one")
