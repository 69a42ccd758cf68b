"""Sound outside the model: mu-law levels, sound files, loudness, sample rates and mel spectra.

Blocks of a file are ``float32`` NumPy arrays ``[channels, n]`` and stream: nothing here holds a whole recording. What
the network itself sees (levels, mel spectra, pre-emphasis) are torch tensors, time on the last axis. Full scale is 1.0.
"""

import functools
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import gcd
from typing import BinaryIO, Self, cast

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from torch import Tensor, nn

from vqaudio.errors import SoundError

Block = npt.NDArray[np.float32]
Source = str | os.PathLike[str] | BinaryIO

# --- Levels: what the decoder predicts -------------------------------------------------------------------------------

LEVELS = 256
SILENCE_LEVEL = 128  # the level of 0.0, and the only one that decodes to exactly 0.0


def mu_law_encode(wave: Tensor) -> Tensor:
    """Levels ``[...]`` (int64, 0..255) of a float wave ``[...]`` by ITU-T G.711's law; beyond -1..1 it saturates."""
    from torchaudio.functional import mu_law_encoding

    levels: Tensor = mu_law_encoding(wave.float().clamp(-1.0, 1.0), LEVELS)
    return levels


def mu_law_decode(levels: Tensor) -> Tensor:
    """Wave ``[...]`` (float32, -1..1) of integer levels ``[...]``; encoding it again gives back each level.

    By the formula no level sits on zero: 127 and 128 straddle it by 8.6e-5, which de-emphasis would raise to an audible
    step. :data:`SILENCE_LEVEL` is therefore moved by that much, onto 0.0 (the edge of its own cell).
    """
    from torchaudio.functional import mu_law_decoding

    wave: Tensor = mu_law_decoding(levels, LEVELS)
    return wave.masked_fill(levels == SILENCE_LEVEL, 0.0)


def pre_emphasis(wave: Tensor, coefficient: float) -> Tensor:
    """``y[t] = x[t] - coefficient * x[t-1]`` along the last axis of ``[..., T]``, with ``x[-1] = 0``."""
    from torchaudio.functional import preemphasis

    emphasised: Tensor = preemphasis(wave, coefficient)
    return emphasised


class DeEmphasis:
    """The inverse of :func:`pre_emphasis`, block after block: ``x[t] = y[t] + coefficient * x[t-1]``.

    The state is kept in double precision, so that where the blocks are cut can be neither heard nor measured. A
    ``coefficient`` outside 0 to below 1 raises :class:`SoundError`.
    """

    def __init__(self, coefficient: float) -> None:
        if not 0.0 <= coefficient < 1.0:
            raise SoundError(f"pre-emphasis coefficient {coefficient} is unstable; choose one from 0 to below 1")
        self._denominator = np.array([1.0, -coefficient])
        self._state: npt.NDArray[np.float64] | None = None

    def __call__(self, block: Block) -> Block:
        """The next block ``[..., n]`` of the one signal that this object restores; ``n`` may vary, the rest may not."""
        from scipy.signal import lfilter  # here, for it takes half a second to import

        if self._state is None:
            self._state = np.zeros((*block.shape[:-1], 1))
        wave, self._state = lfilter([1.0], self._denominator, block.astype(np.float64), axis=-1, zi=self._state)
        return cast(Block, wave.astype(np.float32))


# --- Reading ---------------------------------------------------------------------------------------------------------

