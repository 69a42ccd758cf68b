"""A long sound's segments decoded side by side, and joined so that nobody hears it.

A WaveNet draws one sample after another, but its memory is short. Each segment begins a little early, so that it is in
full voice where it is wanted, and ends a little late; where two meet, the later takes over at the place of the
overlap where the two agree best, which is a pause if there is one. What comes out depends on the tokens and the seed,
not on the number of threads: the segments, and the groups that go through the kernel together, are laid out by the
stream's length. Of a short sound there are few, each spoken alone: company pays from about eight on.
"""

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from vqaudio.arrays import Block
from vqaudio.codecs.sampler import Sampler

WARM_UP = 2048  # samples spoken before a segment and thrown away: four times the bundled decoders' receptive field
OVERLAP = 1536  # samples spoken beyond a segment's end, for the crossfade
SEGMENT = 32000  # samples
LEAST = 8000  # samples; in a shorter segment the throw-away would cost more than company gains
BATCH = 32  # segments that are decoded together, all channels counted
GROUP = 16  # streams of one kernel; of fewer segments each is spoken alone
_FEW, _LEAST_ALONE = 4, 16000  # channels and segments of a short sound; samples in such a segment
_CROSSFADE = 80  # samples over which one segment fades into the next

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Layout(NamedTuple):
    """How a stream is cut: ``tokens`` in a segment, ``batch`` segments of each channel decoded together.

    A segment is spoken from ``warm_up`` tokens before its beginning to ``overlap`` tokens beyond its end.
    """

    tokens: int
    batch: int
    warm_up: int
    overlap: int


