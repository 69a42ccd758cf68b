"""Configuration of models whose codes carry speech parameters, of which a vocoder makes sound."""

import typing
from dataclasses import dataclass, field

from vqaudio.models.settings import check_layers
from vqaudio.models.settings import positive as _positive
from vqaudio.models.settings import require as _require
from vqaudio.models.speech_config import FEWEST_BANDS, MelConfig, SpeechModelConfig

_EXCITATION_AHEAD = 2  # frames that the vocoder looks ahead
SPEAKER_MEL, SPEAKER_HOP = MelConfig(1024, 80), 256  # what a speaker encoder hears
_SHORTEST_FRAME = 34  # samples that the excitation looks ahead


@dataclass(frozen=True)
class VocoderConfig:
    """The speech parameters that codes carry, and how sound is made of them.

    ``bands`` mel bands of a pitch-adaptive envelope and the pitch, a frame each ``conditioning`` frame. In learning,
    bands below ``floor`` (natural log of power) count as that, and an error in a soft band weighs ``quiet_weight`` to 1
    times one in a loud band: what is hardly heard needs no bits. Decoding, the cepstrum of the bands is spread by
    ``sharpen``; a voice is pulses below ``cut_hz`` and noise above.
    """

    bands: int = 80
    cut_hz: float = 4500.0
    sharpen: float = 1.2
    floor: float = -18.0
    quiet_weight: float = 0.4

    def __post_init__(self) -> None:
        _require(FEWEST_BANDS <= self.bands <= 257, "bands", self.bands, f"give {FEWEST_BANDS} to 257 mel bands")
        _positive("cut_hz", self.cut_hz)
        _require(0.5 <= self.sharpen <= 2, "sharpen", self.sharpen, "give 0.5 to 2 (1: as predicted)")
        _require(-27 <= self.floor <= 0, "floor", self.floor, "give a natural log of power, -27 to 0")
        _require(0 < self.quiet_weight <= 1, "quiet_weight", self.quiet_weight, "give a share above 0, at most 1")


@dataclass(frozen=True)
class SpeakerEncoderConfig:
    """The network that hears who speaks: ``channels`` wide, a residual block an entry of ``dilations``."""

    channels: int = 128
    dilations: tuple[int, ...] = (1, 2, 4)

    def __post_init__(self) -> None:
        _positive("channels", self.channels)
        check_layers("dilations", self.dilations)


@dataclass(frozen=True)
class VocoderVQVAEConfig(SpeechModelConfig):
    """Waveforms to tokens, and tokens to a spectral envelope and a pitch, of which a ``vocoder`` makes sound.

    With a ``speaker_encoder`` the voice that the decoder speaks with is heard in a recording, anybody's; without one it
    is learnt for each of ``speakers``. ``units`` (0: none) is the number of units of speech, clusters of what a
    recogniser hears, that the codes learn to tell in training (loss term ``units``): they keep the words in few tokens.
    """

    kind: typing.ClassVar[str] = "vocoder-vqvae"
    vocoder: VocoderConfig = field(default_factory=VocoderConfig)
    speaker_encoder: SpeakerEncoderConfig | None = None
    units: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(
            self.encoder.spectrum is not None, "encoder.spectrum", None, "give a spectrum: this encoder must hear one"
        )
        _require(
            self.speaker_encoder is None or bool(self.speakers),
            "speaker_encoder",
            self.speaker_encoder,
            'give speakers, too, such as ["*"]: those that the model learns from',
        )
        _require(0 <= self.units <= 2048, "units", self.units, "give 0 (none) to 2048")
        _require(
            self.vocoder.cut_hz < self.sample_rate_hz / 2,
            "vocoder.cut_hz",
            self.vocoder.cut_hz,
            f"give less than half the sample rate, {self.sample_rate_hz / 2:g}",
        )
        _require(
            self.frame_length >= _SHORTEST_FRAME,
            "conditioning.frames_per_vector",
            self.conditioning.frames_per_vector,
            f"give so few that a frame has at least {_SHORTEST_FRAME} samples",
        )

    @property
    def delay_s(self) -> float:
        """Seconds between a sample and the sound made of it, when all is worked out as soon as it can be."""
        frames = self.conditioning.delay_frames + _EXCITATION_AHEAD
        samples = self.encoder.delay_samples + frames * self.frame_length
        samples += self.conditioning.delay_vectors * self.encoder.hop_length
        return samples / self.sample_rate_hz
