"""What all models of sounds are: an encoder, codes, and features made of the codes. How sound comes of the features is
each model's own."""

from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from vqaudio.arrays import Floats, Integers
from vqaudio.dsp import emphasis
from vqaudio.dsp.augment import augment_voice
from vqaudio.errors import ConfigError
from vqaudio.models.conditioning import ConditioningStack
from vqaudio.models.encoder import AudioEncoder
from vqaudio.models.frozen import frozen_copy
from vqaudio.models.prior import WaveNetPrior
from vqaudio.models.quantizer import ResidualQuantizer, quantizer
from vqaudio.models.sound_model import SoundModel
from vqaudio.models.speaker_encoder import SpeakerTable
from vqaudio.models.speech_config import SpeechModelConfig
from vqaudio.models.wavenet import WaveNet, as_array


class SpeechModel(SoundModel, nn.Module):
    """Encoder, quantizer, conditioning stack and, where there are, speakers and a prior. A subclass adds what it makes
    of the features, calls :meth:`add_prior` last, and names its loss terms in ``TERMS``."""

    TERMS: ClassVar[tuple[str, ...]] = ("codebook", "prior")
    config: SpeechModelConfig
    prior: WaveNetPrior | None

    def __init__(self, config: SpeechModelConfig) -> None:
        super().__init__()
        self.config = config
        code_dim = config.quantizer.code_dim
        self.encoder = AudioEncoder(config.encoder, code_dim, config.sample_rate_hz)
        self.quantizer = quantizer(config.quantizer)
        linear = config.encoder.spectrum is not None
        self.conditioning = ConditioningStack(config.conditioning, code_dim, bool(config.speakers), linear)
        self.speakers: nn.Embedding | SpeakerTable | None = None
        if config.speakers:
            self.speakers = nn.Embedding(len(config.speakers), config.conditioning.voice_dim)
        self.objective: dict[str, float] = {}

    def add_prior(self) -> None:
        """Adds the prior that the configuration describes, and weighs all loss terms that there are by 1."""
        prior = self.config.prior
        self.prior = WaveNetPrior(prior, len(self.config.speakers)) if prior else None
        self.set_objective({term: 1.0 for term in self.TERMS if not self.missing_part(term)})

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.encoder.out.weight.device

    # ---------------------------------------------------------------------------------------------- the coded path

    def emphasise(self, wave: Tensor) -> Tensor:
        """The signal that is coded: ``wave[B, T]`` after pre-emphasis."""
        return emphasis.pre_emphasis(wave, self.config.pre_emphasis) if self.config.pre_emphasis else wave

    def encode(self, wave: Tensor) -> Tensor:
        """A wave of normalised level, ``[B, T]`` (T a multiple of a frame's samples), to tokens ``[B, T / hop]``."""
        return self.quantizer.encode(self.encoder(self.emphasise(wave)))

    def features(self, codes: Tensor, voice: Tensor | None = None, first: int = 0) -> Tensor:
        """Codes ``[B, tokens]`` and, where the model knows speakers, a voice's vector ``[B, V]``, to
        ``[B, F, tokens * frames_per_token]``; of vector ``first`` on, see :meth:`ConditioningStack.forward`."""
        features: Tensor = self.conditioning(self.quantizer.lookup(codes), voice, first)
        return features

    def voice(self, speaker: Tensor) -> Tensor | None:
        """The vectors ``[B, V]`` of the speakers with the indices ``[B]``; None where the model knows no speakers."""
        return None if self.speakers is None else self.speakers(speaker)

    # -------------------------------------------------------------------------------------------- as a SoundModel

    @torch.inference_mode()
    def encode_part(self, wave: Floats, first: int, vectors: int) -> Integers:
        """See :class:`SoundModel`."""
        with torch.autocast(self.device.type, enabled=False):
            own = torch.from_numpy(np.ascontiguousarray(wave))[None].to(self.device)
            found = self.encoder(self.emphasise(own))[:, :, first : first + vectors]
            return self.quantizer.encode(found)[0].cpu().numpy()

    def codebooks(self) -> list[Floats]:
        """See :class:`SoundModel`."""
        if isinstance(self.quantizer, ResidualQuantizer):
            return [as_array(layer.codebook) for layer in self.quantizer.layers()]
        return [as_array(self.quantizer.codebook)]

    def speaker_vectors(self) -> Floats:
        """See :class:`SoundModel`."""
        if self.speakers is None:
            return np.zeros((0, self.config.conditioning.voice_dim), np.float32)
        return as_array(self.speakers.weight)

    def prior_network(self) -> WaveNet | None:
        """See :class:`SoundModel`."""
        return None if self.prior is None else self.prior.wavenet

    def frozen(self) -> Self:
        """See :class:`SoundModel`."""
        return frozen_copy(self)

    # -------------------------------------------------------------------------------------------------- learning

    def missing_part(self, term: str) -> str:
        """What the loss term ``term`` would need and this model lacks; "" where it lacks nothing."""
        return "a [model.prior] table" if term == "prior" and self.prior is None else ""

    def set_objective(self, weights: Mapping[str, float]) -> None:
        """See :class:`~vqaudio.models.trainable.Trainable`; the terms are those of ``TERMS``."""
        unknown = sorted(set(weights) - set(self.TERMS))
        if unknown:
            raise ConfigError(f"objective.{unknown[0]} is not known: use {', '.join(self.TERMS)}")
        for term, weight in weights.items():
            if weight and (missing := self.missing_part(term)):
                raise ConfigError(f"objective.{term} = {weight} has nothing to train: the model must have {missing}")
        self.objective = {term: float(weights.get(term, 0.0)) for term in self.TERMS}

    def _heard(self, wave: Tensor) -> Tensor:
        """What the encoder hears of ``wave[B, T]`` while it learns."""
        augment = self.config.augment
        if augment is None or not augment.moves_voices or not (self.training and self.encoder.training):
            return wave
        moved = augment.pitch_semitones, augment.formant_semitones
        return augment_voice(wave, self.config.sample_rate_hz, *moved, augment.equaliser_db, augment.own_voice)

    def _jittered(self, z_q: Tensor) -> Tensor:
        """``z_q[B, D, tokens]``, some tokens replaced by the one before or after them while the model learns."""
        share, tokens = self.config.time_jitter, z_q.shape[2]
        if not (share and self.training):
            return z_q
        drawn = torch.rand(len(z_q), tokens, device=z_q.device)
        step = (drawn < share / 2).long() - (drawn > 1 - share / 2).long()
        source = (torch.arange(tokens, device=z_q.device) + step).clamp(0, tokens - 1)
        return z_q.gather(2, source[:, None].expand_as(z_q))

    def _prior_nll(self, codes: Tensor, speaker: Tensor) -> Tensor:
        assert self.prior is not None
        return self.prior.nll(codes.detach(), speaker).mean()
