"""Codes of one channel on their way while a sound happens: a header packet, then packets that stand for themselves.

docs/packets.md is the specification. All numbers are little-endian::

    header: magic 4 | version u8 | model sha256 32 | sample rate u32 | model's sample rate u32 | samples a vector
    - 1 u16 | quantizers - 1 u8 | codebook size - 1 u16 | vectors a packet - 1 u8 | quantizers repeated u8 | level f32
    | CRC-32

    packet: sync 2 | sequence u16 | flags and vectors u8 | [samples u48] | codes | [codes repeated] | CRC-32

Codes are packed as in a .vqa file. A reader that meets damage goes on at the next packet with a right CRC; a packet may
repeat the first quantizers of the one before it, so that a loss that stands alone costs detail and no more.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from vqaudio.bitstream.entropy import MAX_CODEBOOK_SIZE, Codes, bits_per_code, check_codes, pack, packed_bytes, unpack
from vqaudio.bitstream.header import CRC, MAX_SAMPLE_RATE_HZ, U48, Coder, Header, Modality
from vqaudio.bitstream.stream import Damage, Stream
from vqaudio.errors import ContainerError

MAGIC = b"\x8bVQL"
VERSION = 1
SYNC = b"\xb5\x4c"
MAX_QUANTIZERS = 32
MAX_VECTORS = 63  # a packet
MAX_LOST = 512  # vectors that a gap counts as lost; after more the stream begins anew
MAX_LATE = 256  # packets behind the one expected that are left out, not a new beginning
UNKNOWN = -1  # a code that did not arrive, of a vector of which others did
_TOKENS_PER_BLOCK = 2048

_HEADER = struct.Struct("<4sB32sIIHBHBBf")
HEADER_BYTES = _HEADER.size + CRC.size
_HEAD = struct.Struct("<2sHB")
_ENDS, _REPEATS, _VECTORS = 0x80, 0x40, 0x3F  # of the byte of flags and vectors
_SEQUENCES = 1 << 16


@dataclass(frozen=True)
class PacketHeader:
    """What all packets of a stream share; every field is bounded when it is made.

    Attributes:
        model_sha256: 32 bytes that name the model that the codes belong to.
        sample_rate_hz: of the original.
        model_rate_hz: of the model.
        vector_length: samples, at the model's rate, that a vector stands for.
        num_quantizers: codes of a vector, 1 to 32.
        codebook_size: 2 to 65,536.
        vectors: of a packet, 1 to 63; the last may hold fewer, or none.
        repeated: quantizers of the packet before that each repeats, 0 to ``num_quantizers``.
        level: a linear gain that decoding restores; finite, not negative, rounded to float32.

    Raises:
        ContainerError: a field is out of bounds.
    """

    model_sha256: bytes
    sample_rate_hz: int
    model_rate_hz: int
    vector_length: int
    num_quantizers: int
    codebook_size: int
    vectors: int
    repeated: int = 0
    level: float = 1.0

    def __post_init__(self) -> None:
        bounds = {
            "sample_rate_hz": (1, MAX_SAMPLE_RATE_HZ),
            "model_rate_hz": (1, MAX_SAMPLE_RATE_HZ),
            "vector_length": (1, 1 << 16),
            "num_quantizers": (1, MAX_QUANTIZERS),
            "codebook_size": (2, MAX_CODEBOOK_SIZE),
            "vectors": (1, MAX_VECTORS),
            "repeated": (0, self.num_quantizers),
        }
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise ContainerError(f"packets: {name} is {getattr(self, name)}; allowed is {low} to {high}")
        if len(self.model_sha256) != 32:
            raise ContainerError(f"packets: model_sha256 has {len(self.model_sha256)} bytes; give 32")
        if not 0 <= self.level <= float(np.finfo(np.float32).max):  # NaN fails too
            raise ContainerError(f"packets: level is {self.level}; allowed is a finite float32, not negative")
        object.__setattr__(self, "level", float(np.float32(self.level)))

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return bits_per_code(self.codebook_size)

    @property
    def packet_s(self) -> float:
        """Seconds of sound in a packet."""
        return self.vectors * self.vector_length / self.model_rate_hz

    def to_bytes(self) -> bytes:
        """The header packet."""
        body = _HEADER.pack(
            *(MAGIC, VERSION, self.model_sha256, self.sample_rate_hz, self.model_rate_hz, self.vector_length - 1),
            *(self.num_quantizers - 1, self.codebook_size - 1, self.vectors - 1, self.repeated, self.level),
        )
        return body + CRC.pack(zlib.crc32(body))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The header that ``data`` starts with; ``ContainerError`` where it is none, damaged or refused."""
        if data[: len(MAGIC)] != MAGIC:
            raise ContainerError(
                "these are no packets of vqaudio: they start with other bytes; give what encode --live made"
            )
        if len(data) < HEADER_BYTES or zlib.crc32(data[: _HEADER.size]) != CRC.unpack_from(data, _HEADER.size)[0]:
            raise ContainerError("the header packet is damaged or cut; send it again")
        _, version, sha256, rate, model_rate, length, quantizers, size, vectors, repeated, level = _HEADER.unpack_from(
            data
        )
        if version != VERSION:
            raise ContainerError(f"the packets have version {version}, this program reads {VERSION}: update vqaudio")
        return cls(sha256, rate, model_rate, length + 1, quantizers + 1, size + 1, vectors + 1, repeated, level)

    def body_size(self, flags: int) -> int:
        """Bytes between a packet's head and its CRC, by its byte of flags and vectors."""
        repeats = packed_bytes(self.vectors * self.repeated, self.bits) if flags & _REPEATS else 0
        own = packed_bytes((flags & _VECTORS) * self.num_quantizers, self.bits)
        return own + repeats + (U48 if flags & _ENDS else 0)


