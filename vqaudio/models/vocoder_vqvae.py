"""A VQ-VAE whose codes carry speech parameters: the bands of a spectral envelope, and the pitch.

Encoder, codebook and prior are the paper's (arXiv 1711.00937). The decoder predicts the parameters; a vocoder, minimum
phase driven by pulses and noise, makes sound of them. Parameters are learnt against those that WORLD finds
(:mod:`vqaudio.dsp.world`), which a corpus is prepared with.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqaudio.arrays import Floats, Integers
from vqaudio.dsp import pitch
from vqaudio.dsp.augment import Equaliser
from vqaudio.dsp.mel_envelope import band_centres
from vqaudio.dsp.speech_parameters import SpeechParameters
from vqaudio.errors import DataError
from vqaudio.models.discriminator import PatchDiscriminator
from vqaudio.models.intelligibility import envelope_decorrelation
from vqaudio.models.sound_model import ParameterModel
from vqaudio.models.speaker_encoder import SpeakerEncoder, SpeakerTable
from vqaudio.models.speech_classifier import SpeechClassifier
from vqaudio.models.speech_model import SpeechModel
from vqaudio.models.trainable import NATS_PER_BIT, Batch, Loss, Probe
from vqaudio.models.vocoder_config import VocoderVQVAEConfig

_QUIET, _LOUD = -14.0, -7.0  # log power from which on an error weighs more, and from which on it weighs most
_EDGE_FRAMES = 16  # at either end of a crop, which the discriminator does not see
_MATCHING = 10.0  # weight of feature matching in the adversarial term, beside the score's 1
_PREDICTED = ("bands", "envelopes", "pitch", "units", "conversion", "adversarial")  # they need the decoder's prediction
_NO_UNITS = "the data have no units of speech: make them with recipes/speaker_conversion/units.py"
_TEACHERS = ("discriminator", "classifier")  # parts that a bundled model does not have


class Parameters(NamedTuple):
    """Predicted speech parameters: log power ``bands[B, bands, frames]``, and the pitch."""

    bands: Tensor
    pitch: pitch.Pitch


def pitch_classes(f0_hz: Tensor) -> Tensor:
    """``f0_hz[B, frames]``, 0 where there is no voice, to ``[B, PITCHES + 1, frames]``, which add up to 1 a frame: the
    two nearest pitches share it, or the last has all where there is no voice."""
    octaves = torch.log(f0_hz.clamp(min=1.0) / pitch.LOWEST_HZ) / math.log(pitch.HIGHEST_HZ / pitch.LOWEST_HZ)
    place = (pitch.PITCHES * octaves - 0.5).clamp(0, pitch.PITCHES - 1.001)
    lower = place.long()
    classes = torch.zeros(*place.shape, pitch.PITCHES + 1, device=f0_hz.device)
    classes.scatter_(-1, lower[..., None], (1 - (place - lower))[..., None])
    classes.scatter_(-1, lower[..., None] + 1, (place - lower)[..., None])
    silent = F.one_hot(torch.full_like(lower, pitch.PITCHES), pitch.PITCHES + 1).float()
    return torch.where((f0_hz > 0)[..., None], classes, silent).transpose(1, 2)


def _without_teachers(model: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    """Bundled models have no teachers: one that is trained on begins with fresh ones."""
    for teacher in (name for name in _TEACHERS if getattr(model, name) is not None):
        if not any(name.startswith(f"{prefix}{teacher}.") for name in state):
            own = model.get_submodule(teacher).state_dict()
            state.update({f"{prefix}{teacher}.{name}": tensor for name, tensor in own.items()})


class VocoderVQVAE(SpeechModel, ParameterModel):
    """Speech to tokens to speech parameters. Loss terms: ``codebook`` (the quantizer's, equation 3), ``bands`` (mean
    absolute error of log power, soft sounds weighing less), ``envelopes`` (1 less the correlation of how they rise and
    fall, :mod:`vqaudio.models.intelligibility`), ``pitch`` and ``units`` (cross entropy, nats a frame),
    ``conversion`` (the classifier's, and what it says of the codes spoken with another voice of the batch,
    :mod:`vqaudio.models.speech_classifier`), ``adversarial`` (the discriminator's and, against it, the predictor's) and
    ``prior`` (nats a token, the tokens detached)."""

    TERMS = ("codebook", "bands", "envelopes", "pitch", "units", "conversion", "adversarial", "prior")
    config: VocoderVQVAEConfig

    def __init__(self, config: VocoderVQVAEConfig) -> None:
        super().__init__(config)
        self.bands_head = nn.Conv1d(config.conditioning.features, config.vocoder.bands, 1)
        self.pitch_head = nn.Conv1d(config.conditioning.features, pitch.PITCHES + 1, 1)
        self.unit_head = nn.Conv1d(config.conditioning.features, config.units, 1) if config.units else None
        self.speaker_encoder: SpeakerEncoder | None = None
        if config.speaker_encoder:
            dim = config.conditioning.voice_dim
            self.speaker_encoder = SpeakerEncoder(config.speaker_encoder, dim, config.sample_rate_hz)
            self.speakers = SpeakerTable(len(config.speakers), dim)
        self.classifier: SpeechClassifier | None = None
        if config.speakers and config.units:
            self.classifier = SpeechClassifier(config.vocoder.bands, len(config.speakers), config.units)
        self.discriminator = PatchDiscriminator()
        self.register_load_state_dict_pre_hook(_without_teachers)  # type: ignore[no-untyped-call]
        self.add_prior()

    def parameters_of(self, features: Tensor) -> Parameters:
        """What ``features[B, F, frames]`` tell of the sound."""
        return Parameters(self.bands_head(features), pitch.read_pitch(self.pitch_head(features)))

    @torch.inference_mode()
    def speak(self, codes: Integers, voice: Floats | None, first: int = 0) -> SpeechParameters:
        """See :class:`ParameterModel`."""
        with torch.autocast(self.device.type, enabled=False):
            who = None if voice is None else torch.from_numpy(voice)[None].to(self.device)
            said = self.parameters_of(self.features(torch.from_numpy(codes)[None].to(self.device), who, first))
            f0_hz = torch.where(said.pitch.voiced, said.pitch.hz, 0.0)[0].float().cpu().numpy()
            return SpeechParameters(said.bands[0].T.float().cpu().numpy(), f0_hz)

    @torch.inference_mode()
    def hear_voice(self, wave: Floats) -> Floats | None:
        """See :class:`ParameterModel`."""
        if self.speaker_encoder is None:
            return None
        return self.speaker_encoder(torch.from_numpy(wave)[None].to(self.device))[0].cpu().numpy()

    def missing_part(self, term: str) -> str:
        """See :meth:`SpeechModel.missing_part`."""
        if term == "units" and not self.config.units:
            return "units above 0"
        if term == "conversion" and self.classifier is None:
            return "speakers, and units above 0"
        return super().missing_part(term)

    # -------------------------------------------------------------------------------------------------- learning

    def _heard_voice(self, batch: Batch) -> Tensor | None:
        """Who speaks: heard in the batch's ``reference``, where the model can, so that the voice tells nothing of what
        is said; else the voices of its speakers."""
        if self.speaker_encoder is None:
            return self.voice(batch["speaker"])
        voice: Tensor = self.speaker_encoder(batch["reference"] if "reference" in batch else batch["wave"])
        if self.training:
            assert isinstance(self.speakers, SpeakerTable)
            self.speakers.follow(batch["speaker"], voice.detach())
        return voice

    def loss(self, batch: Batch) -> Loss:
        """The loss of ``batch``: ``wave[B, T]`` (T a multiple of the vectors' samples, normalised level), ``bands[B,
        bands, frames]`` and ``f0[B, frames]`` of its frames, and ``speaker[B]``; for a speaker encoder ``reference[B,
        T]``, too, other speech of the same speakers.

        Raises:
            DataError: the batch has no speech parameters.
        """
        batch, speaker = self._recorded(batch), batch["speaker"]
        wave = batch["wave"]
        quantized = self.quantizer(self.encoder(self.emphasise(self._heard(wave))))
        metrics, terms = {"perplexity": quantized.perplexity}, {"codebook": quantized.loss}
        if any(self.objective[name] for name in _PREDICTED):
            voice, said = self._heard_voice(batch), self._jittered(quantized.z_q)
            features = self.conditioning(said, voice)
            target, f0 = self._targets(batch)
            predicted = self.bands_head(features).float()
            terms["bands"] = self._bands_loss(predicted, target)
            terms["pitch"] = F.cross_entropy(self.pitch_head(features).float(), pitch_classes(f0))
            if self.objective["envelopes"]:
                terms["envelopes"] = self._envelopes_loss(predicted, target)
            if self.objective["units"]:
                terms["units"] = self._units_loss(features, batch)
            converted = None
            if self.objective["conversion"]:
                assert voice is not None
                converted = self.bands_head(self.conditioning(said, voice.roll(1, 0))).float()
                terms["conversion"] = self._conversion_loss(converted, batch, target)
            if self.objective["adversarial"]:
                terms["adversarial"] = self._adversarial(predicted, target, converted)
        if self.objective["prior"]:
            terms["prior"] = self._prior_nll(quantized.codes, speaker)
            metrics["bits_per_token"] = terms["prior"].detach() / NATS_PER_BIT
        total = torch.stack([self.objective[name] * term for name, term in terms.items()]).sum()
        return Loss(total, metrics | {name: term.detach() for name, term in terms.items()})

    def _recorded(self, batch: Batch) -> Batch:
        """``batch`` as another microphone would have it, while the model learns."""
        augment = self.config.augment
        if augment is None or not augment.channel_db or not self.training or "bands" not in batch:
            return batch
        wave, rate = batch["wave"], self.config.sample_rate_hz
        channel = Equaliser(len(wave), augment.channel_db, rate, wave.device)
        centres = torch.from_numpy(band_centres(self.config.vocoder.bands, rate)).to(wave)
        bands = batch["bands"] + channel.response(centres)[..., None]
        reference = {"reference": channel(batch["reference"])} if "reference" in batch else {}
        return {**batch, "wave": channel(wave), "bands": bands, **reference}

    def _targets(self, batch: Batch) -> tuple[Tensor, Tensor]:
        if "bands" not in batch or batch["bands"].shape[1] != self.config.vocoder.bands:
            raise DataError(
                f"the data have no speech parameters of {self.config.vocoder.bands} bands: prepare the corpus anew, "
                f"with 'vqaudio prepare SOURCE -o SHARDS --bands {self.config.vocoder.bands}'"
            )
        return batch["bands"].float().clamp(min=self.config.vocoder.floor), batch["f0"]

    def _bands_loss(self, predicted: Tensor, target: Tensor) -> Tensor:
        quiet = self.config.vocoder.quiet_weight
        weight = quiet + (1 - quiet) * ((target - _QUIET) / (_LOUD - _QUIET)).clamp(0, 1)
        return ((predicted - target).abs() * weight).mean() / weight.mean()

    def _envelopes_loss(self, predicted: Tensor, target: Tensor) -> Tensor:
        return envelope_decorrelation(predicted, target, self.config.sample_rate_hz, self.config.frame_length)

    def _units_loss(self, features: Tensor, batch: Batch) -> Tensor:
        if "units" not in batch:
            raise DataError(_NO_UNITS)
        assert self.unit_head is not None
        return F.cross_entropy(self.unit_head(features).float(), batch["units"], ignore_index=-1)

    def _conversion_loss(self, converted: Tensor, batch: Batch, target: Tensor) -> Tensor:
        """Of the bands ``converted``, each row's words in the voice of the row before."""
        if "units" not in batch:
            raise DataError(_NO_UNITS)
        assert self.classifier is not None
        speaker, units = batch["speaker"], batch["units"]
        floored = converted.clamp(min=self.config.vocoder.floor)
        return self.classifier.loss(target, speaker, units) + self.classifier.fixed_loss(
            floored, speaker.roll(1, 0), units
        )

    def _adversarial(self, predicted: Tensor, target: Tensor, converted: Tensor | None) -> Tensor:
        inner, floor = slice(_EDGE_FRAMES, -_EDGE_FRAMES), self.config.vocoder.floor
        own, others = (
            None if bands is None else bands.clamp(min=floor)[:, :, inner] for bands in (predicted, converted)
        )
        assert own is not None
        found = self.discriminator.adversary(own, target[:, :, inner], others)
        return found.critic + found.score + _MATCHING * found.matching

    @torch.no_grad()
    def probe(self, batch: Batch) -> Probe:
        """The errors of bands and pitch with the true codes, and of bands with those of the batch's next crop."""
        wave, speaker = batch["wave"], batch["speaker"]
        codes, voice = self.encode(wave), self._heard_voice(batch)
        target, f0 = self._targets(batch)
        features = self.features(codes, voice)
        others = self.features(codes.roll(1, 0) if len(codes) > 1 else codes.flip(1), voice)
        metrics = {
            "bands": F.l1_loss(self.bands_head(features).float(), target),
            "bands_shuffled": F.l1_loss(self.bands_head(others).float(), target),
            "envelopes": self._envelopes_loss(self.bands_head(features), target),
            "pitch": F.cross_entropy(self.pitch_head(features).float(), pitch_classes(f0)),
        }
        if self.objective["units"]:
            metrics["units"] = self._units_loss(features, batch)
        if self.objective["conversion"]:
            assert self.classifier is not None
            assert voice is not None
            converted = self.classifier(self.bands_head(self.features(codes, voice.roll(1, 0))).float()).speaker
            pair = [converted.gather(1, who[:, None]) for who in (speaker.roll(1, 0), speaker)]
            metrics["nearer"] = (pair[0] > pair[1]).float().mean()
        if self.objective["prior"]:
            metrics["bits_per_token"] = self._prior_nll(codes, speaker) / NATS_PER_BIT
        return Probe(metrics, codes)
