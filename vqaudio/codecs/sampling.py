"""How a decoder draws."""

import math
from dataclasses import dataclass

import numpy as np

from vqaudio.arrays import Floats
from vqaudio.errors import ConfigError


@dataclass(frozen=True)
class Sampling:
    """How the decoder draws: a ``seed`` of 0 to 2**63 - 1 and a ``temperature`` above 0, else ``ConfigError``.

    ``exact`` goes through each channel from its first sample to its last, not through segments side by side.
    ``voice`` is the vector ``[V]`` of who speaks, where the model knows speakers.
    """

    seed: int
    temperature: float
    exact: bool = False
    voice: Floats | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.seed, int | np.integer) and 0 <= self.seed < 2**63):
            raise ConfigError(f"seed = {self.seed!r} is not valid: give 0 to {2**63 - 1}")
        if not (isinstance(self.temperature, float | int | np.number) and 0 < self.temperature < math.inf):
            raise ConfigError(f"temperature = {self.temperature!r} is not valid: give a number above 0")
