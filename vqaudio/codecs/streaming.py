"""Sound to codes and codes to sound, block by block: memory does not grow with the length.

There is one path for a file of hours and an array in memory. Encoding puts the encoder's whole context around each
block of tokens and always feeds it the same shape, so that the codes depend neither on how the sound comes nor on how
long it is. Decoding puts the conditioning stack's context around each block of codes, while the WaveNet's streams live
across blocks.
"""

import functools
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from vqaudio.bitstream.container import MAX_CHANNELS, Header, StreamReader
from vqaudio.bitstream.entropy import BlockCoder, Codes
from vqaudio.codecs.sampler import Sampler
from vqaudio.codecs.segments import Joiner, Layout, Part, Stretch, cut, in_parallel, layout, speak
from vqaudio.codecs.vocoder import Restorer, Score, score
from vqaudio.dsp import audio
from vqaudio.dsp.audio import Block
from vqaudio.errors import ConfigError, ContainerError, SoundError
from vqaudio.io.resample import StreamingResampler, resampled_length
from vqaudio.models.speech_vqvae import AudioVQVAE

BLOCK_TOKENS = 2048  # the tokens of one block of a stream
_WINDOW_TOKENS = 1024  # encoded at once, a part of a block: enough to keep a product busy, small enough for the caches
_EXACT_TOKENS = 256  # decoded at once: about a second, so that progress shows and Ctrl-C is soon heard
_READ_FRAMES = 65536
MUTE_RAMP_S = 0.005
_FLOAT32_MAX = float(np.finfo(np.float32).max)

Mask = npt.NDArray[np.bool_]


class Sound(Protocol):
    """What can be encoded: blocks of samples that can be had twice. :class:`vqaudio.io.sound.SoundReader` is one."""

    sample_rate_hz: int
    channels: int

    def blocks(self, frames: int) -> Iterator[Block]:
        """Float32 blocks ``[channels, frames]``, the last perhaps shorter; full scale is 1."""

    def rewind(self) -> None:
        """Makes the next block the first."""


class WaveSound:
    """A :class:`Sound` in memory, ``[T]`` or ``[channels, T]`` floats.

    Raises:
        SoundError: the array has another shape or kind of numbers, or holds NaN or infinity.
    """

    def __init__(self, wave: npt.ArrayLike, sample_rate_hz: int) -> None:
        array = np.asarray(wave)
        if not np.issubdtype(array.dtype, np.floating):
            raise SoundError(f"the wave holds {array.dtype}; give floats, full scale 1.0 (16-bit integers / 32768)")
        if array.ndim not in (1, 2):
            raise SoundError(f"the wave has the shape {array.shape}; give [samples] or [channels, samples]")
        self._wave = np.atleast_2d(array)
        if not 1 <= len(self._wave) <= MAX_CHANNELS:
            raise SoundError(f"the wave has {len(self._wave)} channels; give [channels, samples], 1 to {MAX_CHANNELS}")
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite and refused
            self._wave = np.ascontiguousarray(self._wave, np.float32)
        finite = np.isfinite(self._wave).all(axis=0)
        if not finite.all():
            raise SoundError(f"the wave holds NaN or infinity, first in sample {int(np.argmin(finite))}; repair it")
        if sample_rate_hz != int(sample_rate_hz):
            raise SoundError(f"the sample rate is {sample_rate_hz} Hz; give a whole number")
        self.sample_rate_hz, self.channels = int(sample_rate_hz), len(self._wave)

    def blocks(self, frames: int) -> Iterator[Block]:
        """See :class:`Sound`."""
        for first in range(0, self._wave.shape[1], frames):
            yield self._wave[:, first : first + frames]

    def rewind(self) -> None:
        """Does nothing: each call of :meth:`blocks` starts at the first sample."""


