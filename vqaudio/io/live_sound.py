"""Sound that comes as bytes while it happens: headerless samples, or a WAV whose length nobody knows yet."""

import struct

import numpy as np

from vqaudio.arrays import Floats
from vqaudio.errors import SoundError

_RIFF_BYTES, _CHUNK_HEAD, _FORMAT_BYTES = 12, 8, 16
_UNWRITTEN = 0x7FFF0000  # sizes from here on stand for "not known" in what streams write
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_SUBTYPE_AT = 24  # of the format chunk: where an extensible one says what it really is
_MOST_SKIPPED = 1 << 20  # bytes of chunks before the sound
_KINDS = {(_PCM, 16): "<i2", (_PCM, 32): "<i4", (_FLOAT, 32): "<f4"}


class LiveSound:
    """Bytes in any cut to samples; several channels are mixed to one.

    What begins as a WAV is one (16 or 32 bits, or 32-bit float); all else is 16-bit samples, little-endian.

    Attributes:
        sample_rate_hz: None until it is known.
    """

    def __init__(self, sample_rate_hz: int, channels: int) -> None:
        """The arguments are those of headerless samples."""
        self.sample_rate_hz: int | None = None
        self._raw = sample_rate_hz, channels, "<i2"
        self._held = bytearray()
        self._channels, self._kind = channels, "<i2"
        self._left: int | None = None  # bytes of sound to come; None: nobody knows

    def push(self, data: bytes) -> Floats:
        """Adds ``data``; gives ``[n]`` samples, full scale 1.

        Raises:
            SoundError: it is a WAV of a kind that is not supported, or holds NaN or infinity.
        """
        self._held += data
        if self.sample_rate_hz is None and not self._begun():
            return np.zeros(0, np.float32)
        if self._left is not None:
            del self._held[self._left :]
        frame = np.dtype(self._kind).itemsize * self._channels
        whole = len(self._held) - len(self._held) % frame
        samples = np.frombuffer(bytes(self._held[:whole]), self._kind).reshape(-1, self._channels)
        del self._held[:whole]
        self._left = None if self._left is None else self._left - whole
        scale = 1.0 if self._kind == "<f4" else 1 / 2 ** (8 * samples.itemsize - 1)
        return (samples.astype(np.float64).mean(axis=1) * scale).astype(np.float32)

    def flush(self) -> Floats:
        """What is left when the bytes end: of a sound so short that its first bytes could have begun a WAV."""
        if self.sample_rate_hz is None and bytes(self._held[:4]) == b"RIFF":
            raise SoundError("the WAV ends inside its header; record or copy it again")
        self._start(*self._raw)
        return self.push(b"")

    def _start(self, sample_rate_hz: int, channels: int, kind: str) -> None:
        if self.sample_rate_hz is None:
            self.sample_rate_hz, self._channels, self._kind = sample_rate_hz, channels, kind

    def _begun(self) -> bool:
        """Whether the sound itself has begun; what comes before it is dropped."""
        head = bytes(self._held[:_RIFF_BYTES])
        if not b"RIFF".startswith(head[:4]) or (len(head) == _RIFF_BYTES and head[8:] != b"WAVE"):
            self._start(*self._raw)
            return True
        place, form = _RIFF_BYTES, b""
        while place + _CHUNK_HEAD <= len(self._held):
            name, size = struct.unpack_from("<4sI", self._held, place)
            place += _CHUNK_HEAD
            if name == b"data":
                self._start(*_format(form))
                self._left = size if 0 < size < _UNWRITTEN else None
                del self._held[:place]
                return True
            if place + size > _MOST_SKIPPED:
                raise SoundError("the WAV's sound does not begin within a megabyte; convert it first")
            if name == b"fmt ":
                form = bytes(self._held[place : place + size])
            place += size + size % 2
        return False


def _format(form: bytes) -> tuple[int, int, str]:
    """Sample rate, channels and kind of sample that a format chunk tells."""
    if len(form) < _FORMAT_BYTES:
        raise SoundError("the WAV does not say its format before its sound; convert it first")
    tag, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", form)
    if tag == _EXTENSIBLE and len(form) >= _SUBTYPE_AT + 2:
        (tag,) = struct.unpack_from("<H", form, _SUBTYPE_AT)
    if (tag, bits) not in _KINDS or not 1 <= channels <= 1024 or not rate_hz:
        found = f"{bits} bits, {channels} channels, {rate_hz} Hz, format {tag}"
        raise SoundError(f"the WAV has {found}; live, give 16 or 32 bits, or 32-bit float")
    return rate_hz, channels, _KINDS[tag, bits]


def endless_wav_header(sample_rate_hz: int) -> bytes:
    """The beginning of a WAV of 16 bits and one channel, of a length that nobody knows."""
    form = struct.pack("<HHIIHH", _PCM, 1, sample_rate_hz, 2 * sample_rate_hz, 2, 16)
    unknown = struct.pack("<I", 0xFFFFFFFF)
    return b"RIFF" + unknown + b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + unknown


def to_pcm(wave: Floats) -> bytes:
    """``wave[n]`` as 16-bit samples, little-endian; what is beyond full scale is clipped."""
    return np.clip(np.rint(wave * 32768.0), -32768, 32767).astype("<i2").tobytes()
