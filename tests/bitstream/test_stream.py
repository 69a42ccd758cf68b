"""stream.py: whole streams through their bytes, what damage costs, and what does not fit into memory."""

import io
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqaudio.bitstream.container import BLOCK_OVERHEAD, StreamReader, StreamWriter
from vqaudio.bitstream.entropy import Codes
from vqaudio.bitstream.header import Coder, Header, Modality
from vqaudio.bitstream.stream import Damage, Stream, damage_of
from vqaudio.errors import ContainerError, OutputError

SHA = bytes(range(32))


def sound_header(**changes: Any) -> Header:
    """Two channels of 7 tokens in blocks of 3: six blocks, the last of each channel short."""
    header = Header(SHA, Modality.AUDIO, Coder.PACKED, (7,), (440,), 16_000, 2, 512, 3, (1.0, 0.5))
    return replace(header, **changes)


def random_stream(header: Header, seed: int = 0) -> Stream:
    shape = (header.channels, *header.grid)
    return Stream(header, np.random.default_rng(seed).integers(0, header.codebook_size, shape, np.int32))


def to_bytes(stream: Stream) -> bytes:
    file = io.BytesIO()
    stream.write(file)
    return file.getvalue()


def from_bytes(data: bytes) -> Stream:
    return Stream.read(io.BytesIO(data))


def block_ends(stream: Stream) -> list[int]:
    """Where each block of a packed stream ends in its bytes."""
    header, end, ends = stream.header, len(stream.header.to_bytes()), []
    for index in range(header.block_count):
        end += BLOCK_OVERHEAD + -(-len(header.tokens_of(index)) * header.bits // 8)
        ends.append(end)
    return ends


def assert_only_lost(read: Stream, original: Stream, lost: set[int]) -> None:
    """The codes outside the blocks ``lost`` are right, those inside repeat the last good one, and all is reported."""
    header = original.header
    assert read.header == header
    assert read.damage == damage_of(header, lost)
    expected = original.tokens.reshape(header.channels, -1).copy()
    for index in sorted(lost):
        channel, tokens = header.channel_of(index), header.tokens_of(index)
        expected[channel, tokens.start : tokens.stop] = expected[channel, tokens.start - 1] if tokens.start else 0
    assert np.array_equal(read.tokens.reshape(expected.shape), expected)


class EveryCode:
    """A coder with payloads that vary in length, as a prior's do: two bytes a code, then 0 to 4 bytes more."""

    def encode(self, codes: Codes) -> bytes:
        return codes.astype("<u2").tobytes() + b"\x55" * (int(codes.sum()) % 5)

    def decode(self, payload: bytes, count: int) -> Codes:
        codes = np.frombuffer(payload[: 2 * count], "<u2").astype(np.int32)
        if self.encode(codes) != payload:
            raise ContainerError("these are not the codes")
        return codes


# --- round trips -----------------------------------------------------------------------------------------------------


@st.composite
def headers(draw: st.DrawFn) -> Header:
    modality = draw(st.sampled_from(Modality))
    sound = modality is Modality.AUDIO
    channels = draw(st.integers(1, 4))
    axes = 1 if sound else draw(st.integers(2, 3))
    grid = tuple(draw(st.integers(0 if sound else 1, 12)) for _ in range(axes))
    shape = (draw(st.integers(1, 10**9)) if grid[0] else 0,) if sound else (draw(st.integers(1, 9999)), 32)
    levels = st.floats(0, 1e9, width=32)
    return Header(
        model_sha256=draw(st.binary(min_size=32, max_size=32)),
        modality=modality,
        coder=Coder.PACKED,
        grid=grid,
        shape=shape,
        sample_rate_hz=draw(st.integers(1, 10_000_000)) if sound else 0,
        channels=channels,
        codebook_size=draw(st.integers(2, 65_536)),
        tokens_per_block=draw(st.integers(1, 20) | st.just(65_536)),
        levels=tuple(draw(levels) for _ in range(channels)),
    )


@given(headers(), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_round_trip(header: Header, seed: int) -> None:
    stream = random_stream(header, seed)
    read = from_bytes(to_bytes(stream))
    assert_only_lost(read, stream, set())
    assert read.tokens.dtype == np.int32
    assert read.messages == ()


def test_no_samples_at_all() -> None:
    stream = random_stream(sound_header(grid=(0,), shape=(0,)))
    read = from_bytes(to_bytes(stream))
    assert read.tokens.shape == (2, 0)
    assert read.header == stream.header


def test_many_channels() -> None:
    stream = random_stream(sound_header(channels=1024, levels=(0.25,) * 1024, grid=(2,)))
    assert_only_lost(from_bytes(to_bytes(stream)), stream, set())


def test_save_and_load(tmp_path: Path) -> None:
    stream, path = random_stream(sound_header()), tmp_path / "a.vqa"
    stream.save(path)
    assert_only_lost(Stream.load(path), stream, set())
    with pytest.raises(OutputError, match="--force"):
        stream.save(path)
    stream.save(path, overwrite=True)
    with pytest.raises(ContainerError, match=r"b\.vqa cannot be read"):
        Stream.load(tmp_path / "b.vqa")


def test_prior_coded_streams_need_their_coder() -> None:
    stream, file = random_stream(sound_header(coder=Coder.PRIOR)), io.BytesIO()
    with pytest.raises(ContainerError, match="needs that model"):
        stream.write(file)
    stream.write(file, EveryCode())
    with pytest.raises(ContainerError, match="needs that model"):
        from_bytes(file.getvalue())
    file.seek(0)
    assert_only_lost(Stream.read(file, EveryCode()), stream, set())


@pytest.mark.parametrize("codes", [np.zeros((1, 7), int), np.zeros((2, 7)), np.full((2, 7), 512), np.full((2, 7), -1)])
def test_codes_must_fit_the_header(codes: Any) -> None:
    with pytest.raises(ContainerError):
        Stream(sound_header(), codes)


def test_more_codes_than_memory_are_refused_before_they_are_asked_for() -> None:
    header = sound_header(grid=(2**35,), tokens_per_block=65_536)
    tracemalloc.start()
    try:
        with pytest.raises(ContainerError, match="in memory"):
            from_bytes(header.to_bytes())
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


# --- damage ----------------------------------------------------------------------------------------------------------


def test_every_flipped_bit_costs_at_most_its_block() -> None:
    stream = random_stream(sound_header())
    data, header_bytes, ends = to_bytes(stream), len(stream.header.to_bytes()), block_ends(stream)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        read = from_bytes(bytes(damaged))
        if bit // 8 < header_bytes:
            assert_only_lost(read, stream, set())
            assert read.messages == ("the header had one wrong bit, which was repaired",)
        else:
            lost = sum(end <= bit // 8 for end in ends)
            assert_only_lost(read, stream, {lost})
            assert read.messages == (f"block {lost} is damaged or missing",)


def test_every_cut_keeps_what_came_before() -> None:
    stream = random_stream(sound_header())
    data, header_bytes, ends = to_bytes(stream), len(stream.header.to_bytes()), block_ends(stream)
    for size in range(len(data)):
        if size < header_bytes:
            with pytest.raises(ContainerError):
                from_bytes(data[:size])
        else:
            read = from_bytes(data[:size])
            assert_only_lost(read, stream, {index for index, end in enumerate(ends) if end > size})
            assert read.messages


@given(st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=9)), max_size=4))
@settings(max_examples=60, deadline=None)
def test_bytes_put_in_anywhere_cost_at_most_the_blocks_they_split(insertions: list[tuple[int, bytes]]) -> None:
    stream = random_stream(sound_header())
    data, ends = to_bytes(stream), block_ends(stream)
    start = len(stream.header.to_bytes())
    split = set()
    room = len(data) - start
    for at, junk in sorted(((start + where % room, junk) for where, junk in insertions), reverse=True):
        inside = [index for index, end in enumerate(ends) if (ends[index - 1] if index else start) < at < end]
        split.update(inside)
        data = data[:at] + junk + data[at:]
    read = from_bytes(data)
    lost = {
        index
        for index in range(stream.header.block_count)
        for damage in read.damage
        if damage.channel == stream.header.channel_of(index)
        and damage.first_token <= stream.header.tokens_of(index)[0] <= damage.last_token
    }
    assert lost <= split
    assert_only_lost(read, stream, lost)


