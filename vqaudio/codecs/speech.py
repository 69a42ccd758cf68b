"""The codec for sounds: a model with the container around it. :func:`load` gives a :class:`Codec`."""

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt

from vqaudio.arrays import Block
from vqaudio.bitstream.container import StreamWriter
from vqaudio.bitstream.entropy import Codes, FrequencyModel
from vqaudio.bitstream.header import Coder, Header, Modality
from vqaudio.bitstream.stream import Stream as StreamInMemory
from vqaudio.codecs.bundled import Stream, model_folder
from vqaudio.codecs.decoding import decode_blocks, warm_decoder
from vqaudio.codecs.deprecation import options_were_positional
from vqaudio.codecs.encoding import (
    BLOCK_TOKENS,
    Sound,
    WaveSound,
    encode_blocks,
    first_pass,
    token_count,
)
from vqaudio.codecs.files import CountingFile, OpenStream, OpenWriter, TranscodeResult
from vqaudio.codecs.frequency import sound_frequency_model
from vqaudio.codecs.progress import Progress, ignore
from vqaudio.codecs.running import load_sound_model
from vqaudio.codecs.samples import Samples
from vqaudio.codecs.sampling import DecodeOptions, SampleOptions, Sampling
from vqaudio.codecs.speakers import Voice
from vqaudio.codecs.streaming import StreamDecoder, StreamEncoder
from vqaudio.codecs.synthesis import STREAM_HOP
from vqaudio.codecs.tokens import TokenRange, read_ranges
from vqaudio.codecs.voice_change import change_of, changes_voices
from vqaudio.codecs.voices import VoiceCodec
from vqaudio.errors import ConfigError, ContainerError, ModelError
from vqaudio.io.resample import StreamingResampler, resampled_length
from vqaudio.models.config import SpeechModelConfig
from vqaudio.models.folder import fingerprint
from vqaudio.models.sound_model import ParameterModel

_LOUDEST = float(np.finfo(np.float32).max)
_DEFAULT = DecodeOptions()
LONGEST_SAMPLE_S = 3600


def load(model: str | Path = "speech", device: str = "auto") -> "Codec":
    """The codec of a bundled model of sounds, by name, or of such a model's folder.

    Args:
        model: a name out of :func:`bundled`, or a folder as :func:`vqaudio.models.checkpoint.save_model` writes it.
        device: where the convolutions run: "auto", "cpu" or "cuda". WaveNets always draw on the processor.

    Raises:
        ModelError: there is no such model, it is damaged, or it is one of pictures.
        ConfigError: there is no such device; or the model needs torch, which is not installed.
    """
    folder = model_folder(model)
    return Codec(load_sound_model(folder, device), fingerprint(folder), folder)


# -------------------------------------------------------------------------------------------------------------- codec


