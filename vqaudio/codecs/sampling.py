"""How a decoder draws."""

import math
from dataclasses import dataclass

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
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed = {self.seed} is not valid: give 0 to {2**63 - 1}")
        if not 0 < self.temperature < math.inf:
            raise ConfigError(f"temperature = {self.temperature} is not valid: give a number above 0")
