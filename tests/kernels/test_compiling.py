"""Kernels do what their functions do, whichever way they are fetched; what lies ready is fetched without Numba."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import children
import numpy as np
import pytest

from vqaudio.kernels import numba_kernels, object_code
from vqaudio.kernels.compiling import compiled, compiled_exactly, hold


class Scaled(NamedTuple):
    factor: float
    places: np.ndarray


@compiled_exactly
def picked(x, places):  # type: ignore[no-untyped-def]
    return x[places[0]] + places.shape[0]


@compiled_exactly
def scaled(x, rules, y):  # type: ignore[no-untyped-def]
    """Calls another kernel, takes a named tuple, and writes."""
    (factor, places), more = rules
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            y[i, j] = factor * x[i, j] + more + picked(x[i], places)


@compiled
def doubled(x, y):  # type: ignore[no-untyped-def]
    other = np.empty(x.shape[0], np.float32)
    for i in range(x.shape[0]):
        other[i] = 2 * x[i]
    for i in range(x.shape[0]):
        y[i] = other[i]


RULES = Scaled(0.5, np.array([2, 0])), 3


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("cache")
        patch.setenv("NUMBA_CACHE_DIR", str(path))
        object_code._folder.cache_clear()
        yield path
    object_code._folder.cache_clear()


@pytest.mark.parametrize("order", ["C", "F", "A"])
def test_a_kernel_is_its_function(order: str) -> None:
    whole = np.random.default_rng(0).standard_normal((6, 10))
    x = {"C": np.ascontiguousarray(whole[::2]), "F": np.asfortranarray(whole[::2]), "A": whole[::2, ::2]}[order]
    x.flags.writeable = order != "C"
    y, expected = np.zeros(x.shape, np.float32), np.zeros(x.shape, np.float32)
    scaled(x, RULES, y)
    for i, row in enumerate(x):
        expected[i] = 0.5 * row + 3 + row[2] + 2
    np.testing.assert_array_equal(y, expected)


def test_the_machine_code_needs_no_numba_and_is_kept(folder: Path) -> None:
    x, y = np.zeros((2, 4)), np.zeros((2, 4), np.float32)
    code = numba_kernels.machine_code(scaled.dispatcher, (x, RULES, y))
    assert code is not None
    assert code.symbol
    assert not [name for name in code.needs if "numba" in name.lower() or name.startswith("NRT")]
    scaled(x, RULES, y)
    assert any(path.stat().st_size > len(code.body) for path in folder.rglob("*scaled*.kernel"))


def test_what_needs_numba_is_right_all_the_same() -> None:
    x, y = np.arange(4, dtype=np.float32), np.zeros(4, np.float32)
    assert numba_kernels.machine_code(doubled.dispatcher, (x, y)) is None
    doubled(x, y)
    np.testing.assert_array_equal(y, 2 * x)
    assert picked(x, np.array([3])) == 4


def test_what_is_held_may_change_and_stays() -> None:
    x, y = np.zeros((2, 4)), np.zeros((2, 4), np.float32)
    held = hold(x)
    x[:] = np.arange(4)
    scaled(held, hold(RULES), y)
    np.testing.assert_array_equal(y[1], 0.5 * np.arange(4) + 3 + 2 + 2)


def test_threads_may_call_first() -> None:
    @compiled
    def filled(x, value):  # type: ignore[no-untyped-def]
        for i in range(x.shape[0]):
            x[i] = value

    arrays = [np.zeros(1000) for _ in range(8)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(filled, arrays, range(8)))
    for number, array in enumerate(arrays):
        assert (array == number).all()


CHILD = """
import sys
import numpy as np
from vqaudio.kernels import notice
from vqaudio.kernels.varying_filter import VaryingFilter
told = []
with notice.heard_by(lambda: told.append(1)):
    responses = np.random.default_rng(0).standard_normal((4, 20)).astype(np.float32)
    sound = VaryingFilter(8, 20).push(np.ones(24), responses)
print(bool(told), "numba" in sys.modules, sound.tobytes().hex())
"""


def run(folder: Path, **settings: str) -> list[str]:
    environment = children.environment(NUMBA_CACHE_DIR=str(folder), **settings)
    done = subprocess.run([sys.executable, "-c", CHILD], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.slow
def test_what_lies_ready_is_fetched_without_numba(tmp_path: Path) -> None:
    first, again = run(tmp_path), run(tmp_path)
    assert first == ["True", "True", first[2]]
    assert again == ["False", "False", first[2]]
    for path in tmp_path.rglob("*.kernel"):
        path.write_bytes(b"damaged")
    assert run(tmp_path) == first
    assert run(tmp_path) == again


@pytest.mark.slow
def test_another_processor_has_code_of_its_own(tmp_path: Path) -> None:
    run(tmp_path)
    assert run(tmp_path, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")[:2] == ["True", "True"]


def test_without_the_compiler_functions_are_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    def plain(x: int) -> int:
        return x

    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert compiled(plain) is plain
    assert compiled_exactly(plain) is plain
    assert hold(RULES) is RULES


@compiled
def ordered(x):  # type: ignore[no-untyped-def]
    y = np.sort(x)
    for i in range(x.shape[0]):
        x[i] = y[i]


@compiled
def ordered_into(x, y):  # type: ignore[no-untyped-def]
    ordered(x)
    for i in range(x.shape[0]):
        y[i] = x[i]


def test_a_kernel_may_call_one_that_needs_numba() -> None:
    x, y = np.array([3, 1, 2], np.float32), np.zeros(3, np.float32)
    ordered_into(x, y)
    assert y.tolist() == [1, 2, 3]
