"""What the configurations of all kinds of models have in common: their checks, and the codebook."""

import math
from dataclasses import dataclass

from vqaudio.errors import ConfigError

BEAM = 4  # beginnings of a vector's codes that are kept from quantizer to quantizer
LEAST_SHARE = 1e-6  # of the tokens, that a code counts with when its bits are weighed
MOST_LAYERS, _WIDEST_DILATION = 256, 1 << 16
MOST_SAMPLES = 1 << 20  # of a hop or a window


def require(condition: bool, name: str, value: object, remedy: str) -> None:
    """Raises ``ConfigError``, which says what to do (``remedy``), unless the ``condition`` on field ``name`` holds."""
    if not condition:
        raise ConfigError(f"{name} = {value!r} is not valid: {remedy}")


def positive(name: str, value: int | float) -> None:
    """Raises ``ConfigError`` unless ``value`` is above 0."""
    require(value > 0 and math.isfinite(value), name, value, "give a number above 0")


def check_layers(name: str, dilations: tuple[int, ...]) -> None:
    """Raises ``ConfigError`` unless ``dilations`` are those of a stack of layers that a machine can hold."""
    remedy = f"give at most {MOST_LAYERS} layers, each with a dilation above 0 and up to {_WIDEST_DILATION}"
    fine = len(dilations) <= MOST_LAYERS and all(0 < dilation <= _WIDEST_DILATION for dilation in dilations)
    require(fine, name, dilations[:MOST_LAYERS], remedy)


@dataclass(frozen=True)
class QuantizerConfig:
    """The codebook (VQ-VAE, section 3.1-3.2 and appendix A.1).

    ``codebook_size`` is K, ``code_dim`` is D. ``commitment`` is the paper's beta. ``update`` is "ema" (appendix A.1) or
    "gradient" (the second term of equation 3). A code whose running share of the tokens falls below
    ``restart_share / K`` is moved onto a fresh encoder output, at most once in ``restart_every`` training steps.
    With ``num_quantizers`` above 1 each vector becomes that many tokens, each out of a codebook of its own, of what the
    ones before it have left over (residual vector quantization). Each of them is then chosen by its squared distance,
    summed over the dimensions, and by ``rate_weight`` times the bits that its share of the tokens stands for: the more
    weight, the smaller the files under the prior (entropy-constrained vector quantization, Chou et al. 1989). While the
    codebooks themselves learn, the weight is 0.
    """

    codebook_size: int = 512
    code_dim: int = 64
    commitment: float = 0.25
    update: str = "ema"
    ema_decay: float = 0.99
    restart_share: float = 0.1
    restart_every: int = 20
    num_quantizers: int = 1
    rate_weight: float = 0.0

    def __post_init__(self) -> None:
        require(2 <= self.codebook_size <= 65536, "codebook_size", self.codebook_size, "give 2 to 65536 codes")
        positive("code_dim", self.code_dim)
        positive("commitment", self.commitment)
        require(self.update in ("ema", "gradient"), "update", self.update, 'give "ema" or "gradient"')
        require(0 < self.ema_decay < 1, "ema_decay", self.ema_decay, "give a number between 0 and 1")
        require(0 <= self.restart_share < 1, "restart_share", self.restart_share, "give 0 (never) up to 1")
        require(self.restart_every >= 1, "restart_every", self.restart_every, "give a number of steps, 1 or more")
        require(self.num_quantizers in (1, 2, 4, 8), "num_quantizers", self.num_quantizers, "give 1, 2, 4 or 8")
        require(
            self.rate_weight == 0 or (self.num_quantizers > 1 and 0 < self.rate_weight < math.inf),
            "rate_weight",
            self.rate_weight,
            "give 0 or more with num_quantizers above 1, else 0",
        )
