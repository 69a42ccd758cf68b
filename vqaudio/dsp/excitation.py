"""What drives the minimum-phase filter of a recording: its excitation.

The minimum-phase filter of an envelope has a minimum-phase inverse, that of the negative log spectrum. As the synthesis
does, the inverse filters the past of a frame and cross-fades the outputs of neighbouring frames. Frame i stands at
sample ``hop_length * i``.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vqaudio.dsp import filterbank
from vqaudio.dsp.mel_envelope import TAPS, mel_bands
from vqaudio.dsp.pitch_pulses import locked_pulses
from vqaudio.kernels.long_term_predictor import lagged_bands

LIMIT = 20.0  # to which the excitation is cut

_RUMBLE_HZ = 30.0


def log_magnitude(log_power: Tensor, sample_rate_hz: int) -> Tensor:
    """Log power of mel bands ``[..., bands]`` to natural-log magnitudes ``[..., TAPS + 1]``, in straight lines."""
    interpolation = torch.from_numpy(mel_bands(log_power.shape[-1], sample_rate_hz).interpolation)
    return 0.5 * log_power @ interpolation.T.to(log_power)


def minimum_phase(log_magnitudes: Tensor) -> Tensor:
    """Minimum-phase impulse responses ``[..., TAPS]`` of ``log_magnitudes[..., TAPS + 1]``, in batches; else as
    :class:`vqaudio.dsp.mel_envelope.MinimumPhase`'s."""
    cepstrum = torch.fft.irfft(log_magnitudes, n=2 * TAPS)
    fold = torch.zeros(2 * TAPS, dtype=cepstrum.dtype, device=cepstrum.device)
    fold[0] = fold[TAPS] = 1
    fold[1:TAPS] = 2
    return torch.fft.irfft(torch.fft.rfft(cepstrum * fold).exp(), n=2 * TAPS)[..., :TAPS]


def filter_frames(wave: Tensor, responses: Tensor) -> Tensor:
    """``wave[B, frames * hop_length]`` through ``responses[B, frames, TAPS]``, a frame's each, in batches.

    A frame's response filters the past; between frames the two outputs are cross-faded by a raised cosine.
    """
    frames = responses.shape[1]
    hop = wave.shape[1] // frames
    parts = F.pad(wave, (TAPS + hop, hop)).unfold(1, TAPS + 2 * hop, hop)[:, :frames]
    length = TAPS + 2 * hop + -(TAPS + 2 * hop) % 256  # what wraps around falls onto the first TAPS samples
    spectra = torch.fft.rfft(parts, n=length) * torch.fft.rfft(responses, n=length)
    filtered = torch.fft.irfft(spectra, n=length)[..., TAPS : TAPS + 2 * hop]
    faded = filtered * torch.hann_window(2 * hop, dtype=wave.dtype, device=wave.device)
    before, after = faded[..., :hop], faded[..., hop:]  # each frame's own sample is the first after
    return (after + F.pad(before[:, 1:], (0, 0, 0, 1))).flatten(1)


def excitation(wave: Tensor, log_power: Tensor, sample_rate_hz: int) -> Tensor:
    """What drives the minimum-phase filter of ``log_power[B, bands, frames]`` (natural log) to give ``wave[B, T]``.

    ``[B, T]``, power about one; T is a multiple of the number of frames. The inverse is exact but where the filters
    change: of speech, the synthesis gives the wave back to some 15 dB. (A second pass over what is missed gives more
    at most places, but bursts at onsets.) What lies below all voices is left out: the envelope does not tell of it.
    """
    inverse = minimum_phase(-log_magnitude(log_power.transpose(1, 2), sample_rate_hz))
    return filter_frames(_without_rumble(wave, sample_rate_hz), inverse).clamp(-LIMIT, LIMIT)


def _without_rumble(wave: Tensor, sample_rate_hz: int) -> Tensor:
    """``wave[B, T]`` without what is below :data:`_RUMBLE_HZ`; up to twice that it rises to what it was."""
    spectrum = torch.fft.rfft(wave)
    hz = torch.linspace(0, sample_rate_hz / 2, spectrum.shape[-1], dtype=wave.dtype, device=wave.device)
    return torch.fft.irfft(spectrum * (hz / _RUMBLE_HZ - 1).clamp(0, 1), n=wave.shape[-1])


class Targets(NamedTuple):
    """Bands ``[B, T / 4, 4]``: of the ``excitation``, its pulses upwards, of the excitation ``lagged`` by a whole
    number of pitch periods, and of the locked ``pulses``."""

    excitation: Tensor
    lagged: Tensor
    pulses: Tensor


@torch.no_grad()
def training_targets(wave: Tensor, log_power: Tensor, f0_hz: Tensor, sample_rate_hz: int = 16000) -> Targets:
    """What a sub-band WaveNet learns to draw, and what it is told of periods and pulses: of whole utterances.

    Args:
        wave: ``[B, T]``, T a multiple of the number of frames and of 4.
        log_power: ``[B, bands, frames]``, natural log of the envelope's power in mel bands, as coded.
        f0_hz: ``[B, frames]``, 0 where there is no voice.
        sample_rate_hz: of ``wave``.
    """
    driven = excitation(wave, log_power, sample_rate_hz)
    locked = [locked_pulses(row, pitch, sample_rate_hz) for row, pitch in zip(driven, f0_hz, strict=True)]
    polarity = torch.tensor([row.polarity for row in locked], device=driven.device)
    pulses = torch.stack([row.bands for row in locked])
    bands = filterbank.analyse(driven * polarity[:, None])
    lagged = [lagged_bands(own.cpu().numpy(), row.lags) for own, row in zip(bands, locked, strict=True)]
    return Targets(bands, torch.from_numpy(np.stack(lagged)).to(bands), pulses)
