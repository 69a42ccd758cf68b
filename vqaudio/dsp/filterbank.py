"""Analysis and synthesis by the filter bank of four bands, in batches; see :mod:`vqaudio.kernels.filterbank`."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vqaudio.kernels.filterbank import BANDS, DELAY, analysis_filters, synthesis_filters


def analyse(wave: Tensor) -> Tensor:
    """``wave[B, T]`` to its bands ``[B, T / BANDS, BANDS]``; beyond its ends the wave is taken to be 0.

    Step n stands at sample ``BANDS * n``. T is a multiple of :data:`BANDS`.
    """
    filters = torch.from_numpy(analysis_filters()).to(wave)
    padded = F.pad(wave[:, None], (DELAY, DELAY - BANDS + 1))
    return F.conv1d(padded, filters.flip(1)[:, None], stride=BANDS).transpose(1, 2)


def synthesise(bands: Tensor) -> Tensor:
    """The wave ``[B, BANDS * steps]`` of ``bands[B, steps, BANDS]``: the inverse of :func:`analyse`, to 60 dB."""
    filters = torch.from_numpy(synthesis_filters()).to(bands)
    wave = F.conv_transpose1d(bands.transpose(1, 2), filters[:, None], stride=BANDS)[:, 0]
    return F.pad(wave, (0, BANDS))[:, DELAY : DELAY + BANDS * bands.shape[1]]
