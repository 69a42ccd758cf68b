"""A voice fitted to a recording, for models that draw the wave.

The voice of someone else is found where the speakers' vectors live: the codes of a reference recording are held, and
the vector moved until the spectra that the model predicts from both are those of the recording. Neither the codes nor
the network change.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vqaudio.arrays import Floats
from vqaudio.codecs.speakers import Voice, prepared
from vqaudio.models.sound_model import SoundModel
from vqaudio.models.speech_vqvae import AudioVQVAE

_STEPS = 300
_RATE = 0.05
_PITCH_WEIGHT = 0.1
_CANDIDATES = 16  # speakers tried at once


def fit_speaker_embedding(model: SoundModel, wave: Floats, sample_rate_hz: int) -> Voice:
    """The voice in a recording, of someone the model need never have heard.

    Starts from the most alike of the model's speakers and takes a fixed number of gradient steps on the error of what
    is predicted, log-mel spectra and pitch, a few seconds of work for each of the recording. The same recording gives
    the same voice.

    Args and errors are those of :func:`vqaudio.codecs.speakers.speaker_embedding`.
    """
    assert isinstance(model, AudioVQVAE) and model.speakers is not None
    own = torch.from_numpy(prepared(model, wave, sample_rate_hz))[None].to(model.device)
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
