"""How much of what makes speech intelligible a prediction keeps: a loss term between spectral envelopes.

Words are heard by how the power in each third of an octave goes up and down over a few hundred milliseconds. Short-time
objective intelligibility (Taal et al. 2011, equations 1 to 5) measures the correlation of these envelopes; here it is
that of predicted and true mel bands, without the clipping, so that a model can learn from it.
"""

import functools

import numpy as np
import torch
from torch import Tensor

from vqaudio.dsp.mel_envelope import band_centres

_LOWEST_HZ, _THIRDS = 150.0, 15
_SEGMENT_S = 0.384
_OVERLAP = 4  # segments that a frame is in
_RANGE = 1e-4  # of the loudest segment's power in a band: below it, nobody hears a correlation


@functools.lru_cache(maxsize=8)
def _thirds(bands: int, sample_rate_hz: int) -> Tensor:
    """``[thirds, bands]``: how much of the power in a third of an octave is that of each band."""
    centres = band_centres(bands, sample_rate_hz)
    widths = np.gradient(centres)
    edges = _LOWEST_HZ * 2 ** ((np.arange(_THIRDS + 1) - 0.5) / 3)
    low, high = centres - widths / 2, centres + widths / 2
    shared = np.minimum(high, edges[1:, None]) - np.maximum(low, edges[:-1, None])
    kept = shared.clip(min=0)
    return torch.from_numpy(kept[kept.sum(1) > 0]).float()


def envelope_decorrelation(predicted: Tensor, target: Tensor, sample_rate_hz: int, frame_length: int) -> Tensor:
    """1 less the mean correlation of the envelopes of ``predicted[B, bands, frames]`` and ``target``, log power in mel
    bands every ``frame_length`` samples: a scalar, 0 where they rise and fall alike, 1 where they have nothing in
    common. Segments of 384 ms count, in the bands where there is sound; 0 for what is shorter."""
    length = round(_SEGMENT_S * sample_rate_hz / frame_length)
    if predicted.shape[2] < length:
        return predicted.new_zeros(())
    mix = _thirds(predicted.shape[1], sample_rate_hz).to(predicted.device)
    with torch.autocast(predicted.device.type, enabled=False):
        powers = [mix @ bands.float().clamp(max=10.0).exp() for bands in (predicted, target)]
        segments = [power.add(1e-12).sqrt().unfold(2, length, max(1, length // _OVERLAP)) for power in powers]
        loudness = segments[1].square().mean(3)
        counts = loudness > _RANGE * loudness.amax((0, 2), keepdim=True)
        ours, theirs = (segment - segment.mean(3, keepdim=True) for segment in segments)
        norms = ours.square().sum(3) * theirs.square().sum(3)
        correlation = (ours * theirs).sum(3) / norms.add(1e-14).sqrt()
        return 1 - (correlation * counts).sum() / counts.sum().clamp(min=1)