# ------------------------------------------------------------------------------------------------------------ writing


class PacketWriter:
    """Codes to packets; the header packet, ``header.to_bytes()``, is the caller's to send first."""

    def __init__(self, header: PacketHeader) -> None:
        self.header = header
        self._waiting = np.zeros((header.num_quantizers, 0), np.int32)
        self._before: Codes | None = None  # of the last packet
        self._sequence = 0

    def push(self, codes: Codes) -> list[bytes]:
        """Adds ``codes[num_quantizers, vectors]``; gives the packets that are full.

        Raises:
            ContainerError: the codes have another shape, or are outside the codebook.
        """
        if codes.ndim != 2 or len(codes) != self.header.num_quantizers:
            expected = f"[{self.header.num_quantizers}, vectors]"
            raise ContainerError(f"codes have the shape {codes.shape}; give {expected}")
        check_codes(codes, self.header.codebook_size)
        self._waiting = np.concatenate([self._waiting, codes.astype(np.int32)], axis=1)
        packets, size = [], self.header.vectors
        while self._waiting.shape[1] >= size:
            packets.append(self._packet(self._waiting[:, :size], None))
            self._waiting = self._waiting[:, size:]
        return packets

    def flush(self, samples: int) -> bytes:
        """The last packet, with the codes that are left, perhaps none, of a stream of ``samples`` samples."""
        last, self._waiting = self._packet(self._waiting, samples), self._waiting[:, :0]
        return last

    def _packet(self, codes: Codes, samples: int | None) -> bytes:
        header, flags = self.header, codes.shape[1]
        body = b""
        if samples is not None:
            flags |= _ENDS
            body += samples.to_bytes(U48, "little")
        body += pack(codes.T.reshape(-1), header.bits)
        if header.repeated and self._before is not None:
            flags |= _REPEATS
            body += pack(self._before[: header.repeated].T.reshape(-1), header.bits)
        packet = _HEAD.pack(SYNC, self._sequence, flags) + body
        self._sequence, self._before = (self._sequence + 1) % _SEQUENCES, codes
        return packet + CRC.pack(zlib.crc32(packet[len(SYNC) :]))


# ------------------------------------------------------------------------------------------------------------ reading


