"""Pitch by autocorrelation (Boersma 1993): how periodic a sound is, which pitch it has, what a network says of it."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vqaudio.dsp.pitch_scale import FAINTEST as _FAINTEST
from vqaudio.dsp.pitch_scale import HIGHEST_HARMONIC_HZ as _HIGHEST_HARMONIC_HZ
from vqaudio.dsp.pitch_scale import HIGHEST_HZ as HIGHEST_HZ
from vqaudio.dsp.pitch_scale import LOWEST_HZ as LOWEST_HZ
from vqaudio.dsp.pitch_scale import NEAR as _NEAR
from vqaudio.dsp.pitch_scale import OCTAVE_COST as _OCTAVE_COST
from vqaudio.dsp.pitch_scale import PITCH_WINDOW as PITCH_WINDOW
from vqaudio.dsp.pitch_scale import PITCHES as PITCHES
from vqaudio.dsp.pitch_scale import VOICED as _VOICED
from vqaudio.dsp.pitch_scale import scale_hz


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
    """The pitch that ``logits[B, PITCHES + 1, frames]`` mean: the mean, in the log, of what is near the likeliest.

    In double precision: a voice's phase adds up what is wrong in its pitch.
    """
    logits = logits.double()
    voiced = logits.softmax(1)[:, -1] < 0.5
    shares = logits[:, :-1].softmax(1)
    peak = shares.argmax(1, keepdim=True)
    near = (torch.arange(PITCHES, device=logits.device)[:, None] - peak).abs() <= _NEAR
    shares = shares * near
    scale = torch.from_numpy(scale_hz()).to(logits.device).log()[:, None]
    hz = ((shares * scale).sum(1) / shares.sum(1)).exp()
    return Pitch(hz.float(), voiced)
