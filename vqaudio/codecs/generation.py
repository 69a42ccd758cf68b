"""New speech and new pictures: tokens drawn from the prior one after another (VQ-VAE, section 3.3), as streams like any
other."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vqaudio.bitstream.stream import Stream
from vqaudio.codecs.sampler import Sampler
from vqaudio.codecs.speech import Codec
from vqaudio.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from vqaudio.codecs.image import ImageCodec

_CHUNK_TOKENS = 128  # drawn between two reports of progress
PROMPT_TOKENS = 4096  # of a prompt's end, which the prior hears; its memory is shorter
LONGEST_S, MOST_SOUNDS, MOST_PICTURES = 3600, 1024, 4096


def _check_draw(count: int, most: int, seed: int, temperature: float, top_p: float) -> None:
    """Refuses what no draw can be made with (``ConfigError``)."""
    bounds = {
        "count": (count, 1 <= count <= most, f"1 to {most}"),
        "seed": (seed, 0 <= seed < 2**63, f"0 to {2**63 - 1}"),
        "temperature": (temperature, 0 < temperature < np.inf, "a number above 0"),
        "top_p": (top_p, 0 < top_p <= 1, "above 0 up to 1"),
    }
    for name, (value, valid, allowed) in bounds.items():
        if not valid:
            raise ConfigError(f"{name} = {value} is not valid: give {allowed}")


# ------------------------------------------------------------------------------------------------------------- speech


def generate(
    codec: Codec,
    seconds: float,
    count: int = 1,
    seed: int = 0,
    temperature: float = 1.0,
    top_p: float = 1.0,
    prompt: Stream | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> list[Stream]:
    """Draws ``count`` streams of ``seconds`` of new sound.

    Args:
        codec: of a model with a prior.
        seconds: above 0, of new sound.
        count: 1 to 1024; each stream is another draw.
        seed: 0 to 2**63 - 1. The same seed draws the same tokens.
        temperature: above 0; 1 draws from the prior itself, less keeps to what is likely.
        top_p: above 0 to 1; draws only from the likeliest tokens that together have this share.
        prompt: a stream of one channel, made by this model; its tokens come first, and the new ones go on from there.
        progress: is told the share that is done, 0 to 1.

    Raises:
        ModelError: the model has no prior, or the prior needs a speaker; or another model made the prompt.
        ConfigError: a number is out of range, or the prompt has several channels.
    """
    _check(codec, seconds, count, seed, temperature, top_p)
    spoken = _prompt_codes(codec, prompt)
    vectors = max(1, round(seconds * codec.config.sample_rate_hz / codec.config.encoder.hop_length))
    tokens = vectors * codec.model.num_quantizers
    drawn = _draw(codec, tokens, count, seed, temperature, top_p, spoken, progress)
    level = prompt.header.levels[0] if prompt else 1.0
    stages = codec.num_quantizers
    whole = (np.concatenate([spoken, tokens]).reshape(1, -1, stages) for tokens in drawn)
    return [codec.stream_of(codes.transpose(0, 2, 1), level) for codes in whole]


def _check(codec: Codec, seconds: float, count: int, seed: int, temperature: float, top_p: float) -> None:
    prior = codec.model.prior_network()
    if prior is None:
        raise ModelError("the model has no prior, so it cannot speak by itself; give one that has")
    if prior.config.features:
        raise ModelError("the model's prior needs to be told who speaks, which cannot be chosen yet")
    if not 0 < seconds <= LONGEST_S:
        raise ConfigError(f"seconds = {seconds} is not valid: give above 0 up to {LONGEST_S}")
    _check_draw(count, MOST_SOUNDS, seed, temperature, top_p)


def _prompt_codes(codec: Codec, prompt: Stream | None) -> npt.NDArray[np.int32]:
    if prompt is None:
        return np.zeros(0, np.int32)
    codec.check(prompt.header)
    if prompt.header.channels != 1:
        raise ConfigError(f"the prompt has {prompt.header.channels} channels: give one of a single channel")
    return prompt.tokens[0]


def _draw(
    codec: Codec,
    tokens: int,
    count: int,
    seed: int,
    temperature: float,
    top_p: float,
    spoken: npt.NDArray[np.int32],
    progress: Callable[[float], None],
) -> npt.NDArray[np.int32]:
    """New tokens ``[count, tokens]``."""
    wavenet = codec.model.prior_network()
    assert wavenet is not None

    def phases(first: int, size: int) -> npt.NDArray[np.int64] | None:
        kinds = wavenet.config.phases
        return np.tile((first + np.arange(size)) % kinds, (count, 1)) if kinds else None

    streams = Sampler(wavenet, wavenet.config.levels, temperature, top_p).streams(count)
    heard = spoken[-PROMPT_TOKENS:].astype(np.int64)
    streams.follow(np.zeros((count, len(heard), 0), np.float32), np.tile(heard, (count, 1)), phases(0, len(heard)))
    generators = [np.random.default_rng([seed, index]) for index in range(count)]
    parts = []
    for first in range(0, tokens, _CHUNK_TOKENS):
        size = min(_CHUNK_TOKENS, tokens - first)
        uniforms = np.stack([generator.random(size) for generator in generators])
        signs = phases(len(heard) + first, size)
        parts.append(streams.push(np.zeros((count, size, 0), np.float32), uniforms, signs))
        progress((first + size) / tokens)
    return np.concatenate(parts, axis=1).astype(np.int32)


# ----------------------------------------------------------------------------------------------------------- pictures


def grid_rows(count: int) -> int:
    """Rows in which ``count`` pictures make the squarest full rectangle."""
    return max(rows for rows in range(1, int(count**0.5) + 1) if count % rows == 0)


def generate_pictures(
    codec: "ImageCodec",
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
    from vqaudio.codecs.pixelcnn_sampler import GridSampler

    if codec.model.prior is None:
        raise ModelError("the model has no prior, so it cannot draw pictures by itself; give one that has")
    _check_draw(count, MOST_PICTURES, seed, temperature, top_p)
    rows, columns, latents = codec.config.grid
    sampler = GridSampler(codec.model.prior, rows, columns, temperature, top_p, _class_number(codec, label))
    drawn = np.empty((count, rows, columns, latents), np.int32)
    for index in range(count):
        drawn[index] = sampler.draw(np.random.default_rng([seed, index]).random(rows * columns * latents))
        progress((index + 1) / count)
    return codec.stream_of(drawn, grid_rows(count))


def _class_number(codec: "ImageCodec", label: str | None) -> int | None:
    classes = codec.config.classes
    if not classes:
        if label is not None:
            raise ConfigError(f"label = {label!r} is of no use: the model knows no classes; leave it out")
        return None
    if label not in classes:
        raise ConfigError(f"label = {label!r} is not valid: give one of {', '.join(classes)}")
    return classes.index(label)
