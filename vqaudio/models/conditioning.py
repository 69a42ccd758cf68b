"""The stack from codes to the features that condition a decoder, and where speakers are known, who speaks."""

import torch
from torch import Tensor, nn

from vqaudio.models.encoder import ResidualBlock, begin_at_zero, keep_scale
from vqaudio.models.reach import looks_ahead
from vqaudio.models.speech_config import ConditioningConfig


class SpeakerBlock(ResidualBlock):
    """A residual block whose input is scaled and shifted, channel by channel, by a speaker's vector."""

    def __init__(self, channels: int, dilation: int, ahead: int, voice_dim: int) -> None:
        super().__init__(channels, dilation, ahead)
        self.voice = nn.Linear(voice_dim, 2 * channels)
        nn.init.normal_(self.voice.weight, std=0.02)  # all voices begin nearly alike
        nn.init.zeros_(self.voice.bias)

    def speak(self, x: Tensor, voice: Tensor) -> Tensor:
        """``x[B, C, T]`` in the voice ``[B, V]``."""
        scale, shift = self.voice(voice)[:, :, None].chunk(2, dim=1)
        return self(x * (1 + scale) + shift)


class ConditioningStack(nn.Module):
    """Codebook vectors ``[B, D, vectors]`` to the decoder's features ``[B, F, frames]``, looking both ways in time.

    ``frames`` is ``vectors * frames_per_vector``. Where ``voiced``, every block hears who speaks. A ``linear``
    one begins as a linear map.
    """

    def __init__(self, config: ConditioningConfig, code_dim: int, voiced: bool, linear: bool) -> None:
        super().__init__()
        self.config, self.linear = config, linear
        self.into = keep_scale(nn.Conv1d(code_dim, config.channels, 3, padding=1))
        self.blocks = self._stack(config.residual_dilations, config.look_ahead, voiced)
        frames = config.frames_per_vector
        self.spread = nn.Conv1d(config.channels, config.channels * frames, 1) if frames > 1 else None
        self.frame_blocks = self._stack(config.frame_dilations, None, voiced)
        self.out = nn.Conv1d(config.channels, config.features, 1)
        if linear:
            begin_at_zero(self.blocks)
            begin_at_zero(self.frame_blocks)

    def _stack(self, dilations: tuple[int, ...], look_ahead: int | None, voiced: bool) -> nn.ModuleList:
        width, voice_dim = self.config.channels, self.config.voice_dim
        each = zip(dilations, looks_ahead(dilations, look_ahead), strict=True)
        return nn.ModuleList(
            SpeakerBlock(width, dilation, ahead, voice_dim) if voiced else ResidualBlock(width, dilation, ahead)
            for dilation, ahead in each
        )

    def forward(self, z_q: Tensor, voice: Tensor | None = None, first: int = 0) -> Tensor:
        """``[B, D, vectors]`` and, where voiced, a speaker's vector ``[B, V]`` to ``[B, F, frames]``.

        The frames are those from vector ``first`` on, of which the first ``config.delay_frames`` miss what lies before.
        """
        x = self._through(self.blocks, self.into(z_q), voice)[:, :, first:]
        if self.spread is not None:  # channels to frames: a sub-pixel convolution
            x = self.spread(x).unflatten(1, (x.shape[1], -1)).transpose(2, 3).flatten(2)
        x = self._through(self.frame_blocks, x, voice)
        features: Tensor = self.out(x if self.linear else torch.relu(x))
        return features

    @staticmethod
    def _through(blocks: nn.ModuleList, x: Tensor, voice: Tensor | None) -> Tensor:
        for block in blocks:
            if isinstance(block, SpeakerBlock):
                assert voice is not None, "a model with speakers must be told which"
                x = block.speak(x, voice)
            else:
                x = block(x)
        return x
