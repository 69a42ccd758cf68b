"""The same words in another voice or through another channel, for models to learn from.

Choi et al. 2021 (NANSY, arXiv 2110.14513), section 3.1, train on such voices so that what a network makes of speech
does not tell who speaks. Here a phase vocoder moves the pitch, and the smooth spectral envelope (the formants), which
moves along with it, is put where it is wanted. A random equaliser (their section 3.1, too) stands for other microphones
and rooms.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_N_FFT = 1024
_HOP = 256
_ENVELOPE_S = 0.0018  # of the cepstrum: what repeats slower is pitch
_GROUPS = 4  # rows of a batch that share a voice; the first group's is left as it is
_MOST_GAIN = 8.0
_RIPPLES = 4  # of an equaliser's response, from half a period to two over the mel scale


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


class Equaliser:
    """Smooth filters without a phase, one for each of ``rows`` sounds, whose log power response over the mel scale is
    random, with a deviation of ``decibels``."""

    def __init__(self, rows: int, decibels: float, sample_rate_hz: int, device: torch.device) -> None:
        self.sample_rate_hz = sample_rate_hz
        nepers = decibels * math.log(10) / 10
        self._weights = nepers * math.sqrt(2 / _RIPPLES) * torch.randn(rows, _RIPPLES, device=device)

    def response(self, hz: Tensor) -> Tensor:
        """The natural log of the filters' power at the frequencies ``hz[N]``: ``[rows, N]``."""
        place = torch.log1p(hz / 700) / math.log1p(self.sample_rate_hz / 1400)
        ripples = torch.arange(1, _RIPPLES + 1, device=hz.device)
        return self._weights @ torch.cos(math.pi * ripples[:, None] * place).to(self._weights)

    def __call__(self, wave: Tensor) -> Tensor:
        """``wave[rows, T]``, filtered."""
        padded = F.pad(wave, (0, _N_FFT))  # a filter that is short reaches round the ends by little
        spectrum = torch.fft.rfft(padded)
        hz = torch.linspace(0, self.sample_rate_hz / 2, spectrum.shape[1], device=wave.device)
        return torch.fft.irfft(spectrum * (self.response(hz) / 2).exp(), padded.shape[1])[:, : wave.shape[1]]


@torch.no_grad()
def augment_voice(
    wave: Tensor,
    sample_rate_hz: int,
    pitch_semitones: float,
    formant_semitones: float,
    equaliser_db: float = 0.0,
    own_voice: bool = True,
) -> Tensor:
    """``wave[B, T]`` in voices drawn at random, pitch and formants up to the given semitones up or down, and each row
    through an equaliser of about ``equaliser_db``.

    With ``own_voice`` a quarter of the rows keeps its voice; each other quarter has another one.
    """
    with torch.autocast(wave.device.type, enabled=False):
        parts = []
        for index, rows in enumerate(wave.chunk(_GROUPS)):
            pitch, formants = (2 * torch.rand(2) - 1).tolist()
            ratios = 2 ** (pitch * pitch_semitones / 12), 2 ** (formants * formant_semitones / 12)
            parts.append(rows if own_voice and not index else change_voice(rows, sample_rate_hz, *ratios))
        heard = torch.cat(parts)
        return Equaliser(len(wave), equaliser_db, sample_rate_hz, wave.device)(heard) if equaliser_db else heard
