"""What holds of every codec there is, whatever it codes."""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import CLASSY, gradient, save_model

import vqaudio
from vqaudio.bitstream.header import Coder
from vqaudio.bitstream.stream import Stream
from vqaudio.codecs.base import BaseCodec
from vqaudio.errors import ConfigError, ContainerError, ModelError

RATE = 16000
KINDS = ("tiny", "talking", "voiced", "hearing", "vocoded", "picture", "classy picture")


class Case:
    """A codec with something to code. ``encode(size, ...)`` codes a sound or a picture that grows with ``size``."""

    def __init__(self, kind: str, codec: BaseCodec) -> None:
        self.kind, self.codec = kind, codec
        self.encode: Callable[..., Any] = self._picture if "picture" in kind else self._sound
        self.options = {"speaker": "ann"} if kind == "voiced" else {}

    def _sound(self, size: int, *coder: object) -> Any:
        wave = 0.1 * np.random.default_rng(size).standard_normal(97 * size).astype(np.float32)
        return self.codec.encode(wave, RATE, *coder)

    def _picture(self, size: int, *coder: object) -> Any:
        return self.codec.encode(gradient(max(1, size // 3), max(1, size // 2)), *coder)

    def decode(self, stream: Stream) -> np.ndarray:
        decoded: np.ndarray = self.codec.decode(stream, **self.options)
        return decoded

    @property
    def coders(self) -> list[Coder]:
        return [coder for coder in Coder if coder <= self.codec.default_coder()]


@pytest.fixture(scope="module", params=KINDS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    kind: str = request.param
    if "picture" in kind:
        folder = tmp_path_factory.mktemp("models") / "pictures"
        save_model(folder, CLASSY) if "classy" in kind else save_model(folder)
    else:
        folder = request.getfixturevalue(f"{kind}_model")
    return Case(kind, vqaudio.load(folder, "cpu"))


def written(stream: Stream) -> bytes:
    file = io.BytesIO()
    stream.write(file)
    return file.getvalue()


@settings(max_examples=8)
@given(size=st.integers(1, 90), number=st.integers(0, 1))
def test_files_have_the_codes_that_were_written(case: Case, size: int, number: int) -> None:
    coder = case.coders[number % len(case.coders)]
    stream = case.encode(size, coder)
    data = written(stream)
    again = case.codec.read(io.BytesIO(data))
    np.testing.assert_array_equal(again.tokens, stream.tokens)
    assert (again.header, again.damage, again.messages) == (stream.header, (), ())
    assert written(again) == data


def test_the_same_codes_decode_alike(case: Case) -> None:
    streams = [case.encode(60, coder) for coder in case.coders]
    first, *others = [case.decode(stream) for stream in (*streams, streams[0])]
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_the_default_coder_is_the_smallest_that_can_be_read(case: Case) -> None:
    assert case.encode(20).header.coder is case.codec.default_coder()
    for coder in set(Coder) - set(case.coders):
        with pytest.raises(ConfigError, match="use the packed coder"):
            case.encode(20, coder)


@settings(max_examples=25)
@given(data=st.data())
def test_damage_is_told_or_refused_and_never_worse(case: Case, data: st.DataObject) -> None:
    stream = case.encode(80)
    file = bytearray(written(stream))
    for _ in range(data.draw(st.integers(1, 4))):
        file[data.draw(st.integers(0, len(file) - 1))] ^= data.draw(st.integers(1, 255))
    file = file[: data.draw(st.sampled_from([len(file), len(file) // 2, len(file) - 3]))]
    try:
        found = case.codec.read(io.BytesIO(bytes(file)))
    except (ContainerError, vqaudio.VqaudioError):
        return
    assert found.tokens.shape == stream.tokens.shape
    lost = sum(damage.last_token + 1 - damage.first_token for damage in found.damage)
    assert lost or np.array_equal(found.tokens, stream.tokens)
    assert case.decode(found).shape == case.decode(stream).shape


def test_threads_get_what_one_after_the_other_gets(case: Case) -> None:
    def all_the_way(size: int) -> tuple[bytes, bytes]:
        data = written(case.encode(size))
        return data, case.decode(case.codec.read(io.BytesIO(data))).tobytes()

    sizes = [20, 50, 30, 70] * 2
    expected = [all_the_way(size) for size in sizes]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(all_the_way, sizes)) == expected


def test_a_stream_saves_and_loads(case: Case, tmp_path: Path) -> None:
    stream = case.encode(40)
    stream.save(tmp_path / "a.vqa")
    loaded = vqaudio.Stream.load(tmp_path / "a.vqa", case.codec.block_coder(stream.header.coder))
    np.testing.assert_array_equal(loaded.tokens, stream.tokens)
    stream.save(tmp_path / "a.vqa", overwrite=True)


def test_new_streams_are_drawn_or_refused(case: Case) -> None:
    named = (
        {"label": "cat"} if case.kind == "classy picture" else {"seconds": 0.2} if "picture" not in case.kind else {}
    )
    if not (case.codec._has_prior or case.kind == "classy picture"):
        with pytest.raises(ModelError, match="prior"):
            case.codec.sample(1, **named)
        return
    few, many = case.codec.sample(1, seed=3, **named), case.codec.sample(3, seed=3, **named)
    assert np.array_equal(few[0].tokens, many[0].tokens)  # whatever else is drawn
    for stream in many:
        again = case.codec.read(io.BytesIO(written(stream)))
        np.testing.assert_array_equal(again.tokens, stream.tokens)
        assert case.decode(stream).shape == case.decode(again).shape
    for wrong in ({"count": 0}, {"seed": -1}, {"temperature": 0.0}, {"top_p": 2.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            case.codec.sample(**named, **wrong)
