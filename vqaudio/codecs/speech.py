"""The codec: a model with the container around it. :func:`load` gives a :class:`Codec`.

Which models there are, and what is known of them, is here, too. Files of any length are transcode.py's.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vqaudio.arrays import Block
from vqaudio.bitstream.entropy import Codes, FrequencyModel, bits_per_code
from vqaudio.bitstream.header import Coder, Header, Modality
from vqaudio.bitstream.stream import Stream as StreamInMemory
from vqaudio.codecs.base import BaseCodec
from vqaudio.codecs.bundled import Stream, choose_device, model_folder
from vqaudio.codecs.decoding import decode_blocks, warm_decoder
from vqaudio.codecs.encoding import BLOCK_TOKENS, Sound, WaveSound, encode_blocks, first_pass, mixed, token_count
from vqaudio.codecs.sampler import frequency_model
from vqaudio.codecs.sampling import Sampling
from vqaudio.codecs.speakers import Voice, fit_speaker_embedding, named_voice
from vqaudio.codecs.tokens import TokenRange
from vqaudio.errors import ConfigError, ContainerError, ModelError
from vqaudio.io.resample import StreamingResampler
from vqaudio.models import checkpoint
from vqaudio.models.config import SpeechModelConfig
from vqaudio.models.speech_model import SpeechModel

_LOUDEST = float(np.finfo(np.float32).max)


def load(model: str | Path = "speech", device: str = "auto") -> "Codec":
    """The codec of a bundled model of sounds, by name, or of such a model's folder.

    Args:
        model: a name out of :func:`bundled`, or a folder as :func:`vqaudio.models.checkpoint.save_model` writes it.
        device: where the convolutions run: "auto", "cpu" or "cuda". The WaveNet always draws on the processor.

    Raises:
        ModelError: there is no such model, it is damaged, or it is one of pictures.
        ConfigError: there is no such device.
    """
    folder = model_folder(model)
    loaded = checkpoint.load_model(folder)
    if not isinstance(loaded, SpeechModel):
        raise _not_of_sounds(model)
    return Codec(loaded.to(choose_device(device)), checkpoint.fingerprint(folder))


def _not_of_sounds(model: str | Path) -> ModelError:
    return ModelError(f"{model}: is a model of pictures; give one of sounds")


@dataclass(frozen=True)
class ModelFacts:
    """A model folder at a glance. ``bits_per_second`` is that of one channel, the container's few bytes left out."""

    name: str
    kind: str
    sample_rate_hz: int
    tokens_per_second: float
    bits_per_token: int
    bits_per_second: float
    codebook_size: int
    parameters: int
    size_bytes: int
    sha256: str
    weights_sha256: str
    speakers: tuple[str, ...]
    training: dict[str, Any]


def model_facts(folder: Path) -> ModelFacts:
    """What is known of the model in ``folder``; the weights are not loaded.

    Raises:
        ModelError: it is no model of sounds, or a damaged one.
    """
    config = checkpoint.read_config(folder)
    if not isinstance(config, SpeechModelConfig):
        raise _not_of_sounds(folder)
    with torch.device("meta"):
        model = checkpoint.build(config)
    tokens_per_second = config.sample_rate_hz / config.hop_length
    bits = bits_per_code(config.quantizer.codebook_size)
    return ModelFacts(
        name=folder.absolute().name,
        kind=config.kind,
        sample_rate_hz=config.sample_rate_hz,
        tokens_per_second=tokens_per_second,
        bits_per_token=bits,
        bits_per_second=tokens_per_second * bits,
        codebook_size=config.quantizer.codebook_size,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        size_bytes=sum((folder / name).stat().st_size for name in (checkpoint.CONFIG_FILE, checkpoint.WEIGHTS_FILE)),
        sha256=checkpoint.fingerprint(folder).hex(),
        weights_sha256=checkpoint.whole_sha256(folder).hex(),
        speakers=config.speakers,
        training=checkpoint.read_document(folder).get("training", {}),
    )


# -------------------------------------------------------------------------------------------------------------- codec


