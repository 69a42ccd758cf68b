"""What codes sounds, as the codecs see it: NumPy arrays in, NumPy arrays out. The models that torch trains are such
(:mod:`vqaudio.models.speech_model`), and so are those that run without it (:mod:`vqaudio.models.numpy_vocoder`).
"""

import abc
from collections.abc import Mapping
from typing import Protocol, Self

from vqaudio.arrays import Floats, Integers
from vqaudio.dsp.speech_parameters import SpeechParameters
from vqaudio.models.reach import Reach
from vqaudio.models.speech_config import SpeechModelConfig, WaveNetConfig
from vqaudio.models.vocoder_config import VocoderVQVAEConfig


class Layers(Protocol):
    """What the layers of a WaveNet are like."""

    @property
    def residual(self) -> int:
        """Channels."""

    @property
    def dilations(self) -> tuple[int, ...]:
        """One entry a layer."""


class Layered(Protocol):
    """A WaveNet of any kind of symbols."""

    @property
    def config(self) -> Layers:
        """Its sizes."""

    def arrays(self) -> Mapping[str, Floats]:
        """Its weights in float32, by the names of :class:`vqaudio.models.wavenet.WaveNet`."""


class SymbolNetwork(Layered, Protocol):
    """A WaveNet over symbols."""

    @property
    def config(self) -> WaveNetConfig:
        """Its sizes."""


class SoundModel(abc.ABC):
    """An encoder, codes and, where there is one, a prior over them. What follows from the configuration is here."""

    config: SpeechModelConfig

    @property
    def samples_per_token(self) -> int:
        """Samples that a token stands for."""
        return self.config.samples_per_token

    @property
    def codebook_size(self) -> int:
        """Codes of each codebook."""
        return self.config.quantizer.codebook_size

    @property
    def frames_per_token(self) -> int:
        """Frames of conditioning features a token."""
        return self.config.conditioning.frames_per_vector // self.num_quantizers

    @property
    def num_quantizers(self) -> int:
        """Tokens a vector. A sound is a whole number of vectors, and so is each part of it that is coded by itself."""
        return self.config.quantizer.num_quantizers

    @property
    def encoder_reach(self) -> Reach:
        """Tokens before and after some whose samples can change them."""
        before, after = self.config.encoder.reach
        return Reach(before * self.num_quantizers, after * self.num_quantizers)

    @property
    def conditioning_reach(self) -> Reach:
        """Tokens before and after a token that can change its frames of features."""
        before, after = self.config.conditioning.reach
        return Reach(before * self.num_quantizers, after * self.num_quantizers)

    @abc.abstractmethod
    def encode_part(self, wave: Floats, first: int, vectors: int) -> Integers:
        """Tokens ``[vectors * num_quantizers]`` from vector ``first`` on of a ``wave[T]`` of normalised level; T is a
        multiple of a vector's samples."""

    @abc.abstractmethod
    def codebooks(self) -> list[Floats]:
        """``[K, D]`` of each quantizer."""

    @abc.abstractmethod
    def speaker_vectors(self) -> Floats:
        """The voices ``[speakers, V]`` of the speakers that the configuration names."""

    @abc.abstractmethod
    def prior_network(self) -> SymbolNetwork | None:
        """The WaveNet of the prior, if there is one; where it has features, it must be told who speaks."""

    @abc.abstractmethod
    def frozen(self) -> Self:
        """This model for use alone: of one that may still learn, a copy."""


class ParameterModel(SoundModel):
    """A model whose codes carry speech parameters, of which a vocoder makes sound."""

    config: VocoderVQVAEConfig

    @property
    def delay_s(self) -> float:
        """See :attr:`VocoderVQVAEConfig.delay_s`."""
        return self.config.delay_s

    @abc.abstractmethod
    def speak(self, codes: Integers, voice: Floats | None, first: int = 0) -> SpeechParameters:
        """What is said by ``codes[n]``, in ``voice[V]`` where the model knows speakers: the frames from vector
        ``first`` on, of which the first ``config.conditioning.delay_frames`` miss what lies before."""

    @abc.abstractmethod
    def hear_voice(self, wave: Floats) -> Floats | None:
        """The voice ``[V]`` in ``wave[T]`` of normalised level, 0.5 s or more; None where the model cannot hear one."""