class Codec(VoiceCodec):
    """A model that codes. ``fingerprint`` (32 bytes) names it in the streams that it makes.

    The level of each channel is normalised before coding and restored after. A sound's length and sample rate are
    restored exactly.
    """

    modality = Modality.AUDIO

    @property
    def config(self) -> SpeechModelConfig:
        """The model's configuration."""
        return self.model.config

    def frequency_model(self) -> Callable[[], FrequencyModel]:
        """See :meth:`BaseCodec.frequency_model`."""
        return sound_frequency_model(self.model.prior_network())

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
        return self.model.num_quantizers

    @property
    def frame_rate(self) -> float:
        """Frames of ``num_quantizers`` tokens a second."""
        return self.sample_rate / self.config.encoder.hop_length

    @property
    def codebook_size(self) -> int:
        """Codes of each codebook."""
        return self.config.quantizer.codebook_size

    @options_were_positional
    def encode(self, wave: npt.ArrayLike, sample_rate_hz: int, *, coder: Coder | str | None = None) -> Stream:
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
        return self._stream(header, np.concatenate([nothing, *blocks], axis=1))

    def stream_of(self, codes: Codes, level: float = 1.0) -> Stream:
        """The stream of ``codes[channels, num_quantizers, frames]`` that no sound was encoded to, at the model's rate.

        ``level`` is the factor from normalised to wanted loudness.

        Raises:
            ContainerError: the codes have another shape, or are none of the model's.
        """
        if codes.ndim == 2:
            warnings.warn("stream_of takes codes [channels, num_quantizers, frames]", DeprecationWarning, stacklevel=2)
            codes = codes.reshape(len(codes), -1, self.num_quantizers).transpose(0, 2, 1)
        if codes.ndim != 3 or codes.shape[1] != self.num_quantizers:
            expected = f"[channels, {self.num_quantizers}, frames]"
            raise ContainerError(f"codes have the shape {codes.shape}; give {expected}")
        tokens = codes.transpose(0, 2, 1).reshape(len(codes), -1)
        frames = tokens.shape[1] * self.model.samples_per_token
        return self._stream(self._header(frames, self.config.sample_rate_hz, (level,) * len(codes), None), tokens)

    def _stream(self, header: Header, tokens: Codes) -> Stream:
        coder = self.block_coder(header.coder)
        return Stream(header, tokens, block_coder=coder, num_quantizers=self.num_quantizers)

    @options_were_positional
    def decode(
        self,
        stream: StreamInMemory,
        *,
        seed: int = 0,
        temperature: float | None = None,
        sample_rate_hz: int | None = None,
        exact: bool = False,
        speaker: str | Voice | None = None,
        pitch_semitones: float = 0.0,
        formant_semitones: float = 0.0,
    ) -> Samples:
        """The sound of a stream, float32 ``[channels, T]`` with its sample rate; damaged parts are silent.

        Args:
            stream: made by this model.
            seed: as all that follow, see :class:`~vqaudio.codecs.sampling.DecodeOptions`.
            temperature: how cautiously the decoder draws.
            sample_rate_hz: of the result; left out, ``stream.sample_rate_hz``.
            exact: strictly from the first sample to the last.
            speaker: who speaks: a name, or a voice out of :meth:`voice_of`.
            pitch_semitones: moves the pitch, for models of speech parameters.
            formant_semitones: moves the envelope, likewise.

        Raises:
            ModelError: another model made the stream; or the speaker is unknown, or missing.
            ContainerError: it is no sound's, or its header contradicts itself.
            SoundError: the sample rate is not supported.
            ConfigError: an option is out of range, or does not apply to the model.
        """
        lost = np.zeros(stream.tokens.shape, bool)
        for damage in stream.damage:
            lost[damage.channel, damage.tokens.start : damage.tokens.stop] = True
        options = DecodeOptions(
            seed=seed,
            temperature=temperature,
            sample_rate_hz=sample_rate_hz,
            exact=exact,
            speaker=speaker,
            pitch_semitones=pitch_semitones,
            formant_semitones=formant_semitones,
        )
        blocks = self.decode_blocks(stream.header, [TokenRange(stream.tokens, lost)], options)
        nothing = np.zeros((stream.header.channels, 0), np.float32)
        return Samples(np.concatenate([nothing, *blocks], axis=1), options.rate_of(stream.header))

    def sample(
        self,
        count: int = 1,
        *,
        seconds: float = 5.0,
        prompt: StreamInMemory | None = None,
        seed: int = 0,
        temperature: float = 1.0,
        top_p: float = 1.0,
        progress: Progress = ignore,
    ) -> list[Stream]:
        """Draws streams of ``seconds`` (above 0, up to 3,600) of new sound; for the rest see :meth:`BaseCodec.sample`.

        ``prompt`` is a stream of one channel that this model made: its tokens come first, and the new ones go on.

        Raises:
            ModelError: as there, or another model made the prompt.
            ConfigError: a number is out of range, or the prompt has several channels.
        """
        from vqaudio.codecs.generation import sample_tokens

        prior = self.model.prior_network()
        if prior is None:
            raise ModelError("the model has no prior, so it cannot speak by itself; give one that has")
        if prior.config.features:
            raise ModelError("the model's prior needs to be told who speaks, which cannot be chosen yet")
        if not (isinstance(seconds, float | int | np.number) and 0 < seconds <= LONGEST_SAMPLE_S):
            raise ConfigError(f"seconds = {seconds!r} is not valid: give above 0 up to {LONGEST_SAMPLE_S}")
        options = SampleOptions(count=count, seed=seed, temperature=temperature, top_p=top_p)
        spoken, level = self._opening(prompt), prompt.header.levels[0] if prompt else 1.0
        tokens = max(1, round(seconds * self.frame_rate)) * self.num_quantizers
        drawn = sample_tokens(prior, tokens, options, spoken, progress)
        whole = (np.concatenate([spoken, own]).reshape(1, -1, self.num_quantizers) for own in drawn)
        return [self.stream_of(codes.transpose(0, 2, 1), level) for codes in whole]

    def _opening(self, prompt: StreamInMemory | None) -> npt.NDArray[np.int32]:
        if prompt is None:
            return np.zeros(0, np.int32)
        self.check(prompt.header)
        if prompt.header.channels != 1:
            raise ConfigError(f"the prompt has {prompt.header.channels} channels: give one of a single channel")
        return prompt.tokens[0]

    def warm_up(self) -> None:
        """Compiles the decoder's kernels, or fetches the compiled code from the disk, before anyone waits for sound."""
        warm_decoder(self.model)

    # -------------------------------------------------------------------------------------------------------- live

    def stream_encoder(
        self, sample_rate_hz: int | None = None, *, gain: float | None = 1.0, hop: int = STREAM_HOP
    ) -> StreamEncoder:
        """An encoder of one channel of live sound.

        Args:
            sample_rate_hz: of the sound; left out, the model's.
            gain: the factor that normalises the level; None adapts it to the sound, from the past alone.
            hop: vectors that are coded at once, 1 to 8: more take less time and come later.

        Raises:
            SoundError: the sample rate is not supported.
            ConfigError: an option is out of range.
        """
        rate_hz = self.sample_rate if sample_rate_hz is None else sample_rate_hz
        return StreamEncoder(self.model, rate_hz, gain, hop)

    def stream_decoder(
        self,
        *,
        seed: int = 0,
        speaker: str | Voice | None = None,
        sample_rate_hz: int | None = None,
        level: float = 1.0,
        hop: int = STREAM_HOP,
    ) -> StreamDecoder:
        """A decoder of one channel's codes as they come.

        Args: as of :meth:`decode`, but that the rate left out is the model's; ``level`` is the factor from normalised
        to wanted loudness, and ``hop`` vectors, 1 to 8, are decoded at once: more take less time and come later.

        Raises:
            ModelError: the speaker is unknown, or missing; or the model is none of speech parameters.
            SoundError: the sample rate is not supported.
            ConfigError: an option is out of range.
        """
        if not isinstance(self.model, ParameterModel):
            kind = self.config.kind
            raise ModelError(f"a model of kind {kind!r} does not decode live sound: give one of kind vocoder-vqvae")
        if speaker is not None and changes_voices(self.model):
            raise ModelError("this model changes the voice of whole streams, not of live ones; leave the speaker out")
        sampling = self._sampling(DecodeOptions(seed=seed, speaker=speaker))
        rate_hz = self.sample_rate if sample_rate_hz is None else sample_rate_hz
        return StreamDecoder(self.model, sampling, rate_hz, level, hop)

    # ------------------------------------------------------------------------------------------------------- files

    def encode_file(
        self, sound: Sound, file: BinaryIO, *, coder: Coder | str | None = None, progress: Progress = ignore
    ) -> TranscodeResult:
        """Encodes ``sound`` (a SoundReader, say) into the open ``file``, in memory that does not grow with its length.

        Raises:
            SoundError: the sound cannot be read or coded.
            ConfigError: the model has no prior to code with.
        """
        header, blocks = self.encode_blocks(sound, coder)
        counted = CountingFile(file)
        block_coder, done = self.block_coder(header.coder), 0
        with StreamWriter(cast(BinaryIO, counted), header) as writer:
            for block in blocks:
                for codes in block:
                    writer.write(block_coder.encode(codes))
                done += block.shape[1]
                progress(done / header.tokens)
        return TranscodeResult(header, counted.count)

    def decode_file(
        self,
        stream: OpenStream,
        open_writer: OpenWriter,
        options: DecodeOptions = _DEFAULT,
        *,
        progress: Progress = ignore,
    ) -> TranscodeResult:
        """Decodes ``stream`` into the sound file that ``open_writer`` opens, in memory that does not grow with its
        length.

        Damage behind the header raises nothing: what is lost is silent, and told in the result. For the rest see
        :meth:`decode`; what the writer raises is passed on.
        """
        header, lost_blocks = stream.reader.header, list[int]()
        self.check(header)
        ranges = read_ranges(stream.reader, self.block_coder(header.coder), lost_blocks)
        blocks = self.decode_blocks(header, ranges, options)
        rate_hz = options.rate_of(header)
        total, done = resampled_length(header.shape[0], header.sample_rate_hz, rate_hz), 0
        with open_writer(rate_hz, header.channels) as writer:
            for block in blocks:
                writer.write(block)
                done += block.shape[1]
                progress(done / total)
        return dataclasses.replace(stream.finish(lost_blocks), clipped=writer.clipped)

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
        self, header: Header, ranges: Iterable[TokenRange], options: DecodeOptions = _DEFAULT
    ) -> Iterator[Block]:
        """As :meth:`decode`, of the tokens in ``ranges`` as they come, in blocks ``[channels, n]``."""
        self.check(header)
        rate_hz = options.rate_of(header)
        StreamingResampler(self.config.sample_rate_hz, rate_hz)  # refuses a bad rate before any work
        sampling = self._sampling(options)
        if sampling.voice is not None and changes_voices(self.model):
            ranges, change = change_of(cast(ParameterModel, self.model), ranges, sampling.voice)
            sampling = dataclasses.replace(sampling, voice=None, change=change)
        return decode_blocks(self.model, header, ranges, sampling, rate_hz)

    def _sampling(self, options: DecodeOptions) -> Sampling:
        warmth = self.config.temperature if options.temperature is None else options.temperature
        pitch, formants = 2 ** (options.pitch_semitones / 12), 2 ** (options.formant_semitones / 12)
        return Sampling(options.seed, warmth, options.exact, self.check_speaker(options.speaker), pitch, formants)

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
