"""By how much a voice's pitch must be moved to be that of a recording: for singing, which must stay in tune."""

import numpy as np

from vqaudio.arrays import Floats, Mask
from vqaudio.bitstream.entropy import Codes
from vqaudio.codecs.segments import one_thread
from vqaudio.codecs.speakers import Voice
from vqaudio.codecs.tokens import TokenRange
from vqaudio.codecs.voice_change import change_of, changes_voices
from vqaudio.dsp.hearing import heard_pitch
from vqaudio.errors import ConfigError, SoundError
from vqaudio.io.resample import resample
from vqaudio.models.sound_model import ParameterModel, SoundModel

LONGEST_S = 60.0  # of a recording, that is listened to
_HOP = 256


def check_movable(model: SoundModel) -> None:
    """Raises ``ConfigError`` for a model that makes no sound of speech parameters."""
    if not isinstance(model, ParameterModel):
        why = "this model's decoder draws the wave; leave them out"
        raise ConfigError(f"pitch and formants cannot be moved, and the pitch cannot be kept: {why}")


class PitchKeeper:
    """The pitch of a recording, and by how much a voice must be moved to keep it; medians over the voiced frames."""

    def __init__(self, model: SoundModel, wave: Floats, sample_rate_hz: int, tokens: Codes) -> None:
        """``tokens[n]`` are those of ``wave[T]``, of which the first minute is listened to.

        Raises:
            ConfigError: the model makes no sound of speech parameters.
            SoundError: there is no voice in the recording.
        """
        check_movable(model)
        assert isinstance(model, ParameterModel)
        rate_hz, quantizers = model.config.sample_rate_hz, model.num_quantizers
        own = resample(wave[None], sample_rate_hz, rate_hz)[0, : round(LONGEST_S * rate_hz)]
        kept = tokens[: -(-len(own) // model.samples_per_token) // quantizers * quantizers]
        self._model, self._tokens = model, kept
        self._hz = _median_hz(*heard_pitch(own, rate_hz, _HOP))

    def semitones(self, voice: Voice | None) -> float:
        """How far, -24 to 24, what ``voice`` makes of the tokens lies below the recording.

        Raises:
            SoundError: there is no voice in what is made of it.
        """
        change = None
        if voice is not None and changes_voices(self._model):
            _, change = change_of(self._model, [TokenRange.whole(self._tokens[None])], voice)
            voice = None
        with one_thread():
            said = self._model.speak(self._tokens.astype(np.int64), voice)
        f0_hz = (said if change is None else change(said)).f0_hz
        return float(np.clip(12 * np.log2(self._hz / _median_hz(f0_hz, f0_hz > 0)), -24, 24))


def _median_hz(hz: Floats, voiced: Mask) -> float:
    if not voiced.any():
        raise SoundError("there is no voice whose pitch could be kept; leave --pitch out")
    ordered = np.sort(hz[voiced])
    return float(ordered[(len(ordered) - 1) // 2])
