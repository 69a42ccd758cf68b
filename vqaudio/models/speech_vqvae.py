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

from vqaudio.dsp import audio, source
from vqaudio.dsp.augment import disguise
from vqaudio.errors import ConfigError
from vqaudio.models.config import AudioVQVAEConfig, ConditioningConfig, EncoderConfig, MelConfig
from vqaudio.models.prior import WaveNetPrior
from vqaudio.models.quantizer import quantizer
from vqaudio.models.wavenet import WaveNet

ENCODER_GAIN = 8.0  # brings normalised, pre-emphasised speech to about unit scale for the first convolution
MEL_FLOOR = -3.0  # log magnitude under which the training aid hears nothing: about the noise of a quiet room
HEARD_FLOOR, HEARD_MEAN, HEARD_SCALE = -5.0, -1.0, 1.5  # of the log magnitudes that an encoder of the spectrum hears
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
        # in place, because fresh memory takes as long as the arithmetic; here and below
        return x + self.pointwise(torch.relu_(self.dilated(torch.relu(x))))


def _begin_at_zero(blocks: nn.ModuleList) -> None:
    """Makes residual blocks begin by adding nothing."""
    for block in blocks:
        assert isinstance(block, ResidualBlock)
        for value in block.pointwise.parameters():
            nn.init.zeros_(value)


