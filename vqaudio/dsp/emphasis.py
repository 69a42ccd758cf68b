"""Pre-emphasis, which whitens speech, and its inverse. Time is the last axis."""

from typing import TYPE_CHECKING, cast

import numpy as np

from vqaudio.arrays import Block, Doubles
from vqaudio.errors import SoundError

if TYPE_CHECKING:
    from torch import Tensor


def pre_emphasis(wave: "Tensor", coefficient: float) -> "Tensor":
    """``y[t] = x[t] - coefficient * x[t-1]`` along the last axis of ``[..., T]``, with ``x[-1] = 0``."""
    from torchaudio.functional import preemphasis

    emphasised: Tensor = preemphasis(wave, coefficient)
    return emphasised


class DeEmphasis:
    """The inverse of :func:`pre_emphasis`, block after block: ``x[t] = y[t] + coefficient * x[t-1]``.

    The state is kept in double precision, so that where the blocks are cut can be neither heard nor measured. A
    ``coefficient`` outside 0 to below 1 raises :class:`SoundError`.
    """

    def __init__(self, coefficient: float) -> None:
        if not 0.0 <= coefficient < 1.0:
            raise SoundError(f"pre-emphasis coefficient {coefficient} is unstable; choose one from 0 to below 1")
        self._coefficient = coefficient
        self._last: Doubles | float = 0.0  # the sample before the block

    def __call__(self, block: Block) -> Block:
        """The next block ``[..., n]`` of the one signal that this object restores; ``n`` may vary, the rest may not."""
        wave = block.astype(np.float64)
        if not wave.shape[-1]:
            return block
        wave[..., 0] += self._coefficient * self._last
        # 1 / (1 - cz) = (1 + cz)(1 + (cz)^2)(1 + (cz)^4)..., until what is left is beyond double precision
        step, factor = 1, self._coefficient
        while factor > 1e-18 and step < wave.shape[-1]:
            wave[..., step:] += factor * wave[..., :-step]
            step, factor = 2 * step, factor * factor
        self._last = wave[..., -1]
        return cast(Block, wave.astype(np.float32))
