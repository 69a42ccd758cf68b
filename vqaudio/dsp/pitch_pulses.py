"""Where a recording's pitch pulses lie: the phase of its pitch period, locked to its excitation."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vqaudio.arrays import Doubles, Integers, Mask
from vqaudio.kernels.long_term_predictor import period_lags
from vqaudio.kernels.pulses import best_path, pitch_phase, pulse_bands

_WINDOW = 400  # samples around a frame
_HARMONICS = 24
_PLACES = 64  # in a period, where its pulse is looked for
_WIDEST_MOVE = 3  # of these places a frame
_LOUDEST = 3.0  # beyond, a sample of the excitation counts no more


class LockedPhase(NamedTuple):
    """``phase[T]``, periods passed up to each sample, whole where the recording's pulses lie; which samples are
    ``voiced[T]``; and the ``polarity``, 1 or -1, that times the excitation gives pulses upwards."""

    phase: Doubles
    voiced: Mask
    polarity: float


class LockedPulses(NamedTuple):
    """The pulses' ``bands[T / 4, 4]``, the ``lags[T / 4]`` in samples from each step to an earlier period (0: none),
    and the ``polarity`` that times the excitation gives pulses upwards."""

    bands: Tensor
    lags: Doubles
    polarity: float


def locked_phase(driven: Tensor, f0_hz: Tensor, sample_rate_hz: int) -> LockedPhase:
    """The phase of the pitch ``f0_hz[frames]`` (0: no voice), locked to the excitation ``driven[T]``.

    A pulse lies where the harmonics of the excitation agree, in a window around each frame. Dynamic programming keeps
    the pulses from jumping; the polarity is the one whose pulses agree better over all voiced frames.
    """
    hop = len(driven) // len(f0_hz)
    f0 = f0_hz.float().cpu().numpy()
    free_phase, voiced = pitch_phase(f0, hop, sample_rate_hz)
    agreement = _agreement(driven.float(), torch.from_numpy(free_phase).to(driven.device), hop)
    score = agreement.double().cpu().numpy() * (f0 > 0)[:, None]
    polarity = 1.0 if score.max(1).sum() >= (-score).max(1).sum() else -1.0
    score = polarity * score
    path = best_path(score, f0 <= 0, _WIDEST_MOVE)
    places = (path + _between_places(score, path)) / _PLACES
    moves = np.remainder(np.diff(places, prepend=places[:1]) + 0.5, 1) - 0.5
    offset = places[:1] + np.cumsum(moves)
    late = np.interp(np.arange(len(free_phase)) / hop, np.arange(len(offset)), offset)
    return LockedPhase(free_phase - late, voiced, polarity)


def locked_pulses(driven: Tensor, f0_hz: Tensor, sample_rate_hz: int) -> LockedPulses:
    """The pulses of :func:`locked_phase`; T is a multiple of 4."""
    locked = locked_phase(driven, f0_hz, sample_rate_hz)
    bands = torch.from_numpy(pulse_bands(locked.phase, locked.voiced)).to(driven.device)
    return LockedPulses(bands, period_lags(locked.phase, locked.voiced), locked.polarity)


def _agreement(driven: Tensor, phase: Tensor, hop: int) -> Tensor:
    """How large a pulse of ``driven[T]`` lies at each place of the period around each frame: ``[frames, _PLACES]``."""
    turn = torch.exp(-2j * math.pi * phase.remainder(1.0)).to(torch.complex64)
    window = torch.hann_window(_WINDOW, device=driven.device)[None, None]
    shift = torch.arange(_PLACES, device=driven.device) / _PLACES
    carried = driven.clamp(-_LOUDEST, _LOUDEST).to(torch.complex64)
    frames, half = len(driven) // hop, _WINDOW // 2
    total = torch.zeros(frames, _PLACES, device=driven.device)
    for harmonic in range(1, _HARMONICS + 1):
        carried = carried * turn
        padded = F.pad(torch.view_as_real(carried).T[:, None], (half, half))
        summed = F.conv1d(padded, window, stride=hop)[:, 0, :frames]
        harmonics = torch.complex(summed[0], summed[1])
        total += (harmonics[:, None] * torch.exp(2j * math.pi * harmonic * shift)).real
    return total


def _between_places(score: Doubles, path: Integers) -> Doubles:
    """How far from each frame's place on the ``path[frames]`` the parabola through its neighbours has its peak."""
    left, middle, right = (np.take_along_axis(score, (path[:, None] + step) % _PLACES, 1)[:, 0] for step in (-1, 0, 1))
    bend = np.minimum(left - 2 * middle + right, -1e-6)
    return np.asarray(np.clip(0.5 * (left - right) / bend, -0.5, 0.5))