def mixed(sound: Sound) -> npt.NDArray[np.float32]:
    """The mean of a sound's channels, ``[T]``."""
    blocks = [block.mean(axis=0) for block in sound.blocks(_READ_FRAMES)]
    return np.concatenate([np.zeros(0, np.float32), *blocks])


# ----------------------------------------------------------------------------------------------------------- encoding


@dataclass(frozen=True)
class Survey:
    """What must be known of a sound before its first token: its length, and the gain that normalises each channel."""

    frames: int
    gains: tuple[float, ...]


def survey(sound: Sound) -> Survey:
    """Passes once over ``sound`` and rewinds it."""
    frames = 0

    def counted() -> Iterator[Block]:
        nonlocal frames
        for block in sound.blocks(_READ_FRAMES):
            frames += block.shape[1]
            yield block

    levels = audio.measure_level(counted(), sound.sample_rate_hz, sound.channels)
    sound.rewind()
    return Survey(frames, tuple(level.gain for level in levels))


def token_count(frames: int, sample_rate_hz: int, model: AudioVQVAE) -> int:
    """Tokens that ``model`` makes of each channel of a sound."""
    vector = model.config.encoder.hop_length
    return -(-resampled_length(frames, sample_rate_hz, model.config.sample_rate_hz) // vector) * model.stages


def encode_blocks(model: AudioVQVAE, sound: Sound, gains: tuple[float, ...], tokens: int) -> Iterator[Codes]:
    """The codes of ``sound``, int32 ``[channels, n]``: n is :data:`BLOCK_TOKENS`, in the last block what is left.

    Beyond its ends the sound is silent.
    """
    _keep_memory()
    context = model.encoder_context
    emphasised = _emphasised(model, sound, gains)
    hop = model.hop_length
    windows = _windows(emphasised, sound.channels, _WINDOW_TOKENS * hop, context * hop)
    for first in range(0, tokens, BLOCK_TOKENS):
        size, parts = min(BLOCK_TOKENS, tokens - first), []
        for window in itertools.islice(windows, -(-size // _WINDOW_TOKENS)):
            # one channel at a time, so that its codes do not depend on how many there are
            codes = np.stack([_encode_window(model, channel) for channel in window])
            parts.append(codes[:, context:][:, :_WINDOW_TOKENS])
        yield np.concatenate(parts, axis=1)[:, :size]


@functools.cache
def _keep_memory() -> None:
    """Lets glibc learn, from a large block given back, to keep such blocks: fresh pages for every layer's output would
    cost a sixth of the encoder's time. Other allocators do not mind."""
    np.empty(31 * 2**20, np.uint8)  # just below the largest from which it learns


@torch.inference_mode()
def _encode_window(model: AudioVQVAE, emphasised: npt.NDArray[np.float32]) -> Codes:
    device = model.decoder.embedding.weight.device
    with torch.autocast(device.type, enabled=False):
        codes = model.encode(torch.from_numpy(np.ascontiguousarray(emphasised))[None].to(device))
    return codes[0].cpu().numpy().astype(np.int32)


def _emphasised(model: AudioVQVAE, sound: Sound, gains: tuple[float, ...]) -> Iterator[Block]:
    """The normalised sound at the model's rate after pre-emphasis, and then without end the silence that follows."""
    factor = np.array(gains, np.float32)[:, None]
    normalised = (block * factor for block in sound.blocks(_READ_FRAMES))
    resampled = _resampled(normalised, sound.sample_rate_hz, model.config.sample_rate_hz)
    last = np.zeros((sound.channels, 1), np.float32)
    for block in _and_silence(resampled, sound.channels):
        joined = np.concatenate([last, block], axis=1)
        last = block[:, -1:]
        yield model.emphasise(torch.from_numpy(joined)).numpy()[:, 1:]


def _and_silence(blocks: Iterable[Block], channels: int) -> Iterator[Block]:
    yield from blocks
    while True:
        yield np.zeros((channels, _READ_FRAMES), np.float32)


def _resampled(blocks: Iterable[Block], from_hz: int, to_hz: int) -> Iterator[Block]:
    resampler = StreamingResampler(from_hz, to_hz)
    for block in blocks:
        if (resampled := resampler.push(block)).shape[1]:
            yield resampled
    if (rest := resampler.flush()).shape[1]:
        yield rest


def _windows(blocks: Iterable[Block], channels: int, size: int, context: int) -> Iterator[Block]:
    """``[channels, context + size + context]`` around each stretch of ``size`` samples; zeros come before the first."""
    held = np.zeros((channels, context), np.float32)
    for block in blocks:
        held = np.concatenate([held, block], axis=1)
        while held.shape[1] >= size + 2 * context:
            yield held[:, : size + 2 * context]
            held = held[:, size:]


# ----------------------------------------------------------------------------------------------------------- decoding


class TokenRange(NamedTuple):
    """Consecutive tokens of all channels: ``codes`` int32 ``[channels, n]``, and where they are ``lost`` (same shape).

    A lost token has the last good code of its channel, or 0 where there was none.
    """

    codes: Codes
    lost: Mask

    def joined(self, more: "TokenRange") -> "TokenRange":
        """This range and then ``more``."""
        codes = np.concatenate([self.codes, more.codes], axis=1)
        return TokenRange(codes, np.concatenate([self.lost, more.lost], axis=1))

    def after(self, tokens: int) -> "TokenRange":
        """This range without its first ``tokens`` tokens."""
        return TokenRange(self.codes[:, tokens:], self.lost[:, tokens:])


def read_ranges(reader: StreamReader, coder: BlockCoder, lost_blocks: list[int]) -> Iterator[TokenRange]:
    """The tokens of a stream as they are read; the numbers of damaged blocks are added to ``lost_blocks``."""
    header = reader.header
    last = np.zeros(header.channels, np.int32)
    rows: list[Codes] = []
    lost: list[bool] = []
    for block in reader:
        count = len(header.tokens_of(block.index))
        codes = _decoded_payload(coder, block.payload, count)
        lost.append(codes is None)
        if codes is None:
            lost_blocks.append(block.index)
            codes = np.full(count, last[block.channel], np.int32)
        last[block.channel] = codes[-1]
        rows.append(codes)
        if block.channel == header.channels - 1:
            yield TokenRange(np.stack(rows), np.repeat(np.array(lost)[:, None], count, axis=1))
            rows, lost = [], []


def _decoded_payload(coder: BlockCoder, payload: bytes | None, count: int) -> Codes | None:
    try:
        return None if payload is None else coder.decode(payload, count)
    except ContainerError:  # its CRC is right, so whoever wrote it was wrong
        return None


class _Window(NamedTuple):
    """Codes with the context of a stretch; the stretch itself is ``codes[:, inner]``, ``lost`` is of it alone."""

    codes: Codes
    inner: slice
    lost: Mask


def _code_windows(ranges: Iterable[TokenRange], tokens: int, size: int, context: int) -> Iterator[_Window]:
    """Windows of ``size`` tokens, with as much of ``context`` on either side as exists."""
    source = iter(ranges)
    held = next(source, None)
    start = 0  # the token that `held` begins with
    for first in range(0, tokens, size):
        assert held is not None
        end = min(first + size, tokens)
        reach = min(end + context, tokens)
        while start + held.codes.shape[1] < reach:
            held = held.joined(next(source))
        low = max(first - context, 0)
        inner = slice(first - low, end - low)
        codes = held.codes[:, low - start : reach - start]
        yield _Window(codes, inner, held.lost[:, low - start :][:, inner])
        passed = max(end - context, 0)
        held, start = held.after(passed - start), passed


class _Mute:
    """Silences lost tokens: the gain falls over the first 5 ms of what is lost and rises over the first 5 ms after."""

    def __init__(self, hop_length: int, sample_rate_hz: int) -> None:
        self._hop, self._ramp = hop_length, max(2, round(MUTE_RAMP_S * sample_rate_hz))
        self._past: npt.NDArray[np.float64] | None = None

    def __call__(self, wave: Block, lost: Mask) -> Block:
        """The next ``wave[channels, n * hop]``, of which the tokens ``lost[channels, n]`` are to be silent."""
        present = np.repeat(~lost, self._hop, axis=1).astype(np.float64)
        if self._past is None:
            self._past = np.repeat(present[:, :1], self._ramp - 1, axis=1)
        present = np.concatenate([self._past, present], axis=1)
        self._past = present[:, 1 - self._ramp :]
        if present.all():
            return wave
        total = np.cumsum(np.pad(present, ((0, 0), (1, 0))), axis=1)
        gain = (total[:, self._ramp :] - total[:, : -self._ramp]) / self._ramp
        return (wave * gain).astype(np.float32)


@dataclass(frozen=True)
class Sampling:
    """How the decoder draws: a ``seed`` of 0 to 2**63 - 1 and a ``temperature`` above 0, else ``ConfigError``.

    ``exact`` goes through each channel from its first sample to its last, not through stretches side by side.
    ``voice`` is the vector ``[V]`` of who speaks, where the model knows speakers.
    """

    seed: int
    temperature: float
    exact: bool = False
    voice: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed = {self.seed} is not valid: give 0 to {2**63 - 1}")
        if not 0 < self.temperature < math.inf:
            raise ConfigError(f"temperature = {self.temperature} is not valid: give a number above 0")


def decode_blocks(
    model: AudioVQVAE, header: Header, ranges: Iterable[TokenRange], sampling: Sampling, sample_rate_hz: int
) -> Iterator[Block]:
    """The sound of a stream at its level and ``sample_rate_hz``: float32 ``[channels, n]`` of exactly its length."""
    (frames,), original_hz, model_hz = header.shape, header.sample_rate_hz, model.config.sample_rate_hz
    spoken = _first(_spoken(model, header, ranges, sampling), resampled_length(frames, original_hz, model_hz))
    wanted = resampled_length(frames, original_hz, sample_rate_hz)
    levels = np.array(header.levels)[:, None]
    for block in _first(_resampled(spoken, model_hz, sample_rate_hz), wanted):
        yield np.clip(block * levels, -_FLOAT32_MAX, _FLOAT32_MAX).astype(np.float32)


def _spoken(model: AudioVQVAE, header: Header, ranges: Iterable[TokenRange], sampling: Sampling) -> Iterator[Block]:
    """What the decoder says, at the model's rate and normalised level, in blocks ``[channels, n * hop]``."""
    plan = layout(header.tokens, header.channels, model.hop_length, model.stages)
    context = model.conditioning_context
    speaker: _Alone | _SideBySide
    if sampling.exact or plan.abreast * header.channels == 1:
        speaker = _Alone(model, sampling, header.channels)
        windows = _code_windows(ranges, header.tokens, _EXACT_TOKENS, context)
    else:
        speaker = _SideBySide(model, sampling, header.channels, plan)
        reach = context + max(plan.warm_up, plan.overlap)
        windows = _code_windows(ranges, header.tokens, plan.tokens * plan.abreast, reach)
    mute = _Mute(model.hop_length, model.config.sample_rate_hz)
    for window in windows:
        yield mute(speaker(window), window.lost)


def _sampler(model: AudioVQVAE, sampling: Sampling) -> Sampler:
    return Sampler(model.decoder, audio.SILENCE_LEVEL, sampling.temperature)


class _Alone:
    """Speaks each channel in one stream, from the first sample to the last."""

    def __init__(self, model: AudioVQVAE, sampling: Sampling, channels: int) -> None:
        self._model, self._voice = model, sampling.voice
        sampler = _sampler(model, sampling)
        self._streams = [sampler.stream() for _ in range(channels)]
        self._generators = [np.random.default_rng([sampling.seed, channel]) for channel in range(channels)]
        self._restorers = [Restorer(model) for _ in range(channels)]
        self._begun = [0.0] * channels  # periods of the pitch that have passed

    def __call__(self, window: _Window) -> Block:
        """The sound of the next window, ``[channels, n * hop]``."""
        hop = self._model.config.decoder.hop_length
        spoken = []
        for channel, codes in enumerate(window.codes):
            own = score(self._model, codes, self._voice).part(_frames(self._model, window.inner))
            uniforms = self._generators[channel].random(len(own.features) * hop)
            begun = self._begun[channel]
            symbols = self._streams[channel].push(own.features, uniforms, own.marks(self._model.config.decoder, begun))
            spoken.append(self._restorers[channel](symbols, own, begun))
            self._begun[channel] += own.periods(hop)
        return np.stack(spoken)


class _SideBySide:
    """Speaks all channels' stretches of a window at once, and joins them."""

    def __init__(self, model: AudioVQVAE, sampling: Sampling, channels: int, plan: Layout) -> None:
        self._model, self._sampling, self._plan = model, sampling, plan
        self._sampler = _sampler(model, sampling)
        self._joiners = [Joiner() for _ in range(channels)]
        self._begun = [0.0] * channels  # periods of the pitch that have passed before the window
        self._passed = 0  # tokens of the windows before

    def __call__(self, window: _Window) -> Block:
        """As :meth:`_Alone.__call__`."""
        hop, offset = self._model.hop_length, self._passed - window.inner.start
        stretches = cut(self._plan, len(self._joiners), window.inner, window.codes.shape[1])
        generators = [np.random.default_rng([self._sampling.seed, s.channel, offset + s.first]) for s in stretches]
        scores = in_parallel(lambda stretch: self._score(window, stretch), stretches)
        begun = [self._begins(stretch, own) for stretch, own in zip(stretches, scores, strict=True)]
        marks = [own.marks(self._model.config.decoder, at) for own, at in zip(scores, begun, strict=True)]
        parts = [Part(own.features, signs, draws) for own, signs, draws in zip(scores, marks, generators, strict=True)]
        spoken: list[list[Block]] = [[] for _ in self._joiners]
        for s, own, at, symbols in zip(stretches, scores, begun, speak(self._sampler, parts), strict=True):
            wave = Restorer(self._model)(symbols, own, at)[(s.first - s.begin) * hop :]
            spoken[s.channel].append(self._joiners[s.channel](wave, (s.end - s.first) * hop))
        self._passed += window.inner.stop - window.inner.start
        return np.stack([np.concatenate(channel) for channel in spoken])

    def _score(self, window: _Window, stretch: Stretch) -> Score:
        context = self._model.conditioning_context
        low = max(stretch.begin - context, 0)
        codes = window.codes[stretch.channel, low : stretch.stop + context]
        inner = slice(stretch.begin - low, stretch.stop - low)
        return score(self._model, codes, self._sampling.voice).part(_frames(self._model, inner))

    def _begins(self, stretch: Stretch, own: Score) -> float:
        """The periods before the next stretch of its channel, whose pulses go on where those of the last one end."""
        hop = self._model.config.decoder.hop_length
        before, until = (_frames(self._model, slice(0, to - stretch.begin)) for to in (stretch.first, stretch.end))
        begun = self._begun[stretch.channel] - own.part(before).periods(hop)
        self._begun[stretch.channel] = begun + own.part(until).periods(hop)
        return begun


def _frames(model: AudioVQVAE, tokens: slice) -> slice:
    """The frames of features of some tokens."""
    return slice(tokens.start * model.frames_per_token, tokens.stop * model.frames_per_token)


def _first(blocks: Iterable[Block], frames: int) -> Iterator[Block]:
    """The first ``frames`` frames of ``blocks``, which hold at least as many."""
    for block in blocks:
        yield block[:, :frames]
        frames -= min(frames, block.shape[1])
    assert frames == 0
