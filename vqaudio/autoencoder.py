"""VQ-VAE (van den Oord, Vinyals, Kavukcuoglu 2017, arXiv 1711.00937): encoder, quantizer and decoder in one model.

The definitions stand in the order of the paper's figure 1: encoder, codebook (quantize.py), the stack from codes to
conditioning features, the decoder (wavenet.py), the whole.
"""

import itertools
import math
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqaudio import audio
from vqaudio.config import AudioVQVAEConfig, ConditioningConfig, EncoderConfig
from vqaudio.errors import ConfigError
from vqaudio.prior import WaveNetPrior
from vqaudio.quantize import VectorQuantizer
from vqaudio.wavenet import WaveNet

ENCODER_GAIN = 8.0  # brings normalised, pre-emphasised speech to about unit scale for the first convolution
MEL_FLOOR = -3.0  # log magnitude under which the training aid hears nothing: about the noise of a quiet room
NATS_PER_BIT = math.log(2)
Batch = Mapping[str, Tensor]


class Loss(NamedTuple):
    """What every trainable returns: ``total``, a scalar to minimise, and ``metrics``, scalars worth logging."""

    total: Tensor
    metrics: dict[str, Tensor]


class Probe(NamedTuple):
    """A look at a batch without learning: mean ``metrics`` and the ``codes`` used, for counts over a whole pass.

    ``codes`` is None where the model has none.
    """

    metrics: dict[str, Tensor]
    codes: Tensor | None


class Trainable(Protocol):
    """All that the training loop knows of a model. A trainable is also an ``nn.Module``."""

    def set_objective(self, weights: Mapping[str, float]) -> None:
        """Weighs the loss terms by name; terms of weight 0 or not named are not computed."""

    def loss(self, batch: Batch) -> Loss:
        """The loss of a batch under the current objective."""

    def probe(self, batch: Batch) -> Probe:
        """Validation figures of a batch."""


def _keep_scale(conv: nn.Conv1d) -> nn.Conv1d:
    """He initialisation: a ReLU stack that shrinks its input gives every sound the same code, and never recovers."""
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


class ResidualBlock(nn.Module):
    """ReLU, dilated convolution of kernel 3, ReLU, convolution of kernel 1, added to the input."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.dilated = _keep_scale(nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation))
        self.pointwise = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, T]`` to the same shape."""
        return x + self.pointwise(torch.relu(self.dilated(torch.relu(x))))


class AudioEncoder(nn.Module):
    """``z_e(x)``: a waveform ``[B, T]`` to vectors ``[B, D, T / hop_length]``; T must be a multiple of the hop.

    Each vector has mean 0 and variance 1: with its scale held, the encoder can neither shrink away from the codebook
    nor outrun it.
    """

    def __init__(self, config: EncoderConfig, code_dim: int) -> None:
        super().__init__()
        self.config = config
        widths = (1, *config.channels)
        self.strided = nn.ModuleList(
            _keep_scale(nn.Conv1d(narrow, wide, 4, stride=2, padding=1)) for narrow, wide in itertools.pairwise(widths)
        )
        self.blocks = nn.ModuleList(ResidualBlock(widths[-1], dilation) for dilation in config.residual_dilations)
        self.out = _keep_scale(nn.Conv1d(widths[-1], code_dim, 1))

    @property
    def context_tokens(self) -> int:
        """Tokens on either side whose samples can change a token, and then some, so that edges are never seen."""
        strided = 3  # window 4 at each of the strides 1, 2, 4, ... reaches under one hop to either side of its own
        return strided + sum(self.config.residual_dilations)

    def forward(self, wave: Tensor) -> Tensor:
        """``[B, T]`` to ``[B, D, T / hop_length]``."""
        x = ENCODER_GAIN * wave[:, None]
        for index, layer in enumerate(self.strided):
            x = layer(torch.relu(x) if index else x)
        for block in self.blocks:
            x = block(x)
        z: Tensor = self.out(torch.relu(x))
        return F.layer_norm(z.transpose(1, 2), z.shape[1:2]).transpose(1, 2)