class Codec(BaseCodec):
    """A model that codes. ``fingerprint`` (32 bytes) names it in the streams that it makes.

    The level of each channel is normalised before coding and restored after. A sound's length and sample rate are
    restored exactly.
    """

    modality = Modality.AUDIO

    def __init__(self, model: SpeechModel, fingerprint: bytes) -> None:
        self.model = model.eval().requires_grad_(False)
        self.fingerprint = fingerprint

    @property
    def config(self) -> SpeechModelConfig:
        """The model's configuration."""
        return self.model.config

    @property
    def sample_rate(self) -> int:
        """Samples a second at which the model codes; sounds of other rates are resampled."""
        return self.config.sample_rate_hz

    @property
    def channels(self) -> int:
        """Channels that are coded together: 1, for each channel of a sound is coded by itself."""
        return 1

    @property
    def num_quantizers(self) -> int:
        """Tokens of a frame, each from a codebook of its own."""
        return self.model.stages

    @property
    def frame_rate(self) -> float:
        """Frames of ``num_quantizers`` tokens a second."""
        return self.sample_rate / self.config.encoder.hop_length

    @property
    def codebook_size(self) -> int:
        """Codes of each codebook."""
        return self.config.quantizer.codebook_size

    def frequency_model(self) -> Callable[[], FrequencyModel]:
        """See :meth:`BaseCodec.frequency_model`."""
        if self.model.prior is None:
            raise ConfigError("the model has no prior to code with: use the packed coder")
        if self.model.prior.speakers is not None:
            raise ConfigError("the model's prior must be told who speaks, which no stream names: use the packed coder")
        return frequency_model(self.model.prior)

    def encode(self, wave: npt.ArrayLike, sample_rate_hz: int, coder: Coder | str | None = None) -> Stream:
        """Codes a sound.

        Args:
            wave: floats, an array or a tensor, ``[T]`` or ``[channels, T]``, full scale 1.0, though any level does. T
                may be 0.
            sample_rate_hz: 1,000 to 768,000.
            coder: how the codes will be written, also by name: "prior" or "packed"; left out, :meth:`default_coder`.

        Raises:
            SoundError: the array has another shape, or holds integers, NaN or infinity; or the rate is not supported.
            ConfigError: the model has no prior to code with.
        """
        header, blocks = self.encode_blocks(WaveSound(wave, sample_rate_hz), coder)
        nothing = np.zeros((header.channels, 0), np.int32)
        return Stream(header, np.concatenate([nothing, *blocks], axis=1), block_coder=self.block_coder(header.coder))

    def stream_of(self, codes: Codes, level: float = 1.0) -> Stream:
        """The stream of ``codes[channels, tokens]`` that no sound was encoded to, at the model's own rate.

        ``level`` is the factor from normalised to wanted loudness.
        """
        frames = codes.shape[1] * self.model.hop_length
        header = self._header(frames, self.config.sample_rate_hz, (level,) * len(codes), None)
        return Stream(header, codes, block_coder=self.block_coder(header.coder))

    def decode(
        self,
        stream: StreamInMemory,
        seed: int = 0,
        temperature: float | None = None,
        sample_rate_hz: int | None = None,
        exact: bool = False,
        speaker: str | Voice | None = None,
    ) -> Block:
        """The sound of a stream, float32 ``[channels, T]``; damaged parts are silent.

        Args:
            stream: made by this model.
            seed: 0 to 2**63 - 1. The same seed draws the same sound.
            temperature: above 0, less draws more cautiously; the model's own where left out.
            sample_rate_hz: of the result; the original's where left out, and then T is exactly the original's.
            exact: draws each channel strictly from its first sample to its last. Otherwise segments of a sound of
                2 s and more are drawn side by side and joined, which is several times faster.
            speaker: who speaks, where the model knows speakers: a name, or a voice out of :meth:`voice_of`.

        Raises:
            ModelError: another model made the stream; or the speaker is unknown, or missing.
            ContainerError: it is no sound's, or its header contradicts itself.
            SoundError: the sample rate is not supported.
            ConfigError: seed or temperature is out of range.
        """
        lost = np.zeros(stream.codes.shape, bool)
        for damage in stream.damage:
            lost[damage.channel, damage.first_token : damage.last_token + 1] = True
        ranges = [TokenRange(stream.codes, lost)]
        blocks = self.decode_blocks(stream.header, ranges, seed, temperature, sample_rate_hz, exact, speaker)
        return np.concatenate([np.zeros((stream.header.channels, 0), np.float32), *blocks], axis=1)

    def voice_of(self, wave: npt.ArrayLike, sample_rate_hz: int) -> Voice:
        """The voice in a recording (floats ``[T]`` or ``[channels, T]``) of anybody, for :meth:`decode` to speak with.

        Raises:
            SoundError: the array is no sound, too short or silent.
            ModelError: the model knows no speakers.
        """
        sound = WaveSound(wave, sample_rate_hz)
        return fit_speaker_embedding(self.model, mixed(sound), sound.sample_rate_hz)

    def check_speaker(self, speaker: str | Voice | None) -> Voice | None:
        """The voice that ``speaker`` stands for; ``ModelError`` where :meth:`decode` would refuse it."""
        if isinstance(speaker, str):
            return named_voice(self.model, speaker)
        if (speaker is None) == (self.model.speakers is None):
            return speaker
        if speaker is not None:
            raise ModelError("the model knows no speakers: leave the speaker out, or give a model that does")
        some = ", ".join(self.config.speakers[:3])
        raise ModelError(f"the model must be told who speaks: give a speaker (such as {some}) or a recording of one")

    def warm_up(self) -> None:
        """Compiles the decoder's kernels, or fetches the compiled code from the disk, before anyone waits for sound."""
        warm_decoder(self.model)

    # ---------------------------------------------------------------------------------------------- block by block

    def encode_blocks(self, sound: Sound, coder: Coder | str | None = None) -> tuple[Header, Iterator[Codes]]:
        """The header of a sound, after one pass over it, and its codes, ``[channels, n]`` for each block of a stream.

        Raises, also while iterating, what reading the sound raises, and as :meth:`encode`.
        """
        StreamingResampler(sound.sample_rate_hz, self.config.sample_rate_hz)  # refuses a bad rate before any work
        found = first_pass(sound)
        levels = tuple(min(1 / gain, _LOUDEST) for gain in found.gains)
        header = self._header(found.frames, sound.sample_rate_hz, levels, coder)
        return header, encode_blocks(self.model, sound, found.gains, header.tokens)

    def decode_blocks(
        self,
        header: Header,
        ranges: Iterable[TokenRange],
        seed: int = 0,
        temperature: float | None = None,
        sample_rate_hz: int | None = None,
        exact: bool = False,
        speaker: str | Voice | None = None,
    ) -> Iterator[Block]:
        """As :meth:`decode`, of the tokens in ``ranges`` as they come, in blocks ``[channels, n]``."""
        self.check(header)
        rate_hz = header.sample_rate_hz if sample_rate_hz is None else sample_rate_hz
        StreamingResampler(self.config.sample_rate_hz, rate_hz)  # refuses a bad rate before any work
        warmth = self.config.temperature if temperature is None else temperature
        sampling = Sampling(seed, warmth, exact, self.check_speaker(speaker))
        return decode_blocks(self.model, header, ranges, sampling, rate_hz)

    def _header(self, frames: int, sample_rate_hz: int, levels: tuple[float, ...], coder: Coder | str | None) -> Header:
        return Header(
            model_sha256=self.fingerprint,
            modality=Modality.AUDIO,
            coder=self.chosen_coder(coder),
            grid=(token_count(frames, sample_rate_hz, self.model),),
            shape=(frames,),
            sample_rate_hz=sample_rate_hz,
            channels=len(levels),
            codebook_size=self.codebook_size,
            tokens_per_block=BLOCK_TOKENS,
            levels=levels,
        )

    def check_numbers(self, header: Header) -> None:
        """See :meth:`BaseCodec.check_numbers`."""
        tokens = token_count(header.shape[0], header.sample_rate_hz, self.model)
        expected = (tokens, self.codebook_size)
        if (header.tokens, header.codebook_size) != expected:
            raise ContainerError("the header's numbers contradict each other; get an intact copy of the stream")
