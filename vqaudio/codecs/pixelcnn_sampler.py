"""From a torch PixelCNN to its kernels: exports the weights, draws grids of codes, gives the coder its frequencies."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from vqaudio.bitstream.entropy import Codes, FrequencyModel
from vqaudio.codecs.progress import Progress
from vqaudio.codecs.sampling import SampleOptions
from vqaudio.errors import ConfigError
from vqaudio.models.image_vqvae import ImageVQVAE
from vqaudio.models.pixelcnn import GatedPixelLayer, PixelCNN

if TYPE_CHECKING:
    from vqaudio.kernels.pixelcnn_reference import PixelWeights

Floats = npt.NDArray[np.float32]


def _array(tensor: torch.Tensor) -> Floats:
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())


def export(network: PixelCNN, label: int | None = None) -> "PixelWeights":
    """The kernels' arrays of ``network``, told the class number ``label`` where it knows classes."""
    from vqaudio.kernels.pixelcnn_reference import PixelWeights

    layers = [layer for layer in network.layers if isinstance(layer, GatedPixelLayer)]
    width = 2 * network.config.residual
    added = np.zeros((len(layers), 2, width), np.float32)
    if network.classes is not None:
        assert label is not None, "a prior with classes must be told which"
        added = _array(network.classes.weight[label]).reshape(added.shape)
    return PixelWeights(
        embedding=_array(network.embedding),
        vertical=np.stack([_array(layer.vertical.weight.T) for layer in layers]),
        vertical_bias=np.stack([_array(layer.vertical.bias) for layer in layers]) + added[:, 0],
        horizontal=np.stack([_array(layer.horizontal.weight.T) for layer in layers]),
        horizontal_bias=np.stack([_array(layer.horizontal.bias) for layer in layers]) + added[:, 1],
        out=np.stack([_array(layer.out.weight.T) for layer in layers]),
        out_bias=np.stack([_array(layer.out.bias) for layer in layers]),
        hidden=_array(network.hidden.weight.T),
        hidden_bias=_array(network.hidden_bias),
        told=_array(network.told),
        logits=_array(network.logits_weight.weight.T),
        logits_bias=_array(network.logits_bias),
        reach=network.config.kernel_size // 2,
    )


class GridSampler:
    """Draws grids ``[rows, columns, latents]`` of codes. The first use on a machine compiles the kernel."""

    def __init__(
        self,
        network: PixelCNN,
        rows: int,
        columns: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        label: int | None = None,
    ) -> None:
        from vqaudio.kernels import pixelcnn as pixel_cpu
        from vqaudio.kernels.wavenet_reference import Draw

        self._kernel = pixel_cpu.PixelKernel(export(network, label), rows, columns)
        self._rule, self._shape = Draw(temperature, top_p), (rows, columns, network.latents)

    def draw(self, uniforms: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
        """A grid, one of ``uniforms[rows * columns * latents]`` (0 to below 1) a code."""
        return self._kernel.generate(uniforms, self._rule).astype(np.int32).reshape(self._shape)


def sample_tiles(model: ImageVQVAE, options: SampleOptions, label: int | None, progress: Progress) -> Codes:
    """New tiles ``[count, rows, columns, latents]`` from the prior of ``model``, told the class ``label`` where it
    knows classes."""
    assert model.prior is not None
    rows, columns, latents = model.config.grid
    sampler = GridSampler(model.prior, rows, columns, options.temperature, options.top_p, label)
    drawn = np.empty((options.count, rows, columns, latents), np.int32)
    for index in range(options.count):
        drawn[index] = sampler.draw(options.generator(index).random(rows * columns * latents))
        progress((index + 1) / options.count)
    return drawn


def grid_frequency_model(network: PixelCNN, rows: int, columns: int) -> Callable[[], FrequencyModel]:
    """``network`` in integers, for :class:`~vqaudio.bitstream.entropy.PriorCoder`: each grid on its own.

    The first use on a machine compiles the kernel.

    Raises:
        ModelError: the weights are no trained network's.
    """
    from vqaudio.kernels import pixelcnn_integer as pixel_fixed
    from vqaudio.kernels.fixed_point import frozen

    weights = frozen(pixel_fixed.quantise(export(network)))
    return partial(pixel_fixed.FixedPixelKernel, weights, rows, columns)


def picture_frequency_model(model: ImageVQVAE) -> Callable[[], FrequencyModel]:
    """That of a model's prior.

    Raises:
        ConfigError: the model has no prior, or one that must be told a class.
    """
    if model.prior is None:
        raise ConfigError("the model has no prior to code with: use the packed coder")
    if model.config.classes:
        raise ConfigError("the model's prior must be told a class, which no stream names: use the packed coder")
    return grid_frequency_model(model.prior, *model.config.grid[:2])