class ConditioningStack(nn.Module):
    """Codebook vectors ``[B, D, frames]`` to the decoder's features ``[B, F, frames]``, looking both ways in time."""

    def __init__(self, config: ConditioningConfig, code_dim: int) -> None:
        super().__init__()
        self.config = config
        self.into = _keep_scale(nn.Conv1d(code_dim, config.channels, 3, padding=1))
        self.blocks = nn.ModuleList(ResidualBlock(config.channels, dilation) for dilation in config.residual_dilations)
        self.out = nn.Conv1d(config.channels, config.features, 1)

    @property
    def context_tokens(self) -> int:
        """Tokens on either side that can change a frame of features."""
        return 1 + sum(self.config.residual_dilations)

    def forward(self, z_q: Tensor) -> Tensor:
        """``[B, D, frames]`` to ``[B, F, frames]``."""
        x = self.into(z_q)
        for block in self.blocks:
            x = block(x)
        features: Tensor = self.out(torch.relu(x))
        return features


class AudioVQVAE(nn.Module):
    """Speech to tokens to speech. Loss terms (equation 3): ``nll`` (nats a sample, through the WaveNet), ``codebook``
    (the quantizer's terms), ``mel`` (the training aid: log-mel spectra from the conditioning features) and ``prior``
    (nats a token, the tokens detached: section 3.3)."""

    TERMS = ("nll", "codebook", "mel", "prior")

    def __init__(self, config: AudioVQVAEConfig) -> None:
        super().__init__()
        self.config = config
        code_dim = config.quantizer.code_dim
        self.encoder = AudioEncoder(config.encoder, code_dim)
        self.quantizer = VectorQuantizer(config.quantizer)
        self.conditioning = ConditioningStack(config.conditioning, code_dim)
        self.speakers = nn.Embedding(len(config.speakers), config.conditioning.features) if config.speakers else None
        self.mel_head = nn.Conv1d(config.conditioning.features, sum(mel.n_mels for mel in config.mels), 1)
        self.decoder = WaveNet(config.decoder)
        self.decoder.order_symbols()
        self.prior = WaveNetPrior(config.prior, len(config.speakers)) if config.prior else None
        self.objective: dict[str, float] = {}
        self.set_objective(dict.fromkeys(self.TERMS if self.prior else self.TERMS[:-1], 1.0))

    @property
    def hop_length(self) -> int:
        """Samples a token."""
        return self.config.encoder.hop_length

    # ---------------------------------------------------------------------------------------------- the coded path

    def emphasise(self, wave: Tensor) -> Tensor:
        """The signal that is coded: ``wave[B, T]`` after pre-emphasis."""
        return audio.pre_emphasis(wave, self.config.pre_emphasis) if self.config.pre_emphasis else wave

    def encode(self, emphasised: Tensor) -> Tensor:
        """``[B, T]`` (T a multiple of the hop, values about -1..1) to codes ``[B, T / hop]``."""
        return self.quantizer.encode(self.encoder(emphasised))

    def features(self, codes: Tensor, speaker: Tensor | None = None) -> Tensor:
        """Codes ``[B, frames]`` and, where the model knows speakers, their indices ``[B]``, to ``[B, F, frames]``."""
        return self._with_speaker(self.conditioning(self.quantizer.lookup(codes)), speaker)

    def _with_speaker(self, features: Tensor, speaker: Tensor | None) -> Tensor:
        if self.speakers is None:
            return features
        assert speaker is not None, "a model with speakers must be told which"
        return features + self.speakers(speaker)[:, :, None]

    # -------------------------------------------------------------------------------------------------- learning

    def set_objective(self, weights: Mapping[str, float]) -> None:
        """See :class:`Trainable`; the terms are ``nll``, ``codebook``, ``mel`` and ``prior``."""
        unknown = sorted(set(weights) - set(self.TERMS))
        if unknown:
            raise ConfigError(f"objective.{unknown[0]} is not known: use {', '.join(self.TERMS)}")
        if weights.get("prior") and self.prior is None:
            raise ConfigError("objective.prior has no prior to train: add a [model.prior] table")
        self.objective = {term: float(weights.get(term, 0.0)) for term in self.TERMS}

    def loss(self, batch: Batch) -> Loss:
        """The loss of ``batch["wave"][B, T]`` (T a multiple of the hop, normalised level), ``batch["speaker"][B]``."""
        wave, speaker = batch["wave"], batch["speaker"]
        emphasised = self.emphasise(wave)
        quantized = self.quantizer(self.encoder(emphasised))
        features = self.conditioning(quantized.z_q)
        metrics = {"perplexity": quantized.perplexity}
        terms = {"codebook": quantized.loss}
        if self.objective["mel"]:
            terms["mel"] = self.mel_loss(features, wave)
        if self.objective["nll"]:
            terms["nll"] = self.decoder_nll(self._with_speaker(features, speaker), emphasised)
            metrics["bits_per_sample"] = terms["nll"].detach() / NATS_PER_BIT
        if self.objective["prior"]:
            terms["prior"] = self._prior_nll(quantized.codes, speaker)
            metrics["bits_per_token"] = terms["prior"].detach() / NATS_PER_BIT
        total = torch.stack([self.objective[name] * term for name, term in terms.items()]).sum()
        return Loss(total, metrics | {name: term.detach() for name, term in terms.items()})

    @torch.no_grad()
    def probe(self, batch: Batch) -> Probe:
        """Bits a sample with the true codes and with those of the batch's next crop, and the mel error.

        A crop that is alone in its batch has its own codes backwards in place of the next one's.
        """
        wave, speaker = batch["wave"], batch["speaker"]
        emphasised = self.emphasise(wave)
        codes = self.encode(emphasised)
        features = self.conditioning(self.quantizer.lookup(codes))
        metrics = {"mel": self.mel_loss(features, wave)}
        if self.objective["nll"]:
            others = features.roll(1, 0) if len(features) > 1 else features.flip(2)
            true, shuffled = (self._with_speaker(f, speaker) for f in (features, others))
            metrics["bits_per_sample"] = self.decoder_nll(true, emphasised) / NATS_PER_BIT
            metrics["bits_per_sample_shuffled"] = self.decoder_nll(shuffled, emphasised) / NATS_PER_BIT
        if self.objective["prior"]:
            metrics["bits_per_token"] = self._prior_nll(codes, speaker) / NATS_PER_BIT
        return Probe(metrics, codes)

    def _prior_nll(self, codes: Tensor, speaker: Tensor) -> Tensor:
        assert self.prior is not None
        return self.prior.nll(codes.detach(), speaker).mean()

    def mel_loss(self, features: Tensor, wave: Tensor) -> Tensor:
        """Mean absolute error of the log-mel spectra predicted from ``features``, against those of ``wave``."""
        with torch.no_grad():
            target = torch.cat([self._log_mel(wave, mel.n_fft, mel.n_mels) for mel in self.config.mels], dim=1)
        return F.l1_loss(self.mel_head(features).float(), target)

    def _log_mel(self, wave: Tensor, n_fft: int, n_mels: int) -> Tensor:
        with torch.autocast(wave.device.type, enabled=False):
            mel = audio.log_mel(wave, self.config.sample_rate_hz, n_fft, self.hop_length, n_mels)
        return mel.clamp(min=MEL_FLOOR)

    def decoder_nll(self, features: Tensor, emphasised: Tensor, window: int | None = None) -> Tensor:
        """Nats a sample, given the samples before each, of the middle ``window`` samples of each crop.

        ``features[B, F, frames]`` are those of ``emphasised[B, frames * hop]``; ``window`` is a multiple of the hop,
        the configuration's ``decoder_window`` where left out.
        """
        hop, window = self.hop_length, min(window or self.config.decoder_window, emphasised.shape[1])
        first = (emphasised.shape[1] - window) // hop // 2
        symbols = audio.mu_law_encode(emphasised)
        silence = torch.full_like(symbols[:, :1], audio.SILENCE_LEVEL)
        past = torch.cat([silence, symbols[:, :-1]], dim=1)[:, first * hop :][:, :window]
        if self.training and self.config.history_noise:
            past = self._disturb(past)
        logits = self.decoder(past, features[:, :, first : first + window // hop])
        return self.decoder.nll(logits, symbols[:, first * hop :][:, :window]).mean()

    def _disturb(self, past: Tensor) -> Tensor:
        spread = self.config.history_noise * torch.rand(len(past), 1, device=past.device)
        noise = spread * torch.randn(past.shape, device=past.device)
        return (past + noise.round().long()).clamp(0, self.config.decoder.levels - 1)
