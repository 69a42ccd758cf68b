"""Sound to codes and back while it happens, with a delay that is known.

Work goes in hops of whole vectors, each with the context around it that its network can see. Hops lie at fixed places
and have the same form whatever blocks the caller brings, so that the results do not depend on how the input is cut.
State is a few arrays beside the model, which all streams share: it can be copied and reset.
"""

import copy
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from vqaudio.arrays import Floats
from vqaudio.bitstream.entropy import Codes
from vqaudio.codecs.encoding import WaveSound
from vqaudio.codecs.sampling import Sampling
from vqaudio.codecs.segments import one_thread
from vqaudio.codecs.synthesis import ParameterVocoder, stream_reach
from vqaudio.codecs.tokens import MUTE_RAMP_S, Window
from vqaudio.dsp.automatic_gain import AutomaticGain
from vqaudio.errors import ConfigError, ContainerError, SoundError
from vqaudio.io.resample import StreamingResampler
from vqaudio.models.sound_model import ParameterModel, SoundModel

MAX_HOP = 8  # vectors
UNKNOWN = -1  # a code that did not arrive, of a vector of which others did
_CHUNK_S = 0.01  # of sound that is resampled, or whose gain is found, at once
_HELD, _FADING = 1, 5  # vectors that a loss repeats at full level, and over how many more it fades
_LOUDEST = float(np.finfo(np.float32).max)
_MOST_LOST = 4096  # vectors that are concealed at once: some minutes


def _check_hop(hop: int) -> int:
    if not (isinstance(hop, int | np.integer) and 1 <= hop <= MAX_HOP):
        raise ConfigError(f"hop = {hop!r} is not valid: give 1 to {MAX_HOP} vectors")
    return int(hop)


def _vector_length(model: SoundModel) -> int:
    return model.config.encoder.hop_length


# ------------------------------------------------------------------------------------------------------------ encoder


