"""Log-mel spectra of waves: torch tensors, time on the last axis."""

import functools
from typing import cast

import torch
from torch import Tensor, nn

MEL_FLOOR = 1e-3  # below it all is silence: the log is never less than -6.9


@functools.lru_cache(maxsize=8)
def _mel(sample_rate_hz: int, n_fft: int, hop_length: int, n_mels: int, device: torch.device) -> nn.Module:
    from torchaudio.transforms import MelSpectrogram

    # power=1 is the magnitude; center=False because log_mel places the frames itself.
    kind = {"n_fft": n_fft, "hop_length": hop_length, "n_mels": n_mels, "power": 1.0, "center": False}
    with torch.inference_mode(False):  # it is kept, and what is made in that mode no gradient may pass
        return cast(nn.Module, MelSpectrogram(sample_rate_hz, **kind)).to(device)


def log_mel(wave: Tensor, sample_rate_hz: int, n_fft: int, hop_length: int, n_mels: int) -> Tensor:
    """Log-mel magnitudes ``[B, n_mels, T // hop_length]`` of ``[B, T]``: ``log(max(mel, MEL_FLOOR))``, natural log.

    Frame ``i`` is centred on sample ``i * hop_length + hop_length // 2``, the middle of token ``i``'s own samples.
    Beyond its ends the wave is silent.
    """
    frames = wave.shape[-1] // hop_length
    if frames == 0:
        return wave.new_zeros(len(wave), n_mels, 0)
    before = n_fft // 2 - hop_length // 2
    after = (frames - 1) * hop_length + n_fft - before - wave.shape[-1]
    mel: Tensor = _mel(sample_rate_hz, n_fft, hop_length, n_mels, wave.device)(nn.functional.pad(wave, (before, after)))
    return mel.clamp(min=MEL_FLOOR).log()
