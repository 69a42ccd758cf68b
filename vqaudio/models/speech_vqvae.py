"""VQ-VAE (van den Oord, Vinyals, Kavukcuoglu 2017, arXiv 1711.00937): encoder, quantizer, WaveNet decoder in one model.

The parts stand in files of their own, in the order of the paper's figure 1: encoder.py, the codebook (quantizer.py),
the stack from codes to conditioning features (conditioning.py), the decoder (wavenet.py).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqaudio.dsp import all_pole, mulaw, pitch, pitch_phase
from vqaudio.dsp.mel import log_mel
from vqaudio.models.speech_config import AudioVQVAEConfig
from vqaudio.models.speech_model import SpeechModel
from vqaudio.models.trainable import NATS_PER_BIT, Batch, Loss, Probe
from vqaudio.models.trainable import Trainable as Trainable
from vqaudio.models.wavenet import WaveNet

MEL_FLOOR = -3.0  # log magnitude under which the training aid hears nothing: about the noise of a quiet room


class AudioVQVAE(SpeechModel):
    """Speech to tokens to speech. Loss terms (equation 3): ``nll`` (nats a sample, through the WaveNet), ``codebook``
    (the quantizer's terms), ``mel`` (the training aid: log-mel spectra from the conditioning features) and ``prior``
    (nats a token, the tokens detached: section 3.3)."""

    TERMS = ("nll", "codebook", "mel", "pitch", "prior")
    config: AudioVQVAEConfig

    def __init__(self, config: AudioVQVAEConfig) -> None:
        super().__init__(config)
        self.mel_head = nn.Conv1d(config.conditioning.features, sum(mel.n_mels for mel in config.mels), 1)
        mel = config.mels[-1]
        self.envelope = (
            all_pole.Envelope(config.sample_rate_hz, mel.n_fft, mel.n_mels, config.pre_emphasis)
            if config.excitation
            else None
        )
        self.pitch_head = nn.Conv1d(config.conditioning.features, pitch.PITCHES + 1, 1) if config.excitation else None
        self.decoder = WaveNet(config.decoder)
        self.decoder.order_symbols()
        self.add_prior()

    def missing_part(self, term: str) -> str:
        """See :meth:`SpeechModel.missing_part`."""
        if term == "pitch" and self.pitch_head is None:
            return "excitation = true"
        return super().missing_part(term)

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
        heard = pitch.pitch_target(F.pad(wave, (0, frames % 2 * hop)), self.config.sample_rate_hz, 2 * hop)
        return F.interpolate(heard, scale_factor=2, mode="linear")[:, :, :frames]

    @torch.no_grad()
    def mel_target(self, wave: Tensor) -> Tensor:
        """What ``mel_head`` is to predict of ``wave[B, T]``: ``[B, bands of all spectra, frames]``."""
        return torch.cat([self._log_mel(wave, mel.n_fft, mel.n_mels) for mel in self.config.mels], dim=1)

    def _log_mel(self, wave: Tensor, n_fft: int, n_mels: int) -> Tensor:
        with torch.autocast(wave.device.type, enabled=False):
            mel = log_mel(wave, self.config.sample_rate_hz, n_fft, self.config.decoder.hop_length, n_mels)
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
        symbols, phases, widths = self._drawn(features, emphasised)
        silence = torch.full_like(symbols[:, :1], mulaw.SILENCE_LEVEL)
        past = torch.cat([silence, symbols[:, :-1]], dim=1)[:, middle]
        if self.training and self.config.history_noise:
            past = self._disturb(past)
        own = features[:, :, first : first + window // hop]
        logits = self.decoder(past, own, None if phases is None else phases[:, middle])
        nats = self.decoder.nll(logits, symbols[:, middle])
        return nats.mean() if widths is None else (nats + widths[:, middle]).mean()

    @torch.no_grad()
    def _drawn(self, features: Tensor, emphasised: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The symbols ``[B, T]`` that the decoder is to draw; the phases to draw them by; and the log of how many steps
        of 16 bits each symbol is wide, by which the likelihood of the excitation becomes that of the wave."""
        if self.envelope is None:
            return mulaw.mu_law_encode(emphasised), None, None
        filters, pitch = self.vocal_tract_filter(features), self.pitch(features)
        driven = all_pole.excitation(emphasised, filters) / all_pole.RANGE
        # a wave and its negative sound alike: the pulses always point upwards
        driven = driven * driven.clamp(-1, 1).pow(3).sum(1, keepdim=True).sign()
        hop = self.config.decoder.hop_length
        phase = pitch_phase.locked(pitch_phase.periods(pitch.hz, self.config.sample_rate_hz, hop), driven, hop)
        widths = mulaw.mu_law_width(driven).log() + (all_pole.RANGE * filters.gain * 2**15).log().repeat_interleave(
            hop, 1
        )
        return (
            mulaw.mu_law_encode(driven),
            pitch_phase.phase_index(phase, pitch.voiced, self.config.decoder.phases),
            widths,
        )

    def vocal_tract_filter(self, features: Tensor) -> all_pole.Filter:
        """The filter that ``features[B, F, frames]`` tell of; only where the decoder draws the excitation."""
        assert self.envelope is not None
        bands = self.config.mels[-1].n_mels
        return self.envelope(self.mel_head(features)[:, -bands:])

    def pitch(self, features: Tensor) -> pitch.Pitch:
        """The pitch that ``features[B, F, frames]`` tell of; only where the decoder draws the excitation."""
        assert self.pitch_head is not None
        return pitch.read_pitch(self.pitch_head(features))

    def _disturb(self, past: Tensor) -> Tensor:
        spread = self.config.history_noise * torch.rand(len(past), 1, device=past.device)
        noise = spread * torch.randn(past.shape, device=past.device)
        return (past + noise.round().long()).clamp(0, self.config.decoder.levels - 1)