class Arrived(NamedTuple):
    """What a packet brings: ``lost`` vectors before it are gone; ``codes[num_quantizers, vectors]`` follow them, -1
    where one did not arrive. ``samples`` is the original's length where the stream ends, else None."""

    lost: int
    codes: Codes
    samples: int | None = None


class PacketReader:
    """Packets out of bytes that come in any cut: a pipe's, or one datagram after another.

    Late and repeated packets are left out. Header packets after the first are passed over. Memory stays within two
    packets and what is pushed at once.

    Attributes:
        header: of the stream; None until it came.
        ended: whether the last packet came.
    """

    def __init__(self, header: PacketHeader | None = None) -> None:
        """``header``, where it came another way."""
        self.header, self.ended = header, False
        self._held = bytearray()
        self._next: int | None = None  # sequence number; None: any, for who joins a stream under way

    def push(self, data: bytes) -> list[Arrived]:
        """Adds ``data``; gives what the packets that are whole by now bring.

        Raises:
            ContainerError: the stream's beginning is none of packets, or its header is refused.
        """
        self._held += data
        if self.header is None:
            known = bytes(self._held[: len(MAGIC)])
            if not MAGIC.startswith(known):
                PacketHeader.from_bytes(known)  # raises
            if len(self._held) < HEADER_BYTES:
                return []
            self.header = PacketHeader.from_bytes(bytes(self._held[:HEADER_BYTES]))
            del self._held[:HEADER_BYTES]
            self._next = 0
        arrived = []
        while not self.ended and (packet := self._next_packet()) is not None:
            if (found := self._read(packet)) is not None:
                arrived.append(found)
        if self.ended:
            self._held.clear()
        return arrived

    def _next_packet(self) -> bytes | None:
        """The next packet with a right CRC, which is dropped; None until it is whole."""
        held, place, kept = self._held, -1, None
        while (place := held.find(SYNC, place + 1)) >= 0:
            size = self._size_at(place)
            if size == 0:
                continue
            if size is None or place + size > len(held):  # perhaps not whole yet
                kept = place if kept is None else kept
                continue
            packet = bytes(held[place : place + size - CRC.size])
            if zlib.crc32(packet[len(SYNC) :]) == CRC.unpack_from(held, place + size - CRC.size)[0]:
                del held[: place + size]
                return packet
        # where no packet may begin, all goes; but the first byte of a sync may be the last that is held
        del held[: len(held) - held.endswith(SYNC[:1]) if kept is None else kept]
        return None

    def _size_at(self, place: int) -> int | None:
        """The size of the packet that may begin at ``place``, CRC included; 0: none does; None: nobody knows yet."""
        assert self.header is not None
        if place + _HEAD.size > len(self._held):
            return None
        flags = self._held[place + _HEAD.size - 1]
        if (flags & _VECTORS) > self.header.vectors or not flags & (_VECTORS | _ENDS):
            return 0
        return _HEAD.size + self.header.body_size(flags) + CRC.size

    def _read(self, packet: bytes) -> Arrived | None:
        """What a packet brings; None where it is late, or its codes are none."""
        header = self.header
        assert header is not None
        _, sequence, flags = _HEAD.unpack_from(packet)
        gap = 0 if self._next is None else (sequence - self._next) % _SEQUENCES
        if gap >= _SEQUENCES - MAX_LATE:
            return None
        body, samples = packet[_HEAD.size :], None
        if flags & _ENDS:
            samples, body = int.from_bytes(body[:U48], "little"), body[U48:]
        vectors = flags & _VECTORS
        own = packed_bytes(vectors * header.num_quantizers, header.bits)
        try:
            codes = self._unpacked(body[:own], vectors, header.num_quantizers)
            again = self._unpacked(body[own:], header.vectors, header.repeated) if flags & _REPEATS else None
        except ContainerError:  # its CRC is right, so whoever wrote it was wrong
            return None
        gap = gap if gap * header.vectors <= MAX_LOST else 0
        self._next, self.ended = (sequence + 1) % _SEQUENCES, bool(flags & _ENDS)
        if gap and again is not None:
            missing = np.full((header.num_quantizers - header.repeated, header.vectors), UNKNOWN, np.int32)
            return Arrived((gap - 1) * header.vectors, np.concatenate([np.vstack([again, missing]), codes], 1), samples)
        return Arrived(gap * header.vectors, codes, samples)

    def _unpacked(self, data: bytes, vectors: int, quantizers: int) -> Codes:
        assert self.header is not None
        tokens = unpack(data, vectors * quantizers, self.header.bits, self.header.codebook_size)
        return tokens.reshape(vectors, quantizers).T


