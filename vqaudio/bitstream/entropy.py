"""Codes <-> bytes, one block at a time.

A :class:`BlockCoder` turns the codes of one block of a stream into a payload and back. :class:`PackedCoder` spends the
same whole number of bits on each code and needs no model. :class:`PriorCoder` spends fewer on likelier codes, and needs
the model that says which are.

Packed layout: each code takes ``bits`` bits, most significant bit first; codes follow each other without gaps and fill
each byte from its most significant bit on. The unused low bits of the last byte are zero.

Prior-coded layout: the words of constriction's range coder, most significant byte first. Zeros that would follow the
last byte are left out, and of the numbers that mean the same codes the one with the most of them is written.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vqaudio.arrays import FREQUENCY_BITS
from vqaudio.errors import ContainerError

MAX_CODEBOOK_SIZE = 65_536
_WORD_BITS = 16  # one code, while it is packed or unpacked; enough for MAX_CODEBOOK_SIZE

_CHUNK = 256  # codes whose frequencies are in memory at once
_COUNTER_BITS = 64  # of the range coder's state: the two words of 32 bits that are not settled yet

Codes = npt.NDArray[np.int32]
Frequencies = npt.NDArray[np.int32]


class BlockCoder(Protocol):
    """Codes of one block to bytes and back; blocks are independent of each other."""

    def encode(self, codes: Codes) -> bytes:
        """Return the payload of ``codes`` (int32 ``[tokens]``, each in ``0..codebook_size - 1``)."""
        ...

    def decode(self, payload: bytes, count: int) -> Codes:
        """Return the ``count`` codes in ``payload``, int32 ``[count]``; ``ContainerError`` if it cannot hold them."""
        ...


class PackedCoder:
    """The :class:`BlockCoder` that spends ``bits_per_code(codebook_size)`` bits on each code."""

    def __init__(self, codebook_size: int) -> None:
        self.codebook_size = codebook_size
        self.bits = bits_per_code(codebook_size)

    def encode(self, codes: Codes) -> bytes:
        """Pack ``codes`` (int32 ``[tokens]``); ``ContainerError`` for a code outside the codebook."""
        check_codes(codes, self.codebook_size)
        return pack(codes, self.bits)

    def decode(self, payload: bytes, count: int) -> Codes:
        """Unpack ``count`` codes; see :func:`unpack` for the errors."""
        return unpack(payload, count, self.bits, self.codebook_size)


class FrequencyModel(Protocol):
    """How often each of ``levels`` codes comes next, in integers that are the same on every machine.

    The frequencies of a step are int32, at least 1 each, and add up to ``2**FREQUENCY_BITS``.
    """

    levels: int

    def start(self) -> None:
        """Forgets all: the next step is a block's first, and comes after the symbol ``levels``."""
        ...

    def frequencies(self, symbol: int) -> Frequencies:
        """Those after ``symbol``, which follows the ones given before: ``[levels]``."""
        ...

    def frequencies_along(self, past: npt.NDArray[np.integer[Any]]) -> Frequencies:
        """Those after each of ``past[T]`` in turn: ``[T, levels]``."""
        ...


class PriorCoder:
    """The :class:`BlockCoder` that spends about ``-log2(frequency / 2**24)`` bits on each code, and a byte on a block.

    Each block is coded from the model's start, so that damage to one costs no other. Nothing in it depends on how a
    machine rounds: constriction is given floating-point numbers, but all are integers up to 2**24, and so is each sum
    of them. It adds 1 to each, and would scale them so that they add up to 2**24, but that they do already.

    A payload has no redundancy: bytes too many are noticed, but most others read as some codes. Damage is for the
    checksum of the container to find.
    """

    def __init__(self, new_model: Callable[[], FrequencyModel]) -> None:
        """``new_model`` gives a model with state of its own; each call takes one, so that threads share nothing."""
        self._new_model = new_model

    def encode(self, codes: Codes) -> bytes:
        """Code ``codes`` (int32 ``[tokens]``); ``ContainerError`` for a code outside the codebook."""
        from constriction import stream

        model = self._new_model()
        check_codes(codes, model.levels)
        encoder, family = stream.queue.RangeEncoder(), stream.model.Categorical(perfect=False)
        past = np.concatenate([[model.levels], codes[:-1]])
        model.start()
        for first in range(0, len(codes), _CHUNK):
            chunk = slice(first, first + _CHUNK)
            weights = _weights(model.frequencies_along(past[chunk]))
            encoder.encode(np.ascontiguousarray(codes[chunk], np.int32), family, weights)
        return _shortest(encoder)

    def decode(self, payload: bytes, count: int) -> Codes:
        """Return the ``count`` codes in ``payload``, int32 ``[count]``, after exactly that many steps of the model.

        Raises:
            ContainerError: ``payload`` is not what :meth:`encode` makes of any ``count`` codes.
        """
        from constriction import stream

        if count < 0 or len(payload) > _most_bytes(count):
            raise _not_codes(payload, count)
        words = np.frombuffer(payload + bytes(-len(payload) % 4), ">u4").astype(np.uint32)
        decoder, encoder = stream.queue.RangeDecoder(words), stream.queue.RangeEncoder()
        family = stream.model.Categorical(perfect=False)
        codes = np.empty(count, np.int32)
        model = self._new_model()
        symbol = model.levels
        model.start()
        for i in range(count):
            weights = _weights(model.frequencies(symbol)[None])
            try:
                codes[i : i + 1] = decoder.decode(family, weights)
            except AssertionError:  # so it says that no code has these bits
                raise _not_codes(payload, count) from None
            encoder.encode(codes[i : i + 1], family, weights)
            symbol = int(codes[i])
        if _shortest(encoder) != payload:  # the decoder itself does not notice bytes too few or too many
            raise _not_codes(payload, count)
        return codes