class AudioEncoder(nn.Module):
    """``z_e(x)``: a waveform ``[B, T]`` to vectors ``[B, D, T / hop_length]``; T must be a multiple of the hop.

    Each vector has mean 0 and variance 1: with its scale held, the encoder can neither shrink away from the codebook
    nor outrun it.
    """

    def __init__(self, config: EncoderConfig, code_dim: int, sample_rate_hz: int) -> None:
        super().__init__()
        self.config, self.sample_rate_hz = config, sample_rate_hz
        widths = (config.spectrum.n_mels if config.spectrum else 1, *config.channels)
        self.strided = nn.ModuleList(
            _keep_scale(nn.Conv1d(narrow, wide, 2 * stride, stride=stride, padding=stride // 2))
            for (narrow, wide), stride in zip(itertools.pairwise(widths), config.steps, strict=True)
        )
        heard = 4 * config.spectrum_hop  # samples between the places at which periods are looked for
        self.period_hop = heard if config.hop_length % heard == 0 else config.hop_length
        each = config.hop_length // self.period_hop
        self.period = nn.Conv1d(source.PITCHES, widths[-1], each, stride=each) if config.spectrum else None
        self.blocks = nn.ModuleList(ResidualBlock(widths[-1], dilation) for dilation in config.residual_dilations)
        self.out = _keep_scale(nn.Conv1d(widths[-1], code_dim, 1))
        if config.spectrum:
            _begin_at_zero(self.blocks)

    @property
    def context(self) -> int:
        """Vectors on either side whose samples can change a vector, and then some, so that edges are never seen."""
        strided = 3  # window 4 at each of the strides 1, 2, 4, ... reaches under one hop to either side of its own
        windows = max(self.config.spectrum.n_fft, source.PITCH_WINDOW) if self.config.spectrum else 0
        return strided + sum(self.config.residual_dilations) + -(-windows // (2 * self.config.hop_length))

    def forward(self, wave: Tensor) -> Tensor:
        """``[B, T]`` to ``[B, D, T / hop_length]``."""
        spectrum = self.config.spectrum
        x = ENCODER_GAIN * wave[:, None] if spectrum is None else self._heard(wave, spectrum)
        for index, layer in enumerate(self.strided):
            x = layer(torch.relu_(x) if index else x)
        if self.period is not None:
            x = x + self.period(source.periodicity(wave, self.sample_rate_hz, self.period_hop))
        for block in self.blocks:
            x = block(x)
        z: Tensor = self.out(torch.relu_(x) if spectrum is None else x)
        return F.layer_norm(z.transpose(1, 2), z.shape[1:2]).transpose(1, 2)

    def _heard(self, wave: Tensor, spectrum: MelConfig) -> Tensor:
        """The log-mel spectrogram ``[B, bands, frames]``, at about unit scale."""
        with torch.autocast(wave.device.type, enabled=False):
            hop = self.config.spectrum_hop
            mel = audio.log_mel(wave, self.sample_rate_hz, spectrum.n_fft, hop, spectrum.n_mels)
        return (mel.clamp(min=HEARD_FLOOR) - HEARD_MEAN) / HEARD_SCALE


class VoicedBlock(ResidualBlock):
    """A residual block whose input is scaled and shifted, channel by channel, by a speaker's vector."""

    def __init__(self, channels: int, dilation: int, voice_dim: int) -> None:
        super().__init__(channels, dilation)
        self.voice = nn.Linear(voice_dim, 2 * channels)
        nn.init.normal_(self.voice.weight, std=0.02)  # all voices begin nearly alike
        nn.init.zeros_(self.voice.bias)

    def speak(self, x: Tensor, voice: Tensor) -> Tensor:
        """``x[B, C, T]`` in the voice ``[B, V]``."""
        scale, shift = self.voice(voice)[:, :, None].chunk(2, dim=1)
        return self(x * (1 + scale) + shift)


class ConditioningStack(nn.Module):
    """Codebook vectors ``[B, D, vectors]`` to the decoder's features ``[B, F, frames]``, looking both ways in time.

    ``frames`` is ``vectors * frames_per_token``. Where ``voiced``, every block hears who speaks. A ``linear``
    one begins as a linear map.
    """

    def __init__(self, config: ConditioningConfig, code_dim: int, voiced: bool, linear: bool) -> None:
        super().__init__()
        self.config, self.linear = config, linear
        self.into = _keep_scale(nn.Conv1d(code_dim, config.channels, 3, padding=1))
        self.blocks = self._stack(config.residual_dilations, voiced)
        frames = config.frames_per_token
        self.spread = nn.Conv1d(config.channels, config.channels * frames, 1) if frames > 1 else None
        self.frame_blocks = self._stack(config.frame_dilations, voiced)
        self.out = nn.Conv1d(config.channels, config.features, 1)
        if linear:
            _begin_at_zero(self.blocks)
            _begin_at_zero(self.frame_blocks)

    def _stack(self, dilations: tuple[int, ...], voiced: bool) -> nn.ModuleList:
        width, voice_dim = self.config.channels, self.config.voice_dim
        return nn.ModuleList(VoicedBlock(width, d, voice_dim) if voiced else ResidualBlock(width, d) for d in dilations)

    @property
    def context(self) -> int:
        """Vectors on either side that can change a vector's frames of features."""
        frames = sum(self.config.frame_dilations)
        return 1 + sum(self.config.residual_dilations) + -(-frames // self.config.frames_per_token)

    def forward(self, z_q: Tensor, voice: Tensor | None = None) -> Tensor:
        """``[B, D, vectors]`` and, where voiced, a speaker's vector ``[B, V]`` to ``[B, F, frames]``."""
        x = self._through(self.blocks, self.into(z_q), voice)
        if self.spread is not None:  # channels to frames: a sub-pixel convolution
            x = self.spread(x).unflatten(1, (x.shape[1], -1)).transpose(2, 3).flatten(2)
        x = self._through(self.frame_blocks, x, voice)
        features: Tensor = self.out(x if self.linear else torch.relu(x))
        return features

    @staticmethod
    def _through(blocks: nn.ModuleList, x: Tensor, voice: Tensor | None) -> Tensor:
        for block in blocks:
            if isinstance(block, VoicedBlock):
                assert voice is not None, "a model with speakers must be told which"
                x = block.speak(x, voice)
            else:
                x = block(x)
        return x


class AudioVQVAE(nn.Module):
    """Speech to tokens to speech. Loss terms (equation 3): ``nll`` (nats a sample, through the WaveNet), ``codebook``
    (the quantizer's terms), ``mel`` (the training aid: log-mel spectra from the conditioning features) and ``prior``
    (nats a token, the tokens detached: section 3.3)."""

    TERMS = ("nll", "codebook", "mel", "pitch", "prior")

    def __init__(self, config: AudioVQVAEConfig) -> None:
        super().__init__()
        self.config = config
        code_dim = config.quantizer.code_dim
        self.encoder = AudioEncoder(config.encoder, code_dim, config.sample_rate_hz)
        self.quantizer = quantizer(config.quantizer)
        linear = config.encoder.spectrum is not None
        self.conditioning = ConditioningStack(config.conditioning, code_dim, bool(config.speakers), linear)
        self.speakers = nn.Embedding(len(config.speakers), config.conditioning.voice_dim) if config.speakers else None
        self.mel_head = nn.Conv1d(config.conditioning.features, sum(mel.n_mels for mel in config.mels), 1)
        mel = config.mels[-1]
        self.envelope = (
            source.Envelope(config.sample_rate_hz, mel.n_fft, mel.n_mels, config.pre_emphasis)
            if config.excitation
            else None
        )
        self.pitch_head = nn.Conv1d(config.conditioning.features, source.PITCHES + 1, 1) if config.excitation else None
        self.decoder = WaveNet(config.decoder)
        self.decoder.order_symbols()
        self.prior = WaveNetPrior(config.prior, len(config.speakers)) if config.prior else None
        self.objective: dict[str, float] = {}
        absent = {name for name, part in {"prior": self.prior, "pitch": self.pitch_head}.items() if part is None}
        self.set_objective({term: 1.0 for term in self.TERMS if term not in absent})

    @property
    def hop_length(self) -> int:
        """Samples a token."""
        return self.config.hop_length

    @property
    def frames_per_token(self) -> int:
        """Frames of conditioning features a token."""
        return self.config.conditioning.frames_per_token // self.stages

    @property
    def stages(self) -> int:
        """Tokens a vector. A sound is a whole number of vectors, and so is each part of it that is coded by itself."""
        return self.config.quantizer.stages

    @property
    def encoder_context(self) -> int:
        """Tokens on either side of some whose samples can change them."""
        return self.encoder.context * self.stages

    @property
    def conditioning_context(self) -> int:
        """Tokens on either side of a token that can change its frames of features."""
        return self.conditioning.context * self.stages

    # ---------------------------------------------------------------------------------------------- the coded path

    def emphasise(self, wave: Tensor) -> Tensor:
        """The signal that is coded: ``wave[B, T]`` after pre-emphasis."""
        return audio.pre_emphasis(wave, self.config.pre_emphasis) if self.config.pre_emphasis else wave

    def encode(self, emphasised: Tensor) -> Tensor:
        """``[B, T]`` (T a multiple of a vector's samples, values about -1..1) to codes ``[B, T / hop]``."""
        return self.quantizer.encode(self.encoder(emphasised))

    def features(self, codes: Tensor, voice: Tensor | None = None) -> Tensor:
        """Codes ``[B, tokens]`` and, where the model knows speakers, a voice's vector ``[B, V]``, to
        ``[B, F, tokens * frames_per_token]``."""
        features: Tensor = self.conditioning(self.quantizer.lookup(codes), voice)
        return features

    def voice(self, speaker: Tensor) -> Tensor | None:
        """The vectors ``[B, V]`` of the speakers with the indices ``[B]``; None where the model knows no speakers."""
        return None if self.speakers is None else self.speakers(speaker)

    # -------------------------------------------------------------------------------------------------- learning

    def set_objective(self, weights: Mapping[str, float]) -> None:
        """See :class:`Trainable`; the terms are ``nll``, ``codebook``, ``mel`` and ``prior``."""
        unknown = sorted(set(weights) - set(self.TERMS))
        if unknown:
            raise ConfigError(f"objective.{unknown[0]} is not known: use {', '.join(self.TERMS)}")
        if weights.get("prior") and self.prior is None:
            raise ConfigError("objective.prior has no prior to train: add a [model.prior] table")
        if weights.get("pitch") and self.pitch_head is None:
            raise ConfigError("objective.pitch has no pitch to learn: the model must have excitation = true")
        self.objective = {term: float(weights.get(term, 0.0)) for term in self.TERMS}

    def loss(self, batch: Batch) -> Loss:
        """The loss of ``batch["wave"][B, T]`` (T a multiple of the hop, normalised level), ``batch["speaker"][B]``."""
        wave, speaker = batch["wave"], batch["speaker"]
        quantized = self.quantizer(self.encoder(self.emphasise(self._heard(wave))))
        features = self.conditioning(self._jittered(quantized.z_q), self.voice(speaker))
        metrics = {"perplexity": quantized.perplexity}
        terms = {"codebook": quantized.loss}
        if self.objective["mel"]:
            terms["mel"] = self.mel_loss(features, wave)
        if self.objective["pitch"]:
            terms["pitch"] = self.pitch_loss(features, wave)
        if self.objective["nll"]:
            terms["nll"] = self.decoder_nll(features, self.emphasise(wave))
            metrics["bits_per_sample"] = terms["nll"].detach() / NATS_PER_BIT
        if self.objective["prior"]:
            terms["prior"] = self._prior_nll(quantized.codes, speaker)
            metrics["bits_per_token"] = terms["prior"].detach() / NATS_PER_BIT
        total = torch.stack([self.objective[name] * term for name, term in terms.items()]).sum()
        return Loss(total, metrics | {name: term.detach() for name, term in terms.items()})

    def _heard(self, wave: Tensor) -> Tensor:
        """What the encoder hears of ``wave[B, T]`` while it learns."""
        perturb = self.config.perturb
        if perturb is None or not (self.training and self.encoder.training):
            return wave
        return disguise(wave, self.config.sample_rate_hz, perturb.pitch_semitones, perturb.formant_semitones)

    def _jittered(self, z_q: Tensor) -> Tensor:
        """``z_q[B, D, tokens]``, some tokens replaced by the one before or after them while the model learns."""
        share, tokens = self.config.time_jitter, z_q.shape[2]
        if not (share and self.training):
            return z_q
        drawn = torch.rand(len(z_q), tokens, device=z_q.device)
        step = (drawn < share / 2).long() - (drawn > 1 - share / 2).long()
        source = (torch.arange(tokens, device=z_q.device) + step).clamp(0, tokens - 1)
        return z_q.gather(2, source[:, None].expand_as(z_q))

    @torch.no_grad()
    def probe(self, batch: Batch) -> Probe:
        """Bits a sample with the true codes and with those of the batch's next crop, and the mel error.

        A crop that is alone in its batch has its own codes backwards in place of the next one's.
        """
        wave, speaker = batch["wave"], batch["speaker"]
        emphasised = self.emphasise(wave)
        codes = self.encode(emphasised)
        voice = self.voice(speaker)
        features = self.features(codes, voice)
        metrics = {"mel": self.mel_loss(features, wave)}
        if self.objective["pitch"]:
            metrics["pitch"] = self.pitch_loss(features, wave)
        if self.objective["nll"]:
            others = self.features(codes.roll(1, 0) if len(codes) > 1 else codes.flip(1), voice)
            metrics["bits_per_sample"] = self.decoder_nll(features, emphasised) / NATS_PER_BIT
            metrics["bits_per_sample_shuffled"] = self.decoder_nll(others, emphasised) / NATS_PER_BIT
        if self.objective["prior"]:
            metrics["bits_per_token"] = self._prior_nll(codes, speaker) / NATS_PER_BIT
        return Probe(metrics, codes)

    def _prior_nll(self, codes: Tensor, speaker: Tensor) -> Tensor:
        assert self.prior is not None
        return self.prior.nll(codes.detach(), speaker).mean()

    def mel_loss(self, features: Tensor, wave: Tensor) -> Tensor:
        """Mean absolute error of the log-mel spectra predicted from ``features``, against those of ``wave``."""
        return F.l1_loss(self.mel_head(features).float(), self.mel_target(wave))

    def pitch_loss(self, features: Tensor, wave: Tensor) -> Tensor:
        """Cross entropy, in nats a frame, of the pitch predicted from ``features`` with that of ``wave``."""
        target = self.pitch_target(wave)
        assert self.pitch_head is not None
        assert target is not None
        return F.cross_entropy(self.pitch_head(features).float(), target)

    @torch.no_grad()
    def pitch_target(self, wave: Tensor) -> Tensor | None:
        """What ``pitch_head`` is to predict of ``wave[B, T]``: ``[B, PITCHES + 1, frames]``; None without one."""
        if self.pitch_head is None:
            return None
        hop = self.config.decoder.hop_length
        frames = wave.shape[1] // hop
        # heard in every second frame and, between them, in between: it is a third of a step's time as it is
        heard = source.pitch_target(F.pad(wave, (0, frames % 2 * hop)), self.config.sample_rate_hz, 2 * hop)
        return F.interpolate(heard, scale_factor=2, mode="linear")[:, :, :frames]

    @torch.no_grad()
    def mel_target(self, wave: Tensor) -> Tensor:
        """What ``mel_head`` is to predict of ``wave[B, T]``: ``[B, bands of all spectra, frames]``."""
        return torch.cat([self._log_mel(wave, mel.n_fft, mel.n_mels) for mel in self.config.mels], dim=1)

    def _log_mel(self, wave: Tensor, n_fft: int, n_mels: int) -> Tensor:
        with torch.autocast(wave.device.type, enabled=False):
            mel = audio.log_mel(wave, self.config.sample_rate_hz, n_fft, self.config.decoder.hop_length, n_mels)
        return mel.clamp(min=MEL_FLOOR)

    def decoder_nll(self, features: Tensor, emphasised: Tensor, window: int | None = None) -> Tensor:
        """Nats a sample, given the samples before each, of the middle ``window`` samples of each crop: of its mu-law
        level, or where the decoder draws the excitation of its 16-bit value.

        ``features[B, F, frames]`` are those of ``emphasised[B, frames * hop]``, where hop is the decoder's; ``window``
        is a multiple of it, the configuration's ``decoder_window`` where left out.
        """
        hop = self.config.decoder.hop_length
        window = min(window or self.config.decoder_window, emphasised.shape[1])
        first = (emphasised.shape[1] - window) // hop // 2
        middle = slice(first * hop, first * hop + window)
        symbols, marks, widths = self._drawn(features, emphasised)
        silence = torch.full_like(symbols[:, :1], audio.SILENCE_LEVEL)
        past = torch.cat([silence, symbols[:, :-1]], dim=1)[:, middle]
        if self.training and self.config.history_noise:
            past = self._disturb(past)
        own = features[:, :, first : first + window // hop]
        logits = self.decoder(past, own, None if marks is None else marks[:, middle])
        nats = self.decoder.nll(logits, symbols[:, middle])
        return nats.mean() if widths is None else (nats + widths[:, middle]).mean()

    @torch.no_grad()
    def _drawn(self, features: Tensor, emphasised: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The symbols ``[B, T]`` that the decoder is to draw; the marks to draw them by; and the log of how many steps
        of 16 bits each symbol is wide, by which the likelihood of the excitation becomes that of the wave."""
        if self.envelope is None:
            return audio.mu_law_encode(emphasised), None, None
        tract, pitch = self.tract(features), self.pitch(features)
        driven = source.excitation(emphasised, tract) / source.RANGE
        # a wave and its negative sound alike: the pulses always point upwards
        driven = driven * driven.clamp(-1, 1).pow(3).sum(1, keepdim=True).sign()
        hop = self.config.decoder.hop_length
        passed = source.locked(source.periods(pitch.hz, self.config.sample_rate_hz, hop), driven, hop)
        widths = audio.mu_law_width(driven).log() + (source.RANGE * tract.gain * 2**15).log().repeat_interleave(hop, 1)
        return audio.mu_law_encode(driven), source.marks(passed, pitch.voiced, self.config.decoder.marks), widths

    def tract(self, features: Tensor) -> source.Filter:
        """The filter that ``features[B, F, frames]`` tell of; only where the decoder draws the excitation."""
        assert self.envelope is not None
        bands = self.config.mels[-1].n_mels
        return self.envelope(self.mel_head(features)[:, -bands:])

    def pitch(self, features: Tensor) -> source.Pitch:
        """The pitch that ``features[B, F, frames]`` tell of; only where the decoder draws the excitation."""
        assert self.pitch_head is not None
        return source.read_pitch(self.pitch_head(features))

    def _disturb(self, past: Tensor) -> Tensor:
        spread = self.config.history_noise * torch.rand(len(past), 1, device=past.device)
        noise = spread * torch.randn(past.shape, device=past.device)
        return (past + noise.round().long()).clamp(0, self.config.decoder.levels - 1)
