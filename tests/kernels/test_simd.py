"""Narrow products are exact integer arithmetic, whichever instructions the processor has for them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from vqaudio.kernels import int16_weights as narrow
from vqaudio.kernels.elementwise import SHIFT, UNIT
from vqaudio.kernels.simd import _HAS, COLUMNS, LANES, ROWS, add_columns, add_rows, narrow_rows

INPUTS, OUTPUTS = 6, 2 * COLUMNS


@njit
def columns(y, base, products, x):  # type: ignore[no-untyped-def]
    w, scales, biases = products.lanes[0], products.scales[0], products.biases[0]
    for column in range(0, scales.shape[0], COLUMNS):
        add_columns(y, base, w, x, scales, biases, np.float32(0.5), column, x.shape[0])


@njit
def rows(y, base, products, x, steps):  # type: ignore[no-untyped-def]
    w, scales, biases = products.lanes[0], products.scales[0], products.biases[0]
    for row in range(0, scales.shape[0], ROWS):
        add_rows(y, base, w, x, scales, biases, steps, row, x.shape[0])


@njit
def narrowed(lanes, steps, x, count):  # type: ignore[no-untyped-def]
    narrow_rows(lanes, steps, x, count, UNIT, SHIFT)


def paired(inputs: np.ndarray) -> np.ndarray:
    """Input p and input n / 2 + p in one lane."""
    return np.ascontiguousarray(np.stack(np.split(inputs.astype(np.int16), 2), axis=-1)).view(np.int32)[..., 0]


def check_products() -> None:
    """Both products, of inputs as large as they get, against the definition."""
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((1, INPUTS, OUTPUTS)).astype(np.float32)
    biases = rng.standard_normal((1, OUTPUTS)).astype(np.float32)
    inputs = rng.integers(-narrow.LARGEST, narrow.LARGEST + 1, (INPUTS, LANES))
    inputs[:, 0] = narrow.LARGEST
    base = rng.standard_normal((OUTPUTS, LANES)).astype(np.float32)
    expected = base + biases[0, :, None] + 0.5 * matrix[0].T.astype(np.float64) @ inputs
    y = np.empty_like(base)
    rows(y, base, narrow.narrow(matrix, biases, ROWS), paired(inputs), np.full(LANES, 0.5, np.float32))
    np.testing.assert_allclose(y, expected, atol=2)  # of 10,000: the weights' own rounding
    one, wide = np.empty(OUTPUTS, np.float32), narrow.narrow(matrix, biases, COLUMNS)
    for stream in range(LANES):
        columns(one, np.ascontiguousarray(base[:, stream]), wide, paired(inputs[:, stream]))
        np.testing.assert_allclose(one, y[:, stream], rtol=1e-6)


def test_products_follow_the_definition() -> None:
    check_products()


LEVELS = {"generic": "", "haswell": "+avx,+avx2,+fma", "skylake-avx512": "+avx,+avx2,+fma,+avx512f,+avx512bw"}


@pytest.mark.parametrize("cpu", LEVELS)
def test_other_instruction_sets_compute_the_same(cpu: str, tmp_path: Path) -> None:
    features = LEVELS[cpu]
    if not {word[1:] for word in features.split(",") if word} <= _HAS:
        pytest.skip(f"this processor has not all of {features}")
    chosen = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", "import test_simd; test_simd.check_products()"]
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, **chosen, "PYTHONPATH": paths}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


SPREADS = st.just(0.0) | st.floats(1e-30, 1e6)  # in between, float32 itself is coarser than the bound


@given(st.integers(1, 9), st.integers(1, 5), SPREADS, st.integers(0, 2**32 - 1))
def test_no_sum_can_leave_32_bits(inputs: int, outputs: int, spread: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = (rng.standard_normal((1, inputs, outputs)) * spread).astype(np.float32)
    matrix[:, :, 0] = spread  # all alike: the largest sum that there can be
    products = narrow.narrow(matrix, np.zeros((1, outputs), np.float32), 4)
    whole = products.lanes.view(np.int16).reshape(-1, (inputs + 1) // 2, 4, 2).transpose(3, 1, 0, 2)
    whole = whole.reshape(2 * ((inputs + 1) // 2), -1)[:inputs, :outputs].astype(np.int64)
    assert np.abs(whole).sum(axis=0).max() * narrow.LARGEST < 2**31
    np.testing.assert_allclose(whole * products.scales[0, :outputs], matrix[0], atol=spread * 6e-5 * inputs)


@pytest.mark.parametrize("count", [1, 4, 5])
def test_inputs_are_rounded_to_13_bits_of_the_largest(count: int) -> None:
    rng = np.random.default_rng(count)
    x = rng.standard_normal((count + 1, LANES)).astype(np.float32)
    x[:, 1] = 0
    lanes, steps = np.empty(((count + 1) // 2, LANES), np.int32), np.empty(LANES, np.float32)
    narrowed(lanes, steps, x, count)
    halves = lanes.view(np.int16).reshape(-1, LANES, 2).transpose(2, 0, 1).reshape(-1, LANES)[:count]
    top = np.abs(x[:count]).max(axis=0)
    np.testing.assert_allclose(halves * steps, x[:count], atol=top.max() / narrow.LARGEST)
    assert np.abs(halves[:, 0]).max() == narrow.LARGEST
    assert not halves[:, 1].any()
