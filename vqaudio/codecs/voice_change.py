"""Another voice for codes that say who speaks: of a model of speech parameters that is told of no speakers.

The voice in the codes is heard in their beginning, and each frame is then given to the other voice
(:mod:`vqaudio.dsp.voice_change`).
"""

import itertools
from collections.abc import Iterable

import numpy as np

from vqaudio.arrays import Floats
from vqaudio.bitstream.entropy import Codes
from vqaudio.codecs.segments import one_thread
from vqaudio.codecs.tokens import TokenRange
from vqaudio.dsp.voice_change import VoiceChange, VoiceStatistics
from vqaudio.errors import ModelError
from vqaudio.models.sound_model import ParameterModel, SoundModel

LONGEST_S = 60.0  # of a stream, in which its voice is heard


def changes_voices(model: SoundModel) -> bool:
    """Whether the codes of ``model`` say who speaks, so that it can be changed."""
    return isinstance(model, ParameterModel) and not model.config.speakers


def check_vector(model: SoundModel, voice: Floats) -> None:
    """Raises ``ModelError`` for a voice that is none of a model of speech parameters without speakers."""
    assert isinstance(model, ParameterModel)
    numbers = 2 * model.config.vocoder.bands + 2
    if np.shape(voice) != (numbers,) or not np.isfinite(voice).all():
        raise ModelError(f"a voice of the shape {np.shape(voice)} is not valid: give {numbers} numbers, by voice_of")


def heard_statistics(model: ParameterModel, codes: Codes) -> VoiceStatistics | None:
    """What ``codes[n]`` tell of who speaks; None where nothing is voiced."""
    if not len(codes):
        return None
    with one_thread():
        return VoiceStatistics.of(model.speak(codes.astype(np.int64), None))


def statistics_of(model: ParameterModel, wave: Floats) -> VoiceStatistics | None:
    """What ``wave[T]``, a whole number of vectors at the model's rate and level, tells of who speaks."""
    with one_thread():
        codes = model.encode_part(wave, 0, len(wave) // model.config.encoder.hop_length)
    return heard_statistics(model, codes.astype(np.int32))


def change_of(
    model: ParameterModel, ranges: Iterable[TokenRange], voice: Floats
) -> tuple[Iterable[TokenRange], VoiceChange | None]:
    """What gives the speech in ``ranges`` to ``voice``, and the ranges anew; None where nothing in them is voiced.

    The first channel with a voice in it tells whose it is.
    """
    most = round(LONGEST_S * model.config.sample_rate_hz / model.samples_per_token)
    source, held = iter(ranges), list[TokenRange]()
    while sum(part.codes.shape[1] for part in held) < most and (part := next(source, None)) is not None:
        held.append(part)
    rate_hz, target = model.config.sample_rate_hz, VoiceStatistics.from_vector(voice)
    again = itertools.chain(held, source)
    for channel in range(len(held[0].codes) if held else 0):
        codes = np.concatenate([part.codes[channel] for part in held])[:most]
        own = heard_statistics(model, codes[: len(codes) // model.num_quantizers * model.num_quantizers])
        if own is not None:
            return again, VoiceChange(own, target, rate_hz)
    return again, None
