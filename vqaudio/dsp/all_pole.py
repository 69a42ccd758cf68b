"""The vocal-tract filter as an all-pole filter, and the excitation that drives it.

Speech is an excitation, noise or a train of pulses, through the filter of the vocal tract (Fant 1960). A WaveNet that
draws the excitation alone (Song, Byun, Kang 2019, "ExcitNet") starts where the filter already speaks.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ORDER = 24  # of the linear prediction
RANGE = 16.0  # the excitation is coded from -RANGE to RANGE times its expected size
_BINS = 257  # of the spectrum that the filter is fitted to
_LAG_HZ = 30.0  # the lag window's bandwidth, which keeps the filter's poles off the unit circle
_NOISE_FLOOR = 1e-5
_RAYLEIGH = math.pi / 4  # squared mean over mean square of the magnitude of Gaussian noise


class Filter(NamedTuple):
    """An all-pole filter a frame: ``coefficients[B, frames, ORDER]`` of the past, and the excitation's ``gain``
    ``[B, frames]``: ``x[t] = gain * e[t] - sum_k coefficients[k] * x[t - 1 - k]``."""

    coefficients: Tensor
    gain: Tensor


class Envelope(nn.Module):
    """Log-mel magnitudes to the filter of the pre-emphasised signal, through its autocorrelation (Levinson, Durbin)."""

    to_spectrum: Tensor
    band_width: Tensor
    shape: Tensor
    lag_window: Tensor

    def __init__(self, sample_rate_hz: int, n_fft: int, n_mels: int, pre_emphasis: float) -> None:
        super().__init__()
        from torchaudio.functional import melscale_fbanks

        with torch.device("cpu"):  # also where a model is built on the meta device, to be looked at
            bank = melscale_fbanks(n_fft // 2 + 1, 0.0, sample_rate_hz / 2, n_mels, sample_rate_hz).double()
            width = bank.sum(0).clamp(min=1e-3)
            centre = (bank * torch.arange(len(bank))[:, None]).sum(0) / width / (len(bank) - 1)
            place = torch.linspace(0, 1, _BINS, dtype=torch.float64)
            upper = torch.searchsorted(centre, place).clamp(1, n_mels - 1)
            share = ((place - centre[upper - 1]) / (centre[upper] - centre[upper - 1])).clamp(0, 1)
            matrix = torch.zeros(_BINS, n_mels, dtype=torch.float64)
            rows = torch.arange(_BINS)
            matrix[rows, upper - 1] = 1 - share
            matrix[rows, upper] += share
            response = 1 - pre_emphasis * torch.exp(-1j * math.pi * place)
            window_power = 3 / 8 * n_fft  # of a Hann window
            lags = torch.arange(ORDER + 1) * (2 * math.pi * _LAG_HZ / sample_rate_hz)
        for name, value in {
            "to_spectrum": matrix,
            "band_width": width.log()[:, None],
            "shape": (response.abs().square() / (window_power * _RAYLEIGH))[:, None],
            "lag_window": torch.exp(-0.5 * lags.square())[:, None],
        }.items():
            self.register_buffer(name, value.float(), persistent=False)

    @torch.no_grad()
    def forward(self, log_mel: Tensor) -> Filter:
        """``log_mel[B, n_mels, frames]`` (natural log of magnitudes) to the :class:`Filter` of each frame."""
        with torch.autocast(log_mel.device.type, enabled=False):
            power = (self.to_spectrum @ (log_mel.float() - self.band_width)).mul(2).exp() * self.shape
            lags = torch.fft.irfft(power, dim=1)[:, : ORDER + 1] * self.lag_window
        error = lags[:, 0] * (1 + _NOISE_FLOOR) + 1e-10
        taps = torch.zeros_like(lags[:, :1])
        taps = torch.cat([torch.ones_like(taps), taps.expand(-1, ORDER, -1)], dim=1)
        for order in range(1, ORDER + 1):
            reflection = -(taps[:, :order] * lags[:, 1 : order + 1].flip(1)).sum(1) / error
            taps[:, : order + 1] = taps[:, : order + 1] + reflection[:, None] * taps[:, : order + 1].flip(1)
            error = error * (1 - reflection.square())
        return Filter(taps[:, 1:].transpose(1, 2).contiguous(), error.sqrt())


def excitation(wave: Tensor, filters: Filter) -> Tensor:
    """What the ``filters`` must be driven with to say ``wave[B, T]``; T is a multiple of the number of frames."""
    frames = filters.gain.shape[1]
    hop = wave.shape[1] // frames
    past = F.pad(wave, (ORDER, 0)).unfold(1, hop + ORDER, hop).unfold(2, ORDER + 1, 1)  # [B, frames, hop, ORDER + 1]
    taps = torch.cat([filters.coefficients.flip(2), torch.ones_like(filters.gain)[..., None]], dim=2)
    driven = torch.einsum("bfhk,bfk->bfh", past, taps) / filters.gain[..., None]
    return driven.flatten(1)
