"""Codes to sound, block by block: memory does not grow with the length.

The conditioning stack's whole context stands around each window of codes; the decoder's streams live across windows.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from vqaudio.arrays import Block
from vqaudio.bitstream.header import Header
from vqaudio.codecs import synthesis
from vqaudio.codecs.pitch_shift import check_movable
from vqaudio.codecs.resampling import resampled
from vqaudio.codecs.sampling import Sampling
from vqaudio.codecs.segments import layout
from vqaudio.codecs.synthesis import STREAM_HOP, WINDOW_TOKENS, ParameterVocoder, stream_reach
from vqaudio.codecs.tokens import Mute, TokenRange, Window, code_windows
from vqaudio.errors import ModelError
from vqaudio.io.resample import resampled_length
from vqaudio.models.reach import Reach
from vqaudio.models.sound_model import ParameterModel, SoundModel

if TYPE_CHECKING:
    from vqaudio.models.speech_vqvae import AudioVQVAE

_EXACT_TOKENS = 256  # drawn at once: about a second, so that progress shows and Ctrl-C is soon heard
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def decode_blocks(
    model: SoundModel, header: Header, ranges: Iterable[TokenRange], sampling: Sampling, sample_rate_hz: int
) -> Iterator[Block]:
    """The sound of a stream at its level and ``sample_rate_hz``: float32 ``[channels, n]`` of exactly its length."""
    (frames,), original_hz, model_hz = header.shape, header.sample_rate_hz, model.config.sample_rate_hz
    synthesized = _first(
        synthesize(model, header.tokens, header.channels, ranges, sampling),
        resampled_length(frames, original_hz, model_hz),
    )
    wanted = resampled_length(frames, original_hz, sample_rate_hz)
    levels = np.array(header.levels)[:, None]
    for block in _first(resampled(synthesized, model_hz, sample_rate_hz), wanted):
        yield np.clip(block * levels, -_FLOAT32_MAX, _FLOAT32_MAX).astype(np.float32)


def synthesize(
    model: SoundModel, tokens: int, channels: int, ranges: Iterable[TokenRange], sampling: Sampling
) -> Iterator[Block]:
    """The sound of ``tokens`` tokens of each channel, at the model's rate and normalised level, in blocks
    ``[channels, n * samples_per_token]``."""
    vocoder: Callable[[Window], Block]
    if isinstance(model, ParameterModel):
        vocoder = ParameterVocoder(model, sampling, channels)
        size, reach = WINDOW_TOKENS, vocoder.reach
        if sampling.exact:  # then to the last bit as a live stream
            size, reach = STREAM_HOP * model.num_quantizers, stream_reach(model)
        windows = code_windows(ranges, tokens, size, reach)
    else:
        vocoder, windows = _drawn(_drawing_model(model), tokens, channels, ranges, sampling)
    mute = Mute(model.samples_per_token, model.config.sample_rate_hz)
    for window in windows:
        yield mute(vocoder(window), window.lost)


def _drawing_model(model: SoundModel) -> "AudioVQVAE":
    from vqaudio.models.speech_vqvae import AudioVQVAE

    if not isinstance(model, AudioVQVAE):
        raise ModelError(f"the model is of kind {model.config.kind!r}, of which no sound can be made")
    return model


def _drawn(
    model: "AudioVQVAE", tokens: int, channels: int, ranges: Iterable[TokenRange], sampling: Sampling
) -> tuple[Callable[[Window], Block], Iterator[Window]]:
    from vqaudio.codecs.drawing import SegmentDecoder, SequentialDecoder

    if (sampling.pitch, sampling.formants) != (1, 1):
        check_movable(model)
    plan = layout(tokens, channels, model.samples_per_token, model.num_quantizers)
    before, after = model.conditioning_reach
    if sampling.exact or plan.batch * channels == 1:
        alone = SequentialDecoder(model, sampling, channels)
        return alone, code_windows(ranges, tokens, _EXACT_TOKENS, Reach(before, after))
    more = max(plan.warm_up, plan.overlap)
    together = SegmentDecoder(model, sampling, channels, plan)
    return together, code_windows(ranges, tokens, plan.tokens * plan.batch, Reach(before + more, after + more))


def _first(blocks: Iterable[Block], frames: int) -> Iterator[Block]:
    """The first ``frames`` frames of ``blocks``, which hold at least as many."""
    for block in blocks:
        yield block[:, :frames]
        frames -= min(frames, block.shape[1])
    assert frames == 0


def warm_decoder(model: SoundModel) -> None:
    """Compiles the kernels that make the sound of ``model``, or fetches them from the disk."""
    if isinstance(model, ParameterModel):
        synthesis.warm_up(model.config)
        return
    from vqaudio.codecs import drawing

    drawing.warm_up(_drawing_model(model))
