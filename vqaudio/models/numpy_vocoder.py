"""A model of speech parameters that runs without torch: what :class:`vqaudio.models.vocoder_vqvae.VocoderVQVAE` codes
and says, from the same configuration and the same weights, with products by NumPy's BLAS.

Sums are rounded in another order than torch's: where two codes are equally near to the last bits, the other one may be
chosen. Always run it with one thread of BLAS, so that it rounds alike everywhere.
"""

import functools
import itertools
from collections.abc import Mapping
from typing import Self

import numpy as np
import numpy.typing as npt

from vqaudio.arrays import Floats, Integers
from vqaudio.dsp import hearing
from vqaudio.dsp.pitch_scale import PITCHES
from vqaudio.dsp.speech_parameters import SpeechParameters
from vqaudio.models.layers import Arrays, Convolution, Linear, Pointwise, layer_norm, relu, stack
from vqaudio.models.settings import BEAM, LEAST_SHARE, QuantizerConfig
from vqaudio.models.sound_model import ParameterModel, SymbolNetwork
from vqaudio.models.speech_config import (
    HEARD_FLOOR,
    HEARD_MEAN,
    HEARD_SCALE,
    ConditioningConfig,
    EncoderConfig,
    WaveNetConfig,
)
from vqaudio.models.vocoder_config import SPEAKER_HOP, SPEAKER_MEL, SpeakerEncoderConfig, VocoderVQVAEConfig


def _heard(mel: Floats) -> Floats:
    """A log-mel spectrogram at about unit scale."""
    scaled: Floats = (np.maximum(mel, np.float32(HEARD_FLOOR)) - np.float32(HEARD_MEAN)) / np.float32(HEARD_SCALE)
    return scaled


