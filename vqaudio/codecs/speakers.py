"""Who speaks: the vector of a voice, by a speaker's name or from a recording of anybody (VQ-VAE, section 4.2).

A model with speakers keeps one vector for each, which every block of its conditioning stack hears.
"""

import difflib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vqaudio.arrays import Floats
from vqaudio.codecs import voice_change
from vqaudio.codecs.segments import one_thread
from vqaudio.codecs.voice_change import changes_voices, statistics_of
from vqaudio.dsp.loudness import measure_level
from vqaudio.dsp.speech_check import speech_problem
from vqaudio.errors import ModelError, SoundError
from vqaudio.io.resample import StreamingResampler
from vqaudio.models.sound_model import ParameterModel, SoundModel

Voice = npt.NDArray[np.float32]  # a vector [V]

SHORTEST_S = 1.0
LONGEST_S = 12.0  # of a reference, which is then learnt in under a minute on two cores
_NEAR_NAMES = 3


def check_name(names: Sequence[str], speaker: str) -> int:
    """The number of a speaker among the ``names`` that a model knows.

    Raises:
        ModelError: the model knows no speakers, or not this one; the message lists the names that are near.
    """
    if not names:
        raise ModelError("the model knows no speakers: leave the speaker out, or give a model that does")
    if speaker not in names:
        near = difflib.get_close_matches(speaker, names, _NEAR_NAMES, 0.4) or names[:_NEAR_NAMES]
        raise ModelError(
            f"{speaker!r} is none of the model's {len(names)} speakers and no sound file; near: {', '.join(near)}"
        )
    return names.index(speaker)


def named_voice(model: SoundModel, speaker: str) -> Voice:
    """The voice of one of the model's speakers; ``ModelError`` as :func:`check_name`."""
    return np.ascontiguousarray(model.speaker_vectors()[check_name(model.config.speakers, speaker)])


def speaker_embedding(model: SoundModel, wave: Floats, sample_rate_hz: int) -> Voice:
    """The voice in a recording of anybody: heard at once where the model has an encoder of speakers, else fitted.

    Args:
        model: one with speakers, or whose codes say who speaks.
        wave: ``[T]`` of one person's speech, 1 s or more; what lies beyond 12 s (60 s where codes say who speaks) is
            left out.
        sample_rate_hz: of the wave.

    Raises:
        ModelError: the model knows no speakers, and its codes do not say who speaks.
        SoundError: the recording is too short, silent, or no speech.
    """
    if changes_voices(model):
        assert isinstance(model, ParameterModel)
        heard = statistics_of(model, _prepared(model, wave, sample_rate_hz, voice_change.LONGEST_S))
        if heard is None:
            raise SoundError("no voice to learn from: nothing in it has a pitch; give some seconds of speech")
        return heard.vector()
    if not model.config.speakers:
        raise ModelError("the model knows no speakers, so it cannot take on a voice: give one that does")
    if isinstance(model, ParameterModel) and model.config.speaker_encoder is None:
        raise ModelError(f"a voice cannot be fitted to a model of kind {model.config.kind!r}: give a speaker's name")
    own = _prepared(model, wave, sample_rate_hz, LONGEST_S)
    if isinstance(model, ParameterModel):
        with one_thread():
            voice = model.hear_voice(own)
        assert voice is not None
        return voice
    from vqaudio.codecs.voice_fitting import fit_speaker_embedding

    return fit_speaker_embedding(model, own)


def _prepared(model: SoundModel, wave: Floats, sample_rate_hz: int, longest_s: float) -> Floats:
    """The first ``longest_s`` of a recording ``[T]``, at the model's rate and level, a whole number of tokens."""
    resampler = StreamingResampler(sample_rate_hz, model.config.sample_rate_hz)
    own = np.concatenate([resampler.push(wave[None]), resampler.flush()], axis=1)
    own = own[:, : round(longest_s * model.config.sample_rate_hz)]
    (level,) = measure_level([own], model.config.sample_rate_hz, 1)
    if own.shape[1] < SHORTEST_S * model.config.sample_rate_hz or level.rms == 0:
        length_s = len(wave) / sample_rate_hz
        raise SoundError(f"{length_s:.1f} s with too little speech to learn a voice from; give some seconds of speech")
    if problem := speech_problem(own[0], model.config.sample_rate_hz):
        raise SoundError(f"no speech to learn a voice from: {problem}; give some seconds of one person's speech")
    whole = own.shape[1] - own.shape[1] % model.config.encoder.hop_length
    return own[0, :whole] * np.float32(level.gain)
