"""Packed codes: the layout, the round trip against a plain oracle, and everything that is refused."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqaudio.entropy import BlockCoder, PackedCoder, bits_per_code, pack, packed_bytes, unpack
from vqaudio.errors import ContainerError


def pack_plainly(codes: list[int], bits: int) -> bytes:
    """The definition: the codes' binary digits in a row, cut into bytes."""
    digits = "".join(f"{code:0{bits}b}" for code in codes)
    digits += "0" * (-len(digits) % 8)
    return bytes(int(digits[at : at + 8], 2) for at in range(0, len(digits), 8))


@st.composite
def codes_and_bits(draw: st.DrawFn) -> tuple[list[int], int]:
    bits = draw(st.integers(1, 16))
    return draw(st.lists(st.integers(0, 2**bits - 1), max_size=40)), bits


@pytest.mark.parametrize(
    ("codebook_size", "bits"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (512, 9), (513, 10), (65_535, 16), (65_536, 16)]
)
def test_bits_per_code(codebook_size: int, bits: int) -> None:
    assert bits_per_code(codebook_size) == bits


@pytest.mark.parametrize("codebook_size", [-1, 0, 65_537])
def test_codebook_size_is_bounded(codebook_size: int) -> None:
    with pytest.raises(ContainerError, match=f"codebook_size is {codebook_size}"):
        bits_per_code(codebook_size)


def test_golden_bytes() -> None:
    assert pack(np.array([1, 2, 3, 256, 511]), 9).hex() == "00808070 0ff8".replace(" ", "")
    assert pack(np.array([1, 0, 1]), 1).hex() == "a0"
    assert pack(np.array([0x1234, 0xFFFF]), 16).hex() == "1234ffff"


@given(codes_and_bits())
@settings(max_examples=100, deadline=None)
def test_matches_the_definition_and_comes_back(case: tuple[list[int], int]) -> None:
    codes, bits = case
    data = pack(np.array(codes, np.int32), bits)
    assert data == pack_plainly(codes, bits)
    assert len(data) == packed_bytes(len(codes), bits)
    back = unpack(data, len(codes), bits, 2**bits)
    assert back.dtype == np.int32
    assert back.tolist() == codes


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int64, np.uint64])
def test_any_integers_are_packed(dtype: npt.DTypeLike) -> None:
    assert pack(np.array([5, 6, 7]).astype(dtype), 3) == pack_plainly([5, 6, 7], 3)


@pytest.mark.parametrize(
    "codes", [np.array([8]), np.array([-1]), np.array([65_536]), np.zeros((2, 2), np.int32), np.array([0.5])]
)
def test_pack_refuses_what_does_not_fit(codes: npt.NDArray[np.int64]) -> None:
    with pytest.raises(ContainerError):
        pack(codes, 3)


@pytest.mark.parametrize("bits", [0, 17])
def test_bits_are_bounded(bits: int) -> None:
    with pytest.raises(ContainerError, match=f"bits is {bits}"):
        pack(np.array([0]), bits)
    with pytest.raises(ContainerError, match=f"bits is {bits}"):
        unpack(b"\0", 1, bits, 2)


@pytest.mark.parametrize(
    ("data", "count", "message"),
    [
        (b"", 1, "0 bytes cannot be 1 codes"),
        (b"\0\0", 1, "2 bytes cannot be 1 codes"),
        (b"", -1, "cannot be -1 codes"),
        (b"\x01", 2, "padding"),
        (b"\xa0", 2, "code 5 is outside the codebook of 5"),
    ],
)
def test_unpack_refuses_damage(data: bytes, count: int, message: str) -> None:
    with pytest.raises(ContainerError, match=message):
        unpack(data, count, 3, 5)


@given(st.binary(max_size=20), st.integers(0, 30), st.integers(1, 16), st.integers(1, 65_536))
@settings(max_examples=100, deadline=None)
def test_junk_is_refused_or_is_codes(data: bytes, count: int, bits: int, codebook_size: int) -> None:
    try:
        codes = unpack(data, count, bits, codebook_size)
    except ContainerError:
        return
    assert pack(codes, bits) == data  # so no two payloads mean the same codes
    assert all(0 <= code < codebook_size for code in codes)


def test_packed_coder() -> None:
    coder: BlockCoder = PackedCoder(5)
    payload = coder.encode(np.array([4, 0, 3], np.int32))
    assert payload == pack_plainly([4, 0, 3], 3)
    assert coder.decode(payload, 3).tolist() == [4, 0, 3]
    with pytest.raises(ContainerError, match="allowed are 0 to 4"):
        coder.encode(np.array([5], np.int32))
