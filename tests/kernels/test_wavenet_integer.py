"""The integer network: one definition, a kernel equal to it bit for bit, the same bytes everywhere, hardly a bit lost.

The weights of the golden network come from a recurrence in integers, so that nothing here hangs on a random generator.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqaudio.arrays import FREQUENCY_BITS
from vqaudio.bitstream.entropy import FrequencyModel, PriorCoder
from vqaudio.errors import ModelError
from vqaudio.kernels import fixed_point
from vqaudio.kernels.wavenet_integer import FixedKernel, FixedWeights, Reference, quantise
from vqaudio.kernels.wavenet_reference import Weights

TOTAL = 1 << FREQUENCY_BITS
SIZES = {"levels": 37, "residual": 10, "skip": 13, "hidden": 11, "dilations": (1, 2, 5, 3)}
GOLDEN = {
    "tables": "7c3057e43a8dca80128f552fef893360",
    "weights": "5183681b67e8466011a442ef6141629a",
    "frequencies": "8486982301e50e7e45afff163f11ac6c",
    "payload": "e3f575d892046e99c57b4db688e47f74cc79bfdbebb853a555bbb6"
    "151b7ff9d7ae0327b0aef6a74df68a65f7b9de4d3942eded5479",
}


def recurrence(count: int, seed: int) -> npt.NDArray[np.int64]:
    """``count`` integers from -1000 to 1000."""
    state, values = seed, []
    for _ in range(count):
        state = (state * 1103515245 + 12345) % 2**31
        values.append((state >> 8) % 2001 - 1000)
    return np.array(values)


def network(
    levels: int, residual: int, skip: int, hidden: int, dilations: tuple[int, ...], scale: float = 1.0, seed: int = 1
) -> FixedWeights:
    """A network of the given sizes, its weights as large as those of a trained one where ``scale`` is 1."""
    layers = len(dilations)

    def array(*shape: int, reach: float) -> npt.NDArray[np.float32]:
        nonlocal seed
        seed += 1
        return (recurrence(int(np.prod(shape)), seed).reshape(shape) / 1024 * reach * scale).astype(np.float32)

    weights = Weights(
        embedding=array(levels + 1, residual, reach=2.0),
        phases=np.zeros((1, residual), np.float32),
        past=array(layers, residual, 2 * residual, reach=0.5),
        now=array(layers, residual, 2 * residual, reach=0.5),
        out=array(layers, residual, residual + skip, reach=0.5),
        out_bias=array(layers, residual + skip, reach=0.25),
        hidden=array(skip, hidden, reach=0.5),
        hidden_bias=array(hidden, reach=0.25),
        logits=array(hidden, levels, reach=1.0),
        logits_bias=array(levels, reach=1.0),
        dilations=np.array(dilations, np.int64),
    )
    return quantise(weights, array(layers, 2 * residual, reach=0.25))


def symbols(count: int, levels: int, seed: int = 5) -> npt.NDArray[np.int32]:
    return (recurrence(count, seed) % levels).astype(np.int32)


def past_of(codes: npt.NDArray[np.int32], levels: int) -> npt.NDArray[np.int32]:
    return np.concatenate([[levels], codes])[: len(codes)].astype(np.int32)


def sha256(*arrays: npt.ArrayLike) -> str:
    return hashlib.sha256(b"".join(np.asarray(array).astype("<i8").tobytes() for array in arrays)).hexdigest()[:32]


def measured() -> dict[str, str]:
    """What :data:`GOLDEN` holds, computed here and now."""
    weights = network(**SIZES)
    kernel, codes = FixedKernel(weights), symbols(70, SIZES["levels"])
    payload = PriorCoder(lambda: kernel).encode(codes)
    assert (PriorCoder(lambda: kernel).decode(payload, len(codes)) == codes).all()
    kernel.start()
    return {
        "tables": sha256(*fixed_point.tables()),
        "weights": sha256(*weights.layers, *weights.head),
        "frequencies": sha256(kernel.frequencies_along(past_of(codes, kernel.levels))),
        "payload": payload.hex(),
    }


# ------------------------------------------------------------------------------------------------ the same everywhere


def test_golden() -> None:
    assert measured() == GOLDEN


@pytest.mark.parametrize(
    "environment",
    [
        {"NUMBA_CPU_NAME": "generic", "NUMBA_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"},
        {"OMP_NUM_THREADS": "1"},
        {"NUMBA_DISABLE_JIT": "1"},
    ],
    ids=["no vector extensions, two threads", "another process, one thread", "without the compiler"],
)
def test_golden_in_another_process(environment: dict[str, str], tmp_path: Path) -> None:
    if "NUMBA_CPU_NAME" in environment:
        environment = {**environment, "NUMBA_CACHE_DIR": str(tmp_path)}
    here = str(Path(__file__).parent)
    script = f"import sys; sys.path.insert(0, {here!r}); import test_wavenet_integer as t; print(t.measured())"
    run = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == str(GOLDEN)


def test_the_tables_are_tanh_and_exp() -> None:
    tanh, exp = fixed_point.tables()
    np.testing.assert_allclose(tanh / 2**14, np.tanh(np.arange(-8192, 8192) / 1024), atol=0.5001 / 2**14)
    np.testing.assert_allclose(exp / 2**24, np.exp(-np.arange(len(exp)) / 256), atol=0.5001 / 2**24)
    assert exp[-1] == 0 < exp[-2]


# ------------------------------------------------------------------------------------------- the kernel, the definition


@given(
    st.integers(2, 40),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.sampled_from([0.0, 1e-6, 0.1, 1.0, 8.0, 100.0]),
    st.integers(0, 2**30),
)
@settings(max_examples=40, deadline=None)
def test_the_kernel_is_the_reference(
    levels: int, widths: tuple[int, int, int], dilations: list[int], scale: float, seed: int
) -> None:
    weights = network(levels, *widths, tuple(dilations), scale, seed)
    past = past_of(symbols(25, levels, seed), levels)
    reference = Reference(weights)
    expected = np.stack([reference.frequencies(int(symbol)) for symbol in past])
    np.testing.assert_array_equal(FixedKernel(weights).frequencies_along(past), expected)
    assert (expected.sum(1) == TOTAL).all()
    assert expected.min() >= 1


@pytest.mark.parametrize("reach", [0.25, 2.0, 5.0])
def test_sums_as_large_as_they_get_do_not_overflow(reach: float) -> None:
    """All weights alike, so that the terms of each sum add up with one sign; the reference computes in int64."""
    levels, residual, dilations = 5, 64, (1, 2, 4)

    def full(*shape: int) -> npt.NDArray[np.float32]:
        return np.full(shape, reach, np.float32)

    layers = len(dilations)
    weights = Weights(
        embedding=full(levels + 1, residual) * np.array([1, -1, 1, -1, 1, 1], np.float32)[:, None],
        phases=np.zeros((1, residual), np.float32),
        past=full(layers, residual, 2 * residual),
        now=full(layers, residual, 2 * residual),
        out=full(layers, residual, 2 * residual),
        out_bias=full(layers, 2 * residual),
        hidden=full(residual, residual),
        hidden_bias=full(residual),
        logits=full(residual, levels) * np.linspace(-1, 1, levels, dtype=np.float32),
        logits_bias=full(levels),
        dilations=np.array(dilations),
    )
    quantised = quantise(weights, full(layers, 2 * residual))
    reference, past = Reference(quantised), past_of(symbols(30, levels), levels)
    expected = np.stack([reference.frequencies(int(symbol)) for symbol in past])
    np.testing.assert_array_equal(FixedKernel(quantised).frequencies_along(past), expected)
    largest = np.abs(quantised.layers.taps.astype(np.int64)).sum(1).max()
    assert 2**28 < largest * (2**15 - 1) < 2**31  # near the edge, or this test shows nothing


@pytest.mark.parametrize("scale", [float("nan"), 1e30, 1e9, 2e4])
def test_weights_beyond_integers_are_refused(scale: float) -> None:
    with pytest.raises(ModelError, match="train it anew"):
        network(**SIZES, scale=scale)


@given(st.lists(st.integers(-(2**40), 2**40) | st.integers(-3000, 3000), min_size=2, max_size=60))
@settings(max_examples=100, deadline=None)
def test_frequencies_follow_the_logits(logits: list[int]) -> None:
    values = np.array(logits)
    expected = Reference.shares(values)
    frequencies = np.empty(len(values), np.int32)
    fixed_point.shares(values.copy(), fixed_point.tables()[1], frequencies)
    np.testing.assert_array_equal(frequencies, expected)
    assert frequencies.sum() == TOTAL
    order = np.lexsort((frequencies, values))
    assert (np.diff(frequencies[order]) >= 0).all()
    softmax = np.exp((values - values.max()) / 256)
    np.testing.assert_allclose(frequencies / TOTAL, softmax / softmax.sum(), atol=(len(values) + 2) / TOTAL, rtol=1e-6)


def test_blocks_do_not_matter() -> None:
    model: FrequencyModel = FixedKernel(network(**SIZES))
    past = past_of(symbols(40, model.levels), model.levels)
    whole = model.frequencies_along(past)
    for size in (1, 7, 39):
        model.start()
        parts = [model.frequencies_along(past[first : first + size]) for first in range(0, len(past), size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    model.start()
    np.testing.assert_array_equal(np.stack([model.frequencies(int(symbol)) for symbol in past]), whole)


# ---------------------------------------------------------------------------------------------------- the float prior


def source(count: int, length: int, levels: int, seed: int) -> npt.NDArray[np.int64]:
    """Codes that mostly depend on the one before and the one four before: ``[count, length]``."""
    rng = np.random.default_rng(seed)
    codes, chance = rng.integers(0, levels, (count, length)), rng.random((count, length))
    for t in range(4, length):
        known = np.where(chance[:, t] < 0.6, codes[:, t - 1] + 1, codes[:, t - 4]) % levels
        codes[:, t] = np.where(chance[:, t] < 0.8, known, codes[:, t])
    return codes


def test_integers_cost_less_than_half_a_percent() -> None:
    import torch

    from vqaudio.codecs import sampler as sample
    from vqaudio.models.config import WaveNetConfig
    from vqaudio.models.prior import WaveNetPrior

    torch.manual_seed(3)
    levels = 32
    prior = WaveNetPrior(WaveNetConfig(levels, 24, 24, 32, (1, 2, 1, 2), features=0, hop_length=1), 0)
    optimizer = torch.optim.Adam(prior.parameters(), 1e-2)
    for step in range(40):
        loss = prior.nll(torch.from_numpy(source(16, 48, levels, seed=step))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    codes = source(1, 800, levels, seed=1000)
    with torch.no_grad():
        exact = prior.nll(torch.from_numpy(codes)).sum().item() / np.log(2)
    assert exact < 0.8 * codes.size * np.log2(levels)  # it has learnt, so that its weights are no random ones
    model = sample.frequency_model(prior.wavenet)()
    frequencies = model.frequencies_along(past_of(codes[0].astype(np.int32), levels))
    assert -np.log2(frequencies[np.arange(800), codes[0]] / TOTAL).sum() < 1.005 * exact


def test_marks_tell_a_step_its_place() -> None:
    import torch

    from vqaudio.codecs import sampler as sample
    from vqaudio.models.config import WaveNetConfig
    from vqaudio.models.prior import WaveNetPrior

    torch.manual_seed(4)
    prior = WaveNetPrior(WaveNetConfig(9, 8, 8, 8, (1, 2), features=0, hop_length=1, phases=4), 0)
    assert prior.wavenet.phase_embedding is not None
    torch.nn.init.normal_(prior.wavenet.phase_embedding.weight, std=2.0)
    codes = symbols(60, 9)
    model = sample.frequency_model(prior.wavenet)()
    found = model.frequencies_along(past_of(codes, 9)) / TOTAL
    with torch.no_grad():
        exact = prior.logits(torch.from_numpy(codes)[None].long())[0].softmax(0).T.numpy()
    np.testing.assert_allclose(found, exact, atol=0.01)
    reference = Reference(model._weights)
    expected = [reference.frequencies(int(symbol)) for symbol in past_of(codes, 9)]
    np.testing.assert_array_equal(found, np.stack(expected) / TOTAL)
    model.start()
    np.testing.assert_array_equal(model.frequencies_along(past_of(codes, 9)) / TOTAL, found)


def test_a_prior_of_speakers_is_refused() -> None:
    from vqaudio.codecs import sampler as sample
    from vqaudio.models.config import WaveNetConfig
    from vqaudio.models.prior import WaveNetPrior

    prior = WaveNetPrior(WaveNetConfig(8, 4, 4, 4, (1, 2), features=3, hop_length=1), 2)
    with pytest.raises(ModelError, match="packed"):
        sample.frequency_model(prior.wavenet)