def _weights(frequencies: Frequencies) -> npt.NDArray[np.float64]:
    """What constriction turns into exactly these frequencies."""
    return frequencies.astype(np.float64) - 1


def _shortest(encoder: Any) -> bytes:
    """The fewest bytes, zeros after them understood, that decode to what the ``RangeEncoder`` was given."""
    words = encoder.get_compressed()
    settled, (low, width) = encoder.pos()
    if not len(words):  # nothing was encoded
        return b""
    size = settled * 4 + _COUNTER_BITS // 8
    sealed = int.from_bytes(words.astype(">u4").tobytes().ljust(size, b"\0"))
    low = sealed - (sealed - low) % 2**_COUNTER_BITS  # the whole number, settled words included and carries done
    for zeros in range(_COUNTER_BITS, -1, -8):
        number = -(-low >> zeros)  # rounded up
        if number << zeros < low + width:
            break
    return number.to_bytes(size - zeros // 8).rstrip(b"\0")


def _most_bytes(count: int) -> int:
    """A bound of the size of ``count`` codes: constriction rounds the range by less than a bit a code."""
    return packed_bytes(count, FREQUENCY_BITS + 1) + _COUNTER_BITS // 8


def _not_codes(payload: bytes, count: int) -> ContainerError:
    return ContainerError(f"{len(payload)} bytes are not {count} codes under the model's prior; the stream is damaged")


def bits_per_code(codebook_size: int) -> int:
    """Return ``ceil(log2(codebook_size))``, at least 1, for a codebook of 1 to 65,536 entries."""
    if not 1 <= codebook_size <= MAX_CODEBOOK_SIZE:
        raise ContainerError(f"codebook_size is {codebook_size}; use 1 to {MAX_CODEBOOK_SIZE}")
    return max(1, (codebook_size - 1).bit_length())


def packed_bytes(count: int, bits: int) -> int:
    """Return the size in bytes of ``count`` codes of ``bits`` bits each."""
    return (count * bits + 7) // 8


def pack(codes: npt.NDArray[np.integer[Any]], bits: int) -> bytes:
    """Return ``ceil(tokens * bits / 8)`` bytes that hold ``codes``.

    Args:
        codes: integers ``[tokens]``, each in ``0..2**bits - 1``.
        bits: bits a code, 1 to 16.

    Raises:
        ContainerError: ``codes`` is not a vector of integers in range, or ``bits`` is out of range.
    """
    _check_bits(bits)
    if codes.ndim != 1:
        raise ContainerError(f"codes have the shape {codes.shape}; give a vector")
    check_codes(codes, 1 << bits)
    words = codes.astype(">u2").view(np.uint8).reshape(-1, 2)  # big-endian: unpackbits then gives the high bit first
    return np.packbits(np.unpackbits(words, axis=1)[:, _WORD_BITS - bits :]).tobytes()


def unpack(data: bytes, count: int, bits: int, codebook_size: int) -> Codes:
    """Return the codes that :func:`pack` put into ``data``, int32 ``[count]``.

    Raises:
        ContainerError: ``data`` has another length than ``count`` codes of ``bits`` bits take, holds a code of
            ``codebook_size`` or more, or has padding bits that are not zero; or ``bits`` is not 1 to 16.
    """
    _check_bits(bits)
    if count < 0 or len(data) != packed_bytes(count, bits):
        raise ContainerError(f"{len(data)} bytes cannot be {count} codes of {bits} bits; the stream is damaged")
    flat = np.unpackbits(np.frombuffer(data, np.uint8))
    if flat[count * bits :].any():
        raise ContainerError(f"the padding after {count} codes of {bits} bits is not zero; the stream is damaged")
    words = np.zeros((count, _WORD_BITS), np.uint8)
    words[:, _WORD_BITS - bits :] = flat[: count * bits].reshape(count, bits)
    codes = np.packbits(words).view(">u2").astype(np.int32)
    if count and codes.max() >= codebook_size:
        raise ContainerError(f"code {codes.max()} is outside the codebook of {codebook_size}; the stream is damaged")
    return codes


def _check_bits(bits: int) -> None:
    if not 1 <= bits <= _WORD_BITS:
        raise ContainerError(f"bits is {bits}; use 1 to {_WORD_BITS}")


def check_codes(codes: npt.NDArray[np.integer[Any]], codebook_size: int) -> None:
    """Raise ``ContainerError`` unless ``codes`` (of any shape) are integers in ``0..codebook_size - 1``."""
    if not np.issubdtype(codes.dtype, np.integer):
        raise ContainerError(f"codes are {codes.dtype}; give integers")
    if codes.size and (codes.min() < 0 or codes.max() >= codebook_size):
        raise ContainerError(f"codes reach from {codes.min()} to {codes.max()}; allowed are 0 to {codebook_size - 1}")
