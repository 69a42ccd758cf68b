"""Sounds as files for pages."""

import io

import numpy as np
import numpy.typing as npt
import soundfile


def wav(wave: npt.NDArray[np.float32], sample_rate_hz: int) -> bytes:
    """``wave[T]`` as a WAV file of 16 bits; what is beyond full scale is cut."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(wave, -1, 1), sample_rate_hz, format="WAV", subtype="PCM_16")
    return file.getvalue()
