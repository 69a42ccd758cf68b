"""Reads the streams that are kept, with Python and NumPy alone, on a machine whose numbers may lie the other way round.

python tests/big_endian.py      # prints the byte order and a checksum that is the same on every machine

What the package's bitstream, and its prior in integers, make of the fixtures must be their codes. Numba and the other
compiled packages need not be there: functions run uncompiled. So it runs under qemu for s390x, as docs/robustness.md
tells.
"""

import hashlib
import io
import json
import math
import os
import sys
import types
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np

os.environ["NUMBA_DISABLE_JIT"] = "1"
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
FIXTURES = ROOT / "tests" / "fixtures" / "v1"
ABSENT = ("numba", "safetensors", "constriction")
KINDS = {"F16": "<f2", "F32": "<f4", "I64": "<i8", "I32": "<i4"}


class _Kind(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything


class Anything(metaclass=_Kind):
    """Whatever an absent package is asked for: as a decorator it gives the function back."""

    def __new__(cls, function: Any = None, **_: object) -> Any:
        return function if callable(function) else object.__new__(cls)


class Stand(types.ModuleType):
    """An absent package, or a module of it."""

    __path__: list[str] = []  # noqa: RUF012  # as packages have it

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything


class SafeOpen:
    """A safetensors file, as its format is described; numbers lie as this machine has them."""

    def __init__(self, path: Path, _: str) -> None:
        self.arrays = tensors(path)

    def __enter__(self) -> "SafeOpen":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def keys(self) -> Any:
        return self.arrays.keys()

    def get_tensor(self, name: str) -> Any:
        return self.arrays[name]


class Absent(MetaPathFinder, Loader):
    """Finds a stand-in for each module of :data:`ABSENT`, whether it is installed or not."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.split(".")[0] in ABSENT else None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        module = Stand(spec.name)
        module.safe_open = SafeOpen  # type: ignore[attr-defined]
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """There is nothing in it."""


def tensors(path: Path) -> dict[str, Any]:
    """What is in a safetensors file, by the names there."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    found = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if name != "__metadata__":
            first, stop = (8 + size + place for place in entry["data_offsets"])
            array = np.frombuffer(data[first:stop], KINDS[entry["dtype"]]).reshape(entry["shape"])
            found[name] = array.astype(array.dtype.newbyteorder("="))
    return found


def prior() -> Any:
    """What makes models of how likely each code of the sound fixtures is next."""
    from vqaudio.codecs.frequency import sound_frequency_model
    from vqaudio.models.config import model_from_mapping
    from vqaudio.models.layers import Arrays
    from vqaudio.models.numpy_vocoder import NumpyWaveNet
    from vqaudio.models.renamed import new_tensor_name

    folder = FIXTURES / "sound-model"
    config = model_from_mapping(json.loads((folder / "config.json").read_text(encoding="utf-8"))["model"])
    named = {new_tensor_name(name): array for name, array in tensors(folder / "model.safetensors").items()}
    arrays = Arrays(named).part("prior.wavenet")
    return sound_frequency_model(NumpyWaveNet(arrays, config.prior))  # type: ignore[union-attr, arg-type]


def packed(name: str, codes: Any) -> bytes:
    """Holds a packed stream against its codes; gives what it is written as."""
    from vqaudio.bitstream.entropy import PackedCoder
    from vqaudio.bitstream.header import Header
    from vqaudio.bitstream.stream import Stream

    data = (FIXTURES / f"{name}.vqa").read_bytes()
    coder = PackedCoder(Header.from_bytes(data).codebook_size)
    stream = Stream.read(io.BytesIO(data), coder)
    assert stream.tokens.tolist() == codes, name
    again = io.BytesIO()
    stream.write(again, coder)
    assert again.getvalue() == data, name
    return again.getvalue()


def under_prior(name: str, codes: Any) -> bytes:
    """Holds a stream of sound under the prior against its codes; gives the frequencies that it was read with."""
    import second_decoder

    data = (FIXTURES / f"{name}.vqa").read_bytes()
    header, model = second_decoder.read_header(data), prior()()
    seen: list[Any] = []
    tokens, found = math.prod(header.grid), [[] for _ in range(header.channels)]  # type: ignore[var-annotated]

    def following(code: int | None) -> list[int]:
        seen.append(model.frequencies(model.levels if code is None else code))
        return [int(frequency) for frequency in seen[-1]]

    for index, payload in enumerate(second_decoder.read_blocks(data, header)):
        first = index // header.channels * header.tokens_per_block
        model.start()
        count = min(header.tokens_per_block, tokens - first)
        found[index % header.channels] += second_decoder.range_decode(payload, count, following)
    assert [np.ravel(channel).tolist() for channel in codes] == found, name
    return np.array(seen, "<i4").tobytes()


def packets() -> bytes:
    """Codes through packets, one of which is damaged."""
    from vqaudio.bitstream.packets import PacketHeader, PacketReader, PacketWriter

    header = PacketHeader(bytes(range(32)), 16000, 16000, 544, 4, 20, 2, 1, 0.5)
    codes = np.random.default_rng(2).integers(0, 20, (4, 12), np.int32)
    writer = PacketWriter(header)
    parts = [header.to_bytes(), *writer.push(codes), writer.flush(6500)]
    arrived = PacketReader().push(b"".join(parts))
    assert np.array_equal(np.concatenate([one.codes for one in arrived], axis=1)[:, :12], codes)
    return b"".join(parts)


def checksum() -> str:
    """Of all that is read and made, and of the name of the bundled model of speech."""
    from vqaudio.models.folder import fingerprint

    digest = hashlib.sha256(fingerprint(ROOT / "vqaudio" / "pretrained" / "speech"))
    kept = json.loads((FIXTURES / "codes.json").read_text(encoding="utf-8"))
    for name, entry in kept.items():
        if name.endswith("packed"):
            digest.update(packed(name, entry["codes"]))
        elif entry["model"] == "sound-model":
            digest.update(under_prior(name, entry["codes"]))
    digest.update(packets())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.meta_path.insert(0, Absent())
    print(sys.byteorder, checksum())
