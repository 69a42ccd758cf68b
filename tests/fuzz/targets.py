"""What is given hostile bytes: each target ends in a result that holds, or in an error of the package's own."""

import io
import json
import random
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from fuzz import mutation, seeds

from vqaudio.bitstream.container import StreamReader
from vqaudio.bitstream.entropy import PackedCoder
from vqaudio.bitstream.header import Coder, Header, repaired
from vqaudio.bitstream.packets import HEADER_BYTES, SYNC, PacketReader, packets_to_stream
from vqaudio.bitstream.stream import Stream
from vqaudio.errors import ContainerError

MOST_FRAMES = 200_000  # of a sound that are read
MOST_TOKENS = 50_000  # of a stream that are read: its header may promise 2**36

Seeds = Callable[[], Sequence[bytes]]


def _unsealed(data: bytearray) -> None:
    """A kind of file without seals of its own."""


@dataclass(frozen=True)
class Target:
    """``run`` takes bytes; ``seal`` makes checksums right, as it does for most of the inputs."""

    run: Callable[[bytes], None]
    seeds: Seeds
    seal: mutation.Repair = _unsealed

    def input(self, seed: int, number: int) -> bytes:
        """Input ``number`` of a campaign: the same for ever, as long as the seeds are the same."""
        rng, good = random.Random(f"{seed}/{number}"), self.seeds()
        if number < len(good):
            return good[number]
        found = mutation.mutated(rng.choice(good), good, rng)
        if rng.random() < 0.8:
            self.seal(found)
        return bytes(found)


