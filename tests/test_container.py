"""Streams: golden bytes, round trips, damage, hostile input, and files that appear whole or not at all."""

import errno
import io
import os
import struct
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqaudio.container import (
    BLOCK_OVERHEAD,
    MAX_BLOCKS,
    SYNC,
    Block,
    Coder,
    Damage,
    Header,
    Modality,
    OutputError,
    Stream,
    StreamReader,
    StreamWriter,
    atomic_path,
    atomic_write,
    damage_of,
)
from vqaudio.entropy import Codes, PackedCoder
from vqaudio.errors import ContainerError

SHA = bytes(range(32))
MONO_HEADER_BYTES = 70


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
    expected = original.codes.reshape(header.channels, -1).copy()
    for index in sorted(lost):
        channel, tokens = header.channel_of(index), header.tokens_of(index)
        expected[channel, tokens.start : tokens.stop] = expected[channel, tokens.start - 1] if tokens.start else 0
    assert np.array_equal(read.codes.reshape(expected.shape), expected)


class Pipe(io.RawIOBase):
    """A file that cannot seek, gives a few bytes at a time, and fails where a read asks for more than ``limit``."""

    def __init__(self, data: bytes = b"", piece: int = 7, limit: int = 1 << 20) -> None:
        self.data, self.piece, self.limit = bytearray(data), piece, limit

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        assert 0 <= size <= self.limit
        size = min(size, self.piece)
        given = bytes(self.data[:size])
        del self.data[:size]
        return given

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)


class EveryCode:
    """A coder with payloads that vary in length, as a prior's do: two bytes a code, then 0 to 4 bytes more."""

    def encode(self, codes: Codes) -> bytes:
        return codes.astype("<u2").tobytes() + b"\x55" * (int(codes.sum()) % 5)

    def decode(self, payload: bytes, count: int) -> Codes:
        codes = np.frombuffer(payload[: 2 * count], "<u2").astype(np.int32)
        if self.encode(codes) != payload:
            raise ContainerError("these are not the codes")
        return codes


# --- layout ----------------------------------------------------------------------------------------------------------


def test_golden_bytes() -> None:
    header = Header(SHA, Modality.AUDIO, Coder.PACKED, (3,), (192,), 16_000, 1, 512, 2, (0.5,))
    golden = (
        "8b565141 01 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
        "01 00 01 803e0000 0100 ff01 0100 030000000000 c00000000000 0000003f a985ad0d"
        "b54e 000000 030000 00ffc0 c259dd68"
        "b54e 010000 020000 8000 dc14cbe8"
    )
    stream = Stream(header, np.array([[1, 511, 256]]))
    assert to_bytes(stream).hex() == golden.replace(" ", "")
    assert_only_lost(from_bytes(bytes.fromhex(golden)), stream, set())


def test_overheads() -> None:
    header = sound_header(channels=1, levels=(1.0,))
    assert len(header.to_bytes()) == MONO_HEADER_BYTES
    file = io.BytesIO()
    writer = StreamWriter(file, header)
    writer.write(b"12345")
    assert file.tell() == MONO_HEADER_BYTES + BLOCK_OVERHEAD + 5


def test_blocks_go_range_by_range_channels_inside() -> None:
    header = sound_header()
    assert header.block_count == 6
    assert [(header.channel_of(index), header.tokens_of(index)) for index in range(6)] == [
        (0, range(0, 3)),
        (1, range(0, 3)),
        (0, range(3, 6)),
        (1, range(3, 6)),
        (0, range(6, 7)),
        (1, range(6, 7)),
    ]


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
    assert read.codes.dtype == np.int32
    assert read.messages == ()


def test_no_samples_at_all() -> None:
    stream = random_stream(sound_header(grid=(0,), shape=(0,)))
    read = from_bytes(to_bytes(stream))
    assert read.codes.shape == (2, 0)
    assert read.header == stream.header


def test_many_channels() -> None:
    stream = random_stream(sound_header(channels=1024, levels=(0.25,) * 1024, grid=(2,)))
    assert_only_lost(from_bytes(to_bytes(stream)), stream, set())


def test_levels_are_float32_from_the_start() -> None:
    assert sound_header(levels=(0.1, 0.2)).levels == (float(np.float32(0.1)), float(np.float32(0.2)))


def test_pipes_do_not_seek() -> None:
    stream = random_stream(sound_header())
    pipe = Pipe()
    stream.write(pipe)  # type: ignore[arg-type]
    assert bytes(pipe.data) == to_bytes(stream)
    assert_only_lost(Stream.read(pipe), stream, set())  # type: ignore[arg-type]


