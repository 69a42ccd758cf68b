"""The wire format of a ``.vqa`` stream: a header and blocks, written and read one at a time.

All numbers are little-endian. Header, then blocks::

    magic 4 | version u8 | model sha256 32 | modality u8 | coder u8 | grid axes u8 | sample rate u32 | channels u16
    | codebook size - 1 u16 | tokens per block - 1 u16 | grid u48 each | shape u48 each | level f32 each channel
    | CRC-32 of all before

    sync 2 | sequence u24 | payload length u24 | payload | CRC-32 of sequence, length and payload

A block holds the codes of one channel in one range of tokens (the grid flattened, last axis fastest). Blocks go range
by range, channels inside: the sequence number is ``range * channels + channel``. Payloads vary in length, so a reader
that meets damage looks for the next sync bytes that start a block with a right CRC.
"""

import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Self

from vqaudio.bitstream.header import CRC, FIXED, MAGIC, MAX_HEADER, U24, Header, header_size, is_sealed, repaired
from vqaudio.errors import ContainerError

SYNC = b"\xb5\x4e"
BLOCK_OVERHEAD = 12  # bytes: sync 2, sequence 3, length 3, CRC 4
_BLOCK_HEAD = len(SYNC) + 2 * U24
MAX_MESSAGES = 1000  # of damage: a hostile file may hold a million pieces of it
_CHUNK = 4096
_SCAN_WORK = 16  # bytes checksummed in vain for each byte skipped, at most: keeps the search linear in hostile files


