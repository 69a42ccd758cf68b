"""Mu-law levels: what a decoder of the wave predicts. Torch tensors, time on the last axis; full scale is 1.0."""

import math

from torch import Tensor

LEVELS = 256
SILENCE_LEVEL = 128  # the level of 0.0, and the only one that decodes to exactly 0.0


def mu_law_encode(wave: Tensor) -> Tensor:
    """Levels ``[...]`` (int64, 0..255) of a float wave ``[...]`` by ITU-T G.711's law; beyond -1..1 it saturates."""
    from torchaudio.functional import mu_law_encoding

    levels: Tensor = mu_law_encoding(wave.float().clamp(-1.0, 1.0), LEVELS)
    return levels


def mu_law_decode(levels: Tensor) -> Tensor:
    """Wave ``[...]`` (float32, -1..1) of integer levels ``[...]``; encoding it again gives back each level.

    By the formula no level sits on zero: 127 and 128 straddle it by 8.6e-5, which de-emphasis would raise to an audible
    step. :data:`SILENCE_LEVEL` is therefore moved by that much, onto 0.0 (the edge of its own cell).
    """
    from torchaudio.functional import mu_law_decoding

    wave: Tensor = mu_law_decoding(levels, LEVELS)
    return wave.masked_fill(levels == SILENCE_LEVEL, 0.0)


def mu_law_width(wave: Tensor) -> Tensor:
    """How wide the level of ``wave[...]`` is, by the derivative of the law."""
    top = LEVELS - 1
    return (1 + top * wave.abs().clamp(max=1.0)) * (2 * math.log(LEVELS) / top**2)
