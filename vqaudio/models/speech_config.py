"""Configurations of the models of sounds, validated when made: parts first, then the models."""

import math
import typing
from dataclasses import dataclass, field

from vqaudio.dsp.pitch_scale import PITCH_WINDOW
from vqaudio.models.reach import Reach, reach_of
from vqaudio.models.settings import MOST_SAMPLES, QuantizerConfig, check_layers
from vqaudio.models.settings import positive as _positive
from vqaudio.models.settings import require as _require

ENCODER_GAIN = 8.0  # brings normalised, pre-emphasised speech to about unit scale for the first convolution
HEARD_FLOOR, HEARD_MEAN, HEARD_SCALE = -5.0, -1.0, 1.5  # of the log magnitudes that an encoder of the spectrum hears
_LONGEST_WINDOW, _MOST_BANDS = 1 << 15, 1 << 12  # of a spectrum: samples, and what they become
_FEWEST_PHASES = 9  # eight shares of a period, and none
FEWEST_BANDS = 16
_HIGHEST_RATE_HZ = 48000  # beyond, the longest period does not fit into the window in which periods are looked for


def _check_look_ahead(look_ahead: int | None, dilations: tuple[int, ...]) -> None:
    most = sum(dilations)
    _require(look_ahead is None or 0 <= look_ahead <= most, "look_ahead", look_ahead, f"give 0 to {most} vectors")


@dataclass(frozen=True)
class MelConfig:
    """One log-mel spectrogram: ``n_fft`` samples of window, ``n_mels`` bands."""

    n_fft: int = 1024
    n_mels: int = 80

    def __post_init__(self) -> None:
        _require(0 < self.n_fft <= _LONGEST_WINDOW, "n_fft", self.n_fft, f"give 1 to {_LONGEST_WINDOW} samples")
        _require(0 < self.n_mels <= _MOST_BANDS, "n_mels", self.n_mels, f"give 1 to {_MOST_BANDS} bands")


