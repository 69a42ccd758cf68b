"""How a decoder and a prior draw: what a caller may ask for, and what a decoder is told."""

import math
from dataclasses import dataclass

import numpy as np

from vqaudio.arrays import Floats
from vqaudio.bitstream.header import Header
from vqaudio.dsp.voice_change import VoiceChange
from vqaudio.errors import ConfigError


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer)


def _is_number(value: object) -> bool:
    return isinstance(value, float | int | np.number)


@dataclass(frozen=True, kw_only=True)
class DecodeOptions:
    """How a stream of sound is to be decoded.

    Attributes:
        seed: 0 to 2**63 - 1. The same seed draws the same sound.
        temperature: above 0, less draws more cautiously; the model's own where left out.
        sample_rate_hz: of the result; the original's where left out, and then its length is exactly the original's.
        exact: draws each channel strictly from its first sample to its last. Otherwise segments of a sound of 2 s and
            more are drawn side by side and joined, which is several times faster.
        speaker: who speaks, a name or a voice out of a recording: where the model knows speakers, or to change the
            voice where its codes are speech parameters.
        pitch_semitones: moves the pitch, -24 to 24, where the model makes sound of speech parameters.
        formant_semitones: moves the spectral envelope, -12 to 12, likewise.

    Raises:
        ConfigError: a number is out of range.
    """

    seed: int = 0
    temperature: float | None = None
    sample_rate_hz: int | None = None
    exact: bool = False
    speaker: str | Floats | None = None
    pitch_semitones: float = 0.0
    formant_semitones: float = 0.0

    def __post_init__(self) -> None:
        if not (_is_whole(self.seed) and 0 <= self.seed < 2**63):
            raise ConfigError(f"seed = {self.seed!r} is not valid: give 0 to {2**63 - 1}")
        warmth = self.temperature
        if warmth is not None and not (_is_number(warmth) and 0 < warmth < math.inf):
            raise ConfigError(f"temperature = {warmth!r} is not valid: give a number above 0")
        for name, most in (("pitch_semitones", 24), ("formant_semitones", 12)):
            value = getattr(self, name)
            if not (_is_number(value) and -most <= value <= most):
                raise ConfigError(f"{name} = {value!r} is not valid: give {-most} to {most}")

    def rate_of(self, header: Header) -> int:
        """The sample rate of what becomes of a stream with this header."""
        return header.sample_rate_hz if self.sample_rate_hz is None else self.sample_rate_hz


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """How new codes are to be drawn from a prior.

    Attributes:
        count: 1 to ``most``: so many results.
        seed: 0 to 2**63 - 1. The same seed draws the same results, however many more are drawn.
        temperature: above 0; 1 draws from the prior itself, less keeps to what is likely.
        top_p: above 0 to 1; draws only from the likeliest codes that together have this share.
        most: the largest count that is allowed.

    Raises:
        ConfigError: a number is out of range.
    """

    count: int = 1
    seed: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    most: int = 1024

    def __post_init__(self) -> None:
        bounds = {
            "count": (_is_whole(self.count) and 1 <= self.count <= self.most, f"1 to {self.most}"),
            "seed": (_is_whole(self.seed) and 0 <= self.seed < 2**63, f"0 to {2**63 - 1}"),
            "temperature": (_is_number(self.temperature) and 0 < self.temperature < math.inf, "a number above 0"),
            "top_p": (_is_number(self.top_p) and 0 < self.top_p <= 1, "above 0 up to 1"),
        }
        for name, (valid, allowed) in bounds.items():
            if not valid:
                raise ConfigError(f"{name} = {getattr(self, name)!r} is not valid: give {allowed}")

    def generator(self, index: int) -> np.random.Generator:
        """The random numbers of the result with the number ``index``."""
        return np.random.default_rng([self.seed, index])


@dataclass(frozen=True)
class Sampling:
    """What a decoder is told: a ``seed``, a ``temperature`` above 0, whether it goes through each channel strictly in
    order (``exact``), the speaker embedding ``voice[V]``, where the model knows speakers, the ratios by which pitch and
    formants are moved, and what gives the speech another voice, where the codes say whose it is."""

    seed: int
    temperature: float
    exact: bool = False
    voice: Floats | None = None
    pitch: float = 1.0
    formants: float = 1.0
    change: VoiceChange | None = None
