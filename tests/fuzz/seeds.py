"""Good files to begin with, as small as their kinds allow; they are made here, so that none need be kept."""

import io
import json
import struct
import sys
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vqaudio.bitstream.entropy import PriorCoder
from vqaudio.bitstream.header import Coder, Header, Modality
from vqaudio.bitstream.packets import PacketHeader, PacketWriter
from vqaudio.bitstream.stream import Stream

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "v1"
LEVELS = 20  # of the frequency model below
SHA = bytes(range(32))


class SlowChange:
    """A frequency model of :data:`LEVELS` symbols: each is likely to be followed by its neighbours."""

    levels = LEVELS

    def start(self) -> None:
        """Nothing is remembered."""

    def frequencies(self, symbol: int) -> np.ndarray:
        return _frequencies()[symbol]

    def frequencies_along(self, past: np.ndarray) -> np.ndarray:
        return _frequencies()[past]


@cache
def _frequencies() -> np.ndarray:
    apart = np.abs(np.arange(LEVELS)[None] - np.arange(LEVELS + 1)[:, None])
    weights = 1 + 40_000 // (1 + 50 * apart)
    scaled = weights * ((1 << 24) - LEVELS) // weights.sum(1, keepdims=True) + 1
    scaled[:, 0] += (1 << 24) - scaled.sum(1)
    return scaled.astype(np.int32)


CODER = PriorCoder(SlowChange)


def _stream(coder: Coder, modality: Modality, grid: tuple[int, ...], shape: tuple[int, ...], channels: int) -> bytes:
    rate = 16000 if modality is Modality.AUDIO else 0
    header = Header(SHA, modality, coder, grid, shape, rate, channels, LEVELS, 7, (0.5,) * channels)
    codes = np.random.default_rng(0).integers(0, LEVELS, (channels, *grid), np.int32)
    file = io.BytesIO()
    Stream(header, codes).write(file, CODER)
    return file.getvalue()


@cache
def streams() -> list[bytes]:
    sounds = [_stream(coder, Modality.AUDIO, (24,), (1600,), channels) for coder in Coder for channels in (1, 2)]
    pictures = [_stream(coder, Modality.IMAGE, (2, 3, 4), (9, 11), 1) for coder in Coder]
    kept = [path.read_bytes() for path in sorted(FIXTURES.glob("*.vqa"))]
    return [*sounds, *pictures, _stream(Coder.PACKED, Modality.AUDIO, (0,), (0,), 1), *kept]


@cache
def payloads() -> list[bytes]:
    rng = np.random.default_rng(1)
    return [CODER.encode(rng.integers(0, LEVELS, size, np.int32)) for size in (0, 1, 5, 40, 300)]


@cache
def packets() -> list[bytes]:
    found = []
    for vectors, repeated in ((1, 0), (2, 1), (5, 4)):
        header = PacketHeader(SHA, 16000, 16000, 544, 4, LEVELS, vectors, repeated, 0.5)
        writer = PacketWriter(header)
        codes = np.random.default_rng(2).integers(0, LEVELS, (4, 11), np.int32)
        found.append(header.to_bytes() + b"".join(writer.push(codes)) + writer.flush(5900))
    return found


# ----------------------------------------------------------------------------------------------------------- sounds