_COUNTING_FRAMES = 65536  # read at once where only their number matters
_MOST_METADATA_BYTES = 65536  # in a file that truly holds no sound


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A sound file read or written from end to end.

    soundfile seeks after each block of a seekable file and cuts reads to the header's frame count. Seeking fails or is
    inexact in compressed and in damaged files, and headers lie; called non-seekable, it simply reads on until the end.
    """

    def seekable(self) -> bool:
        return False


def _name(source: Source) -> str:
    name = os.fspath(source) if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    standard = {"<stdin>": "standard input", "<stdout>": "standard output"}
    return standard.get(name, name) if isinstance(name, str) else "sound stream"


def _reason(error: soundfile.LibsndfileError) -> str:
    text: str = error.error_string.strip()
    return text.removeprefix("Error : ").removeprefix("System error : ").rstrip(".")


def _os_error(name: str, error: Exception, doing: str) -> SoundError:
    reasons: dict[type[Exception], str] = {
        FileNotFoundError: "no such file or folder; check the path",
        IsADirectoryError: "is a folder, not a sound file; name a file in it",
        PermissionError: "permission denied; change the file's permissions or choose another place",
    }
    reason = reasons.get(type(error)) or getattr(error, "strerror", None) or error
    return SoundError(f"{name}: cannot {doing}: {reason}")


def _seekable_bytes(source: Source, name: str) -> BinaryIO:
    """``source`` as an open file that can seek: a pipe (also one with a path) is first copied to a temporary file."""
    try:
        file = open(source, "rb") if isinstance(source, str | os.PathLike) else source  # noqa: SIM115
        if file.seekable():
            return file
        copy = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115
        try:
            shutil.copyfileobj(file, copy)
        except BaseException:
            copy.close()
            raise
        finally:
            if file is not source:
                file.close()
        return copy
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _os_error(name, error, "read") from error


class SoundReader:
    """A sound file of any format, sample rate and number of channels that libsndfile reads; a context manager.

    ``source`` is a path or a binary file, which is read from its start and left open. Pipes may be given, too.
    Attributes: ``name``, ``sample_rate_hz``, ``channels``. What is no readable sound file raises :class:`SoundError`.
    """

    def __init__(self, source: Source) -> None:
        self.name = _name(source)
        self._file = _seekable_bytes(source, self.name)
        self._owns_file = self._file is not source
        self._frames: int | None = None
        self._position = 0
        try:
            self._size = self._file.seek(0, os.SEEK_END)
            if self._size == 0:
                raise SoundError(f"{self.name}: is empty (0 bytes); record or copy it again")
            self._sound = self._open()
        except BaseException:
            if self._owns_file:
                self._file.close()
            raise
        self.sample_rate_hz: int = self._sound.samplerate
        self.channels: int = self._sound.channels

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened here, and delete the temporary copy of a pipe."""
        self._sound.close()
        if self._owns_file:
            self._file.close()

    def rewind(self) -> None:
        """Start again: the next block is the file's first."""
        self._sound.close()
        self._sound = self._open()  # afresh, for seeking is not exact in every format
        self._position = 0

    def _open(self) -> _Sequential:
        self._file.seek(0)
        try:
            return _Sequential(self._file)
        except soundfile.LibsndfileError as error:
            remedy = f'convert it first, e.g. ffmpeg -i "{self.name}" out.wav'
            raise SoundError(
                f"{self.name}: is no sound file that libsndfile reads ({_reason(error)}); {remedy}"
            ) from error
        except TypeError as error:  # soundfile's answer to a name that ends in .raw
            raise SoundError(f"{self.name}: headerless samples are not supported; convert it to WAV first") from error

    @property
    def frames(self) -> int:
        """How many frames (samples per channel) there are, counted by decoding and not as the header has it.

        Known at no cost once a pass over the file has ended; else one such pass is made, and the position kept.
        """
        if self._frames is None:
            position = self._position
            self.rewind()
            while len(self._read(_COUNTING_FRAMES)):
                pass
            self.rewind()
            while self._position < position:
                self._read(min(position - self._position, _COUNTING_FRAMES))
        assert self._frames is not None
        return self._frames

    def blocks(self, frames: int) -> Iterator[Block]:
        """The file from where it stands, in blocks ``[channels, frames]`` of which the last may be shorter.

        Integers are scaled to -1..1; floats may go beyond. NaN, infinity and damaged data raise :class:`SoundError`
        with their place in seconds.
        """
        assert frames > 0
        while len(samples := self._read(frames)):
            finite = np.isfinite(samples).all(axis=1)
            if not finite.all():
                place_s = (self._position - len(samples) + int(np.argmin(finite))) / self.sample_rate_hz
                remedy = "cut that part out or repair what wrote it"
                raise SoundError(f"{self.name}: holds NaN or infinity, first at {place_s:.6f} s; {remedy}")
            yield np.ascontiguousarray(samples.T)

    def _read(self, frames: int) -> Block:
        """The next ``[n, channels]`` samples, ``n <= frames``; none at the end."""
        try:
            samples = self._sound.read(frames, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            place = f"damaged or cut short after {self._position / self.sample_rate_hz:.3f} s"
            raise SoundError(f"{self.name}: {place} ({_reason(error)}); copy it again or cut it there") from error
        self._position += len(samples)
        if len(samples) == 0:
            self._end()
        return cast(Block, samples)

    def _end(self) -> None:
        if self._position == 0 and self._size > _MOST_METADATA_BYTES:  # a recorder died before it wrote the length
            held = f"its header says that it holds no sound, yet {self._size} bytes follow"
            raise SoundError(f'{self.name}: {held}; rewrite it, e.g. ffmpeg -ignore_length 1 -i "{self.name}" out.wav')
        self._frames = self._position


def spool(file: BinaryIO) -> SoundReader:
    """A reader of a byte stream such as ``sys.stdin.buffer``, through a temporary copy (deleted on close) of a pipe."""
    return SoundReader(file)


# --- Writing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Format:
    container: str
    encoding: str = "PCM_16"
    rates_hz: range | tuple[int, ...] = range(1, 2**31)
    max_channels: int = 1024
    max_bytes: int = 2**62


_FOUR_GIB = 2**32 - 4096  # 32-bit lengths, less some room for headers
_MP3_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_AIFF, _VORBIS = _Format("AIFF", max_bytes=_FOUR_GIB), _Format("OGG", "VORBIS", range(1, 200_001), 255)
_FORMATS = {
    "wav": _Format("WAV", max_bytes=_FOUR_GIB),
    "flac": _Format("FLAC", rates_hz=range(1, 655_351), max_channels=8),
    "ogg": _VORBIS,
    "oga": _VORBIS,
    "opus": _Format("OGG", "OPUS", (8000, 12000, 16000, 24000, 48000), 255),
    "mp3": _Format("MP3", "MPEG_LAYER_III", _MP3_RATES_HZ, 2),
    "aiff": _AIFF,
    "aif": _AIFF,
    "au": _Format("AU", max_bytes=_FOUR_GIB),
    "caf": _Format("CAF"),
    "w64": _Format("W64"),
    "rf64": _Format("RF64"),
}
_WRITTEN_FRAMES = 16384  # libvorbis puts what it is given on the stack: no more than this at once


def _known_format(name: str, format: str, sample_rate_hz: int, channels: int) -> _Format:
    chosen = _FORMATS.get(format.lower())
    if chosen is None:
        what = f"format '{format}' is not known" if format else "has no suffix that names a format"
        raise SoundError(f"{name}: {what}; choose one of {', '.join(_FORMATS)}")
    if sample_rate_hz not in chosen.rates_hz:
        rates = chosen.rates_hz
        may = f"{rates[0]} to {rates[-1]}" if isinstance(rates, range) else "only " + ", ".join(map(str, rates))
        raise SoundError(f"{name}: {format} cannot hold {sample_rate_hz} Hz ({may} Hz); choose wav or another rate")
    if not 1 <= channels <= chosen.max_channels:
        raise SoundError(f"{name}: {format} cannot hold {channels} channels (1 to {chosen.max_channels}); choose wav")
    return chosen


class SoundWriter:
    """A sound file being written; a context manager that completes the file when its body succeeds.

    ``target`` is a path or a binary file; one that cannot seek gets the whole file when all is written. ``format`` is a
    suffix such as ``"wav"``: by default the path's own, and WAV for a file. Integer formats are 16-bit PCM. ``clipped``
    counts the samples beyond -1..1 that were cut to it. Raises :class:`SoundError` before touching ``target`` where the
    format is unknown or cannot hold the sample rate or the channels.
    """

    def __init__(self, target: Source, sample_rate_hz: int, channels: int, format: str | None = None) -> None:
        self.name = _name(target)
        if format is None:
            format = os.path.splitext(target)[1][1:] if isinstance(target, str | os.PathLike) else "wav"
        self.channels = channels
        self.clipped = 0
        self._frames = 0
        self._format = _known_format(self.name, format, sample_rate_hz, channels)
        self._sound: _Sequential | None = None
        try:
            self._target = open(target, "wb") if isinstance(target, str | os.PathLike) else target  # noqa: SIM115
            self._owns_target = self._target is not target
            self._file = self._target
            if not self._target.seekable():
                self._file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115
            self._sound = self._open(sample_rate_hz)
        except (OSError, ValueError) as error:
            raise _os_error(self.name, error, "write") from error

    def _open(self, sample_rate_hz: int) -> _Sequential:
        try:  # by descriptor where there is one: only so does libsndfile report a full disk
            self._file.flush()
            file: BinaryIO | int = self._file.fileno()
        except OSError:  # a BytesIO
            file = self._file
        kind = {"format": self._format.container, "subtype": self._format.encoding, "closefd": False}
        try:
            return _Sequential(file, "w", sample_rate_hz, self.channels, **kind)
        except soundfile.LibsndfileError as error:
            self._discard()
            raise SoundError(f"{self.name}: cannot write: {_reason(error)}") from error

    def write(self, block: Block) -> None:
        """Append a block ``[channels, n]``, cut to -1..1. A full disk or format raises :class:`SoundError`."""
        assert self._sound is not None and block.ndim == 2 and block.shape[0] == self.channels
        self.clipped += int(np.count_nonzero(np.abs(block) > 1.0))
        self._frames += block.shape[1]
        if self._frames * self.channels * 2 > self._format.max_bytes:
            raise SoundError(f"{self.name}: {self._format.container} ends at 4 GiB; choose w64, rf64, caf or flac")
        samples = np.clip(block.T, -1.0, 1.0).astype(np.float32)
        try:
            for start in range(0, len(samples), _WRITTEN_FRAMES):
                self._sound.write(samples[start : start + _WRITTEN_FRAMES])
        except soundfile.LibsndfileError as error:
            raise SoundError(f"{self.name}: cannot write: {_reason(error)}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def close(self) -> None:
        """Complete the file. Raises :class:`SoundError` where its last part cannot be written."""
        if self._sound is None:
            return
        try:
            self._sound.close()
            if self._file is not self._target:
                self._file.seek(0)
                shutil.copyfileobj(self._file, self._target)
            self._target.flush()
        except (OSError, soundfile.LibsndfileError) as error:
            raise _os_error(self.name, error, "write") from error
        finally:
            self._discard()

    def _discard(self) -> None:
        if self._sound is not None:
            self._sound.close()
            self._sound = None
        if self._file is not self._target:
            self._file.close()
        if self._owns_target:
            self._target.close()


# --- Loudness --------------------------------------------------------------------------------------------------------

TARGET_RMS = 10 ** (-23 / 20)  # -23 dBFS: speech then peaks near, and seldom beyond, full scale
MAX_GAIN = 1000.0  # 60 dB
_SILENCE_RMS = 10 ** (-90 / 20)  # below it there is nothing but the dither of 16 bits
_FRAME_S = 0.03
_GATE_DB = 40  # frames further than this below the loudest are pauses
_LOWEST_DB, _HIGHEST_DB = -120, 180  # ends of the histogram; what lies beyond counts at the end


@dataclass(frozen=True)
class Level:
    """One channel's loudness: ``rms`` of its active part without DC (0 for silence), ``peak`` of all, linear."""

    rms: float
    peak: float

    @property
    def gain(self) -> float:
        """The factor to :data:`TARGET_RMS`, at most :data:`MAX_GAIN` and never such that ``peak`` goes beyond 1."""
        wanted = TARGET_RMS / self.rms if self.rms > 0 else 1.0
        return min(wanted, MAX_GAIN, 1.0 / self.peak if self.peak > 0 else MAX_GAIN)


class _LevelMeter:
    """Histograms of frame power, one a channel, in bins of 1 dB."""

    def __init__(self, frame: int, channels: int) -> None:
        self._frame = frame
        self._rest = np.zeros((channels, 0), np.float32)
        self._peak = np.zeros(channels)
        self._energy = np.zeros((channels, _HIGHEST_DB - _LOWEST_DB + 1))
        self._samples = np.zeros_like(self._energy)

    def add(self, block: Block) -> None:
        self._peak = np.maximum(self._peak, np.abs(block).max(axis=1, initial=0.0))
        block = np.concatenate([self._rest, block], axis=1)
        whole = block.shape[1] // self._frame * self._frame
        self._tally(block[:, :whole].reshape(len(block), -1, self._frame))
        self._rest = block[:, whole:]

    def levels(self) -> tuple[Level, ...]:
        if self._rest.shape[1]:
            self._tally(self._rest[:, None])
        return tuple(Level(self._active_rms(channel), float(peak)) for channel, peak in enumerate(self._peak))

    def _tally(self, frames: Block) -> None:
        """Count ``[channels, frames, samples]``. Each frame's mean goes first: DC and rumble are no loudness."""
        power = frames.var(axis=-1, dtype=np.float64)
        decibels = 10 * np.log10(np.maximum(power, 1e-30))
        bins = np.clip(np.floor(decibels), _LOWEST_DB, _HIGHEST_DB).astype(np.int64) - _LOWEST_DB
        channel = np.broadcast_to(np.arange(len(bins))[:, None], bins.shape)
        np.add.at(self._energy, (channel, bins), power * frames.shape[-1])
        np.add.at(self._samples, (channel, bins), frames.shape[-1])

    def _active_rms(self, channel: int) -> float:
        used = np.flatnonzero(self._samples[channel])
        if len(used) == 0:
            return 0.0
        active = slice(max(int(used[-1]) - _GATE_DB, 0), None)
        rms = float(np.sqrt(self._energy[channel, active].sum() / self._samples[channel, active].sum()))
        return rms if rms >= _SILENCE_RMS else 0.0


def measure_level(blocks: Iterable[Block], sample_rate_hz: int, channels: int) -> tuple[Level, ...]:
    """The :class:`Level` of each channel of a signal, in one pass over its blocks ``[channels, n]``, however it is cut.

    Loudness is taken over frames of 30 ms within 40 dB of the loudest, so that pauses do not make a talker seem soft.
    """
    meter = _LevelMeter(max(1, round(sample_rate_hz * _FRAME_S)), channels)
    for block in blocks:
        meter.add(block)
    return meter.levels()


# --- Sample rates ----------------------------------------------------------------------------------------------------

MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000
# Kaiser-windowed sinc: flat to 0.86 and 95 dB down from 1.04 of the lower Nyquist frequency.
_ZERO_CROSSINGS, _ROLLOFF, _BETA = 32, 0.95, 9.5
_DENSE_KERNEL = 2**20  # entries up to which every phase of the filter has a row of its own
_PHASES = 1024  # rows of the interpolated filter, whose error stays below -110 dB
_GATHERED = 2**17  # entries gathered at once, so that they stay in the cache


def resampled_length(frames: int, from_hz: int, to_hz: int) -> int:
    """``ceil(frames * to_hz / from_hz)``, exactly."""
    return -(-frames * to_hz // from_hz)


def _sinc_kernel(orig: int, new: int, rolloff: float) -> tuple[Tensor, int]:
    """torchaudio's polyphase filter ``[new, orig + 2 * width]`` (float64), and ``width``."""
    from torchaudio.transforms import Resample

    settings = {"resampling_method": "sinc_interp_kaiser", "lowpass_filter_width": _ZERO_CROSSINGS, "beta": _BETA}
    filters = Resample(orig, new, rolloff=rolloff, dtype=torch.float64, **settings)
    return filters.kernel[:, 0], int(filters.width)


class _ConvolvedPeriod:
    """``up`` outputs for each ``down`` inputs by one strided convolution: what torchaudio itself does."""

    def __init__(self, down: int, up: int) -> None:
        kernel, self.width = _sinc_kernel(down, up, _ROLLOFF)
        self._kernel, self._down = kernel[:, None].float(), down

    def __call__(self, padded: Tensor) -> Tensor:
        """``[channels, periods * down + 2 * width]`` to ``[channels, periods * up]``."""
        return nn.functional.conv1d(padded[:, None], self._kernel, stride=self._down).transpose(1, 2).flatten(1)


class _InterpolatedPeriod:
    """The same for terms too large for a kernel of their product (44099 Hz to 16000 Hz would take 3 GB).

    The filter's rows are tabulated at even phases and interpolated linearly between them, as resampy does. Ratio and
    pitch are exact, unlike with a rounded ratio, whose drift would cost a long recording its end.
    """

    def __init__(self, down: int, up: int) -> None:
        narrowing = min(1.0, up / down)
        phases = max(2, round(_PHASES * narrowing))  # a narrower filter is a smoother one
        table, self.width = _sinc_kernel(1, phases, _ROLLOFF * narrowing)
        table = nn.functional.pad(table, (0, 1))
        next_row = torch.cat([table[1:], table[:1].roll(1, dims=1)])
        self._table, self._step = table.float(), (next_row - table).float()
        self._down, self._up = down, up
        places = torch.arange(up) * down
        self._start, phase = places // up, (places % up).double() * phases / up
        self._row = phase.long()
        self._fraction = (phase - self._row).float()[:, None]

    def __call__(self, padded: Tensor) -> Tensor:
        """As :meth:`_ConvolvedPeriod.__call__`."""
        taps = self._table.shape[1]
        windows = nn.functional.pad(padded, (0, 1)).unfold(-1, taps, 1)
        at_once = max(1, _GATHERED // (taps * len(padded)))
        parts = []
        for period in range((padded.shape[1] - 2 * self.width) // self._down):
            for first in range(0, self._up, at_once):
                chosen = slice(first, first + at_once)
                row = self._row[chosen]
                filters = torch.addcmul(self._table[row], self._step[row], self._fraction[chosen])
                parts.append((windows[:, self._start[chosen] + period * self._down] * filters).sum(-1))
        return torch.cat(parts, dim=1)


@functools.lru_cache(maxsize=8)
def _period(down: int, up: int) -> _ConvolvedPeriod | _InterpolatedPeriod:
    return _ConvolvedPeriod(down, up) if down * up <= _DENSE_KERNEL else _InterpolatedPeriod(down, up)


class StreamingResampler:
    """Windowed-sinc resampling, block by block in bounded memory, equal to that of the whole signal at once.

    What :meth:`push` and :meth:`flush` return makes up exactly :func:`resampled_length` frames, sample 0 on sample 0.
    Rates are 1 kHz to 768 kHz, in any ratio; others raise :class:`SoundError`. Equal rates pass anything unchanged.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        for rate_hz in (from_hz, to_hz):
            if rate_hz < 1 or (from_hz != to_hz and not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ):
                supported = f"{MIN_RATE_HZ} to {MAX_RATE_HZ} Hz"
                raise SoundError(f"cannot resample {rate_hz} Hz: rates may be {supported}; correct the file's header")
        divisor = gcd(from_hz, to_hz)
        self._down, self._up = from_hz // divisor, to_hz // divisor
        self._channels = 1
        self._pushed = self._returned = 0
        self._pending: Block | None = None

    def push(self, block: Block) -> Block:
        """Add a block ``[channels, n]``; returns ``[channels, m]``, all that is certain by now, perhaps nothing."""
        self._channels = len(block)
        self._pushed += block.shape[1]
        if self._down == self._up:
            return block
        if self._pending is None:
            self._pending = np.zeros((len(block), _period(self._down, self._up).width), np.float32)
        return self._advance(block)

    def flush(self) -> Block:
        """The rest ``[channels, m]`` of the signal, silence following it. The resampler is then spent."""
        if self._pending is None:
            return np.zeros((self._channels, 0), np.float32)
        silence = np.zeros((self._channels, _period(self._down, self._up).width + self._down), np.float32)
        remaining = resampled_length(self._pushed, self._down, self._up) - self._returned
        return self._advance(silence)[:, :remaining]

    def _advance(self, block: Block) -> Block:
        assert self._pending is not None
        period = _period(self._down, self._up)
        pending = np.concatenate([self._pending, block], axis=1)
        used = max(0, (pending.shape[1] - 2 * period.width) // self._down) * self._down
        self._pending = pending[:, used:].copy()
        if used == 0:
            return np.zeros((len(block), 0), np.float32)
        with torch.inference_mode():
            resampled = period(torch.from_numpy(pending[:, : used + 2 * period.width])).numpy()
        self._returned += resampled.shape[1]
        return cast(Block, resampled)


def resample(wave: Block, from_hz: int, to_hz: int) -> Block:
    """A whole signal ``[channels, n]`` at another rate: ``[channels, resampled_length(n, from_hz, to_hz)]``."""
    if from_hz == to_hz:
        return wave
    resampler = StreamingResampler(from_hz, to_hz)
    return np.concatenate([resampler.push(wave), resampler.flush()], axis=1)


# --- Mel spectra -----------------------------------------------------------------------------------------------------

MEL_FLOOR = 1e-3  # below it all is silence: the log is never less than -6.9


@functools.lru_cache(maxsize=8)
def _mel(sample_rate_hz: int, n_fft: int, hop_length: int, n_mels: int, device: torch.device) -> nn.Module:
    from torchaudio.transforms import MelSpectrogram

    # power=1 is the magnitude; center=False because log_mel places the frames itself.
    kind = {"n_fft": n_fft, "hop_length": hop_length, "n_mels": n_mels, "power": 1.0, "center": False}
    return cast(nn.Module, MelSpectrogram(sample_rate_hz, **kind)).to(device)


def log_mel(wave: Tensor, sample_rate_hz: int, n_fft: int, hop_length: int, n_mels: int) -> Tensor:
    """Log-mel magnitudes ``[B, n_mels, T // hop_length]`` of ``[B, T]``: ``log(max(mel, MEL_FLOOR))``, natural log.

    Frame ``i`` is centred on sample ``i * hop_length + hop_length // 2``, the middle of token ``i``'s own samples.
    Beyond its ends the wave is silent.
    """
    frames = wave.shape[-1] // hop_length
    if frames == 0:
        return wave.new_zeros(len(wave), n_mels, 0)
    before = n_fft // 2 - hop_length // 2
    after = (frames - 1) * hop_length + n_fft - before - wave.shape[-1]
    mel: Tensor = _mel(sample_rate_hz, n_fft, hop_length, n_mels, wave.device)(nn.functional.pad(wave, (before, after)))
    return mel.clamp(min=MEL_FLOOR).log()