def layout(tokens: int, channels: int, hop_length: int, whole: int = 1) -> Layout:
    """The cut of ``tokens`` tokens, of ``hop_length`` samples each, of each of ``channels`` channels.

    All numbers of tokens in it are multiples of ``whole``; ``tokens`` is one.
    """
    most = max(1, BATCH // channels)
    sizes = (SEGMENT, LEAST, _LEAST_ALONE, WARM_UP, OVERLAP)
    segment, least, least_alone, *beyond = (-(-samples // (hop_length * whole)) * whole for samples in sizes)
    if tokens >= most * segment:
        return Layout(segment, most, *beyond)
    count = min(most, tokens // least)
    if count * channels < GROUP:
        few = max(1, min(_FEW // channels, tokens // least_alone))
        count = 1 << few.bit_length() - 1  # a power of two keeps as many cores equally busy
    return Layout(max(1, -(-tokens // (count * whole))) * whole, count, *beyond)


class Segment(NamedTuple):
    """Tokens ``first`` to ``end`` of a channel, spoken from token ``begin`` to ``stop``; all counted in one window."""

    channel: int
    begin: int
    first: int
    end: int
    stop: int


def cut(plan: Layout, channels: int, inner: slice, available: int) -> list[Segment]:
    """The segments of a window of ``available`` tokens, of which ``inner`` are wanted, channel after channel."""
    segments = []
    for channel in range(channels):
        for first in range(inner.start, inner.stop, plan.tokens):
            end = min(first + plan.tokens, inner.stop)
            begin, stop = max(first - plan.warm_up, 0), min(end + plan.overlap, available)
            segments.append(Segment(channel, begin, first, end, stop))
    return segments


class Part(NamedTuple):
    """What a segment is drawn by: ``features[frames, F]``; ``phases``, one a sample, where the WaveNet has them; and
    what draws its uniform numbers."""

    features: Floats
    phases: Integers | None
    generator: np.random.Generator


@functools.cache
def _thread_pools() -> ThreadpoolController:
    """Those of the libraries that do the products, which are loaded by now; to look for them takes 2 ms each time."""
    return ThreadpoolController()


class _OneBlasThread:
    """Holds BLAS to one thread while any call needs it, and gives back what was before when the last one has ended.

    The limit is the process's: calls that overlap would each take the other's for what was before. And threadpoolctl
    lets only the thread that set it change it again, as long as that one lives: so threads of their own do both.
    """

    def __init__(self) -> None:
        self._lock, self._users = threading.Lock(), 0
        self._limits: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._users:
                _in_a_thread(self._limit)
            self._users += 1

    def __exit__(self, *failure: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                _in_a_thread(self._give_back)

    def _limit(self) -> None:
        self._limits = _thread_pools().limit(limits=1, user_api="blas")

    def _give_back(self) -> None:
        if self._limits is not None:
            self._limits.restore_original_limits()
            self._limits = None


def _in_a_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


_ONE_BLAS_THREAD = _OneBlasThread()


class _Own(threading.local):
    """What a thread keeps to itself."""

    alone = 0  # calls of :func:`one_thread` that it is in


_OWN = _Own()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Holds BLAS to one thread, as codecs do for each call: around many calls, so that each finds it done."""
    with _ONE_BLAS_THREAD:
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Networks run in one thread of this thread's own: with one they round alike wherever they run."""
    if torch := sys.modules.get("torch"):
        torch.get_num_threads()  # a thread's first call of torch sets its number of threads, which must not come later
    _OWN.alone += 1
    try:
        with _ONE_BLAS_THREAD, _thread_pools().limit(limits=1, user_api="openmp"):
            yield
    finally:
        _OWN.alone -= 1


def in_parallel(function: Callable[[_In], _Out], items: list[_In]) -> list[_Out]:
    """``function`` of each of the ``items``, in as many threads as there are cores; each does its products alone.

    Whoever holds on to :func:`one_thread`, or has one item, gets no other thread.
    """
    with one_blas_thread():
        if _OWN.alone or len(items) < 2:
            return [function(item) for item in items]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            return list(pool.map(function, items))


def draw_parts(sampler: Sampler, parts: list[Part]) -> list[Integers]:
    """The symbols of each part."""
    count = len(parts) if len(parts) < GROUP else max(2, -(-len(parts) // GROUP))
    groups = [parts[len(parts) * i // count : len(parts) * (i + 1) // count] for i in range(count)]
    return [symbols for group in in_parallel(lambda group: _draw_group(sampler, group), groups) for symbols in group]


def _draw_group(sampler: Sampler, group: list[Part]) -> list[Integers]:
    frames = max(len(part.features) for part in group)
    uniforms = np.stack([part.generator.random(frames * sampler.hop_length) for part in group])
    if len(group) == 1:
        return [sampler.stream().push(group[0].features, uniforms[0], group[0].phases)]
    held = np.stack([np.pad(p.features, ((0, frames - len(p.features)), (0, 0)), mode="edge") for p in group])
    signs = [
        np.pad(part.phases, (0, uniforms.shape[1] - len(part.phases))) for part in group if part.phases is not None
    ]
    symbols = sampler.streams(len(group)).push(held, uniforms, np.stack(signs) if signs else None)
    return [drawn[: len(p.features) * sampler.hop_length] for drawn, p in zip(symbols, group, strict=True)]


class Crossfader:
    """Joins one channel's segments in their order."""

    def __init__(self) -> None:
        self._tail = np.zeros(0, np.float32)

    def __call__(self, wave: Block, length: int) -> Block:
        """The next ``length`` samples. ``wave[n]`` begins where the last segment ended and runs on past ``length``."""
        joined = crossfade(self._tail[: len(wave)], wave)
        self._tail = joined[length:]
        return joined[:length]


def crossfade(tail: Block, wave: Block) -> Block:
    """``wave``, begun with as much of ``tail``, another rendering of the same moment, as makes the join least heard."""
    if len(tail) < _CROSSFADE:
        return wave
    difference = np.square(tail - wave[: len(tail)], dtype=np.float64)
    mismatch = np.convolve(difference, np.ones(_CROSSFADE), mode="valid")
    place = int(mismatch.argmin())
    fade = (0.5 - 0.5 * np.cos(np.pi * (np.arange(_CROSSFADE) + 0.5) / _CROSSFADE)).astype(np.float32)
    joined = wave.copy()
    joined[:place] = tail[:place]
    region = slice(place, place + _CROSSFADE)
    joined[region] = (1 - fade) * tail[region] + fade * wave[region]
    return joined