_KINDS = (
    *(("WAV", of) for of in ("PCM_16", "PCM_U8", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM", "MS_ADPCM")),
    *(("WAVEX", "PCM_16"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AIFF", "FLOAT")),
    *(("AU", "PCM_16"), ("AU", "FLOAT"), ("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("FLAC", "PCM_16")),
    *(("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("NIST", "PCM_16")),
    *(("VOC", "PCM_16"), ("PVF", "PCM_16"), ("IRCAM", "FLOAT"), ("SVX", "PCM_16"), ("AVR", "PCM_16")),
    *(("MAT4", "FLOAT"), ("MAT5", "FLOAT"), ("HTK", "PCM_16"), ("WVE", "ALAW")),
)


@cache
def sounds() -> list[bytes]:
    """One of each kind that libsndfile writes here, of one or two channels, and odd WAVs."""
    found = []
    for number, (form, subtype) in enumerate(_KINDS):
        channels = 1 if form in ("SVX", "SDS", "HTK", "WVE", "MP3") else 1 + number % 2
        rate = 8000 if form == "WVE" else 16000
        wave = 0.3 * np.sin(np.arange(800 * channels).reshape(800, channels) * 0.1)
        file = io.BytesIO()
        try:
            soundfile.write(file, wave, rate, format=form, subtype=subtype)
        except (soundfile.LibsndfileError, ValueError):  # a libsndfile that was built without it
            continue
        found.append(file.getvalue())
    wav = bytearray(found[0])
    wav[4:8] = wav[40:44] = struct.pack("<I", 0xFFFFFFFF)
    tail = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf58.29.100\0"
    ogg = next(data for data in found if data[:4] == b"OggS")
    flac = next(data for data in found if data[:4] == b"fLaC")
    return [*found, bytes(wav) + tail, ogg * 2, flac + b"TAG".ljust(128, b"x")]


@cache
def pictures() -> list[bytes]:
    rng, found = np.random.default_rng(3), []
    for form, mode, shape in (
        *(("PNG", "RGB", (5, 7, 3)), ("PNG", "RGBA", (4, 4, 4)), ("PNG", "I;16", (4, 4)), ("PNG", "1", (8, 9))),
        *(("JPEG", "RGB", (16, 9, 3)), ("JPEG", "CMYK", (9, 9, 4)), ("GIF", "L", (6, 5)), ("BMP", "RGB", (6, 5, 3))),
        *(("TIFF", "RGB", (6, 5, 3)), ("WEBP", "RGB", (6, 5, 3)), ("PPM", "RGB", (6, 5, 3)), ("TGA", "RGB", (6, 5, 3))),
    ):
        levels = rng.integers(0, 2 if mode == "1" else 256, shape)
        kind: Any = {"I;16": np.uint16, "1": bool}.get(mode, np.uint8)
        file = io.BytesIO()
        Image.fromarray(levels.astype(kind)).convert(mode).save(file, form)
        found.append(file.getvalue())
    return found


# ----------------------------------------------------------------------------------------------- models and tables


def documents() -> list[Any]:
    """The configurations of the models that ship with the package, and of the fixtures."""
    pretrained = FIXTURES.parents[2] / "vqaudio" / "pretrained"
    paths = [*sorted(FIXTURES.glob("*/config.json")), *sorted(pretrained.glob("*/config.json"))]
    found = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    for document in found:
        document["training"] = {}
    return found


@cache
def weights() -> list[bytes]:
    from safetensors.numpy import save

    small = {"a.weight": np.ones((2, 3), np.float32), "b": np.zeros(4, np.float16), "c": np.array(1, np.int64)}
    return [save(small), save({"x": np.zeros(0, np.float32)}, {"format": "pt"}), save({})]


@cache
def voices() -> list[bytes]:
    from safetensors.numpy import save

    facts = {"format": "vqaudio voice 1", "weights_sha256": SHA.hex()}
    return [save({"voice": np.linspace(-1, 1, size, dtype=np.float32)}, facts) for size in (1, 6, 64)]


@cache
def tables() -> list[bytes]:
    """A table of tokens in each of the formats, by its suffix."""
    from vqaudio.io.token_tables import FORMATS, TokenRow, table_bytes

    codes = np.arange(12, dtype=np.uint16).reshape(4, 3)
    rows = [
        TokenRow(f"a/{n}", f"a/{n}.wav", codes, 16000, 1600, 0.5, "ann", "Hello", "ab" * 32, "cd" * 32) for n in "12"
    ]
    return [table_bytes(rows, format) for format in FORMATS]


@cache
def corpora() -> list[bytes]:
    """Tars, Parquet and manifests as ``tokenize`` reads them."""
    sound = sounds()[0]
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as file:
        for name, data in (("a/1.wav", sound), ("a/1.txt", b"Hello"), ("a/1.json", b'{"speaker": "ann", "id": "x"}')):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    lines = b'{"path": "a.wav", "speaker": "ann", "text": "Hello"}\n{"path": "b.wav"}\n'
    tabs = b"path\tspeaker\ttranscript\na.wav\tann\tHello\nb.wav\tbob\t\n"
    return [tar.getvalue(), lines, tabs, tabs.replace(b"\t", b","), tables()[0]]
