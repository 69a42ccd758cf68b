"""Threads and processes share nothing: whatever they do at once gives the bytes of one after the other."""

import gc
import io
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import children
import numpy as np
import pytest
from threadpoolctl import threadpool_info

import vqaudio
from vqaudio.bitstream.stream import Stream
from vqaudio.codecs.segments import in_parallel
from vqaudio.codecs.speech import Codec, load
from vqaudio.errors import ContainerError

RATE, THREADS = 16000, 8


def waves() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [(0.1 * rng.standard_normal(RATE // 2 + 997 * n)).astype(np.float32) for n in range(THREADS)]


def all_the_way(codec: Codec, wave: np.ndarray) -> tuple[bytes, bytes, bytes]:
    """The file of a wave, the codes read back from it, and the sound."""
    file = io.BytesIO()
    codec.encode(wave, RATE).write(file)
    file.seek(0)
    stream = codec.read(file)
    return file.getvalue(), stream.tokens.tobytes(), codec.decode(stream, seed=3).tobytes()


def at_once(work: Callable[[int], object]) -> list[object]:
    barrier = threading.Barrier(THREADS)

    def go(n: int) -> object:
        barrier.wait()
        return work(n)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(go, range(THREADS)))


@pytest.mark.parametrize("model", ["talking_model", "vocoded_model"])
def test_many_threads_with_one_codec(model: str, request: pytest.FixtureRequest) -> None:
    codec = load(request.getfixturevalue(model), "cpu")
    expected = [all_the_way(codec, wave) for wave in waves()]
    for _ in range(3):
        assert at_once(lambda n: all_the_way(codec, waves()[n])) == expected


def test_many_threads_with_a_codec_each(talking_model: Path) -> None:
    expected = [all_the_way(load(talking_model, "cpu"), wave) for wave in waves()]
    assert at_once(lambda n: all_the_way(load(talking_model, "cpu"), waves()[n])) == expected


def test_many_threads_write_one_stream(talking_codec: Codec) -> None:
    stream = talking_codec.encode(np.tile(waves()[0], 8), RATE)

    def written(_: int = 0) -> bytes:
        file = io.BytesIO()
        stream.write(file)
        return file.getvalue()

    assert set(at_once(written)) == {written()}


def test_a_stream_outlives_its_codec(talking_model: Path) -> None:
    stream = load(talking_model, "cpu").encode(waves()[0], RATE)
    gc.collect()
    file = io.BytesIO()
    stream.write(file)
    file.seek(0)
    assert np.array_equal(load(talking_model, "cpu").read(file).tokens, stream.tokens)


def test_a_stream_of_an_unknown_model_says_so(talking_codec: Codec, tmp_path: Path) -> None:
    talking_codec.encode(waves()[0], RATE).save(tmp_path / "a.vqa")
    for kind in (Stream, vqaudio.Stream):
        with pytest.raises(ContainerError, match="it needs that model"):
            kind.load(tmp_path / "a.vqa")


def test_after_a_fork(talking_model: Path, tmp_path: Path) -> None:
    script = f"""
import io, os, numpy as np
from vqaudio.codecs.speech import load
codec = load({str(talking_model)!r}, "cpu")
wave = (0.1 * np.random.default_rng(0).standard_normal(8000)).astype(np.float32)
def written():
    file = io.BytesIO()
    codec.encode(wave, 16000).write(file)
    return file.getvalue()
expected = written()
child = os.fork()
if child == 0:
    os._exit(0 if written() == expected else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    environment = {**children.environment(), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, cwd=tmp_path, timeout=300, check=False)
    assert done.returncode == 0


def test_limits_of_threads_end_with_the_calls_that_need_them() -> None:
    def limits() -> list[int]:
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    before, inside = limits(), threading.Barrier(2)

    def call(_: int) -> None:
        def work(_: int) -> None:
            assert set(limits()) == {1}

        inside.wait()
        in_parallel(work, [0, 1, 2])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(call, range(2)))
    assert limits() == before
