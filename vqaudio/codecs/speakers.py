"""Who speaks: the vector of a voice, by a speaker's name or from a recording of anybody (VQ-VAE, section 4.2).

A model with speakers keeps one vector for each, which every block of its conditioning stack hears. The voice of someone
else is found where such vectors live: the codes of a reference recording are held, and the vector moved until the
spectra that the model predicts from both are those of the recording. Neither the codes nor the network change.
"""

import difflib

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from vqaudio.codecs.segments import one_thread
from vqaudio.dsp.loudness import measure_level
from vqaudio.dsp.speech_check import speech_problem
from vqaudio.errors import ModelError, SoundError
from vqaudio.io.resample import StreamingResampler
from vqaudio.models.speech_config import SpeechModelConfig
from vqaudio.models.speech_model import SpeechModel
from vqaudio.models.speech_vqvae import AudioVQVAE
from vqaudio.models.vocoder_vqvae import VocoderVQVAE

Voice = npt.NDArray[np.float32]  # a vector [V]

SHORTEST_S = 1.0
LONGEST_S = 12.0  # of a reference, which is then learnt in under a minute on two cores
_STEPS = 300
_RATE = 0.05
_PITCH_WEIGHT = 0.1
_NEAR_NAMES = 3
_CANDIDATES = 16  # speakers tried at once


def check_name(config: SpeechModelConfig, speaker: str) -> int:
    """The number of a speaker of the model with this configuration.

    Raises:
        ModelError: the model knows no speakers, or not this one; the message lists the names that are near.
    """
    names = config.speakers
    if not names:
        raise ModelError("the model knows no speakers: leave the speaker out, or give a model that does")
    if speaker not in names:
        near = difflib.get_close_matches(speaker, names, _NEAR_NAMES, 0.4) or names[:_NEAR_NAMES]
        raise ModelError(
            f"{speaker!r} is none of the model's {len(names)} speakers and no sound file; near: {', '.join(near)}"
        )
    return names.index(speaker)


def named_voice(model: SpeechModel, speaker: str) -> Voice:
    """The voice of one of the model's speakers; ``ModelError`` as :func:`check_name`."""
    number = check_name(model.config, speaker)
    assert model.speakers is not None
    return np.ascontiguousarray(model.speakers.weight[number].detach().float().cpu().numpy())


def speaker_embedding(model: SpeechModel, wave: npt.NDArray[np.float32], sample_rate_hz: int) -> Voice:
    """The voice in a recording of anybody: heard at once where the model has an encoder of speakers, else fitted.

    Args and errors are those of :func:`fit_speaker_embedding`.
    """
    if not isinstance(model, VocoderVQVAE) or model.speaker_encoder is None:
        return fit_speaker_embedding(model, wave, sample_rate_hz)
    with torch.inference_mode(), one_thread():
        return model.speaker_encoder(_prepared(model, wave, sample_rate_hz))[0].cpu().numpy()


def fit_speaker_embedding(model: SpeechModel, wave: npt.NDArray[np.float32], sample_rate_hz: int) -> Voice:
    """The voice in a recording, of someone the model need never have heard.

    Starts from the most alike of the model's speakers and takes a fixed number of gradient steps on the error of what
    is predicted, log-mel spectra and pitch, a few seconds of work for each of the recording. The same recording gives
    the same voice.

    Args:
        model: one with speakers.
        wave: ``[T]`` of one person's speech, 1 s or more; what lies beyond 12 s is left out.
        sample_rate_hz: of the wave.

    Raises:
        ModelError: the model knows no speakers.
        SoundError: the recording is too short, silent, or no speech.
    """
    if model.speakers is None:
        raise ModelError("the model knows no speakers, so it cannot take on a voice: give one that does")
    if not isinstance(model, AudioVQVAE):
        raise ModelError(f"a voice cannot be fitted to a model of kind {model.config.kind!r}: give a speaker's name")
    own = _prepared(model, wave, sample_rate_hz)
    with torch.no_grad():
        codes = model.encode(own)
        misfit = _Misfit(model, codes, own)
        voice = model.speakers.weight[_most_alike(misfit, model.speakers.weight)].detach().clone()
    with torch.enable_grad(), torch.inference_mode(False):
        voice = voice[None].requires_grad_()
        optimizer = torch.optim.Adam([voice], lr=_RATE)
        for _ in range(_STEPS):
            optimizer.zero_grad()
            (voice.grad,) = torch.autograd.grad(misfit(voice)[0], voice)
            optimizer.step()
    return np.ascontiguousarray(voice[0].detach().float().cpu().numpy())


def _prepared(model: SpeechModel, wave: npt.NDArray[np.float32], sample_rate_hz: int) -> Tensor:
    """``[1, T]`` at the model's rate and level, a whole number of tokens."""
    resampler = StreamingResampler(sample_rate_hz, model.config.sample_rate_hz)
    own = np.concatenate([resampler.push(wave[None]), resampler.flush()], axis=1)
    own = own[:, : round(LONGEST_S * model.config.sample_rate_hz)]
    (level,) = measure_level([own], model.config.sample_rate_hz, 1)
    if own.shape[1] < SHORTEST_S * model.config.sample_rate_hz or level.rms == 0:
        length_s = len(wave) / sample_rate_hz
        raise SoundError(f"{length_s:.1f} s with too little speech to learn a voice from; give some seconds of speech")
    if problem := speech_problem(own[0], model.config.sample_rate_hz):
        raise SoundError(f"no speech to learn a voice from: {problem}; give some seconds of one person's speech")
    whole = own.shape[1] - own.shape[1] % model.config.encoder.hop_length
    device = model.device
    return torch.from_numpy(own[:, :whole] * np.float32(level.gain)).to(device)


class _Misfit:
    """How far what a model predicts from ``codes[1, tokens]`` in a voice is from a recording ``[1, T]``: the error of
    the spectra and, where the model tells the pitch, its cross entropy, weighed as in training."""

    def __init__(self, model: AudioVQVAE, codes: Tensor, wave: Tensor) -> None:
        self._model, self._codes = model, codes
        self._spectra, self._pitch = model.mel_target(wave), model.pitch_target(wave)

    def __call__(self, voices: Tensor) -> Tensor:
        """``[B]``, one for each of ``voices[B, V]``."""
        features = self._model.features(self._codes.expand(len(voices), -1), voices)
        error = (self._model.mel_head(features) - self._spectra).abs().mean((1, 2))
        if self._pitch is None or self._model.pitch_head is None:
            return error
        pitch = self._pitch.expand(len(voices), -1, -1)
        nats = F.cross_entropy(self._model.pitch_head(features), pitch, reduction="none")
        return error + _PITCH_WEIGHT * nats.mean(1)


def _most_alike(misfit: _Misfit, every: Tensor) -> int:
    """Which of the voices ``every[speakers, V]`` fits best."""
    errors = []
    for voices in every.split(_CANDIDATES):
        errors += misfit(voices).tolist()
    return int(np.argmin(errors))
