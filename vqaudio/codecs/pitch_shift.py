"""By how much a voice's pitch must be moved to be that of a recording: for singing, which must stay in tune."""

import numpy as np
import torch

from vqaudio.arrays import Floats
from vqaudio.bitstream.entropy import Codes
from vqaudio.codecs.speakers import Voice
from vqaudio.dsp import pitch
from vqaudio.errors import ConfigError, SoundError
from vqaudio.io.resample import resample
from vqaudio.models.speech_model import SpeechModel
from vqaudio.models.vocoder_vqvae import VocoderVQVAE

LONGEST_S = 60.0  # of a recording, that is listened to
_HOP = 256


def check_movable(model: SpeechModel) -> None:
    """Raises ``ConfigError`` for a model that makes no sound of speech parameters."""
    if not isinstance(model, VocoderVQVAE):
        why = "this model's decoder draws the wave; leave them out"
        raise ConfigError(f"pitch and formants cannot be moved, and the pitch cannot be kept: {why}")


class PitchKeeper:
    """The pitch of a recording, and by how much a voice must be moved to keep it; medians over the voiced frames."""

    @torch.inference_mode()
    def __init__(self, model: SpeechModel, wave: Floats, sample_rate_hz: int, tokens: Codes) -> None:
        """``tokens[n]`` are those of ``wave[T]``, of which the first minute is listened to.

        Raises:
            ConfigError: the model makes no sound of speech parameters.
            SoundError: there is no voice in the recording.
        """
        check_movable(model)
        assert isinstance(model, VocoderVQVAE)
        rate_hz, quantizers = model.config.sample_rate_hz, model.num_quantizers
        own = torch.from_numpy(resample(wave[None], sample_rate_hz, rate_hz)[:, : round(LONGEST_S * rate_hz)])
        heard = pitch.read_pitch((pitch.pitch_target(own, rate_hz, _HOP) + 1e-9).log())
        kept = tokens[: -(-own.shape[1] // model.samples_per_token) // quantizers * quantizers]
        self._model, self._tokens = model, torch.from_numpy(kept.astype(np.int64))[None].to(model.device)
        self._hz = _median_hz(heard)

    @torch.inference_mode()
    def semitones(self, voice: Voice | None) -> float:
        """How far, -24 to 24, what ``voice`` makes of the tokens lies below the recording.

        Raises:
            SoundError: there is no voice in what is made of it.
        """
        who = None if voice is None else torch.from_numpy(voice)[None].to(self._model.device)
        made = self._model.parameters_of(self._model.features(self._tokens, who)).pitch
        return float(np.clip(12 * np.log2(self._hz / _median_hz(made)), -24, 24))


def _median_hz(found: pitch.Pitch) -> float:
    if not bool(found.voiced.any()):
        raise SoundError("there is no voice whose pitch could be kept; leave --pitch out")
    return float(found.hz[found.voiced].median())
