"""Packed and prior-coded codes: the layout, the round trip against a plain oracle, and everything that is refused."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from constriction import stream
from hypothesis import given, settings
from hypothesis import strategies as st

from vqaudio.bitstream import entropy
from vqaudio.bitstream.entropy import (
    FREQUENCY_BITS,
    BlockCoder,
    Frequencies,
    FrequencyModel,
    PackedCoder,
    PriorCoder,
    bits_per_code,
    pack,
    packed_bytes,
    unpack,
)
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


# -------------------------------------------------------------------------------------------------- prior-coded codes


class Counter:
    """A :class:`FrequencyModel` in plain Python: some code is likely, by a rule that looks at all that came before."""

    def __init__(self, levels: int, likely: int) -> None:
        self.levels, self.likely = levels, likely  # of 2**24, what the likely code gets beyond its 1
        self.steps = 0
        self.start()

    def start(self) -> None:
        self.hash = 1

    def frequencies(self, symbol: int) -> Frequencies:
        self.steps += 1
        self.hash = (self.hash * 1103515245 + symbol + 12345) % 2**31
        rest = 2**FREQUENCY_BITS - self.levels - self.likely
        frequencies = np.full(self.levels, 1 + rest // self.levels, np.int32)
        frequencies[self.favourite] += self.likely + rest % self.levels
        return frequencies

    def frequencies_along(self, past: npt.NDArray[np.integer[Any]]) -> Frequencies:
        return np.array([self.frequencies(int(symbol)) for symbol in past], np.int32).reshape(len(past), self.levels)

    @property
    def favourite(self) -> int:
        """The likely code of the step whose frequencies were given last."""
        return (self.hash >> 8) % self.levels

    def rarest(self, count: int) -> npt.NDArray[np.int32]:
        """Codes each of which is the least likely."""
        self.start()
        codes = [self.levels]
        for _ in range(count):
            self.frequencies(codes[-1])
            codes.append((self.favourite + 1) % self.levels)
        return np.array(codes[1:], np.int32)


def bits_of(model: FrequencyModel, codes: npt.NDArray[np.int32]) -> float:
    """The information in ``codes``."""
    model.start()
    frequencies = model.frequencies_along(np.concatenate([[model.levels], codes])[: len(codes)])
    return float(np.sum(FREQUENCY_BITS - np.log2(frequencies[np.arange(len(codes)), codes])))


LIKELY = st.sampled_from([0, 2**20, 2**23, 2**24 - 2**16 - 1, 2**24 - 600])


@given(st.integers(2, 512), LIKELY, st.integers(0, 300), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_prior_coded_codes_come_back(levels: int, likely: int, count: int, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, levels, count).astype(np.int32)
    model = Counter(levels, likely)
    payload = PriorCoder(lambda: model).encode(codes)
    back = PriorCoder(lambda: Counter(levels, likely)).decode(payload, count)
    assert back.dtype == np.int32
    assert back.tolist() == codes.tolist()
    assert len(payload) <= 1.001 * bits_of(model, codes) / 8 + 2


@pytest.mark.parametrize("count", [1, 2, 700])
def test_the_worst_codes_come_back(count: int) -> None:
    model = Counter(512, 2**24 - 512)  # each code but one has a frequency of 1
    rarest = model.rarest(count)
    for codes in (rarest, np.zeros(count, np.int32), np.full(count, 511, np.int32)):
        payload = PriorCoder(lambda: model).encode(codes)
        assert PriorCoder(lambda: model).decode(payload, count).tolist() == codes.tolist()
        assert len(payload) <= 4 * count + 64  # what the container allows
    assert bits_of(model, rarest) == 24 * count


def test_likely_codes_cost_next_to_nothing() -> None:
    model, codes = Counter(512, 2**24 - 512), [512]
    for _ in range(2048):
        model.frequencies(codes[-1])
        codes.append(model.favourite)
    assert len(PriorCoder(lambda: model).encode(np.array(codes[1:], np.int32))) <= 1


def test_golden_prior_coded_bytes() -> None:
    coder = PriorCoder(lambda: Counter(16, 2**23))
    assert coder.encode(np.array([], np.int32)) == b""
    assert coder.encode(np.arange(16, dtype=np.int32)).hex() == "00443229854075fedb"


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.arange(600, dtype=np.int32) % 37
    payloads = []
    for size in (1, 7, 256, 10_000):
        monkeypatch.setattr(entropy, "_CHUNK", size)
        payloads.append(PriorCoder(lambda: Counter(37, 2**22)).encode(codes))
    assert len(set(payloads)) == 1


@pytest.mark.parametrize(("levels", "likely"), [(2, 0), (2, 2**24 - 2), (512, 2**23), (65_536, 2**20)])
def test_constriction_takes_the_frequencies_as_they_are(levels: int, likely: int) -> None:
    """Its state after one code tells which part of the whole the code was given."""
    frequencies = Counter(levels, likely).frequencies(levels)
    first = np.concatenate([[0], np.cumsum(frequencies)[:-1]])
    scale = (2**64 - 1) >> FREQUENCY_BITS
    for code in {0, 1, levels // 2, levels - 1, int(frequencies.argmax())}:
        encoder, family = stream.queue.RangeEncoder(), stream.model.Categorical(perfect=False)
        encoder.encode(np.array([code], np.int32), family, entropy._weights(frequencies[None]))
        _, (low, width) = encoder.pos()
        assert (low, width) == (scale * int(first[code]), scale * int(frequencies[code]))


def refused_or_codes(payload: bytes, count: int) -> bool:
    """Whether ``payload`` is refused; if not, its codes must be coded as it is. Either way the work is bounded."""
    model = Counter(64, 2**21)
    try:
        codes = PriorCoder(lambda: model).decode(payload, count)
    except ContainerError:
        return True
    finally:
        assert model.steps <= max(count, 0)
    assert ((codes >= 0) & (codes < 64)).all()
    assert PriorCoder(lambda: model).encode(codes) == payload
    return False


@given(st.binary(max_size=60), st.integers(-1, 60))
@settings(max_examples=150, deadline=None)
def test_prior_coded_junk_is_refused_or_is_codes(payload: bytes, count: int) -> None:
    refused_or_codes(payload, count)


def test_damaged_prior_coded_bytes_are_refused_or_are_other_codes() -> None:
    codes = np.arange(50, dtype=np.int32)
    payload = PriorCoder(lambda: Counter(64, 2**21)).encode(codes)
    for bit in range(8 * len(payload)):
        damaged = bytearray(payload)
        damaged[bit // 8] ^= 1 << bit % 8
        refused_or_codes(bytes(damaged), 50)
    for size in range(len(payload)):  # nothing is redundant, so what is cut off reads as other codes
        refused_or_codes(payload[:size], 50)
    for wrong in (payload + b"\0", payload + b"\1", payload + bytes(10_000)):
        assert refused_or_codes(wrong, 50), wrong
    for count in (-1, 0, 1, 25):
        assert refused_or_codes(payload, count), count


def test_bits_that_no_code_has_are_refused() -> None:
    assert refused_or_codes(b"\xff" * 20, 30)


def test_prior_coder_refuses_codes_outside_the_codebook() -> None:
    coder: BlockCoder = PriorCoder(lambda: Counter(5, 0))
    for codes in (np.array([5]), np.array([-1]), np.array([0.5])):
        with pytest.raises(ContainerError):
            coder.encode(codes)
