"""Tokens on their way from a stream to the decoder: which are lost, windows with context, silence for the lost."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vqaudio.arrays import Block, Mask
from vqaudio.bitstream.container import StreamReader
from vqaudio.bitstream.entropy import BlockCoder, Codes
from vqaudio.errors import ContainerError
from vqaudio.models.reach import Reach

MUTE_RAMP_S = 0.005


class TokenRange(NamedTuple):
    """Consecutive tokens of all channels: ``codes`` int32 ``[channels, n]``, and where they are ``lost`` (same shape).

    A lost token has the last good code of its channel, or 0 where there was none.
    """

    codes: Codes
    lost: Mask

    @classmethod
    def whole(cls, codes: Codes) -> "TokenRange":
        """All of ``codes[channels, n]``, none of them lost."""
        return cls(codes, np.zeros(codes.shape, bool))

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


class Window(NamedTuple):
    """Codes with the context of a segment; the segment itself is ``codes[:, inner]``, ``lost`` is of it alone."""

    codes: Codes
    inner: slice
    lost: Mask


def code_windows(ranges: Iterable[TokenRange], tokens: int, size: int, reach: Reach) -> Iterator[Window]:
    """Windows of ``size`` tokens, with as many of those before and after as there are within ``reach``."""
    source = iter(ranges)
    held = next(source, None)
    start = 0  # the token that `held` begins with
    for first in range(0, tokens, size):
        assert held is not None
        end = min(first + size, tokens)
        until = min(end + reach.after, tokens)
        while start + held.codes.shape[1] < until:
            held = held.joined(next(source))
        low = max(first - reach.before, 0)
        inner = slice(first - low, end - low)
        codes = held.codes[:, low - start : until - start]
        yield Window(codes, inner, held.lost[:, low - start :][:, inner])
        passed = max(end - reach.before, 0)
        held, start = held.after(passed - start), passed


class Mute:
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
