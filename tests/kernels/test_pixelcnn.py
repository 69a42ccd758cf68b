"""kernels/pixel_*.py, image_sample.py: each kernel equals its reference, and that the network; integers travel."""

import hashlib

import numpy as np
import pytest
import torch

from vqaudio.bitstream.entropy import FREQUENCY_BITS, PriorCoder
from vqaudio.codecs.pixelcnn_sampler import GridSampler, export, grid_frequency_model
from vqaudio.errors import ModelError
from vqaudio.kernels import pixelcnn as pixel_cpu
from vqaudio.kernels import pixelcnn_integer as pixel_fixed
from vqaudio.kernels import pixelcnn_reference as pixel_reference
from vqaudio.kernels.wavenet_reference import Draw
from vqaudio.models.image_config import PixelCNNConfig
from vqaudio.models.pixelcnn import PixelCNN

LEVELS, ROWS, COLUMNS = 20, 4, 5


def network(latents: int, kernel_size: int, classes: int = 0, scale: float = 1.0) -> PixelCNN:
    torch.manual_seed(latents)
    config = PixelCNNConfig(levels=LEVELS, residual=8, skip=6, hidden=10, layers=3, kernel_size=kernel_size)
    prior = PixelCNN(config, latents, classes)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.mul_(scale)
        prior.hidden_bias.normal_()
        prior.logits_bias.normal_()
    return prior.eval()


def grid(latents: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, LEVELS, (ROWS, COLUMNS, latents))


CASES = [(1, 3), (1, 5), (3, 3), (2, 7)]


@pytest.mark.parametrize(("latents", "kernel_size"), CASES)
def test_step_by_step_is_the_teacher_forced_forward(latents: int, kernel_size: int) -> None:
    prior, codes = network(latents, kernel_size), grid(latents)
    with torch.no_grad():
        forward = prior.logits(torch.from_numpy(codes)[None])[0].movedim(0, -1).reshape(-1, LEVELS).numpy()
    weights = export(prior)
    for kernel in (pixel_reference.PixelKernel, pixel_cpu.PixelKernel):
        assert np.abs(kernel(weights, ROWS, COLUMNS).forced_logits(codes.ravel()) - forward).max() < 2e-6


@pytest.mark.parametrize(("latents", "kernel_size"), CASES)
def test_the_kernel_draws_as_the_reference(latents: int, kernel_size: int) -> None:
    weights = export(network(latents, kernel_size))
    uniforms = np.random.default_rng(0).random(ROWS * COLUMNS * latents)
    kernels = [kind(weights, ROWS, COLUMNS) for kind in (pixel_reference.PixelKernel, pixel_cpu.PixelKernel)]
    for rule in (Draw(), Draw(0.7), Draw(1.1, 0.8)):
        slow, fast = (kernel.generate(uniforms, rule) for kernel in kernels)
        assert np.array_equal(slow, fast)


def test_a_call_begins_a_new_grid() -> None:
    kernel = pixel_cpu.PixelKernel(export(network(2, 3)), ROWS, COLUMNS)
    first = kernel.forced_logits(grid(2).ravel())
    kernel.forced_logits(grid(2, 1).ravel()[:17])
    assert np.array_equal(kernel.forced_logits(grid(2).ravel()), first)


def test_a_class_is_in_the_exported_biases() -> None:
    prior, codes = network(1, 3, classes=3), grid(1)
    for label in (0, 2):
        with torch.no_grad():
            forward = prior.logits(torch.from_numpy(codes)[None], torch.tensor([label]))[0].movedim(0, -1)
        scored = pixel_cpu.PixelKernel(export(prior, label), ROWS, COLUMNS).forced_logits(codes.ravel())
        assert np.abs(scored - forward.reshape(-1, LEVELS).numpy()).max() < 2e-6


def test_the_sampler_gives_grids_and_obeys_its_numbers() -> None:
    prior = network(2, 3)
    uniforms = np.random.default_rng(0).random(ROWS * COLUMNS * 2)
    drawn = GridSampler(prior, ROWS, COLUMNS).draw(uniforms)
    assert drawn.shape == (ROWS, COLUMNS, 2)
    assert np.array_equal(drawn, GridSampler(prior, ROWS, COLUMNS).draw(uniforms))
    assert not np.array_equal(drawn, GridSampler(prior, ROWS, COLUMNS).draw(1 - uniforms))


