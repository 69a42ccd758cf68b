"""New tokens of sound, drawn from a prior one after another (VQ-VAE, section 3.3)."""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from vqaudio.arrays import Integers
from vqaudio.bitstream.entropy import Codes
from vqaudio.codecs.progress import Progress
from vqaudio.codecs.sampler import Sampler
from vqaudio.codecs.sampling import SampleOptions
from vqaudio.models.sound_model import SymbolNetwork

if TYPE_CHECKING:
    from vqaudio.codecs.bundled import Stream

_CHUNK_TOKENS = 128  # drawn between two reports of progress
PROMPT_TOKENS = 4096  # of a prompt's end, which the prior hears; its memory is shorter


def sample_tokens(
    prior: SymbolNetwork, tokens: int, options: SampleOptions, prompt: Codes, progress: Progress
) -> Codes:
    """New tokens ``[count, tokens]`` from a ``prior`` that need not be told anything.

    Args:
        prior: the network that tells how likely each token is.
        tokens: how many in each row.
        options: how many rows, and how they are drawn.
        prompt: ``[P]``, the tokens that come before those of every row.
        progress: is told the share that is done, 0 to 1.
    """
    count, kinds = options.count, prior.config.phases

    def phases(first: int, size: int) -> Integers | None:
        return np.tile((first + np.arange(size)) % kinds, (count, 1)) if kinds else None

    streams = Sampler(prior, prior.config.levels, options.temperature, options.top_p).streams(count)
    heard = prompt[-PROMPT_TOKENS:].astype(np.int64)
    streams.follow(np.zeros((count, len(heard), 0), np.float32), np.tile(heard, (count, 1)), phases(0, len(heard)))
    generators = [options.generator(index) for index in range(count)]
    parts = []
    for first in range(0, tokens, _CHUNK_TOKENS):
        size = min(_CHUNK_TOKENS, tokens - first)
        uniforms = np.stack([generator.random(size) for generator in generators])
        signs = phases(len(heard) + first, size)
        parts.append(streams.push(np.zeros((count, size, 0), np.float32), uniforms, signs))
        progress((first + size) / tokens)
    return np.concatenate(parts, axis=1).astype(np.int32)


def generate(codec: Any, seconds: float, count: int = 1, *options: Any, **named: Any) -> "list[Stream]":
    """Deprecated: ``codec.sample(count, seconds=seconds, ...)``, whose other options it takes by position as well."""
    warnings.warn("generate(codec, ...) is now codec.sample(...)", DeprecationWarning, stacklevel=2)
    names = ("seed", "temperature", "top_p", "prompt", "progress")
    given = dict(zip(names, options, strict=False)) | named
    streams: list[Stream] = codec.sample(count, seconds=seconds, **given)
    return streams


def generate_pictures(codec: Any, count: int = 1, *options: Any, **named: Any) -> "Stream":
    """Deprecated: ``codec.side_by_side(codec.sample(count, ...))``."""
    warnings.warn("generate_pictures(codec, ...) is now codec.sample(...)", DeprecationWarning, stacklevel=2)
    names = ("seed", "temperature", "top_p", "label", "progress")
    stream: Stream = codec.side_by_side(codec.sample(count, **dict(zip(names, options, strict=False)), **named))
    return stream
