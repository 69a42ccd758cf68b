"""Pictures and tiny models of them that several test files make."""

import dataclasses
from pathlib import Path

import numpy as np
import torch

from vqaudio.models import checkpoint
from vqaudio.models.image_config import ImageNetworkConfig, ImageVQVAEConfig, PixelCNNConfig
from vqaudio.models.settings import QuantizerConfig

TINY = ImageVQVAEConfig(
    tile=8,
    latents=2,
    network=ImageNetworkConfig(channels=(8, 8), blocks=1, mixtures=2),
    quantizer=QuantizerConfig(codebook_size=20, code_dim=4),
    prior=PixelCNNConfig(levels=20, residual=8, skip=6, hidden=10, layers=2),
)
CLASSY = dataclasses.replace(TINY, classes=("cat", "dog"))
PLAIN = dataclasses.replace(TINY, prior=None)


def gradient(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth picture, uint8 ``[height, width, 3]``, with a little noise."""
    rng = np.random.default_rng(seed)
    down, across = np.linspace(0, 200, height)[:, None, None], np.linspace(0, 50, width)[None, :, None]
    return (down + across * np.array([0.2, 0.6, 1.0]) + rng.integers(0, 6, (height, width, 3))).astype(np.uint8)


def save_model(folder: Path, config: ImageVQVAEConfig = TINY, seed: int = 0) -> Path:
    """A model with random weights."""
    torch.manual_seed(seed)
    checkpoint.save_model(folder, config, checkpoint.build(config).state_dict(), {"step": 7}, half=True)
    return folder
