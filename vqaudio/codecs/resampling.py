"""Blocks of sound from one sample rate to another, as they come."""

from collections.abc import Iterable, Iterator

from vqaudio.arrays import Block
from vqaudio.io.resample import StreamingResampler


def resampled(blocks: Iterable[Block], from_hz: int, to_hz: int) -> Iterator[Block]:
    """``blocks[channels, n]`` at ``from_hz`` to blocks at ``to_hz``."""
    resampler = StreamingResampler(from_hz, to_hz)
    for block in blocks:
        if (made := resampler.push(block)).shape[1]:
            yield made
    if (rest := resampler.flush()).shape[1]:
        yield rest
