"""Sound to codes, block by block: memory does not grow with the length.

There is one path for a file of hours and an array in memory. The encoder's whole context stands around each block of
tokens, and it is always fed the same shape, so that the codes depend neither on how the sound comes nor on how long it
is.
"""

import functools
import itertools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vqaudio.arrays import Block, Floats
from vqaudio.bitstream.entropy import Codes
from vqaudio.bitstream.header import MAX_CHANNELS
from vqaudio.codecs.resampling import resampled
from vqaudio.codecs.segments import in_parallel, one_thread
from vqaudio.dsp import loudness
from vqaudio.errors import SoundError
from vqaudio.io.resample import resampled_length
from vqaudio.models.sound_model import SoundModel

BLOCK_TOKENS = 2048  # the tokens of one block of a stream
_WINDOW_TOKENS = 1024  # encoded at once, a part of a block: enough to keep a product busy, small enough for the caches
_READ_FRAMES = 65536


class Sound(Protocol):
    """What can be encoded: samples that can be passed over twice. :class:`vqaudio.io.sound.SoundReader` is one."""

    sample_rate_hz: int
    channels: int

    def blocks(self, frames: int) -> Iterator[Block]:
        """Float32 blocks ``[channels, frames]`` from the first sample on, the last perhaps shorter; full scale is 1."""


class WaveSound:
    """A :class:`Sound` in memory, ``[T]`` or ``[channels, T]`` floats.

    Raises:
        SoundError: the array has another shape or kind of numbers, or holds NaN or infinity.
    """

    def __init__(self, wave: npt.ArrayLike, sample_rate_hz: int) -> None:
        torch = sys.modules.get("torch")  # who has a tensor has imported it
        if torch and isinstance(wave, torch.Tensor):  # of any kind of floats, on any device, with or without a gradient
            tensor: Any = wave.detach().to("cpu")
            wave = tensor.float().numpy() if tensor.is_floating_point() else tensor.numpy()
        array = np.asarray(wave)
        if not np.issubdtype(array.dtype, np.floating):
            raise SoundError(f"the wave holds {array.dtype}; give floats, full scale 1.0 (16-bit integers / 32768)")
        if array.ndim not in (1, 2):
            raise SoundError(f"the wave has the shape {array.shape}; give [samples] or [channels, samples]")
        self._wave = np.atleast_2d(array)
        if not 1 <= len(self._wave) <= MAX_CHANNELS:
            turned = ": transpose it" if 1 <= self._wave.shape[1] <= MAX_CHANNELS else ""
            held = f"the wave has {len(self._wave)} channels; give [channels, samples], 1 to {MAX_CHANNELS}"
            raise SoundError(f"{held}{turned}")
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite and refused
            self._wave = np.ascontiguousarray(self._wave, np.float32)
        finite = np.isfinite(self._wave).all(axis=0)
        if not finite.all():
            raise SoundError(f"the wave holds NaN or infinity, first in sample {int(np.argmin(finite))}; repair it")
        if not isinstance(sample_rate_hz, int | float | np.number) or sample_rate_hz % 1 != 0:  # NaN and infinity too
            raise SoundError(f"the sample rate is {sample_rate_hz!r} Hz; give a whole number")
        self.sample_rate_hz, self.channels = int(sample_rate_hz), len(self._wave)

    def blocks(self, frames: int) -> Iterator[Block]:
        """See :class:`Sound`."""
        for first in range(0, self._wave.shape[1], frames):
            yield self._wave[:, first : first + frames]


def mixed(sound: Sound) -> npt.NDArray[np.float32]:
    """The mean of a sound's channels, ``[T]``."""
    blocks = [block.mean(axis=0) for block in sound.blocks(_READ_FRAMES)]
    return np.concatenate([np.zeros(0, np.float32), *blocks])


def beginning(sound: Sound, seconds: float) -> npt.NDArray[np.float32]:
    """The mean of a sound's channels, ``[T]``, up to so many seconds."""
    frames = round(seconds * sound.sample_rate_hz)
    wave = next((block.mean(axis=0) for block in sound.blocks(frames)), np.zeros(0, np.float32))
    return wave.astype(np.float32)