def test_blocks_in_a_row_are_one_damage() -> None:
    stream = random_stream(sound_header())
    data, ends = to_bytes(stream), block_ends(stream)
    read = from_bytes(data[: ends[0]] + data[ends[4] :])  # blocks 1 to 4 are gone
    assert_only_lost(read, stream, {1, 2, 3, 4})
    assert read.damage == (Damage(0, 3, 6), Damage(1, 0, 5))
    assert read.messages == ("blocks 1 to 4 are damaged or missing",)


def test_damage_in_samples() -> None:
    header = sound_header(shape=(448,))
    assert Damage(0, 0, 6).samples(header) == range(448)
    assert Damage(0, 3, 5).samples(header) == range(192, 384)


def test_a_payload_that_does_not_decode_is_damage() -> None:
    stream, file = random_stream(sound_header()), io.BytesIO()
    with StreamWriter(file, stream.header) as writer:
        for block in StreamReader(io.BytesIO(to_bytes(stream))):
            writer.write(b"\xff" if block.index == 3 else block.payload or b"")
    read = from_bytes(file.getvalue())
    assert_only_lost(read, stream, {3})
    assert "block 3: 1 bytes cannot be 3 codes" in read.messages[0]


def test_what_follows_the_last_block_is_reported() -> None:
    stream = random_stream(sound_header())
    read = from_bytes(to_bytes(stream) + b"\xb5\x4e")
    assert_only_lost(read, stream, set())
    assert read.messages == ("other bytes follow the last block; they were ignored",)


def test_a_missing_file_is_told_as_python_tells_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.vqa cannot be read: No such file") as caught:
        Stream.load(tmp_path / "gone.vqa")
    assert isinstance(caught.value, ContainerError)


def test_damage_is_a_range_of_tokens() -> None:
    assert Damage(0, 4, 7).tokens == range(4, 8)