class StreamWriter:
    """Writes header and blocks to ``file``, a buffered binary file that need not seek and that the caller closes."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self.header = header
        self._file = file
        self._written = 0
        file.write(header.to_bytes())

    def write(self, payload: bytes) -> None:
        """Write the next block; ``ContainerError`` if the header has no more blocks or none of that size."""
        if self._written == self.header.block_count:
            raise ContainerError(f"the header allows {self.header.block_count} blocks; write no more")
        if len(payload) > self.header.max_payload:
            raise ContainerError(
                f"block {self._written} has {len(payload)} bytes, at most {self.header.max_payload}; pack it instead"
            )
        body = self._written.to_bytes(U24, "little") + len(payload).to_bytes(U24, "little") + payload
        self._file.write(SYNC + body + CRC.pack(zlib.crc32(body)))
        self._written += 1

    def close(self) -> None:
        """Flush the file; ``ContainerError`` unless all blocks were written."""
        if self._written != self.header.block_count:
            raise ContainerError(f"{self._written} of {self.header.block_count} blocks were written; write them all")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()


@dataclass(frozen=True)
class Block:
    """Block ``index`` of a stream, of one ``channel``; its ``payload`` is None where it is damaged or missing."""

    index: int
    channel: int
    payload: bytes | None


class _Source:
    """The next bytes of a file that need not seek; holds no more than was asked for, and one chunk."""

    def __init__(self, file: BinaryIO) -> None:
        self.data = bytearray()
        self._file = file
        self._ended = False

    def fill(self, size: int) -> bool:
        """Read until ``size`` bytes are held; False if the file ends before."""
        while len(self.data) < size and not self._ended:
            more = self._file.read(size - len(self.data))
            self.data += more
            self._ended = not more
        return len(self.data) >= size

    def drop(self, size: int) -> None:
        """Forget the first ``size`` bytes held."""
        del self.data[:size]

    def skip_to(self, mark: bytes) -> int | None:
        """Drop what stands before the next two-byte ``mark``; return how many bytes, or None if the file ends."""
        dropped = 0
        wanted = len(mark)  # at first no more, so that a live stream is not read ahead
        while (at := self.data.find(mark)) < 0:
            useless = len(self.data) - self.data.endswith(mark[:1])
            self.drop(useless)
            dropped += useless
            held = len(self.data)
            self.fill(wanted)
            if len(self.data) == held:
                return None
            wanted = _CHUNK
        self.drop(at)
        return dropped + at


class StreamReader:
    """Reads a stream from ``file``, a binary file that need not seek, holding one block at a time.

    Iterating gives exactly ``header.block_count`` blocks in order, once. Time is linear in the length of the file (plus
    the number of blocks), and memory stays within ``header.max_payload`` and some kilobytes, whatever the bytes are.

    Attributes:
        header: the stream's facts, every field within its bounds.
        damage: a message for each damage met so far, at most a thousand. Blocks that are lost have the payload None.

    Raises:
        ContainerError: the file is no stream, or its header is refused or damaged by more than a bit.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.damage: list[str] = []
        self._source = _Source(file)
        self.header = self._read_header()
        self._skipped = 0  # bytes passed over in search of a block
        self._wasted = 0  # bytes checksummed in vain
        self._blocks = self._iterate()

    def __iter__(self) -> Iterator[Block]:
        return self._blocks

    def _read_header(self) -> Header:
        source = self._source
        source.fill(FIXED.size)
        if bin(int.from_bytes(MAGIC) ^ int.from_bytes(source.data[: len(MAGIC)])).count("1") > 1:
            return Header.from_bytes(bytes(source.data))  # raises: no stream at all
        with suppress(ContainerError):  # the damaged bit may be one that tells the size
            source.fill(header_size(source.data))
        if not is_sealed(source.data):
            source.fill(MAX_HEADER)
            mended = repaired(bytes(source.data))
            if mended is not None:
                source.data[:] = mended
                self.damage.append("the header had one wrong bit, which was repaired")
        header = Header.from_bytes(bytes(source.data))
        source.drop(header_size(source.data))
        return header

    def _iterate(self) -> Iterator[Block]:
        header, expected = self.header, 0
        while expected < header.block_count:
            found = self._find_block(expected)
            index = header.block_count if found is None else found.index
            if index > expected:
                which = f"block {expected} is" if index == expected + 1 else f"blocks {expected} to {index - 1} are"
                self._tell(f"{which} damaged or missing")
            for lost in range(expected, index):
                yield Block(lost, header.channel_of(lost), None)
            if found is not None:
                yield found
            expected = index + 1
        if self._source.fill(1):
            self._tell("other bytes follow the last block; they were ignored")

    def _tell(self, message: str) -> None:
        """Adds a message; of very many only the first are kept, and that there were more."""
        if len(self.damage) < MAX_MESSAGES:
            self.damage.append(message)
        elif len(self.damage) == MAX_MESSAGES:
            self.damage.append("there is more damage; its messages were left out")

    def _find_block(self, expected: int) -> Block | None:
        """Return the next whole block that is not before ``expected``; None if the file holds no more."""
        while (skipped := self._source.skip_to(SYNC)) is not None:
            self._skipped += skipped
            block = self._block_here(expected)
            if block is not None:
                return block
            self._source.drop(1)
            self._skipped += 1
        return None

    def _block_here(self, expected: int) -> Block | None:
        """Return the block that the sync bytes in front start, and drop it; None if they start no block."""
        source, header = self._source, self.header
        if not source.fill(_BLOCK_HEAD):
            return None
        index = int.from_bytes(source.data[2:5], "little")
        length = int.from_bytes(source.data[5:8], "little")
        if not expected <= index < header.block_count or length > header.max_payload:
            return None
        if self._wasted + length > _SCAN_WORK * (self._skipped + header.max_payload):
            return None
        if not source.fill(_BLOCK_HEAD + length + CRC.size):
            return None
        body = bytes(source.data[len(SYNC) : _BLOCK_HEAD + length])
        if zlib.crc32(body) != CRC.unpack_from(source.data, _BLOCK_HEAD + length)[0]:
            self._wasted += length
            return None
        source.drop(_BLOCK_HEAD + length + CRC.size)
        return Block(index, header.channel_of(index), body[2 * U24 :])
