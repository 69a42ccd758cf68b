"""The encoder of sounds: strided convolutions on the wave, or on its spectrum, and dilated residual blocks.

VQ-VAE (arXiv 1711.00937), section 4.2.
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqaudio.dsp import pitch
from vqaudio.dsp.mel import log_mel
from vqaudio.models.reach import looks_ahead
from vqaudio.models.speech_config import ENCODER_GAIN, HEARD_FLOOR, HEARD_MEAN, HEARD_SCALE, EncoderConfig


def keep_scale(conv: nn.Conv1d) -> nn.Conv1d:
    """He initialisation: a ReLU stack that shrinks its input gives every sound the same code, and never recovers."""
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


class ResidualBlock(nn.Module):
    """ReLU, dilated convolution of kernel 3, ReLU, convolution of kernel 1, added to the input.

    It looks ``ahead`` steps ahead, 0 to ``dilation``, and back by the rest of twice the ``dilation``.
    """

    def __init__(self, channels: int, dilation: int, ahead: int) -> None:
        super().__init__()
        even = ahead == dilation
        self.dilated = keep_scale(nn.Conv1d(channels, channels, 3, padding=dilation if even else 0, dilation=dilation))
        self.pointwise = nn.Conv1d(channels, channels, 1)
        self.uneven = None if even else (2 * dilation - ahead, ahead)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, T]`` to the same shape."""
        # in place, because fresh memory takes as long as the arithmetic; here and below
        heard = torch.relu(x) if self.uneven is None else F.pad(torch.relu(x), self.uneven)
        return x + self.pointwise(torch.relu_(self.dilated(heard)))


def begin_at_zero(blocks: nn.ModuleList) -> None:
    """Makes residual blocks begin by adding nothing."""
    for block in blocks:
        assert isinstance(block, ResidualBlock)
        for value in block.pointwise.parameters():
            nn.init.zeros_(value)


class AudioEncoder(nn.Module):
    """``z_e(x)``: a waveform ``[B, T]`` to vectors ``[B, D, T / hop_length]``; T must be a multiple of the hop.

    Each vector has mean 0 and variance 1: with its scale held, the encoder can neither shrink away from the codebook
    nor outrun it.
    """

    def __init__(self, config: EncoderConfig, code_dim: int, sample_rate_hz: int) -> None:
        super().__init__()
        self.config, self.sample_rate_hz = config, sample_rate_hz
        spectra = [mel for mel in (config.spectrum, config.fine_spectrum) if mel]
        widths = (sum(mel.n_mels for mel in spectra) if spectra else 1, *config.channels)
        self.strided = nn.ModuleList(
            keep_scale(nn.Conv1d(narrow, wide, 2 * stride, stride=stride, padding=stride // 2))
            for (narrow, wide), stride in zip(itertools.pairwise(widths), config.steps, strict=True)
        )
        self.period_hop = config.period_hop
        each = config.hop_length // self.period_hop
        self.period = nn.Conv1d(pitch.PITCHES, widths[-1], each, stride=each) if config.spectrum else None
        shares = looks_ahead(config.residual_dilations, config.look_ahead)
        self.blocks = nn.ModuleList(
            ResidualBlock(widths[-1], dilation, ahead)
            for dilation, ahead in zip(config.residual_dilations, shares, strict=True)
        )
        self.out = keep_scale(nn.Conv1d(widths[-1], code_dim, 1))
        if config.spectrum:
            begin_at_zero(self.blocks)

    def forward(self, wave: Tensor) -> Tensor:
        """``[B, T]`` to ``[B, D, T / hop_length]``."""
        spectrum = self.config.spectrum
        x = ENCODER_GAIN * wave[:, None] if spectrum is None else self._heard(wave)
        for index, layer in enumerate(self.strided):
            x = layer(torch.relu_(x) if index else x)
        if self.period is not None:
            x = x + self.period(pitch.periodicity(wave, self.sample_rate_hz, self.period_hop))
        for block in self.blocks:
            x = block(x)
        z: Tensor = self.out(torch.relu_(x) if spectrum is None else x)
        return F.layer_norm(z.transpose(1, 2), z.shape[1:2]).transpose(1, 2)

    def _heard(self, wave: Tensor) -> Tensor:
        """The log-mel spectrograms ``[B, all bands, frames]``, at about unit scale."""
        hop, spectra = self.config.spectrum_hop, (self.config.spectrum, self.config.fine_spectrum)
        with torch.autocast(wave.device.type, enabled=False):
            mels = [log_mel(wave, self.sample_rate_hz, mel.n_fft, hop, mel.n_mels) for mel in spectra if mel]
        return (torch.cat(mels, dim=1).clamp(min=HEARD_FLOOR) - HEARD_MEAN) / HEARD_SCALE
