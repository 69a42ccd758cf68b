"""The phase of the pitch: how far into its period each sample is, and where in speech the pulses lie."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_HARMONICS = 8
_LOCK_WINDOW = 640
_PLACES = 128  # in a period, where its pulse is looked for


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


def phase_index(phase: Tensor, voiced: Tensor, kinds: int) -> Tensor:
    """The phase indices ``[B, T]`` of samples at ``phase[B, T]``, in periods: 0 to ``kinds - 1``.

    An index tells how much of its period has passed; the last tells that there is no voice, by ``voiced[B, frames]``.
    """
    shares = kinds - 1
    index = (phase.remainder(1.0) * shares).long().clamp(0, shares - 1)
    hop = phase.shape[1] // voiced.shape[1]
    return torch.where(voiced.repeat_interleave(hop, dim=1), index, shares)
