"""Other sample rates: windowed-sinc resampling, whole or block by block.

libsoxr's streams would do, and give the same numbers however a signal is cut, but hold back 37 ms (HQ, 48 to 16 kHz) to
84 ms (VHQ, 44.1 to 16 kHz) of sound, in either direction of a call; this one holds back some 2 ms.

Blocks are ``float32`` NumPy arrays ``[channels, n]``.
"""

import functools
import math
from math import gcd

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from vqaudio.arrays import Block, Doubles
from vqaudio.errors import SoundError

MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000
# Kaiser-windowed sinc: flat to 0.86 and 95 dB down from 1.04 of the lower Nyquist frequency.
_ZERO_CROSSINGS, _ROLLOFF, _BETA = 32, 0.95, 9.5
_DENSE_KERNEL = 2**20  # entries up to which every phase of the filter has a row of its own
_PHASES = 1024  # rows of the interpolated filter, whose error stays below -110 dB
_GATHERED = 2**17  # entries gathered at once, so that they stay in the cache


def resampled_length(frames: int, from_hz: int, to_hz: int) -> int:
    """``ceil(frames * to_hz / from_hz)``, exactly."""
    return -(-frames * to_hz // from_hz)


def _sinc_kernel(orig: int, new: int, rolloff: float) -> tuple[Doubles, int]:
    """The polyphase filter ``[new, orig + 2 * width]`` of a sinc in a Kaiser window, and ``width``; torchaudio's."""
    cutoff = min(orig, new) * rolloff
    width = math.ceil(_ZERO_CROSSINGS * orig / cutoff)
    time = np.arange(-width, width + orig) / orig - np.arange(new)[:, None] / new
    place = np.clip(time * cutoff, -_ZERO_CROSSINGS, _ZERO_CROSSINGS)
    window = np.i0(_BETA * np.sqrt(1 - (place / _ZERO_CROSSINGS) ** 2)) / np.i0(_BETA)
    return np.sinc(place) * window * (cutoff / orig), width


class _ConvolvedPeriod:
    """``up`` outputs for each ``down`` inputs, each the inner product of one row of a kernel and the inputs around."""

    def __init__(self, down: int, up: int) -> None:
        kernel, self.width = _sinc_kernel(down, up, _ROLLOFF)
        self._kernel, self._down = kernel.astype(np.float32), down

    def __call__(self, padded: Block) -> Block:
        """``[channels, periods * down + 2 * width]`` to ``[channels, periods * up]``."""
        windows = sliding_window_view(padded, self._kernel.shape[1], axis=1)[:, :: self._down]
        # one inner product for each output: a product of matrices rounds by the place of a row among the others
        outputs: Block = np.vecdot(windows[:, :, None], self._kernel)
        return outputs.reshape(len(padded), -1)


class _InterpolatedPeriod:
    """The same for terms too large for a kernel of their product (44099 Hz to 16000 Hz would take 3 GB).

    The filter's rows are tabulated at even phases and interpolated linearly between them, as resampy does. Ratio and
    pitch are exact, unlike with a rounded ratio, whose drift would cost a long recording its end.
    """

    def __init__(self, down: int, up: int) -> None:
        narrowing = min(1.0, up / down)
        phases = max(2, round(_PHASES * narrowing))  # a narrower filter is a smoother one
        table, self.width = _sinc_kernel(1, phases, _ROLLOFF * narrowing)
        table = np.pad(table, ((0, 0), (0, 1)))
        next_row = np.concatenate([table[1:], np.roll(table[:1], 1, axis=1)])
        self._table, self._step = table.astype(np.float32), (next_row - table).astype(np.float32)
        self._down, self._up = down, up
        places = np.arange(up) * down
        self._start, phase = places // up, (places % up) * phases / up
        self._row = phase.astype(np.int64)
        self._fraction = (phase - self._row).astype(np.float32)[:, None]

    def __call__(self, padded: Block) -> Block:
        """As :meth:`_ConvolvedPeriod.__call__`."""
        taps = self._table.shape[1]
        windows = sliding_window_view(np.pad(padded, ((0, 0), (0, 1))), taps, axis=1)
        at_once = max(1, _GATHERED // (taps * len(padded)))
        parts = []
        for period in range((padded.shape[1] - 2 * self.width) // self._down):
            for first in range(0, self._up, at_once):
                chosen = slice(first, first + at_once)
                row = self._row[chosen]
                filters = self._table[row] + self._step[row] * self._fraction[chosen]
                parts.append(np.vecdot(windows[:, self._start[chosen] + period * self._down], filters))
        return np.concatenate(parts, axis=1)


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
        self._from_hz, self._channels = from_hz, 1
        self._pushed = self._returned = 0
        self._pending: Block | None = None

    @property
    def delay_s(self) -> float:
        """Seconds, at most, from a sample to the call that returns what it becomes."""
        if self._down == self._up:
            return 0.0
        return (self._down + _period(self._down, self._up).width) / self._from_hz

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
        resampled = period(pending[:, : used + 2 * period.width])
        self._returned += resampled.shape[1]
        return resampled


def resample(wave: Block, from_hz: int, to_hz: int) -> Block:
    """A whole signal ``[channels, n]`` at another rate: ``[channels, resampled_length(n, from_hz, to_hz)]``."""
    if from_hz == to_hz:
        return wave
    resampler = StreamingResampler(from_hz, to_hz)
    return np.concatenate([resampler.push(wave), resampler.flush()], axis=1)