class StreamEncoder:
    """One channel of live sound to codes; :meth:`vqaudio.codecs.speech.Codec.stream_encoder` makes it.

    The codes are those of the whole sound at once. Up to rounding, that is: where two codes are equally near, the
    last bit of a float decides.
    """

    def __init__(self, model: SoundModel, sample_rate_hz: int, gain: float | None, hop: int) -> None:
        """``gain`` normalises the level; None adapts it to the sound. ``hop`` vectors are coded at once."""
        if gain is not None and not (isinstance(gain, int | float | np.number) and 0 < gain < np.inf):
            raise ConfigError(f"gain = {gain!r} is not valid: give a number above 0, or None to adapt it")
        self._model, self._gain, self._hop = model, gain, _check_hop(hop)
        self.sample_rate_hz = WaveSound(np.zeros(0, np.float32), sample_rate_hz).sample_rate_hz  # a whole number
        same_rate = self.sample_rate_hz == model.config.sample_rate_hz
        self._chunk = 1 if same_rate and gain is not None else max(1, round(_CHUNK_S * self.sample_rate_hz))
        self.reset()

    def reset(self) -> None:
        """Back to the beginning, for another sound."""
        self._resampler = StreamingResampler(self.sample_rate_hz, self._model.config.sample_rate_hz)
        self._automatic = AutomaticGain(self._chunk / self.sample_rate_hz) if self._gain is None else None
        self._raw = np.zeros(0, np.float32)  # not yet a whole chunk
        self._held = np.zeros(self._before, np.float32)  # at the model's rate, from the next hop's context on
        self._ended = False

    def copy(self) -> Self:
        """Another encoder in the same state; the model is shared."""
        return copy.deepcopy(self, {id(self._model): self._model})

    @property
    def delay_s(self) -> float:
        """Seconds, at most, from a sample to the call of :meth:`push` that gives its vector's codes."""
        own = (self._hop - 1) * _vector_length(self._model) + self._model.config.encoder.delay_samples
        waiting = (self._chunk - 1) / self.sample_rate_hz
        return own / self._model.config.sample_rate_hz + self._resampler.delay_s + waiting

    @property
    def _before(self) -> int:
        return self._model.config.encoder.reach.before * _vector_length(self._model)

    def push(self, block: npt.ArrayLike) -> Codes:
        """Adds ``block``, floats ``[n]`` or ``[1, n]``, n of any size; gives the codes that are certain by now.

        They are int32 ``[num_quantizers, vectors]``, perhaps no vector.

        Raises:
            SoundError: the block has another shape, or holds integers, NaN or infinity; or the sound was flushed.
        """
        if self._ended:
            raise SoundError("the sound has ended: reset the encoder, or take a new one")
        sound = WaveSound(block, self.sample_rate_hz)
        if sound.channels != 1:
            raise SoundError(f"the block has {sound.channels} channels; give an encoder to each")
        self._raw = np.concatenate([self._raw, *(part[0] for part in sound.blocks(1 << 20))])
        whole = len(self._raw) - len(self._raw) % self._chunk
        size = self._chunk if self._chunk > 1 else max(1, whole)
        parts = [self._normalised(self._raw[first : first + size]) for first in range(0, whole, size)]
        self._raw = self._raw[whole:].copy()
        self._held = np.concatenate([self._held, *parts])
        needed = self._before + (self._hop - 1) * _vector_length(self._model) + self._model.config.encoder.delay_samples
        return self._coded(max(0, (len(self._held) - needed) // (self._hop * _vector_length(self._model)) + 1))

    def flush(self) -> Codes:
        """The rest of the codes, silence following the sound, which ends."""
        if self._ended:
            raise SoundError("the sound has ended: reset the encoder, or take a new one")
        rest = self._normalised(self._raw)
        self._held = np.concatenate([self._held, rest, self._resampler.flush()[0]])
        self._ended = True
        vectors = -(-(len(self._held) - self._before) // _vector_length(self._model))
        codes = self._coded(-(-vectors // self._hop))
        return codes[:, :vectors]

    def _normalised(self, raw: Floats) -> Floats:
        if self._automatic is not None:
            loud = self._automatic(raw)
        else:
            assert self._gain is not None
            loud = raw * np.float32(self._gain)
        return self._resampler.push(loud[None])[0]

    def _coded(self, hops: int) -> Codes:
        """The codes of the next ``hops`` hops, which are then done with."""
        vector, encoder = _vector_length(self._model), self._model.config.encoder
        step, after = self._hop * vector, encoder.reach.after
        known = self._before + step - vector + encoder.delay_samples  # nothing beyond can change the hop
        codes = [np.zeros((self._model.num_quantizers, 0), np.int32)]
        for number in range(hops):
            window = np.zeros(self._before + step + after * vector, np.float32)
            held = self._held[number * step :][: min(known, len(window))]
            window[: len(held)] = held
            codes.append(self._encode(window))
        self._held = self._held[hops * step :].copy()
        return np.concatenate(codes, axis=1)

    def _encode(self, window: Floats) -> Codes:
        with one_thread():
            tokens = self._model.encode_part(window, self._model.config.encoder.reach.before, self._hop)
        return np.ascontiguousarray(tokens.astype(np.int32).reshape(self._hop, -1).T)


# ------------------------------------------------------------------------------------------------------------ decoder


def faintest_codes(model: SoundModel) -> tuple[int, ...]:
    """Of each quantizer the code that adds the least, for those that did not arrive."""
    return tuple(int(np.square(codebook).sum(1).argmin()) for codebook in model.codebooks())


class Concealment:
    """Fades what is repeated for lost vectors, and comes back within 5 ms."""

    def __init__(self, vector_length: int, sample_rate_hz: int) -> None:
        self._length, self._ramp = vector_length, max(2, round(MUTE_RAMP_S * sample_rate_hz))
        self._gain: float | None = None  # before the first vector

    def __call__(self, wave: Floats, lost: list[int]) -> Floats:
        """The next ``wave[vectors * vector_length]``; ``lost`` has for each vector how many are lost up to it."""
        if self._gain is None:
            self._gain = 0.0 if lost[0] else 1.0
        if self._gain == 1 and not any(lost):
            return wave
        gains, gain, place = [], self._gain, np.arange(1, self._length + 1)
        for number in lost:
            last = min(max(1 - (number - _HELD) / _FADING, 0.0), 1.0) if number else 1.0
            span = self._ramp if last > gain else self._length
            gains.append(gain + (last - gain) * np.minimum(place / span, 1))
            gain = last
        self._gain = gain
        return (wave * np.concatenate(gains)).astype(np.float32)


class StreamDecoder:
    """Codes to one channel of live sound; :meth:`vqaudio.codecs.speech.Codec.stream_decoder` makes it.

    The sound is that of ``codec.decode(stream, exact=True)``, sample by sample, where the sample rate is the model's.
    """

    def __init__(
        self, model: ParameterModel, sampling: Sampling, sample_rate_hz: int, level: float = 1.0, hop: int = 1
    ) -> None:
        """``level`` is the factor from normalised to wanted loudness; ``hop`` vectors are decoded at once."""
        if not (isinstance(level, int | float | np.number) and 0 <= level <= _LOUDEST):
            raise ConfigError(f"level = {level!r} is not valid: give 0 or more")
        self._model, self._sampling, self._hop = model, sampling, _check_hop(hop)
        self._level = float(np.float32(level))  # as in a stream's header
        self._faintest = faintest_codes(model)
        self.sample_rate_hz = sample_rate_hz
        self.reset()

    def reset(self) -> None:
        """Back to the beginning, for another stream."""
        model = self._model
        self._vocoder = ParameterVocoder(model, self._sampling, 1)
        self._resampler = StreamingResampler(model.config.sample_rate_hz, self.sample_rate_hz)
        self._concealment = Concealment(_vector_length(model), model.config.sample_rate_hz)
        self._codes = np.zeros((0, model.num_quantizers), np.int32)  # from the next hop's context on
        self._lost: list[int] = []  # of those that are to be decoded, see Concealment
        self._last_lost = _HELD + _FADING  # a loss before the first vector is silent
        self._ended = False

    def copy(self) -> Self:
        """Another decoder in the same state; the model is shared."""
        filters = self._vocoder.filters
        return copy.deepcopy(self, {id(self._model): self._model, id(filters): filters})

    @property
    def delay_s(self) -> float:
        """Seconds of sound, at most, that are held back: from a vector's codes to the call that gives its sound."""
        vectors = stream_reach(self._model).after // self._model.num_quantizers + self._hop - 1
        samples = vectors * _vector_length(self._model)
        return samples / self._model.config.sample_rate_hz + self._resampler.delay_s

    def push(self, codes: npt.NDArray[np.integer[Any]]) -> Floats:
        """Adds ``codes[num_quantizers, vectors]``; gives the sound that is certain by now, float32 ``[n]``.

        A code of -1 has not arrived: the vector is made of the others.

        Raises:
            ContainerError: the codes have another shape, or are none of the model's; or the stream was flushed.
        """
        self._check_open()
        size, most = self._model.num_quantizers, self._model.codebook_size
        codes = np.asarray(codes)
        if codes.ndim != 2 or len(codes) != size or not np.issubdtype(codes.dtype, np.integer):
            found = f"are {codes.dtype} of the shape {codes.shape}"
            raise ContainerError(f"codes {found}; give integers [{size}, vectors]")
        if codes.size and not (codes.min() >= UNKNOWN and codes.max() < most):
            raise ContainerError(f"codes reach from {codes.min()} to {codes.max()}; allowed are 0 to {most - 1}")
        vectors = np.where(codes.T == UNKNOWN, self._faintest, codes.T).astype(np.int32)
        return self._added(vectors, [0] * len(vectors))

    def lost(self, vectors: int) -> Floats:
        """As :meth:`push`, for ``vectors`` that did not arrive: the last is held, and fades.

        Raises:
            ContainerError: it is none of 0 to 4096; or the stream was flushed.
        """
        self._check_open()
        if not 0 <= vectors <= _MOST_LOST:
            raise ContainerError(f"{vectors} lost vectors cannot be concealed; give 0 to {_MOST_LOST}, or reset")
        last = self._codes[-1:] if len(self._codes) else np.zeros((1, self._model.num_quantizers), np.int32)
        first = self._last_lost + 1
        return self._added(np.repeat(last, vectors, axis=0), list(range(first, first + vectors)))

    def flush(self) -> Floats:
        """The rest of the sound; the stream ends."""
        self._check_open()
        self._ended = True
        made = [self._decode(min(self._hop, len(self._lost))) for _ in range(-(-len(self._lost) // self._hop))]
        return self._leveled(np.concatenate([np.zeros(0, np.float32), *made, self._resampler.flush()[0]]))

    def _check_open(self) -> None:
        if self._ended:
            raise ContainerError("the stream has ended: reset the decoder, or take a new one")

    def _added(self, vectors: Codes, lost: list[int]) -> Floats:
        self._codes = np.concatenate([self._codes, vectors])
        self._lost += lost
        self._last_lost = self._lost[-1] if lost else self._last_lost
        ahead = stream_reach(self._model).after // self._model.num_quantizers
        hops = max(0, (len(self._lost) - ahead) // self._hop)
        return self._leveled(np.concatenate([np.zeros(0, np.float32), *(self._decode(self._hop) for _ in range(hops))]))

    def _decode(self, size: int) -> Floats:
        """The sound, at the wanted rate, of the next ``size`` vectors, which are then done with."""
        each, (before, after) = self._model.num_quantizers, stream_reach(self._model)
        first = len(self._codes) - len(self._lost)
        tokens = self._codes.reshape(1, -1)[:, : (first + size) * each + after]
        inner = slice(first * each, (first + size) * each)
        wave = self._vocoder(Window(tokens, inner, np.zeros((1, size * each), bool)))[0]
        wave = self._concealment(wave, self._lost[:size])
        self._lost = self._lost[size:]
        kept = len(self._lost) + before // each
        self._codes = self._codes[max(0, len(self._codes) - kept) :]
        return self._resampler.push(wave[None])[0]

    def _leveled(self, wave: Floats) -> Floats:
        return np.clip(wave * np.float64(self._level), -_LOUDEST, _LOUDEST).astype(np.float32)
