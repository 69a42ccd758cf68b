"""A whole stream in memory: its codes, and what was lost of them on the way."""

import io
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import BinaryIO, Self

import numpy as np

from vqaudio.bitstream.container import MAX_MESSAGES, StreamReader, StreamWriter
from vqaudio.bitstream.entropy import BlockCoder, Codes, PackedCoder, check_codes
from vqaudio.bitstream.header import Coder, Header, Modality, bad_field
from vqaudio.errors import ContainerError, MissingStreamError
from vqaudio.io.atomic import atomic_write

MAX_LOADED_CODES = 2**28  # 1 GiB; StreamReader has no such limit


@dataclass(frozen=True, order=True)
class Damage:
    """The tokens ``first_token`` to ``last_token``, both included, of one ``channel`` are lost."""

    channel: int
    first_token: int
    last_token: int

    @property
    def tokens(self) -> range:
        """The numbers of the lost tokens."""
        return range(self.first_token, self.last_token + 1)

    def samples(self, header: Header) -> range:
        """Return the samples of the original (a sound) that these tokens stand for, to within one token's samples."""
        assert header.modality is Modality.AUDIO, "only sound has samples"
        length = header.shape[0]
        return range(self.tokens.start * length // header.tokens, -(-self.tokens.stop * length // header.tokens))


def damage_of(header: Header, lost_blocks: Iterable[int]) -> tuple[Damage, ...]:
    """Return what the loss of these blocks means, neighbours merged, by channel and then by token."""
    indices = np.fromiter(lost_blocks, np.int64)  # a hostile stream may lose a million
    if not len(indices):  # np.unique is not asked: it would first import all of numpy.ma
        return ()
    indices = np.unique(indices)
    channels, ranges = indices % header.channels, indices // header.channels
    order = np.lexsort((ranges, channels))
    channels, ranges = channels[order], ranges[order]
    starts = np.flatnonzero((np.diff(channels, prepend=-1) != 0) | (np.diff(ranges, prepend=-2) != 1))
    stops = np.append(starts, len(indices))[1:]
    size = header.tokens_per_block
    return tuple(
        Damage(
            int(channels[start]), int(ranges[start]) * size, min((int(ranges[stop - 1]) + 1) * size, header.tokens) - 1
        )
        for start, stop in zip(starts, stops, strict=True)
    )


@dataclass(frozen=True, eq=False)
class Stream:
    """A whole stream in memory.

    Attributes:
        header: its facts.
        tokens: int32 ``[channels, *grid]``, each in ``0..codebook_size - 1``, in the file's order: of a sound the
            quantizers of a frame follow one another. Where the file was damaged they repeat the last good one of that
            channel (0 if there is none before).
        damage: the tokens that were lost on the way.
        messages: all that reading met, for people.
        block_coder: makes bytes of the tokens where the header names a model's prior; it needs no codec.
        num_quantizers: tokens of a frame of sound; 1 where nobody knows the model.

    Raises:
        ContainerError: the tokens do not fit the header.
    """

    header: Header
    tokens: Codes
    damage: tuple[Damage, ...] = ()
    messages: tuple[str, ...] = ()
    block_coder: BlockCoder | None = field(default=None, repr=False)
    num_quantizers: int = 1

    def __post_init__(self) -> None:
        expected = (self.header.channels, *self.header.grid)
        if self.tokens.shape != expected:
            raise ContainerError(f"tokens have the shape {self.tokens.shape}; the header promises {expected}")
        if self.header.tokens % self.num_quantizers:
            raise ContainerError(f"{self.header.tokens} tokens are no whole frames of {self.num_quantizers}")
        check_codes(self.tokens, self.header.codebook_size)
        object.__setattr__(self, "tokens", np.ascontiguousarray(self.tokens, np.int32))

    @property
    def codes(self) -> Codes:
        """Of a sound int32 ``[channels, num_quantizers, frames]``; of a picture the tokens, ``[channels, *grid]``."""
        if self.header.modality is not Modality.AUDIO:
            return self.tokens
        frames = self.tokens.reshape(self.header.channels, -1, self.num_quantizers)
        return np.ascontiguousarray(frames.transpose(0, 2, 1))

    @property
    def sample_rate_hz(self) -> int:
        """Of the sound that was coded; 0 of a picture."""
        return self.header.sample_rate_hz

    @property
    def duration_s(self) -> float:
        """Seconds of the sound that was coded; 0 of a picture."""
        return self.header.shape[0] / self.header.sample_rate_hz if self.header.modality is Modality.AUDIO else 0.0

    @property
    def bits_per_second(self) -> float:
        """Of the file that :meth:`write` makes, all bytes counted; 0 of a picture and of a sound of no length."""
        if not self.duration_s:
            return 0.0
        file = io.BytesIO()
        self.write(file)
        return 8 * len(file.getvalue()) / self.duration_s

    def save(self, path: str | os.PathLike[str], overwrite: bool = False, coder: BlockCoder | None = None) -> None:
        """Write the stream to the file ``path``, whole or not at all; see :func:`atomic_write` and :meth:`write`."""
        with atomic_write(path, overwrite) as file:
            self.write(file, coder)

    @classmethod
    def load(cls, path: str | os.PathLike[str], coder: BlockCoder | None = None) -> Self:
        """Read the stream in the file ``path``; see :meth:`read`."""
        try:
            with open(path, "rb") as file:
                return cls.read(file, coder)
        except OSError as error:
            kind = MissingStreamError if isinstance(error, FileNotFoundError) else ContainerError
            raise kind(f"{os.fspath(path)} cannot be read: {error.strerror}") from error

    def write(self, file: BinaryIO, coder: BlockCoder | None = None) -> None:
        """Write the stream to an open file; a prior-coded one that no codec made needs the ``coder`` of its model."""
        coder = _coder_of(self.header, coder or self.block_coder or self.coder_for(self.header))
        flat = self.tokens.reshape(self.header.channels, self.header.tokens)
        with StreamWriter(file, self.header) as writer:
            for index in range(self.header.block_count):
                tokens = self.header.tokens_of(index)
                writer.write(coder.encode(flat[self.header.channel_of(index), tokens.start : tokens.stop]))

    @classmethod
    def coder_for(cls, header: Header) -> BlockCoder | None:
        """What codes the blocks of a stream for which no coder was given; here, where no models are known, nothing."""
        return None

    @classmethod
    def quantizers_of(cls, header: Header) -> int:
        """Tokens of a frame; here, where no models are known, 1."""
        return 1

    @classmethod
    def read(cls, file: BinaryIO, coder: BlockCoder | None = None) -> Self:
        """Read a stream from an open file; a prior-coded one needs the ``coder`` of its model.

        Raises:
            ContainerError: the file is no stream, its header is refused, it needs a coder, or it holds more codes than
                belong into memory (2**28). Damage behind the header raises nothing.
        """
        return cls.read_from(StreamReader(file), coder)

    @classmethod
    def read_from(
        cls, reader: StreamReader, coder: BlockCoder | None = None, num_quantizers: int | None = None
    ) -> Self:
        """Read the rest of a stream whose header has been read; as :meth:`read`."""
        header = reader.header
        coder = _coder_of(header, coder or cls.coder_for(header))
        if header.channels * header.tokens > MAX_LOADED_CODES:
            raise bad_field("channels x tokens", header.channels * header.tokens, f"{MAX_LOADED_CODES} in memory")
        flat = np.zeros((header.channels, header.tokens), np.int32)
        lost, messages = list[int](), list[str]()
        for block in reader:
            tokens = header.tokens_of(block.index)
            target = flat[block.channel, tokens.start : tokens.stop]
            if block.payload is not None:
                try:
                    target[:] = coder.decode(block.payload, len(tokens))
                    continue
                except ContainerError as error:
                    if len(messages) < MAX_MESSAGES:
                        messages.append(f"block {block.index}: {error}")
            lost.append(block.index)
            target[:] = flat[block.channel, tokens.start - 1] if tokens.start else 0
        tokens_read = flat.reshape(header.channels, *header.grid)
        messages = [*reader.damage, *messages]
        quantizers = num_quantizers or cls.quantizers_of(header)
        return cls(header, tokens_read, damage_of(header, lost), tuple(messages), coder, quantizers)


def _coder_of(header: Header, coder: BlockCoder | None) -> BlockCoder:
    if header.coder is Coder.PACKED:
        return PackedCoder(header.codebook_size)
    if coder is None:
        raise ContainerError(
            f"the stream is coded with the prior of model {header.model_sha256.hex()[:12]}: it needs that model"
        )
    return coder
