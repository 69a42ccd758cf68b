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


@torch.inference_mode()
def keeping_semitones(
    model: SpeechModel, wave: Floats, sample_rate_hz: int, tokens: Codes, voice: Voice | None
) -> float:
    """The semitones, -24 to 24, by which the pitch that ``tokens[n]`` have in ``voice`` lies below that of ``wave[T]``.

    Medians over the voiced frames of both.

    Raises:
        ConfigError: the model makes no sound of speech parameters.
        SoundError: there is no voice in the recording, or in what is made of it.
    """
    if not isinstance(model, VocoderVQVAE):
        raise ConfigError("the pitch cannot be kept: this model's decoder draws the wave; leave it out")
    rate_hz, device = model.config.sample_rate_hz, model.device
    own = torch.from_numpy(resample(wave[None], sample_rate_hz, rate_hz)[:, : round(LONGEST_S * rate_hz)])
    target = pitch.pitch_target(own, rate_hz, _HOP)
    heard = pitch.read_pitch((target + 1e-9).log())
    kept = tokens[: -(-own.shape[1] // model.samples_per_token) // model.num_quantizers * model.num_quantizers]
    who = None if voice is None else torch.from_numpy(voice)[None].to(device)
    features = model.features(torch.from_numpy(kept.astype(np.int64))[None].to(device), who)
    made = model.parameters_of(features).pitch
    if not (bool(heard.voiced.any()) and bool(made.voiced.any())):
        raise SoundError("there is no voice whose pitch could be kept; leave --pitch out")
    ratio = float(heard.hz[heard.voiced].median()) / float(made.hz[made.voiced].median())
    return float(np.clip(12 * np.log2(ratio), -24, 24))