@cache
def folder() -> Path:
    """Where targets that need a file put it; gone with the process."""
    holder = tempfile.TemporaryDirectory(prefix="fuzz-")
    _KEPT.append(holder)
    return Path(holder.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def _file(name: str, data: bytes) -> Path:
    path = folder() / name
    path.write_bytes(data)
    return path


# ---------------------------------------------------------------------------------------------------------- bitstream


def stream(data: bytes) -> None:
    """A ``.vqa`` stream as a whole: header, blocks, both coders; what was read writes and reads again as itself."""
    reader = StreamReader(io.BytesIO(data))
    if reader.header.channels * reader.header.tokens > MOST_TOKENS:
        blocks = sum(1 for _, block in zip(range(2000), reader, strict=False) if block.index >= 0)
        assert blocks == min(2000, reader.header.block_count)
        return
    if reader.header.coder is Coder.PRIOR and reader.header.codebook_size != seeds.LEVELS:
        assert sum(1 for _ in reader) == reader.header.block_count
        return
    found = Stream.read_from(reader, seeds.CODER)
    assert bool(found.damage) <= bool(found.messages)
    if len(data) % 4:
        return
    again = io.BytesIO()
    found.write(again, seeds.CODER)
    np.testing.assert_array_equal(Stream.read(io.BytesIO(again.getvalue()), seeds.CODER).tokens, found.tokens)


def header(data: bytes) -> None:
    """A header alone; a repair that is claimed is a header that is sealed."""
    mended = repaired(data[:300]) if len(data) % 8 == 0 else None
    found = Header.from_bytes(mended or data)
    assert Header.from_bytes(found.to_bytes()) == found


def packets(data: bytes) -> None:
    """Packets, in one piece and cut anywhere: what arrives is the same."""
    whole = PacketReader()
    arrived = whole.push(data)
    size = 1 + len(data) % 97
    reader, pieces = PacketReader(), []
    for first in range(0, len(data), size):
        pieces += reader.push(data[first : first + size])
    one, other = ([(a.lost, a.samples, a.codes.tolist()) for a in found] for found in (arrived, pieces))
    assert one == other or _forged(data, reader)
    packets_to_stream([data])


def _forged(data: bytes, reader: PacketReader) -> bool:
    """Says whether a packet with a right CRC lies inside another: which comes first, depends on when bytes come."""
    assert reader.header is not None
    stop = 0
    for place in range(HEADER_BYTES, len(data) - 4):
        end = place + 5 + reader.header.body_size(data[place + 4])
        sealed = zlib.crc32(data[place + 2 : end]).to_bytes(4, "little") == data[end : end + 4]
        if data[place : place + 2] == SYNC and sealed:
            if place < stop:
                return True
            stop = end + 4
    return False


def entropy(data: bytes) -> None:
    """A payload: the first byte tells how many codes it should be, or how many bits they have."""
    count, payload = (data[0], data[1:]) if data else (0, b"")
    size = 2 + int.from_bytes(payload[:2], "little") % 65535
    for coder, codes in ((seeds.CODER, count), (PackedCoder(size), 8 * len(payload) // PackedCoder(size).bits)):
        try:
            found = coder.decode(payload, codes)
        except ContainerError:
            continue
        assert coder.encode(found) == payload
        return
    raise ContainerError("neither coder takes it")


# -------------------------------------------------------------------------------------------------- sound and pictures


def sound(data: bytes) -> None:
    """A sound file by the door of encode: finite samples, as many as are counted, whatever its header says."""
    from vqaudio.io.sound import SoundReader

    with SoundReader(io.BytesIO(data)) as reader:
        assert 1 <= reader.channels <= 1024
        assert reader.sample_rate_hz >= 1
        read = 0
        for block in reader.blocks(1 + MOST_FRAMES // (4 * reader.channels)):
            assert block.shape[0] == reader.channels
            assert np.isfinite(block).all()
            read += block.shape[1]
            if read > MOST_FRAMES:
                return
        assert reader.frames == read


def layout(data: bytes) -> None:
    """The walk over a sound file's structure alone: parts in order, and windows that show each byte."""
    from vqaudio.io.sound_layout import Window, layout_of

    file = io.BytesIO(data)
    found = layout_of(file, len(data), "x")
    stops = [0]
    for part in found.parts:
        assert stops[-1] <= part.start <= part.stop <= len(data)
        assert len(Window(file, part, "x").read()) == part.stop - part.start
        stops.append(part.stop)


def picture(data: bytes) -> None:
    """A picture file: levels of three colours."""
    from vqaudio.io.image import read_picture

    levels = read_picture(io.BytesIO(data), "x")
    assert levels.dtype == np.uint8
    assert levels.ndim == 3
    assert levels.shape[2] == 3


# ----------------------------------------------------------------------------------------------------- models, tables


def config(data: bytes) -> None:
    """A model's ``config.json``: what is read is written and read as itself."""
    from vqaudio.models import checkpoint
    from vqaudio.models.config import model_from_mapping, model_to_mapping

    _file("config.json", data)
    found = checkpoint.read_config(folder())
    assert model_from_mapping(model_to_mapping(found)) == found


def model(data: bytes) -> None:
    """A model's folder whose configuration is hostile; its weights are those of a fixture."""
    from vqaudio.models import checkpoint

    place = folder() / "model"
    if not place.exists():
        place.mkdir()
        (place / "model.safetensors").write_bytes((seeds.FIXTURES / "sound-model" / "model.safetensors").read_bytes())
    (place / "config.json").write_bytes(data)
    checkpoint.load_model(place)
    assert len(checkpoint.fingerprint(place)) == 32


def weights(data: bytes) -> None:
    """A safetensors file."""
    from vqaudio.models.checkpoint import read_tensors

    for tensor in read_tensors(_file("w.safetensors", data)).values():
        tensor.sum()


def voice(data: bytes) -> None:
    """A ``.voice`` file."""
    from vqaudio.codecs.voice_file import load_voice

    found = load_voice(_file("x.voice", data), seeds.SHA)
    assert found.ndim == 1
    assert np.isfinite(found).all()


def run_config(data: bytes) -> None:
    """A training run's TOML."""
    from vqaudio.models.config import load_run

    load_run(_file("run.toml", data))


def table(data: bytes) -> None:
    """A table of tokens as ``detokenize`` and training read it."""
    from vqaudio.io.token_tables import read_rows

    suffix = {b"PAR1": ".parquet", b"ARRO": ".arrow"}.get(data[:4], ".tar")
    for row in read_rows(_file(f"t{suffix}", data)):
        assert row.codes.ndim == 2
        assert row.duration >= 0
        assert all(isinstance(text, str) for text in (row.id, row.path, row.speaker, row.transcript, row.model))


def corpus(data: bytes) -> None:
    """A source as ``tokenize`` reads it: tar, Parquet or manifest, by how it begins."""
    from vqaudio.errors import DataError
    from vqaudio.io.places import WholeFile, open_place
    from vqaudio.io.sources import entries

    kinds = {b"PAR1": ".parquet", b'{"pa': ".jsonl", b"path": ".tsv" if b"\t" in data[:20] else ".csv"}
    source = _file(f"c{kinds.get(data[:4], '.tar')}", data)
    for number, entry in enumerate(entries(source)):
        if isinstance(entry.place, WholeFile) or number > 20:
            continue
        try:
            file, _ = open_place(entry.place, entry.path)
        except DataError:
            continue
        with file:
            file.read()


def _documents() -> list[bytes]:
    return [json.dumps(document).encode() for document in seeds.documents()]


def _runs() -> list[bytes]:
    recipes = Path(__file__).resolve().parents[2] / "recipes"
    return [path.read_bytes() for path in sorted(recipes.glob("*/*.toml"))]


@dataclass(frozen=True)
class DocumentTarget(Target):
    """One whose inputs are JSON: most keep its form, and lie in what it says."""

    def input(self, seed: int, number: int) -> bytes:
        good = _parsed()
        rng = random.Random(f"{seed}/{number}")
        if number < len(good):
            return json.dumps(good[number]).encode()
        if rng.random() < 0.1:
            return super().input(seed, number)
        return json.dumps(mutation.mutated_document(rng.choice(good), rng)).encode()


@cache
def _parsed() -> list[object]:
    return seeds.documents()


@cache
def _payloads() -> list[bytes]:
    return [bytes([count]) + data for count, data in zip((0, 1, 5, 40, 44), seeds.payloads(), strict=True)]


TARGETS: dict[str, Target] = {
    "stream": Target(stream, seeds.streams, mutation.reseal_stream),
    "header": Target(header, seeds.streams, mutation.reseal_stream),
    "packets": Target(packets, seeds.packets, mutation.reseal_packets),
    "entropy": Target(entropy, _payloads),
    "layout": Target(layout, seeds.sounds, mutation.reseal_ogg),
    "sound": Target(sound, seeds.sounds, mutation.reseal_ogg),
    "picture": Target(picture, seeds.pictures),
    "config": DocumentTarget(config, cache(_documents)),
    "model": DocumentTarget(model, cache(_documents)),
    "weights": Target(weights, seeds.weights),
    "voice": Target(voice, seeds.voices),
    "run_config": Target(run_config, cache(_runs)),
    "table": Target(table, seeds.tables),
    "corpus": Target(corpus, seeds.corpora),
}
