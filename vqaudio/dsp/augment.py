"""Another voice that says the same, for the encoder to learn from: pitch and formants moved, words and timing kept.

Choi et al. 2021 (NANSY, arXiv 2110.14513), section 3.1, train on such voices so that what a network makes of speech
does not tell who speaks. Here a phase vocoder moves the pitch, and the smooth spectral envelope (the formants), which
moves along with it, is put where it is wanted.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

_N_FFT = 1024
_HOP = 256
_ENVELOPE_S = 0.0018  # of the cepstrum: what repeats slower is pitch
_GROUPS = 4  # rows of a batch that share a voice; the first group's is left as it is
_MOST_GAIN = 8.0


def _stft(wave: Tensor) -> Tensor:
    return torch.stft(wave, _N_FFT, _HOP, window=torch.hann_window(_N_FFT, device=wave.device), return_complex=True)


def _istft(spectrum: Tensor, length: int) -> Tensor:
    window = torch.hann_window(_N_FFT, device=spectrum.device)
    return torch.istft(spectrum, _N_FFT, _HOP, window=window, length=length)


def _envelope(spectrum: Tensor, sample_rate_hz: int) -> Tensor:
    """The log magnitude ``[B, bins, frames]`` without its fine structure: the cepstrum's beginning alone."""
    cepstrum = torch.fft.irfft((spectrum.abs() + 1e-4).log(), dim=1)
    kept = max(2, round(_ENVELOPE_S * sample_rate_hz))
    cepstrum[:, kept : _N_FFT - kept + 1] = 0
    return torch.fft.rfft(cepstrum, dim=1).real


def _moved(envelope: Tensor, ratio: float) -> Tensor:
    """An envelope ``[B, bins, frames]`` with its features at ``ratio`` times their frequencies."""
    bins = envelope.shape[1]
    place = (torch.arange(bins, device=envelope.device) / ratio).clamp(max=bins - 1)
    low = place.floor().long()
    weight = (place - low)[:, None]
    return envelope[:, low] * (1 - weight) + envelope[:, (low + 1).clamp(max=bins - 1)] * weight


def change_voice(wave: Tensor, sample_rate_hz: int, pitch: float, formants: float) -> Tensor:
    """``wave[B, T]`` with its pitch and its formants at ``pitch`` and ``formants`` times their frequencies.

    Both are ratios, 0.5 to 2. The timing is kept; T should be at least 1,024 samples.
    """
    from torchaudio.functional import phase_vocoder

    spectrum = _stft(wave)
    advance = torch.linspace(0, torch.pi * _HOP, _N_FFT // 2 + 1, device=wave.device)[:, None]
    stretched = _istft(phase_vocoder(spectrum, 1 / pitch, advance), round(wave.shape[1] * pitch))
    raised = _stft(F.interpolate(stretched[:, None], size=wave.shape[1], mode="linear")[:, 0])
    wanted = _moved(_envelope(spectrum, sample_rate_hz), formants)
    gain = (wanted - _envelope(raised, sample_rate_hz)).exp().clamp(max=_MOST_GAIN)
    return _istft(raised * gain, wave.shape[1])


@torch.no_grad()
def augment_voice(wave: Tensor, sample_rate_hz: int, pitch_semitones: float, formant_semitones: float) -> Tensor:
    """``wave[B, T]`` in voices drawn at random, pitch and formants up to the given semitones up or down.

    A quarter of the rows keeps its voice, each other quarter has another one.
    """
    with torch.autocast(wave.device.type, enabled=False):
        parts = []
        for index, rows in enumerate(wave.chunk(_GROUPS)):
            pitch, formants = (2 * torch.rand(2) - 1).tolist()
            ratios = 2 ** (pitch * pitch_semitones / 12), 2 ** (formants * formant_semitones / 12)
            parts.append(change_voice(rows, sample_rate_hz, *ratios) if index else rows)
    return torch.cat(parts)
