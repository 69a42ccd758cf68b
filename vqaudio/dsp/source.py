"""Source and filter: what the decoder need not learn of speech.

Speech is an excitation, noise or a train of pulses, through the filter of the vocal filters (Fant 1960). The codes tell
the spectrum and the pitch; out of them come here the filter, by linear prediction, and where the pulses lie. A WaveNet
that draws the excitation alone (Song, Byun, Kang 2019, "ExcitNet") starts where the filter already speaks, and one that
is told how far into its period each sample is need not find the pitch by itself.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ORDER = 24  # of the linear prediction
RANGE = 16.0  # the excitation is coded from -RANGE to RANGE times its expected size
PITCHES = 64  # on a scale of equal ratios
LOWEST_HZ, HIGHEST_HZ = 60.0, 400.0
PITCH_WINDOW = 1024  # samples in which periods are looked for

_BINS = 257  # of the spectrum that the filter is fitted to
_LAG_HZ = 30.0  # the lag window's bandwidth, which keeps the filter's poles off the unit circle
_NOISE_FLOOR = 1e-5
_RAYLEIGH = math.pi / 4  # squared mean over mean square of the magnitude of Gaussian noise
_VOICED = 0.45  # autocorrelation from which on a frame is voiced
_OCTAVE_COST = 0.02
_FAINTEST = 1e-4  # energy in a window beside which a sound counts as periodic
_HIGHEST_HARMONIC_HZ = 2500.0
_HARMONICS = 8
_LOCK_WINDOW = 640
_PLACES = 128  # in a period, where its pulse is looked for


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


# -------------------------------------------------------------------------------------------------------------- pitch


def pitch_scale(device: torch.device) -> Tensor:
    """Hz of each of the pitches, ``[PITCHES]``."""
    return LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ) ** ((torch.arange(PITCHES, device=device) + 0.5) / PITCHES)


class _Correlation(NamedTuple):
    """``relative[B, frames, lags]``, 1 at lag 0 but for the quiet, and the ``energy[B, frames]`` of the windows."""

    relative: Tensor
    energy: Tensor


def _autocorrelation(wave: Tensor, sample_rate_hz: int, hop_length: int, floor: float) -> _Correlation:
    """Of ``wave[B, T]`` below 2.5 kHz, around each of ``T / hop_length`` frames, the window's own divided out."""
    frames = wave.shape[1] // hop_length
    before = PITCH_WINDOW // 2 - hop_length // 2
    cut = F.pad(wave.float(), (before, PITCH_WINDOW)).unfold(1, PITCH_WINDOW, hop_length)[:, :frames]
    window = torch.hann_window(PITCH_WINDOW, device=wave.device)
    low = round(_HIGHEST_HARMONIC_HZ / sample_rate_hz * 2 * PITCH_WINDOW)
    lags = math.ceil(sample_rate_hz / LOWEST_HZ) + 2

    def correlation(windowed: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(windowed, 2 * PITCH_WINDOW)[..., :low].abs().square()
        return torch.fft.irfft(spectrum, 2 * PITCH_WINDOW)[..., :lags]

    own, shape = correlation((cut - cut.mean(-1, keepdim=True)) * window), correlation(window)
    return _Correlation(own / (own[..., :1] + floor) / (shape / shape[0]), own[..., 0])


@torch.no_grad()
def periodicity(wave: Tensor, sample_rate_hz: int, hop_length: int) -> Tensor:
    """How periodic ``wave[B, T]`` is at each pitch, about -1 to 1: ``[B, PITCHES, T / hop_length]``."""
    with torch.autocast(wave.device.type, enabled=False):
        relative = _autocorrelation(wave, sample_rate_hz, hop_length, _FAINTEST).relative
    lag = sample_rate_hz / pitch_scale(wave.device)
    lower = lag.long()
    share = lag - lower
    return (relative[..., lower] * (1 - share) + relative[..., lower + 1] * share).transpose(1, 2)


@torch.no_grad()
def pitch_target(wave: Tensor, sample_rate_hz: int, hop_length: int) -> Tensor:
    """The pitch of ``wave[B, T]``, heard by autocorrelation (Boersma 1993): ``[B, PITCHES + 1, T / hop_length]``.

    A frame's numbers add up to 1: the last is 1 where there is no voice, else the two nearest pitches share it.
    """
    relative, energy = _autocorrelation(wave, sample_rate_hz, hop_length, 1e-9)
    first, last = math.floor(sample_rate_hz / HIGHEST_HZ), math.ceil(sample_rate_hz / LOWEST_HZ)
    lags = torch.arange(first, last + 1, device=wave.device)
    score = relative[..., first : last + 1] - _OCTAVE_COST * torch.log2(lags / first)
    best = score.argmax(-1)
    lag = best + first
    left, middle, right = (relative.gather(-1, (lag + step)[..., None])[..., 0] for step in (-1, 0, 1))
    bend = (left - 2 * middle + right).clamp(max=-1e-6)
    exact = lag + (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
    loud = energy > 1e-3 * energy.amax(1, keepdim=True)
    voiced = (middle > _VOICED) & loud
    place = PITCHES * torch.log(sample_rate_hz / exact / LOWEST_HZ) / math.log(HIGHEST_HZ / LOWEST_HZ) - 0.5
    place = place.clamp(0, PITCHES - 1.001)
    lower = place.long()
    target = torch.zeros(*place.shape, PITCHES + 1, device=wave.device)
    target.scatter_(-1, lower[..., None], (1 - (place - lower))[..., None])
    target.scatter_(-1, lower[..., None] + 1, (place - lower)[..., None])
    silent = F.one_hot(torch.full_like(lower, PITCHES), PITCHES + 1).float()
    return torch.where(voiced[..., None], target, silent).transpose(1, 2)


class Pitch(NamedTuple):
    """``hz[B, frames]``, also where there is no voice, and the frames that are ``voiced[B, frames]``."""

    hz: Tensor
    voiced: Tensor


@torch.no_grad()
def read_pitch(logits: Tensor) -> Pitch:
    """The pitch that ``logits[B, PITCHES + 1, frames]`` mean: the mean, in the log, of what is near the likeliest."""
    logits = logits.float()
    voiced = logits.softmax(1)[:, -1] < 0.5
    shares = logits[:, :-1].softmax(1)
    peak = shares.argmax(1, keepdim=True)
    near = (torch.arange(PITCHES, device=logits.device)[:, None] - peak).abs() <= 2
    shares = shares * near
    scale = pitch_scale(logits.device).log()[:, None]
    hz = ((shares * scale).sum(1) / shares.sum(1)).exp()
    return Pitch(hz, voiced)


def periods(hz: Tensor, sample_rate_hz: int, hop_length: int) -> Tensor:
    """The phase of each sample, in periods, ``[B, frames * hop_length]`` in float64, at the pitch ``hz[B, frames]``."""
    return (hz.double() / sample_rate_hz).repeat_interleave(hop_length, dim=1).cumsum(1)


def locked(phase: Tensor, driven: Tensor, hop_length: int) -> Tensor:
    """``phase[B, T]`` moved so that each period begins with a pulse of the excitation ``driven[B, T]``
    (what is beyond -1..1 counts as 1).

    The pulses' place in the period is where the excitation's lowest harmonics agree, in a window around each frame.
    """
    turn = torch.exp(-2j * math.pi * phase.remainder(1.0)).to(torch.complex64)
    window = torch.hann_window(_LOCK_WINDOW, device=driven.device)
    before = _LOCK_WINDOW // 2 - hop_length // 2
    shift = torch.arange(_PLACES, device=driven.device) / _PLACES
    carried, total = driven.clamp(-1, 1).to(torch.complex64), torch.zeros((), device=driven.device)
    frames = driven.shape[1] // hop_length
    for harmonic in range(1, _HARMONICS + 1):
        carried = carried * turn
        padded = F.pad(torch.view_as_real(carried).movedim(-1, 1), (before, _LOCK_WINDOW))
        summed = F.conv1d(padded.flatten(0, 1)[:, None], window[None, None], stride=hop_length)[:, 0, :frames]
        harmonics = torch.view_as_complex(summed.unflatten(0, (-1, 2)).movedim(1, -1).contiguous())
        total = total + harmonics[..., None] * torch.exp(2j * math.pi * harmonic * shift)
    place = total.abs().argmax(-1) / _PLACES
    step = (place[:, 1:] - place[:, :-1] + 0.5).remainder(1.0) - 0.5
    smooth = torch.cat([place[:, :1], place[:, :1] + step.cumsum(1)], dim=1)
    between = F.interpolate(smooth[:, None], scale_factor=hop_length, mode="linear")[:, 0]
    return phase - between


def marks(phase: Tensor, voiced: Tensor, kinds: int) -> Tensor:
    """The phase indices ``[B, T]`` of samples at ``phase[B, T]``, in periods: 0 to ``kinds - 1``.

    An index tells how much of its period has passed; the last tells that there is no voice, by ``voiced[B, frames]``.
    """
    phases = kinds - 1
    index = (phase.remainder(1.0) * phases).long().clamp(0, phases - 1)
    hop = phase.shape[1] // voiced.shape[1]
    return torch.where(voiced.repeat_interleave(hop, dim=1), index, phases)