def test_blocks_come_before_the_file_ends() -> None:
    stream = random_stream(sound_header())
    data, ends = to_bytes(stream), block_ends(stream)
    pipe = Pipe(data, piece=1)
    blocks = iter(StreamReader(pipe))  # type: ignore[arg-type]
    for end in ends:
        assert next(blocks).payload is not None
        assert len(pipe.data) == len(data) - end  # not a byte is read ahead, so a live sound can be heard


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


def test_the_writer_wants_every_block_once() -> None:
    writer = StreamWriter(io.BytesIO(), sound_header(grid=(3,)))
    writer.write(b"")
    with pytest.raises(ContainerError, match="1 of 2 blocks"):
        writer.close()
    with pytest.raises(ContainerError, match="at most 76"):
        writer.write(bytes(77))
    writer.write(bytes(76))
    writer.close()
    with pytest.raises(ContainerError, match="allows 2 blocks"):
        writer.write(b"")


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


def test_the_reader_gives_every_block_once() -> None:
    stream = random_stream(sound_header())
    data, ends = to_bytes(stream), block_ends(stream)
    reader = StreamReader(io.BytesIO(data[: ends[1]]))
    blocks = list(reader)
    assert [(block.index, block.channel) for block in blocks] == [(index, index % 2) for index in range(6)]
    assert [block.payload is None for block in blocks] == [False] * 2 + [True] * 4
    assert blocks[0] == Block(0, 0, PackedCoder(512).encode(stream.codes[0, :3]))
    assert list(reader) == []


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
    read = from_bytes(to_bytes(stream) + SYNC)
    assert_only_lost(read, stream, set())
    assert read.messages == ("other bytes follow the last block; they were ignored",)


# --- hostile input ---------------------------------------------------------------------------------------------------


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_junk_is_no_stream(junk: bytes) -> None:
    with pytest.raises(ContainerError):
        from_bytes(junk)


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_junk_behind_a_header_is_all_damage(junk: bytes) -> None:
    stream = random_stream(sound_header())
    assert_only_lost(from_bytes(stream.header.to_bytes() + junk), stream, set(range(6)))


def test_junk_behind_the_magic_is_no_stream() -> None:
    junk = np.random.default_rng(0).bytes(5000)
    with pytest.raises(ContainerError, match="header"):
        from_bytes(sound_header().to_bytes()[:5] + junk)


def test_two_wrong_bits_in_the_header_are_refused() -> None:
    data = bytearray(to_bytes(random_stream(sound_header())))
    data[10] ^= 0x11
    with pytest.raises(ContainerError, match="damaged beyond repair"):
        from_bytes(bytes(data))


HOSTILE = {
    "version": (4, "B", 2, "format version 2, this program reads 1: update"),
    "modality": (37, "B", 9, "modality is 9"),
    "coder": (38, "B", 2, "coder is 2"),
    "no axes": (39, "B", 0, "grid axes is 0"),
    "many axes": (39, "B", 255, "grid axes is 255"),
    "no sample rate": (40, "<I", 0, "sample_rate_hz is 0"),
    "sample rate": (40, "<I", 2**32 - 1, "sample_rate_hz is 4294967295"),
    "no channels": (44, "<H", 0, "channels is 0"),
    "many channels": (44, "<H", 65_535, "channels is 65535"),
    "codebook": (46, "<H", 0, "codebook_size is 1"),
    "terabytes in blocks": (50, "<Q", 2**47, "grid is 140737488355328"),
    "too many blocks": (50, "<I", 2**32 - 1, "number of blocks .* is 1431655765"),
    "no tokens": (50, "<I", 0, "shape is .440,., allowed is empty only together with the grid"),
    "no samples": (56, "<I", 0, "shape is .0,., allowed is empty only together with the grid"),
    "NaN level": (62, "<f", float("nan"), "levels is nan"),
    "infinite level": (62, "<f", float("inf"), "levels is inf"),
    "negative level": (62, "<f", -1.0, "levels is -1"),
}


