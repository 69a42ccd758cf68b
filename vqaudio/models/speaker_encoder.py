"""Who speaks, heard in a recording: a speaker embedding from some seconds of anybody's speech, and those of speakers
with names.

Pooled over time, as the embeddings of Snyder et al. 2018 ("X-vectors") are: mean and deviation over a recording tell
who speaks, and little of what is said.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqaudio.dsp import pitch
from vqaudio.dsp.mel import log_mel
from vqaudio.models.encoder import ResidualBlock
from vqaudio.models.speech_config import HEARD_FLOOR, HEARD_MEAN, HEARD_SCALE
from vqaudio.models.vocoder_config import SPEAKER_HOP, SPEAKER_MEL, SpeakerEncoderConfig

_FOLLOWS = 0.1  # how far a speaker's embedding moves towards that of another recording


class SpeakerEncoder(nn.Module):
    """A wave of normalised level ``[B, T]``, 0.5 s or more, to embeddings ``[B, V]`` of mean 0 and variance 1."""

    def __init__(self, config: SpeakerEncoderConfig, dim: int, sample_rate_hz: int) -> None:
        super().__init__()
        self.sample_rate_hz = sample_rate_hz
        width = config.channels
        self.into = nn.Conv1d(SPEAKER_MEL.n_mels, width, 5, padding=2)
        self.blocks = nn.ModuleList(ResidualBlock(width, dilation, dilation) for dilation in config.dilations)
        self.out = nn.Linear(2 * width + pitch.PITCHES, dim)

    def forward(self, wave: Tensor) -> Tensor:
        """See the class."""
        with torch.autocast(wave.device.type, enabled=False):
            mel = log_mel(wave, self.sample_rate_hz, SPEAKER_MEL.n_fft, SPEAKER_HOP, SPEAKER_MEL.n_mels)
            periods = pitch.periodicity(wave, self.sample_rate_hz, 4 * SPEAKER_HOP).clamp(min=0).mean(2)
        x = self.into((mel.clamp(min=HEARD_FLOOR) - HEARD_MEAN) / HEARD_SCALE)
        for block in self.blocks:
            x = block(x)
        x = torch.relu(x).float()
        pooled = torch.cat([x.mean(2), x.std(2), periods], dim=1)
        return F.layer_norm(self.out(pooled).float(), (self.out.out_features,))


class SpeakerTable(nn.Module):
    """The embeddings of speakers by number: while a model learns, they follow those of the speakers' recordings."""

    weight: Tensor

    def __init__(self, speakers: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(speakers, dim))

    def forward(self, speaker: Tensor) -> Tensor:
        """Numbers ``[B]`` to embeddings ``[B, V]``."""
        return self.weight[speaker]

    @torch.no_grad()
    def follow(self, speaker: Tensor, embedding: Tensor) -> None:
        """Moves the embeddings of speakers ``[B]`` towards ``embedding[B, V]``."""
        for number, vector in zip(speaker.tolist(), embedding, strict=True):
            self.weight[number].lerp_(vector.to(self.weight.dtype), _FOLLOWS)
