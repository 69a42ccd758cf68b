"""The format for ever: streams kept from each version are read, and docs/format.md tells enough to read them."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import second_decoder

import vqaudio
from vqaudio.bitstream.entropy import PriorCoder
from vqaudio.bitstream.header import FIXED, MAGIC, Coder
from vqaudio.codecs.bundled import Stream

FIXTURES = Path(__file__).parent / "fixtures"
ROOT = Path(__file__).parents[1]
KEPT = [
    pytest.param(folder, name, kept, id=f"{folder.name}-{name}")
    for folder in sorted(FIXTURES.glob("v*"))
    for name, kept in json.loads((folder / "codes.json").read_text(encoding="utf-8")).items()
]


@pytest.mark.parametrize(("folder", "name", "kept"), KEPT)
def test_streams_of_each_version_have_their_codes(folder: Path, name: str, kept: dict[str, object]) -> None:
    data = (folder / f"{name}.vqa").read_bytes()
    codec = vqaudio.load(folder / str(kept["model"]), "cpu")
    stream = codec.read(io.BytesIO(data))
    assert (stream.damage, stream.messages) == ((), ())
    assert stream.tokens.tolist() == kept["codes"]
    again = io.BytesIO()
    stream.write(again)
    assert again.getvalue() == data
    assert np.isfinite(codec.decode(stream)).all()


@pytest.mark.parametrize(("folder", "name", "kept"), [case for case in KEPT if "packed" in case.id])
def test_a_second_reader_finds_the_same_codes(folder: Path, name: str, kept: dict[str, object]) -> None:
    data = (folder / f"{name}.vqa").read_bytes()
    assert second_decoder.read_packed(data) == [np.ravel(channel).tolist() for channel in kept["codes"]]  # type: ignore[call-overload]
    theirs, ours = second_decoder.read_header(data), Stream.load(folder / f"{name}.vqa").header
    for name_there, name_here in (("sample_rate", "sample_rate_hz"), ("model", "model_sha256")):
        assert getattr(theirs, name_there) == getattr(ours, name_here)
    for field in ("modality", "coder", "channels", "codebook_size", "tokens_per_block", "grid", "shape", "levels"):
        assert getattr(theirs, field) == getattr(ours, field)


class _Drifting:
    """Frequencies that depend on the code before, some of them as small as can be."""

    levels = 5

    def start(self) -> None:
        pass

    def frequencies(self, symbol: int) -> np.ndarray:
        weights = np.array([1, 1, 100, 4_000_000, 50_000])
        weights = np.roll(weights, symbol % self.levels)
        weights[0] += 2**24 - weights.sum()
        return weights.astype(np.int32)

    def frequencies_along(self, past: np.ndarray) -> np.ndarray:
        return np.stack([self.frequencies(int(symbol)) for symbol in past])


@pytest.mark.parametrize("count", [0, 1, 7, 1000])
def test_the_range_coder_is_as_the_document_says(count: int) -> None:
    codes = np.random.default_rng(count).integers(0, 5, count).astype(np.int32)
    payload = PriorCoder(_Drifting).encode(codes)

    def following(before: int | None) -> Sequence[int]:
        return _Drifting().frequencies(_Drifting.levels if before is None else before).tolist()  # type: ignore[no-any-return]

    assert second_decoder.range_decode(payload, count, following) == codes.tolist()


def test_the_document_names_what_is_fixed() -> None:
    text = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
    assert FIXED.size == 50
    for fact in (MAGIC.hex(" "), "b5 4e", "2^24", *(f"{coder.value} ({coder.name.lower()})" for coder in Coder)):
        assert fact in text
