"""Streams in files: reading one while its bytes are counted, what coding a file came to, and what a stream tells."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, cast

import numpy as np

from vqaudio.bitstream.container import StreamReader
from vqaudio.bitstream.header import Header, Modality
from vqaudio.bitstream.stream import Damage, damage_of
from vqaudio.codecs.bundled import find_bundled, find_coder
from vqaudio.codecs.tokens import read_ranges
from vqaudio.errors import ContainerError
from vqaudio.io.sound_writer import SoundWriter

OpenWriter = Callable[[int, int], AbstractContextManager[SoundWriter]]  # of a sample rate and a number of channels


@dataclass(frozen=True)
class TranscodeResult:
    """What encoding or decoding a file came to. ``messages`` tell of all damage met while reading the stream."""

    header: Header
    stream_bytes: int
    damage: tuple[Damage, ...] = ()
    messages: tuple[str, ...] = ()
    clipped: int = 0  # samples of the decoded sound that were cut to full scale

    @property
    def duration_s(self) -> float:
        """Of the original."""
        return self.header.shape[0] / self.header.sample_rate_hz

    @property
    def bits_per_second(self) -> float | None:
        """True rate, header and all; None where the sound is empty."""
        return 8 * self.stream_bytes / self.duration_s if self.header.shape[0] else None

    def damage_lines(self) -> list[str]:
        """A line for each segment of lost sound, its channel (from 1) and its time, or else what else was damaged."""
        return [_line(self.header, damage) for damage in self.damage] or list(self.messages)


def _line(header: Header, damage: Damage) -> str:
    lost = damage.samples(header)
    first_s, end_s = lost.start / header.sample_rate_hz, lost.stop / header.sample_rate_hz
    return f"channel {damage.channel + 1} is damaged and silent from {first_s:.2f} s to {end_s:.2f} s"


class CountingFile:
    """Passes bytes to or from ``file`` and counts them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.count = 0

    def read(self, size: int) -> bytes:
        """As that of the file."""
        data = self._file.read(size)
        self.count += len(data)
        return data

    def write(self, data: bytes) -> int:
        """As that of the file."""
        self.count += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        """As that of the file."""
        self._file.flush()


class OpenStream:
    """A stream being read from the open ``file``; its bytes are counted.

    Raises:
        ContainerError: the file is no stream, or its header is damaged.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._counted = CountingFile(file)
        self.reader = StreamReader(cast(BinaryIO, self._counted))

    def finish(self, lost_blocks: Iterable[int]) -> TranscodeResult:
        """Reads what may be left, and says what there was."""
        for _ in self.reader:
            pass
        header = self.reader.header
        damage = damage_of(header, lost_blocks)
        return TranscodeResult(header, self._counted.count, damage, tuple(self.reader.damage))


@dataclass(frozen=True)
class StreamFacts:
    """A stream read through: its size and damage, and how many of the model's codes occur in it.

    Codes under a prior are read only where the model is a bundled one; else what is said of them is None.
    """

    coded: TranscodeResult
    codes_used: int | None
    entropy_bits: float | None  # of a code, by how often each occurs
    model: str | None  # the bundled model's name


def stream_facts(stream: OpenStream) -> StreamFacts:
    """Reads a sound's stream from end to end, in bounded memory.

    Raises:
        ContainerError: it is no stream of a sound.
    """
    header, lost_blocks = stream.reader.header, list[int]()
    if header.modality is not Modality.AUDIO:
        raise ContainerError("the stream is not that of a sound; give one that is")
    model = find_bundled(header.model_sha256)
    coder = find_coder(header)
    if coder is None:
        lost_blocks = [block.index for block in stream.reader if block.payload is None]
        return StreamFacts(stream.finish(lost_blocks), None, None, model)
    counts = np.zeros(header.codebook_size, np.int64)
    for codes, lost in read_ranges(stream.reader, coder, lost_blocks):
        counts += np.bincount(codes[~lost], minlength=len(counts))
    shares = counts[counts > 0] / max(1, int(counts.sum()))
    entropy = float((shares * np.log2(1 / shares)).sum())
    return StreamFacts(stream.finish(lost_blocks), int(np.count_nonzero(counts)), entropy, model)
