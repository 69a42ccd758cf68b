"""Codes <-> bytes, one block at a time.

A :class:`BlockCoder` turns the codes of one block of a stream into a payload and back. :class:`PackedCoder` spends the
same whole number of bits on each code and needs no model.

Packed layout: each code takes ``bits`` bits, most significant bit first; codes follow each other without gaps and fill
each byte from its most significant bit on. The unused low bits of the last byte are zero.
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vqaudio.errors import ContainerError

MAX_CODEBOOK_SIZE = 65_536
_WORD_BITS = 16  # one code, while it is packed or unpacked; enough for MAX_CODEBOOK_SIZE

Codes = npt.NDArray[np.int32]


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
