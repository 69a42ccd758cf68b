"""Packets: what is sent comes back in any cut; damage costs what it touches; nothing hostile gets through."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqaudio.bitstream.header import Coder, Header, Modality
from vqaudio.bitstream.packets import (
    HEADER_BYTES,
    MAX_LOST,
    SYNC,
    PacketHeader,
    PacketReader,
    PacketWriter,
    packets_to_stream,
    stream_to_packets,
)
from vqaudio.bitstream.stream import Damage, Stream
from vqaudio.errors import ContainerError

KNOWN = {
    "model_sha256": bytes(range(32)),
    "sample_rate_hz": 48000,
    "model_rate_hz": 16000,
    "vector_length": 544,
    "num_quantizers": 4,
    "codebook_size": 300,
    "vectors": 3,
}

GOLDEN = [
    "8b56514c01000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e"
    "1f80bb0000803e00001f0201ff0101010000003fe9427651",
    "b54c00000200cb005ff0e2a43809",
    "b54c0100c0b80b0000000000808019e122e0",
]


def header(**changed: object) -> PacketHeader:
    return PacketHeader(**{**KNOWN, **changed})


def codes_of(own: PacketHeader, vectors: int, seed: int = 0) -> np.ndarray:
    shape = own.num_quantizers, vectors
    return np.random.default_rng(seed).integers(0, own.codebook_size, shape).astype(np.int32)


def sent(own: PacketHeader, codes: np.ndarray, samples: int = 77) -> list[bytes]:
    writer = PacketWriter(own)
    return [own.to_bytes(), *writer.push(codes), writer.flush(samples)]


def received(data: list[bytes]) -> tuple[np.ndarray, PacketReader]:
    """All codes, -2 where they are lost."""
    reader, parts = PacketReader(), []
    for one in data:
        for arrived in reader.push(one):
            parts += [np.full((len(arrived.codes), arrived.lost), -2), arrived.codes]
    return np.concatenate([np.zeros((4, 0), int), *parts], axis=1), reader


@given(
    st.integers(0, 20),
    st.integers(1, 7),
    st.integers(0, 4),
    st.integers(2, 600),
    st.lists(st.integers(1, 40), min_size=1),
)
def test_what_is_sent_comes_back_in_any_cut(
    vectors: int, size: int, repeated: int, codebook: int, cuts: list[int]
) -> None:
    own = header(vectors=size, repeated=repeated, codebook_size=codebook)
    codes = codes_of(own, vectors)
    data, pieces, place = b"".join(sent(own, codes)), [], 0
    while place < len(data):
        pieces.append(data[place : place + cuts[len(pieces) % len(cuts)]])
        place += len(pieces[-1])
    came, reader = received(pieces)
    assert np.array_equal(came, codes)
    assert reader.header == own
    assert reader.ended


def test_each_packet_is_given_as_soon_as_it_is_whole() -> None:
    reader, own = PacketReader(), header()
    first, *packets = sent(own, codes_of(own, 7))
    assert reader.push(first) == []
    for packet in packets:
        assert reader.push(packet[:-1]) == []
        assert len(reader.push(packet[-1:])) == 1


@pytest.mark.parametrize("repeated", [0, 2])
def test_a_lost_packet_is_known_and_its_first_quantizers_come_with_the_next(repeated: int) -> None:
    own = header(repeated=repeated)
    codes = codes_of(own, 12)
    data = sent(own, codes)
    came, _ = received(data[:2] + data[3:])
    expected = codes.copy()
    expected[:, 3:6] = -2 if not repeated else -1
    expected[:repeated, 3:6] = codes[:repeated, 3:6]
    assert np.array_equal(came, expected)


def test_of_a_burst_the_last_packet_is_repeated() -> None:
    own = header(repeated=4)
    codes = codes_of(own, 15)
    data = sent(own, codes)
    came, _ = received(data[:2] + data[4:])
    expected = codes.copy()
    expected[:, 3:6] = -2
    assert np.array_equal(came, expected)


def test_late_and_repeated_packets_are_left_out() -> None:
    own = header()
    codes = codes_of(own, 12)
    start, one, two, three, four, end = sent(own, codes)
    came, _ = received([start, one, one, three, two, start, four, end])
    expected = codes.copy()
    expected[:, 3:6] = -2
    assert np.array_equal(came, expected)


def test_sequence_numbers_go_round() -> None:
    own = header(vectors=1)
    writer, reader = PacketWriter(own), PacketReader(own)
    codes = codes_of(own, 70_000)
    arrived = [found for packet in writer.push(codes) for found in reader.push(packet)]
    assert len(arrived) == 70_000
    assert not any(found.lost for found in arrived)


def test_after_a_long_silence_the_stream_begins_anew() -> None:
    own = header(vectors=1)
    packets = PacketWriter(own).push(codes_of(own, 2 * MAX_LOST + 20))
    reader = PacketReader(own)
    reader.push(packets[0])
    (found,) = reader.push(packets[MAX_LOST + 1])
    assert found.lost == MAX_LOST
    reader = PacketReader(own)
    reader.push(packets[0])
    (found,) = reader.push(packets[MAX_LOST + 2])
    assert found.lost == 0


@given(st.data())
def test_one_wrong_bit_costs_one_packet(data: st.DataObject) -> None:
    own = header()
    codes = codes_of(own, 12)
    packets = sent(own, codes)
    sound = bytearray(b"".join(packets[1:]))
    bit = data.draw(st.integers(0, 8 * len(sound) - 1))
    sound[bit // 8] ^= 1 << bit % 8
    came, _ = received([packets[0], bytes(sound)])
    struck = bit // 8 // len(packets[1])
    expected = codes.copy()
    expected[:, 3 * struck : 3 * struck + 3] = -2
    assert np.array_equal(came, expected)


@given(st.binary(max_size=300), st.integers(0, 3))
def test_foreign_bytes_between_packets_are_passed_over(noise: bytes, where: int) -> None:
    own = header()
    codes = codes_of(own, 9)
    data = sent(own, codes)
    cut = noise + SYNC * 3
    came, _ = received([data[0], *data[1 : 1 + where], cut, *data[1 + where :], bytes(60)])
    assert np.array_equal(came, codes)


@given(st.binary(max_size=2000))
def test_hostile_bytes_raise_one_error_or_give_bounded_codes(data: bytes) -> None:
    reader = PacketReader(header())
    for arrived in reader.push(SYNC + data):
        assert (arrived.codes < 300).all()
    assert len(reader._held) <= len(data) + 2
    with suppress(ContainerError):
        assert PacketReader().push(data) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model_sha256", b""),
        ("sample_rate_hz", 0),
        ("model_rate_hz", 10**8),
        ("vector_length", 0),
        ("num_quantizers", 33),
        ("codebook_size", 1),
        ("vectors", 64),
        ("repeated", 5),
        ("level", float("nan")),
        ("level", -1.0),
    ],
)
def test_fields_are_bounded(name: str, value: object) -> None:
    with pytest.raises(ContainerError, match=name):
        header(**{name: value})


def test_a_bad_header_is_refused() -> None:
    good = header().to_bytes()
    assert len(good) == HEADER_BYTES
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ContainerError):
            PacketReader().push(bytes(bad))
    with pytest.raises(ContainerError, match="no packets"):
        PacketReader().push(b"RIFF")


def test_bad_codes_are_refused() -> None:
    for codes in (np.zeros((3, 2), np.int32), np.zeros(4, np.int32), np.full((4, 1), 300, np.int32)):
        with pytest.raises(ContainerError):
            PacketWriter(header()).push(codes)


def stream_of(vectors: int, frames: int) -> Stream:
    own = Header(
        model_sha256=bytes(range(32)),
        modality=Modality.AUDIO,
        coder=Coder.PACKED,
        grid=(4 * vectors,),
        shape=(frames,),
        sample_rate_hz=48000,
        channels=1,
        codebook_size=300,
        tokens_per_block=2048,
        levels=(0.3,),
    )
    return Stream(own, codes_of(header(), vectors).T.reshape(1, -1), num_quantizers=4)


@pytest.mark.parametrize(("vectors", "frames"), [(0, 0), (1, 1), (9, 14_000), (10, 16_000)])
def test_a_stream_goes_into_packets_and_back(vectors: int, frames: int) -> None:
    stream = stream_of(vectors, frames)
    packets = list(stream_to_packets(stream, 16000, 544, 3, repeated=1))
    again = packets_to_stream(packets)
    assert again.header == stream.header
    assert np.array_equal(again.tokens, stream.tokens)
    assert again.damage == ()
    if vectors == 10:
        torn = packets_to_stream(packets[:2] + packets[3:])
        assert torn.damage == (Damage(0, 12, 23),)
        assert np.array_equal(torn.codes[0, :, 3:6], np.repeat(stream.codes[0, :, 2:3], 3, axis=1))


def test_what_no_packets_carry_is_refused() -> None:
    import dataclasses

    stream = stream_of(2, 3000)
    two = dataclasses.replace(stream.header, channels=2, levels=(1.0, 1.0))
    with pytest.raises(ContainerError, match="one channel"):
        list(stream_to_packets(Stream(two, np.repeat(stream.tokens, 2, axis=0), num_quantizers=4), 16000, 544, 3))
    with pytest.raises(ContainerError, match="no header"):
        packets_to_stream([])


def test_the_bytes_of_version_1_stay() -> None:
    own = PacketHeader(bytes(range(32)), 48000, 16000, 544, 2, 512, 2, 1, 0.5)
    writer = PacketWriter(own)
    packets = [own.to_bytes(), *writer.push(np.array([[1, 2], [300, 511]], np.int32)), writer.flush(3000)]
    assert [packet.hex() for packet in packets] == GOLDEN