@pytest.mark.parametrize(("offset", "kind", "value", "message"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_headers_are_refused(offset: int, kind: str, value: float, message: str) -> None:
    """Each has a right CRC; the file fails where much is read, and memory is watched."""
    mono = sound_header(channels=1, levels=(1.0,)).to_bytes()
    body = bytearray(mono[:-4])
    struct.pack_into(kind, body, offset, value)
    if offset == 50 and kind == "<Q":
        body[56:62] = mono[56:62]  # the shape, which the long number ran into
    if value == 0 and offset == 44:
        del body[62:]  # no channels have no levels
    pipe = Pipe(bytes(body) + zlib.crc32(body).to_bytes(4, "little"), piece=4096, limit=8192)
    tracemalloc.start()
    try:
        with pytest.raises(ContainerError, match=message):
            Stream.read(pipe)  # type: ignore[arg-type]
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


def test_more_codes_than_memory_are_refused_before_they_are_asked_for() -> None:
    header = sound_header(grid=(2**35,), tokens_per_block=65_536)
    tracemalloc.start()
    try:
        with pytest.raises(ContainerError, match="in memory"):
            from_bytes(header.to_bytes())
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


def test_a_file_of_sync_bytes_costs_linear_time_and_a_blocks_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    header = sound_header(grid=(2**20,), tokens_per_block=4096)
    claim = SYNC + b"\0\0\0" + header.max_payload.to_bytes(3, "little")
    junk = claim * 2**15  # each pretends to start the longest block
    file = io.BytesIO(header.to_bytes() + junk)
    summed = 0
    true_crc = zlib.crc32

    def counting_crc(data: bytes, value: int = 0) -> int:
        nonlocal summed
        summed += len(data)
        return true_crc(data, value)

    monkeypatch.setattr(zlib, "crc32", counting_crc)
    tracemalloc.start()
    try:
        assert all(block.payload is None for block in StreamReader(file))
        assert tracemalloc.get_traced_memory()[1] < 4 * header.max_payload + 2**16 < len(junk)
    finally:
        tracemalloc.stop()
    assert summed < 20 * (len(junk) + header.max_payload)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_sha256": b""}, "length of model_sha256 is 0"),
        ({"grid": (1, 2)}, "grid axes is 2"),
        ({"shape": (1, 2)}, "shape axes is 2"),
        ({"shape": (2**48,)}, "shape is 281474976710656"),
        ({"grid": (-1,)}, "grid is -1"),
        ({"levels": (1.0,)}, "number of levels is 1"),
        ({"levels": (1.0, 1e39)}, r"levels is 1e\+39"),
        ({"codebook_size": 65_537}, "codebook_size is 65537, allowed is 2 to 65536"),
        ({"tokens_per_block": 0}, "tokens_per_block is 0"),
        ({"grid": (MAX_BLOCKS,), "tokens_per_block": 1}, "number of blocks"),
        ({"modality": Modality.IMAGE}, "grid axes is 1, allowed is 2 to 3"),
        ({"modality": Modality.IMAGE, "grid": (8, 8), "shape": (32, 32)}, "sample_rate_hz is 16000, allowed is 0"),
    ],
)
def test_every_field_is_bounded(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ContainerError, match=message):
        sound_header(**changes)


# --- files that appear whole or not at all ---------------------------------------------------------------------------


def test_atomic_write_replaces_when_told_to(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    for content in (b"old", b"new"):
        with atomic_write(path, overwrite=True) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_atomic_write_leaves_nothing_behind(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")

    def fail(target: Path) -> None:
        with atomic_write(target, overwrite=True) as file:
            file.write(b"half")
            raise error

    for target in (path, tmp_path / "b.wav"):
        with pytest.raises(error):
            fail(target)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_does_not_overwrite_unasked(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match=r"a\.wav exists; use --force"), atomic_write(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"old"


def test_atomic_write_does_not_overwrite_what_came_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with pytest.raises(OutputError, match="--force"), atomic_write(path):
        path.write_bytes(b"another program's")
    assert path.read_bytes() == b"another program's"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_grants_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    plain, path = tmp_path / "plain", tmp_path / "a.wav"
    plain.write_bytes(b"")
    with atomic_write(path):
        pass
    assert path.stat().st_mode == plain.stat().st_mode


def test_atomic_path_keeps_the_suffix_and_the_link(tmp_path: Path) -> None:
    path, link = tmp_path / "real.flac", tmp_path / "link.flac"
    link.symlink_to(path)
    with atomic_path(link) as temporary:
        assert (temporary.parent, temporary.suffix) == (path.parent.resolve(), ".flac")
        temporary.write_bytes(b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/a.wav", "no folder .*missing; make it first"),
        (".", "is a folder"),
        ("file/a.wav", "no folder"),
        ("x" * 300, "cannot be written: File name too long"),
        ("fifo", "no regular file"),
    ],
)
def test_atomic_write_says_what_is_wrong(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OutputError, match=message), atomic_write(tmp_path / name, overwrite=True):
        pass
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["fifo", "file"]


def test_atomic_write_needs_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:  # root is never refused by the file system itself
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)
    with (
        pytest.raises(OutputError, match=r"a\.wav cannot be written: Permission denied"),
        atomic_write(tmp_path / "a.wav"),
    ):
        pass


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="make room"), atomic_write(tmp_path / "a.wav"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []
