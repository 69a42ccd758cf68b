"""New pictures: codes drawn from the prior one after another (VQ-VAE, section 3.3), as a stream like any other."""

from collections.abc import Callable

import numpy as np

from vqaudio.bitstream.stream import Stream
from vqaudio.codecs.image import ImageCodec
from vqaudio.codecs.image_sampler import GridSampler
from vqaudio.errors import ConfigError, ModelError

MOST_PICTURES = 4096


def grid_rows(count: int) -> int:
    """Rows in which ``count`` pictures make the squarest full rectangle."""
    return max(rows for rows in range(1, int(count**0.5) + 1) if count % rows == 0)


def generate_pictures(
    codec: ImageCodec,
    count: int = 1,
    seed: int = 0,
    temperature: float = 1.0,
    top_p: float = 1.0,
    label: str | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> Stream:
    """Draws ``count`` new tiles and lays them side by side, as the stream of one picture.

    Args:
        codec: of a model with a prior.
        count: 1 to 4096.
        seed: 0 to 2**63 - 1. The same seed draws the same tiles, however many more are drawn.
        temperature: above 0; 1 draws from the prior itself, less keeps to what is likely.
        top_p: above 0 to 1; draws only from the likeliest codes that together have this share.
        label: the class, where the model's prior must be told one.
        progress: is told the share that is done, 0 to 1.

    Raises:
        ModelError: the model has no prior.
        ConfigError: a number is out of range, or the class is not known, missing, or of no use to this model.
    """
    if codec.model.prior is None:
        raise ModelError("the model has no prior, so it cannot draw pictures by itself; give one that has")
    bounds = {
        "count": (count, 1 <= count <= MOST_PICTURES, f"1 to {MOST_PICTURES}"),
        "seed": (seed, 0 <= seed < 2**63, f"0 to {2**63 - 1}"),
        "temperature": (temperature, 0 < temperature < np.inf, "a number above 0"),
        "top_p": (top_p, 0 < top_p <= 1, "above 0 up to 1"),
    }
    for name, (value, valid, allowed) in bounds.items():
        if not valid:
            raise ConfigError(f"{name} = {value} is not valid: give {allowed}")
    rows, columns, latents = codec.config.grid
    sampler = GridSampler(codec.model.prior, rows, columns, temperature, top_p, _class_number(codec, label))
    drawn = np.empty((count, rows, columns, latents), np.int32)
    for index in range(count):
        drawn[index] = sampler.draw(np.random.default_rng([seed, index]).random(rows * columns * latents))
        progress((index + 1) / count)
    return codec.stream_of(drawn, grid_rows(count))


def _class_number(codec: ImageCodec, label: str | None) -> int | None:
    classes = codec.config.classes
    if not classes:
        if label is not None:
            raise ConfigError(f"label = {label!r} is of no use: the model knows no classes; leave it out")
        return None
    if label not in classes:
        raise ConfigError(f"label = {label!r} is not valid: give one of {', '.join(classes)}")
    return classes.index(label)
