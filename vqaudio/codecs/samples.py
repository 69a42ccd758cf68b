"""Sound with its sample rate, as decoding gives it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from vqaudio.arrays import Block
from vqaudio.errors import SoundError
from vqaudio.io.sound_writer import sound_file

if TYPE_CHECKING:
    _Array = np.ndarray[tuple[int, int], np.dtype[np.float32]]
else:
    _Array = np.ndarray


class Samples(_Array):
    """An array float32 ``[channels, T]``, full scale 1.0, that knows how many of its samples are a second.

    It is used as any array is. Parts of it, and what is reckoned from it, keep its rate: after taking every second
    sample, say, the rate is no longer right.
    """

    sample_rate_hz: int

    def __new__(cls, wave: Block, sample_rate_hz: int) -> Self:
        """``wave[channels, T]`` as samples; nothing is copied."""
        samples = np.asarray(wave, np.float32).view(cls)
        samples.sample_rate_hz = sample_rate_hz
        return samples

    def __array_finalize__(self, source: Any) -> None:
        self.sample_rate_hz = getattr(source, "sample_rate_hz", 0)

    def __reduce__(self) -> tuple[Any, ...]:
        return Samples, (np.array(self), self.sample_rate_hz)

    @property
    def duration_s(self) -> float:
        """Of the sound; the last axis is time."""
        return self.shape[-1] / self.sample_rate_hz

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes the sound to a file, whole or not at all; the suffix names the format (WAV of 16 bits, FLAC, MP3 ...).

        Raises:
            OutputError: the file exists and is not to be overwritten, or cannot be written.
            SoundError: the suffix names no format, or one that cannot hold this sound; or this is not
                ``[channels, T]``.
        """
        if self.ndim != 2:
            raise SoundError(f"an array of shape {self.shape} is no sound: give [channels, T]")
        with sound_file(path, overwrite, self.sample_rate_hz, self.shape[0]) as writer:
            writer.write(np.asarray(self))
