"""What the tests of sound files' layouts share: sounds in memory, and how they are read."""

import io

import numpy as np
import soundfile

from vqaudio.io.sound import SoundReader

RATE = 16000


def tone(frames: int = 16000, channels: int = 1) -> np.ndarray:
    time = np.arange(frames) / RATE
    return np.stack([0.3 * np.sin(2 * np.pi * (220 + 110 * channel) * time) for channel in range(channels)], axis=1)


def saved(form: str, wave: np.ndarray | None = None, rate: int = RATE, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone() if wave is None else wave, rate, format=form, subtype=subtype)
    return file.getvalue()


def read(data: bytes) -> tuple[np.ndarray, SoundReader]:
    with SoundReader(io.BytesIO(data)) as reader:
        blocks = [np.zeros((reader.channels, 0), np.float32), *reader.blocks(1000)]
    return np.concatenate(blocks, axis=1), reader