# ----------------------------------------------------------------------------------------------------------- integers


@pytest.mark.parametrize(("latents", "kernel_size"), CASES)
@pytest.mark.parametrize("scale", [1.0, 3.0, 0.01])
def test_the_integer_kernel_equals_its_reference(latents: int, kernel_size: int, scale: float) -> None:
    weights = pixel_fixed.quantise(export(network(latents, kernel_size, scale=scale)))
    codes = [grid(latents, seed) for seed in range(2)]
    expected = [
        pixel_fixed.PixelReference(weights, ROWS, COLUMNS).frequencies(one).reshape(-1, LEVELS) for one in codes
    ]
    kernel = pixel_fixed.FixedPixelKernel(weights, ROWS, COLUMNS)
    kernel.start()
    past = np.concatenate([[LEVELS], codes[0].ravel(), codes[1].ravel()[:-1]])
    parts = [
        kernel.frequencies_along(past[:7]),
        kernel.frequencies(int(past[7]))[None],
        kernel.frequencies_along(past[8:]),
    ]
    assert np.array_equal(np.concatenate(parts), np.concatenate(expected))


@pytest.mark.parametrize(("latents", "kernel_size"), CASES)
def test_the_integers_are_near_the_floats(latents: int, kernel_size: int) -> None:
    prior, codes = network(latents, kernel_size), grid(latents)
    with torch.no_grad():
        shares = prior.logits(torch.from_numpy(codes)[None])[0].softmax(0).movedim(0, -1).numpy()
    weights = pixel_fixed.quantise(export(prior))
    frequencies = pixel_fixed.PixelReference(weights, ROWS, COLUMNS).frequencies(codes)
    assert frequencies.min() >= 1
    assert (frequencies.sum(-1) == 1 << FREQUENCY_BITS).all()
    assert np.abs(frequencies / 2**FREQUENCY_BITS - shares).max() < 2e-3


def test_the_integers_are_the_same_everywhere() -> None:
    """Weights that no library's random numbers touch, and the frequencies that every machine must find."""
    prior = network(2, 3)
    with torch.no_grad():
        for number, parameter in enumerate(prior.parameters()):
            values = (np.arange(parameter.numel()) * 7919 + number * 104729) % 2001 - 1000
            parameter.copy_(torch.from_numpy(values.astype(np.float32) / 2048).view_as(parameter))
    model = grid_frequency_model(prior, ROWS, COLUMNS)()
    codes = (np.arange(2 * ROWS * COLUMNS * 2) * 31) % LEVELS
    found = model.frequencies_along(np.concatenate([[LEVELS], codes[:-1]]))
    assert hashlib.sha256(found.astype("<i4").tobytes()).hexdigest()[:16] == "172435c2be4ea356"


def test_grids_are_coded_each_on_its_own() -> None:
    coder = PriorCoder(grid_frequency_model(network(2, 3), ROWS, COLUMNS))
    first, second = (grid(2, seed).ravel().astype(np.int32) for seed in range(2))
    both = np.concatenate([first, second])
    assert np.array_equal(coder.decode(coder.encode(both), len(both)), both)
    frequencies = grid_frequency_model(network(2, 3), ROWS, COLUMNS)()
    alone = frequencies.frequencies_along(np.concatenate([[LEVELS], second[:-1]]))
    frequencies.start()
    after = frequencies.frequencies_along(np.concatenate([[LEVELS], both[:-1]]))[len(first) :]
    assert np.array_equal(alone, after)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e6])
def test_weights_that_no_training_makes_are_refused(bad: float) -> None:
    prior = network(1, 3)
    with torch.no_grad():
        prior.logits_bias[0, 0] = bad
    with pytest.raises(ModelError, match="cannot code"):
        grid_frequency_model(prior, ROWS, COLUMNS)


def test_weights_that_multiply_up_too_far_are_refused() -> None:
    with pytest.raises(ModelError, match="too large"):
        grid_frequency_model(network(1, 3, scale=1e4), ROWS, COLUMNS)
