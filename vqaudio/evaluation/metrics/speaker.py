"""Who speaks: the speaker embedding of Wan et al. 2018 (Resemblyzer's trained encoder)."""

import functools
import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from vqaudio.evaluation.metrics.packages import needed_for
from vqaudio.io.resample import resample

Wave = npt.NDArray[np.float32]
Embedding = npt.NDArray[np.float32]

_RATE_HZ = 16000
_SIZE = 256


@functools.lru_cache(maxsize=1)
def _encoder() -> Any:
    from resemblyzer import VoiceEncoder

    return VoiceEncoder("cpu", verbose=False)


def speaker_embedding(wave: Wave, sample_rate_hz: int) -> Embedding:
    """The voice in ``wave[T]``, a unit vector ``[256]``; NaN throughout where the sound holds no speech."""
    with needed_for("speaker is"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # webrtcvad's own, about how it finds its version
        from resemblyzer import preprocess_wav

        encoder = _encoder()
    nothing = np.full(_SIZE, np.nan, np.float32)
    wave = resample(wave[None], sample_rate_hz, _RATE_HZ)[0].clip(-1, 1)
    if not wave.any():
        return nothing
    spoken = preprocess_wav(wave.astype(np.float32))
    if not len(spoken):
        return nothing
    return np.asarray(encoder.embed_utterance(spoken), np.float32)


def similarity(one: Embedding, other: Embedding) -> float:
    """The cosine between two embeddings: above 0.7 or so for one speaker, by the encoder's own scale; NaN without."""
    cosine = float(np.dot(one, other))
    return cosine if math.isfinite(cosine) else math.nan