@dataclass(frozen=True)
class EncoderConfig:
    """The strided encoder: convolutions of stride 2 and window 4 (section 4.2), then dilated residual blocks.

    ``channels`` has one entry a strided layer. ``strides``, where they are not all 2, has one, too, even numbers; a
    layer's window is twice its stride. ``residual_dilations`` has one entry a residual block of kernel 3 at the rate of
    the vectors. Where there is a ``spectrum``, the first convolution is a fixed one, the log-mel spectrogram that it
    describes, a frame each ``spectrum_hop`` samples, and how periodic the sound is at each pitch is heard beside it: a
    network need not learn first what spectra are. ``fine_spectrum`` is a second one beside it, of a longer window.
    The residual blocks look ahead by ``look_ahead`` vectors in all, where it is given; else as far as they look back.
    """

    channels: tuple[int, ...] = (64, 96, 128, 192, 256, 256)
    residual_dilations: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    spectrum: MelConfig | None = None
    spectrum_hop: int = 64
    fine_spectrum: MelConfig | None = None
    look_ahead: int | None = None

    def __post_init__(self) -> None:
        _require(1 <= len(self.channels) <= 12, "channels", self.channels, "give 1 to 12 strided layers")
        for width in self.channels:
            _positive("channels", width)
        check_layers("residual_dilations", self.residual_dilations)
        strides = self.strides
        _require(
            len(strides) in (0, len(self.channels)) and all(stride > 0 and stride % 2 == 0 for stride in strides),
            "strides",
            strides,
            "give an even number for each of channels",
        )
        _positive("spectrum_hop", self.spectrum_hop)
        _require(self.hop_length <= MOST_SAMPLES, "strides", strides, f"give at most {MOST_SAMPLES} samples a vector")
        _require(
            self.fine_spectrum is None or self.spectrum is not None,
            "fine_spectrum",
            self.fine_spectrum,
            "give spectrum",
        )
        _check_look_ahead(self.look_ahead, self.residual_dilations)

    @property
    def steps(self) -> tuple[int, ...]:
        """The stride of each strided layer."""
        return self.strides or (2,) * len(self.channels)

    @property
    def hop_length(self) -> int:
        """Samples a vector."""
        return math.prod(self.steps) * (self.spectrum_hop if self.spectrum else 1)

    @property
    def spectra(self) -> tuple[MelConfig, ...]:
        """The spectrograms that it hears."""
        return tuple(mel for mel in (self.spectrum, self.fine_spectrum) if mel)

    @property
    def period_hop(self) -> int:
        """Samples between the places at which periods are looked for."""
        heard = 4 * self.spectrum_hop
        return heard if self.hop_length % heard == 0 else self.hop_length

    @property
    def reach(self) -> Reach:
        """Vectors whose samples can change a vector, and then some, so that edges are never seen."""
        own = reach_of(self.residual_dilations, self.look_ahead)
        strided = 3  # window 4 at each of the strides 1, 2, 4, ... reaches under one hop to either side of its own
        windows = -(-self._widest_window // (2 * self.hop_length))
        return Reach(own.before + strided + windows, own.after + strided + windows)

    @property
    def delay_samples(self) -> int:
        """Samples beyond the beginning of a vector's own that can change it."""
        own = reach_of(self.residual_dilations, self.look_ahead)
        overlap = sum(step // 2 * math.prod(self.steps[:index]) for index, step in enumerate(self.steps))
        overlap *= self.spectrum_hop if self.spectrum else 1
        return self.hop_length * (1 + own.after) + overlap + self._widest_window // 2

    @property
    def _widest_window(self) -> int:
        return max(PITCH_WINDOW, *(mel.n_fft for mel in self.spectra)) if self.spectra else 0


@dataclass(frozen=True)
class ConditioningConfig:
    """The non-causal stack from codes to the features that condition the decoder.

    ``residual_dilations`` has one entry a residual block at the rate of the vectors. Each vector then becomes
    ``frames_per_vector`` frames of features, with one more block an entry of ``frame_dilations``. ``voice_dim`` is the
    length of the vector that stands for a speaker, where the model knows speakers. The blocks at the rate of vectors
    look ahead by ``look_ahead`` vectors in all, where it is given, beside the one of the first convolution.
    """

    channels: int = 192
    residual_dilations: tuple[int, ...] = (1, 3, 9, 1, 3, 9)
    features: int = 128
    frames_per_vector: int = 1
    frame_dilations: tuple[int, ...] = ()
    voice_dim: int = 64
    look_ahead: int | None = None

    def __post_init__(self) -> None:
        sizes = (self.channels, self.features, self.frames_per_vector, self.voice_dim)
        for value in sizes:
            _positive("conditioning", value)
        check_layers("residual_dilations", self.residual_dilations)
        check_layers("frame_dilations", self.frame_dilations)
        _check_look_ahead(self.look_ahead, self.residual_dilations)

    @property
    def reach(self) -> Reach:
        """Vectors that can change a vector's frames of features."""
        own = reach_of(self.residual_dilations, self.look_ahead)
        frames = -(-sum(self.frame_dilations) // self.frames_per_vector)
        return Reach(own.before + 1 + frames, own.after + 1 + frames)

    @property
    def delay_vectors(self) -> int:
        """Vectors that the blocks at their rate look ahead; the frames' come on top, :attr:`delay_frames`."""
        return reach_of(self.residual_dilations, self.look_ahead).after + 1

    @property
    def delay_frames(self) -> int:
        """Frames that the blocks at their rate look ahead."""
        return sum(self.frame_dilations)


@dataclass(frozen=True)
class WaveNetConfig:
    """A causal stack of gated, dilated convolutions with residual and skip connections (van den Oord et al. 2016).

    ``levels`` symbols in and out; ``features`` channels of local conditioning (0: none), each held for ``hop_length``
    steps. ``dilations`` has one entry a layer. ``phases`` is the number of phases of a cycle, one of
    which each step is told besides (0: none): of the pitch period in a decoder, of a vector's tokens in a prior.
    """

    levels: int = 256
    residual: int = 64
    skip: int = 64
    hidden: int = 128
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128)
    features: int = 128
    hop_length: int = 64
    phases: int = 0

    def __post_init__(self) -> None:
        _require(2 <= self.levels <= 65536, "levels", self.levels, "give 2 to 65536 symbols")
        _require(len(self.dilations) >= 1, "dilations", self.dilations, "give one entry a layer")
        check_layers("dilations", self.dilations)
        for value in (self.residual, self.skip, self.hidden):
            _positive("wavenet", value)
        _require(
            0 < self.hop_length <= MOST_SAMPLES, "hop_length", self.hop_length, f"give 1 to {MOST_SAMPLES} samples"
        )
        _require(self.features >= 0, "features", self.features, "give 0 (no conditioning) or more channels")
        _require(self.phases >= 0, "phases", self.phases, "give 0 (none) or more")

    @property
    def receptive_field(self) -> int:
        """Number of past symbols that a prediction sees."""
        return 1 + sum(self.dilations)


@dataclass(frozen=True)
class AugmentConfig:
    """What a model hears in training in place of the corpus, so that it learns what is the same in both.

    The encoder alone hears other voices: pitch and formants are moved apart, each by a random number of semitones up to
    the given one, up or down, and an equaliser of about ``equaliser_db`` changes their colour. The decoder must speak
    with the true voice: what the encoder cannot tell the codes cannot carry, so the voice comes from the speaker's
    vector. With ``own_voice`` a quarter of the crops keeps its own. ``channel_db`` is of another equaliser, that both
    sides hear, as if by another microphone: a small corpus becomes a larger one. Only models of speech parameters,
    whose targets follow from an equaliser's, can have it.
    """

    pitch_semitones: float = 6.0
    formant_semitones: float = 2.5
    equaliser_db: float = 0.0
    own_voice: bool = True
    channel_db: float = 0.0

    def __post_init__(self) -> None:
        for name in ("pitch_semitones", "formant_semitones"):
            value = getattr(self, name)
            _require(0 <= value <= 12, name, value, "give 0 to 12 semitones")
        for name in ("equaliser_db", "channel_db"):
            value = getattr(self, name)
            _require(0 <= value <= 20, name, value, "give 0 to 20 dB")

    @property
    def moves_voices(self) -> bool:
        """Whether the encoder hears other voices than the decoder speaks with."""
        return max(self.pitch_semitones, self.formant_semitones, self.equaliser_db) > 0


@dataclass(frozen=True)
class SpeechModelConfig:
    """What the models of sounds have in common: a wave becomes codes, and codes become features of the sound.

    An encoder that hears a spectrum, and its conditioning stack, begin as linear maps: their residual blocks start at
    zero, and no ReLU stands before what is read out of them. From log spectra to log spectra that is nearly all there
    is to learn at first.

    ``speakers`` names the speakers that the decoder is conditioned on (none: speaker-independent; ``["*"]`` in a
    training run's file: those of the data). ``augment``, where there is one, moves the voice that the encoder hears;
    ``time_jitter`` is the share of tokens that are replaced by a neighbour in training (Chorowski et al. 2019, section
    II-C): both keep the voice out of the codes. ``pre_emphasis`` a in 0..1 gives the encoder x[t] - a x[t-1].
    ``prior``, where there is one, is the WaveNet over the tokens; with features it knows the speaker, too. Where a
    vector is several tokens, its phases, as many, tell which of them each step draws.
    ``temperature`` is the decoder's default when nothing else is asked for.
    """

    kind: typing.ClassVar[str] = ""
    sample_rate_hz: int = 16000
    pre_emphasis: float = 0.0
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    conditioning: ConditioningConfig = field(default_factory=ConditioningConfig)
    prior: WaveNetConfig | None = None
    speakers: tuple[str, ...] = ()
    augment: AugmentConfig | None = None
    time_jitter: float = 0.0
    temperature: float = 1.0

    @property
    def samples_per_token(self) -> int:
        """Samples that a token stands for."""
        return self.encoder.hop_length // self.quantizer.num_quantizers

    @property
    def frame_length(self) -> int:
        """Samples a frame of conditioning features."""
        return self.encoder.hop_length // self.conditioning.frames_per_vector

    def __post_init__(self) -> None:
        hop, frames = self.encoder.hop_length, self.conditioning.frames_per_vector
        quantizers = self.quantizer.num_quantizers
        _require(1000 <= self.sample_rate_hz <= 768000, "sample_rate_hz", self.sample_rate_hz, "give 1000 to 768000")
        _require(0 <= self.pre_emphasis < 1, "pre_emphasis", self.pre_emphasis, "give 0 up to 1")
        _require(
            hop % frames == 0 and frames % quantizers == 0,
            "conditioning.frames_per_vector",
            frames,
            f"it must divide the encoder's stride, {hop}, and be a multiple of quantizer.num_quantizers, {quantizers}",
        )
        _require(
            self.sample_rate_hz <= _HIGHEST_RATE_HZ or self.encoder.spectrum is None,
            "sample_rate_hz",
            self.sample_rate_hz,
            f"give at most {_HIGHEST_RATE_HZ} with encoder.spectrum, beside which pitch is looked for",
        )
        self._check_prior()
        _require(0 <= self.time_jitter <= 0.5, "time_jitter", self.time_jitter, "give 0 (none) to 0.5")
        _positive("temperature", self.temperature)
        _require(len(set(self.speakers)) == len(self.speakers), "speakers", self.speakers, "name each speaker once")

    def _check_prior(self) -> None:
        if self.prior is None:
            return
        size = self.quantizer.codebook_size
        _require(
            self.prior.levels == size, "prior.levels", self.prior.levels, f"it must be the codebook's size, {size}"
        )
        _require(self.prior.hop_length == 1, "prior.hop_length", self.prior.hop_length, "it must be 1")
        phases = self.quantizer.num_quantizers if self.quantizer.num_quantizers > 1 else 0
        _require(
            self.prior.phases == phases,
            "prior.phases",
            self.prior.phases,
            f"it must be {phases}, as quantizer.num_quantizers has it",
        )
        _require(
            self.prior.features == 0 or bool(self.speakers),
            "prior.features",
            self.prior.features,
            "give 0: no speakers",
        )


@dataclass(frozen=True)
class AudioVQVAEConfig(SpeechModelConfig):
    """Waveforms to tokens and back through a WaveNet. The defaults are the paper's setting: 64x, K 512, beta 0.25.

    ``pre_emphasis`` whitens speech before mu-law and shapes the decoder's noise like speech after.
    With ``excitation`` the decoder draws not the wave but what drives the filter of the vocal tract: the filter follows
    from the predicted spectrum that the last of ``mels`` describes, and the decoder's phases tell where in
    the period of the predicted pitch each sample lies. Below ``pulses_hz`` (0: nowhere), where there is a voice, the
    excitation is plain pulses when decoding; what the decoder draws there is left out.
    ``decoder_window`` samples in the middle of each training crop go through the WaveNet; the rest is context.
    While training, each crop's past samples are disturbed by Gaussian noise of a standard deviation drawn from 0 to
    ``history_noise`` mu-law levels: the decoder then forgives its own small errors when it generates.
    """

    kind: typing.ClassVar[str] = "audio-vqvae"
    decoder: WaveNetConfig = field(default_factory=WaveNetConfig)
    mels: tuple[MelConfig, ...] = (MelConfig(1024, 80),)
    excitation: bool = False
    pulses_hz: float = 0.0
    decoder_window: int = 4096
    history_noise: float = 0.0

    def __post_init__(self) -> None:
        hop, features = self.encoder.hop_length, self.conditioning.features
        _require(self.decoder.levels == 256, "decoder.levels", self.decoder.levels, "the decoder has 256 mu-law levels")
        frames = self.conditioning.frames_per_vector
        _require(
            self.decoder.hop_length * frames == hop,
            "decoder.hop_length",
            self.decoder.hop_length,
            f"times conditioning.frames_per_vector, {frames}, it must be the encoder's stride, {hop}",
        )
        super().__post_init__()
        _require(
            self.decoder.features == features,
            "decoder.features",
            self.decoder.features,
            f"it must be conditioning.features, {features}",
        )
        _require(
            self.decoder_window > 0 and self.decoder_window % hop == 0,
            "decoder_window",
            self.decoder_window,
            f"give a multiple of {hop} samples",
        )
        self._check_excitation()
        _require(bool(self.mels), "mels", self.mels, "give at least one spectrum")
        _require(0 <= self.history_noise <= 64, "history_noise", self.history_noise, "give 0 to 64 mu-law levels")

    def _check_excitation(self) -> None:
        _require(
            (self.decoder.phases >= _FEWEST_PHASES) if self.excitation else self.decoder.phases == 0,
            "decoder.phases",
            self.decoder.phases,
            f"give {_FEWEST_PHASES} or more (such as 129) with excitation = true, else 0",
        )
        _require(
            self.pulses_hz == 0 or (self.excitation and 0 < self.pulses_hz < self.sample_rate_hz / 2),
            "pulses_hz",
            self.pulses_hz,
            "give 0 to below half the sample rate with excitation = true, else 0",
        )
        _require(
            self.sample_rate_hz <= _HIGHEST_RATE_HZ or not self.excitation,
            "sample_rate_hz",
            self.sample_rate_hz,
            f"give at most {_HIGHEST_RATE_HZ} with excitation = true, where pitch is looked for",
        )
        if self.excitation:
            self._check_filter()

    def _check_filter(self) -> None:
        """A filter follows from the last spectrum only if its narrowest band has a frequency of the window's own."""
        last = self.mels[-1] if self.mels else MelConfig()
        mel = 2595 * math.log10(1 + self.sample_rate_hz / 2 / 700) / (last.n_mels + 1)
        lowest_hz, bin_hz = 700 * (10 ** (mel / 2595) - 1), self.sample_rate_hz / last.n_fft
        _require(
            last.n_mels >= FEWEST_BANDS and lowest_hz >= bin_hz,
            "mels",
            (last.n_fft, last.n_mels),
            f"with excitation = true give the last at least {FEWEST_BANDS} bands, none narrower than the "
            f"{bin_hz:.0f} Hz that its window resolves, such as n_fft = 400, n_mels = 40 at 16 kHz",
        )