class Encoder:
    """:class:`vqaudio.models.encoder.AudioEncoder` of a spectrum: ``wave[T]`` to vectors ``[T / hop_length, D]``."""

    def __init__(self, arrays: Arrays, config: EncoderConfig, code_dim: int, sample_rate_hz: int) -> None:
        self._config, self._rate_hz = config, sample_rate_hz
        widths = (sum(mel.n_mels for mel in config.spectra), *config.channels)
        self._strided = [
            Convolution(
                arrays.part(f"strided.{number}"), narrow, wide, 2 * stride, (stride // 2, stride // 2), stride=stride
            )
            for number, ((narrow, wide), stride) in enumerate(
                zip(itertools.pairwise(widths), config.steps, strict=True)
            )
        ]
        each = config.hop_length // config.period_hop
        self._period = Convolution(arrays.part("period"), PITCHES, widths[-1], each, stride=each)
        self._blocks = stack(arrays.part("blocks"), widths[-1], config.residual_dilations, config.look_ahead)
        self._out = Pointwise(arrays.part("out"), widths[-1], code_dim)

    def __call__(self, wave: Floats) -> Floats:
        """See the class."""
        hop, rate_hz = self._config.spectrum_hop, self._rate_hz
        mels = [hearing.log_mel(wave, rate_hz, mel.n_fft, hop, mel.n_mels) for mel in self._config.spectra]
        x = _heard(np.concatenate(mels, axis=1))
        for index, layer in enumerate(self._strided):
            x = layer(relu(x) if index else x)
        x += self._period(hearing.periodicity(wave, rate_hz, self._config.period_hop))
        for block in self._blocks:
            x = block(x)
        return layer_norm(self._out(x))


class Codebook:
    """One of the quantizers: ``vectors[K, D]``, and ``bits[K]``, what the choice of each weighs."""

    def __init__(self, arrays: Arrays, config: QuantizerConfig) -> None:
        size = config.codebook_size
        self.vectors = arrays.floats("codebook", (size, config.code_dim))
        counts = arrays.floats("ema_count", (size,))
        shares = np.maximum(counts / counts.sum(), np.float32(LEAST_SHARE))
        self.bits: Floats = np.float32(-config.rate_weight) * np.log2(shares)
        self.own: Floats = np.square(self.vectors).sum(1) + self.bits


def _least(scores: Floats, count: int) -> npt.NDArray[np.intp]:
    """The places ``[N, count]`` of the least of each row of ``scores[N, M]``, which it overwrites."""
    places = np.empty((len(scores), count), np.intp)
    rows = np.arange(len(scores))
    for number in range(count):  # faster than to sort, for so few
        places[:, number] = scores.argmin(1)
        scores[rows, places[:, number]] = np.inf
    return places


class Quantizer:
    """:class:`vqaudio.models.quantizer.ResidualQuantizer`, or with one codebook ``VectorQuantizer``."""

    def __init__(self, arrays: Arrays, config: QuantizerConfig) -> None:
        several = config.num_quantizers > 1
        parts = [arrays.part(f"stages.{n}") for n in range(config.num_quantizers)] if several else [arrays]
        self.layers = [Codebook(part, config) for part in parts]

    def encode(self, vectors: Floats) -> Integers:
        """The codes ``[N, quantizers]`` of ``vectors[N, D]``."""
        left, rows = vectors[:, None], np.arange(len(vectors))[:, None]
        rate, found = np.zeros((len(vectors), 1), np.float32), np.zeros((len(vectors), 1, 0), np.int64)
        for layer in self.layers:
            size = len(layer.vectors)
            scores = layer.own - 2 * (left.reshape(-1, left.shape[2]) @ layer.vectors.T).reshape(*left.shape[:2], size)
            scores += (np.square(left).sum(2) + rate)[..., None]
            best = _least(scores.reshape(len(vectors), -1), min(BEAM, scores.shape[1] * size))
            beginning, code = best // size, best % size
            left = left[rows, beginning] - layer.vectors[code]
            rate = rate[rows, beginning] + layer.bits[code]
            found = np.concatenate([found[rows, beginning], code[..., None]], axis=2)
        chosen: Integers = found[rows[:, 0], (np.square(left).sum(2) + rate).argmin(1)]
        return chosen

    def lookup(self, codes: Integers) -> Floats:
        """``codes[N, quantizers]`` to the sums ``[N, D]`` of their vectors."""
        parts = [layer.vectors[own] for layer, own in zip(self.layers, codes.T, strict=True)]
        return functools.reduce(np.add, parts)


class Conditioning:
    """:class:`vqaudio.models.conditioning.ConditioningStack` that begins linear."""

    def __init__(self, arrays: Arrays, config: ConditioningConfig, code_dim: int, voiced: bool) -> None:
        width, voice_dim = config.channels, config.voice_dim if voiced else 0
        self._frames = config.frames_per_vector
        self._into = Convolution(arrays.part("into"), code_dim, width, 3, (1, 1))
        self._blocks = stack(arrays.part("blocks"), width, config.residual_dilations, config.look_ahead, voice_dim)
        spread = arrays.part("spread")
        self._spread = Pointwise(spread, width, width * self._frames) if self._frames > 1 else None
        self._frame_blocks = stack(arrays.part("frame_blocks"), width, config.frame_dilations, None, voice_dim)
        self._out = Pointwise(arrays.part("out"), width, config.features)

    def __call__(self, z_q: Floats, voice: Floats | None, first: int) -> Floats:
        """``z_q[vectors, D]`` to features ``[frames, F]`` of the vectors from ``first`` on."""
        x = self._into(z_q)
        for block in self._blocks:
            x = block(x, voice)
        x = x[first:]
        if self._spread is not None:
            spread = self._spread(x).reshape(len(x), -1, self._frames)
            x = spread.transpose(0, 2, 1).reshape(len(x) * self._frames, -1)
        for block in self._frame_blocks:
            x = block(x, voice)
        return self._out(x)


class SpeakerEncoder:
    """:class:`vqaudio.models.speaker_encoder.SpeakerEncoder`: ``wave[T]`` to an embedding ``[V]``."""

    def __init__(self, arrays: Arrays, config: SpeakerEncoderConfig, dim: int, sample_rate_hz: int) -> None:
        self._rate_hz, width = sample_rate_hz, config.channels
        self._into = Convolution(arrays.part("into"), SPEAKER_MEL.n_mels, width, 5, (2, 2))
        blocks = arrays.part("blocks")
        self._blocks = stack(blocks, width, config.dilations, None)
        self._out = Linear(arrays.part("out"), 2 * width + PITCHES, dim)

    def __call__(self, wave: Floats) -> Floats:
        """See the class."""
        mel = hearing.log_mel(wave, self._rate_hz, SPEAKER_MEL.n_fft, SPEAKER_HOP, SPEAKER_MEL.n_mels)
        periods = relu(hearing.periodicity(wave, self._rate_hz, 4 * SPEAKER_HOP)).mean(0)
        x = self._into(_heard(mel))
        for block in self._blocks:
            x = block(x)
        x = relu(x)
        return layer_norm(self._out(np.concatenate([x.mean(0), x.std(0, ddof=1), periods])))


class NumpyWaveNet:
    """A :class:`vqaudio.models.sound_model.SymbolNetwork` whose weights lie in a file's arrays."""

    def __init__(self, arrays: Arrays, config: WaveNetConfig) -> None:
        self._arrays, self.config = arrays, config

    def arrays(self) -> Mapping[str, Floats]:
        """See :class:`vqaudio.models.sound_model.SymbolNetwork`."""
        return self._arrays.all()


class NumpyVocoder(ParameterModel):
    """See the module. Nothing in it ever changes: threads may share it."""

    def __init__(self, config: VocoderVQVAEConfig, weights: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """``weights`` by the names of the torch model, in any kind of floats; ``ModelError`` where they do not fit."""
        arrays, code_dim = Arrays(weights), config.quantizer.code_dim
        self.config = config
        self._encoder = Encoder(arrays.part("encoder"), config.encoder, code_dim, config.sample_rate_hz)
        self._quantizer = Quantizer(arrays.part("quantizer"), config.quantizer)
        voiced, features = bool(config.speakers), config.conditioning.features
        self._conditioning = Conditioning(arrays.part("conditioning"), config.conditioning, code_dim, voiced)
        self._bands_head = Pointwise(arrays.part("bands_head"), features, config.vocoder.bands)
        self._pitch_head = Pointwise(arrays.part("pitch_head"), features, PITCHES + 1)
        dim, speakers = config.conditioning.voice_dim, len(config.speakers)
        self._speakers = arrays.floats("speakers.weight", (speakers, dim)) if speakers else np.zeros((0, dim), "f4")
        self._speaker_encoder = None
        if config.speaker_encoder:
            part = arrays.part("speaker_encoder")
            self._speaker_encoder = SpeakerEncoder(part, config.speaker_encoder, dim, config.sample_rate_hz)
        self._prior = NumpyWaveNet(arrays.part("prior.wavenet"), config.prior) if config.prior else None

    def encode_part(self, wave: Floats, first: int, vectors: int) -> Integers:
        """See :class:`SoundModel`."""
        heard = hearing.emphasised(wave, self.config.pre_emphasis) if self.config.pre_emphasis else wave
        return self._quantizer.encode(self._encoder(heard)[first : first + vectors]).ravel()

    def speak(self, codes: Integers, voice: Floats | None, first: int = 0) -> SpeechParameters:
        """See :class:`ParameterModel`."""
        z_q = self._quantizer.lookup(codes.reshape(-1, self.num_quantizers))
        features = self._conditioning(z_q, voice, first)
        hz, voiced = hearing.read_pitch(self._pitch_head(features))
        return SpeechParameters(self._bands_head(features), np.where(voiced, hz, np.float32(0)))

    def hear_voice(self, wave: Floats) -> Floats | None:
        """See :class:`ParameterModel`."""
        return None if self._speaker_encoder is None else self._speaker_encoder(wave)

    def codebooks(self) -> list[Floats]:
        """See :class:`SoundModel`."""
        return [layer.vectors for layer in self._quantizer.layers]

    def speaker_vectors(self) -> Floats:
        """See :class:`SoundModel`."""
        return self._speakers

    def prior_network(self) -> SymbolNetwork | None:
        """See :class:`SoundModel`."""
        return self._prior

    def frozen(self) -> Self:
        """Itself, for it does not learn."""
        return self