@dataclass(frozen=True)
class Statistics:
    """What must be known of a sound before its first token: its length, and the gain that normalises each channel."""

    frames: int
    gains: tuple[float, ...]


def first_pass(sound: Sound) -> Statistics:
    """Passes once over ``sound``."""
    frames = 0

    def counted() -> Iterator[Block]:
        nonlocal frames
        for block in sound.blocks(_READ_FRAMES):
            frames += block.shape[1]
            yield block

    levels = loudness.measure_level(counted(), sound.sample_rate_hz, sound.channels)
    return Statistics(frames, tuple(level.gain for level in levels))


def token_count(frames: int, sample_rate_hz: int, model: SoundModel) -> int:
    """Tokens that ``model`` makes of each channel of a sound."""
    vector = model.config.encoder.hop_length
    return -(-resampled_length(frames, sample_rate_hz, model.config.sample_rate_hz) // vector) * model.num_quantizers


def encode_blocks(model: SoundModel, sound: Sound, gains: tuple[float, ...], tokens: int) -> Iterator[Codes]:
    """The codes of ``sound``, int32 ``[channels, n]``: n is :data:`BLOCK_TOKENS`, in the last block what is left.

    Beyond its ends the sound is silent.
    """
    _keep_memory()
    before, after = model.encoder_reach
    normalised = _normalised(model, sound, gains)
    hop = model.samples_per_token
    windows = _windows(normalised, sound.channels, _WINDOW_TOKENS * hop, before * hop, after * hop)
    for first in range(0, tokens, BLOCK_TOKENS):
        size = min(BLOCK_TOKENS, tokens - first)
        held = list(itertools.islice(windows, -(-size // _WINDOW_TOKENS)))
        # one channel at a time, so that its codes do not depend on how many there are
        each = [channel for window in held for channel in window]
        parts = in_parallel(functools.partial(_encode_window, model, before), each)
        codes = np.stack(parts).reshape(len(held), sound.channels, _WINDOW_TOKENS)
        yield np.concatenate(codes, axis=1)[:, :size]


@functools.cache
def _keep_memory() -> None:
    """Lets glibc learn, from a large block given back, to keep such blocks: fresh pages for every layer's output would
    cost a sixth of the encoder's time. Other allocators do not mind."""
    np.empty(31 * 2**20, np.uint8)  # just below the largest from which it learns


def _encode_window(model: SoundModel, before: int, wave: Floats) -> Codes:
    """The codes ``[_WINDOW_TOKENS]`` behind the first ``before`` of ``wave[T]``."""
    each = model.num_quantizers
    with one_thread():
        return model.encode_part(np.ascontiguousarray(wave), before // each, _WINDOW_TOKENS // each).astype(np.int32)


def _normalised(model: SoundModel, sound: Sound, gains: tuple[float, ...]) -> Iterator[Block]:
    """The sound at normalised level and the model's rate, and then without end the silence that follows."""
    factor = np.array(gains, np.float32)[:, None]
    blocks = (block * factor for block in sound.blocks(_READ_FRAMES))
    return _and_silence(resampled(blocks, sound.sample_rate_hz, model.config.sample_rate_hz), sound.channels)


def _and_silence(blocks: Iterable[Block], channels: int) -> Iterator[Block]:
    yield from blocks
    while True:
        yield np.zeros((channels, _READ_FRAMES), np.float32)


def _windows(blocks: Iterable[Block], channels: int, size: int, before: int, after: int) -> Iterator[Block]:
    """``[channels, before + size + after]`` around each part of ``size`` samples; zeros come before the first."""
    held = np.zeros((channels, before), np.float32)
    for block in blocks:
        held = np.concatenate([held, block], axis=1)
        while held.shape[1] >= before + size + after:
            yield held[:, : before + size + after]
            held = held[:, size:]
