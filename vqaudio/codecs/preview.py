"""What training shows of a model of sounds: a crop before and after coding."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from vqaudio.arrays import Floats
from vqaudio.codecs.decoding import synthesize
from vqaudio.codecs.sampling import Sampling
from vqaudio.codecs.tokens import TokenRange
from vqaudio.dsp import mel
from vqaudio.models.speech_model import SpeechModel

_N_FFT, _N_MELS = 1024, 80  # of the spectra that are shown


class Preview(NamedTuple):
    """``sounds`` -1..1 ``[T]`` and ``pictures`` 0..1 ``[height, width]``, by name."""

    sounds: dict[str, Floats]
    pictures: dict[str, Floats]
    sample_rate_hz: int


def _array(tensor: torch.Tensor) -> Floats:
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())


@torch.no_grad()
def preview(model: SpeechModel, batch: Mapping[str, torch.Tensor], seconds: float) -> Preview:
    """The first crop of ``batch``, at most ``seconds`` of it, before and after coding, with their log-mel spectra.

    The draw is the same at each call. ``batch`` is that of the model's ``loss``.
    """
    rate_hz, vector = model.config.sample_rate_hz, model.config.encoder.hop_length
    samples = max(1, min(batch["wave"].shape[1], int(seconds * rate_hz)) // vector) * vector
    wave, speaker = batch["wave"][:1, :samples], batch["speaker"][:1]
    codes, voice = model.encode(wave).cpu().numpy().astype(np.int32), model.voice(speaker)
    how = Sampling(0, model.config.temperature, exact=True, voice=None if voice is None else _array(voice[0]))
    decoded = np.concatenate(list(synthesize(model, codes.shape[1], 1, [TokenRange(codes, codes < 0)], how)), axis=1)[0]
    sounds = {"original": _array(wave[0]), "decoded": decoded}
    pictures = {name: _picture(sound, rate_hz, model.config.frame_length) for name, sound in sounds.items()}
    return Preview({name: sound.clip(-1, 1) for name, sound in sounds.items()}, pictures, rate_hz)


def _picture(sound: Floats, sample_rate_hz: int, hop_length: int) -> Floats:
    spectrum = mel.log_mel(torch.from_numpy(sound)[None], sample_rate_hz, _N_FFT, hop_length, _N_MELS)[0].flip(0)
    floor = math.log(mel.MEL_FLOOR)
    return _array(((spectrum - floor) / (math.log(_N_FFT / 4) - floor)).clamp(0, 1))