# --------------------------------------------------------------------------------------------------------- .vqa files


def stream_to_packets(
    stream: Stream, model_rate_hz: int, vector_length: int, vectors: int, repeated: int = 0
) -> Iterator[bytes]:
    """The packets, the header's first, of a sound's stream of one channel.

    Args:
        stream: with its number of quantizers; whichever coder it names, packets are packed.
        model_rate_hz: of the model.
        vector_length: its samples a vector.
        vectors: of a packet.
        repeated: see :class:`PacketHeader`.

    Raises:
        ContainerError: the stream is no sound of one channel, or a number is out of bounds.
    """
    own = stream.header
    if own.modality is not Modality.AUDIO or own.channels != 1:
        raise ContainerError("packets carry sound of one channel: give a stream of that kind")
    header = PacketHeader(
        model_sha256=own.model_sha256,
        sample_rate_hz=own.sample_rate_hz,
        model_rate_hz=model_rate_hz,
        vector_length=vector_length,
        num_quantizers=stream.num_quantizers,
        codebook_size=own.codebook_size,
        vectors=vectors,
        repeated=repeated,
        level=own.levels[0],
    )
    yield header.to_bytes()
    writer = PacketWriter(header)
    for first in range(0, stream.codes.shape[2], vectors):
        yield from writer.push(stream.codes[0, :, first : first + vectors])
    yield writer.flush(own.shape[0])


def packets_to_stream(packets: Iterable[bytes]) -> Stream:
    """The stream, with packed codes, that packets (or bytes in any cut) hold.

    Vectors that are lost, or of which codes are missing, have the last good one's codes, and are named as damage. Where
    the end is missing, the length is that of the vectors that came.

    Raises:
        ContainerError: there is no header packet, or the packets contradict each other.
    """
    reader, parts, lost = PacketReader(), list[Codes](), list[bool]()
    samples = None
    last: Codes | None = None
    for data in packets:
        for arrived in reader.push(data):
            gone = np.full((len(arrived.codes), arrived.lost), UNKNOWN, np.int32)
            codes = np.concatenate([gone, arrived.codes], axis=1)
            for vector in codes.T:
                lost.append(bool((vector == UNKNOWN).any()))
                if not lost[-1]:
                    last = vector
                parts.append(np.zeros(len(vector), np.int32) if last is None else last)
            samples = arrived.samples
    header = reader.header
    if header is None:
        raise ContainerError("there is no header packet; give the packets from the first on")
    if samples is None:
        samples = len(parts) * header.vector_length * header.sample_rate_hz // header.model_rate_hz
    own = Header(
        model_sha256=header.model_sha256,
        modality=Modality.AUDIO,
        coder=Coder.PACKED,
        grid=(len(parts) * header.num_quantizers,),
        shape=(samples,),
        sample_rate_hz=header.sample_rate_hz,
        channels=1,
        codebook_size=header.codebook_size,
        tokens_per_block=_TOKENS_PER_BLOCK,
        levels=(header.level,),
    )
    tokens = np.concatenate([np.zeros(0, np.int32), *parts])[None]
    damage = tuple(_damage(lost, header.num_quantizers))
    return Stream(own, tokens, damage, num_quantizers=header.num_quantizers)


def _damage(lost: list[bool], quantizers: int) -> Iterator[Damage]:
    """The ranges of tokens of vectors that are lost."""
    edges = np.flatnonzero(np.diff(np.array([False, *lost, False], np.int8)))
    for first, end in edges.reshape(-1, 2):
        yield Damage(0, int(first) * quantizers, int(end) * quantizers - 1)
