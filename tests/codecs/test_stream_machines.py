"""Live encoders and decoders, pushed, copied, flushed and reset in any order: they give what the whole gives."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sounds import noise

from vqaudio.codecs.speech import Codec, load
from vqaudio.codecs.streaming import UNKNOWN, StreamDecoder, StreamEncoder
from vqaudio.codecs.synthesis import STREAM_HOP
from vqaudio.errors import ContainerError, SoundError

RATE, VECTOR, QUANTIZERS, LEVELS = 16000, 512, 8, 100
MOST = 3  # streams at once
BOUNDED = settings(  # in time: what fails is not made smaller, which would take minutes
    max_examples=20,
    stateful_step_count=12,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
    report_multiple_bugs=False,
)
Wave = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int32]
NO_CODES = np.zeros((QUANTIZERS, 0), np.int32)


@pytest.fixture(scope="module")
def codec(vocoded_model: Path) -> Codec:
    return load(vocoded_model, "cpu")


# ------------------------------------------------------------------------------------------------------------ encoder


@dataclass(frozen=True)
class Ear:
    """An encoder, the first ``heard`` samples of the sound that it was given, and what it gave."""

    encoder: StreamEncoder
    heard: int = 0
    codes: Codes = field(default_factory=lambda: NO_CODES)
    ended: bool = False


class Ears(RuleBasedStateMachine):
    """Encoders of one sound, each somewhere in it."""

    codec: ClassVar[Codec]

    @initialize(
        frames=st.integers(0, 9000),
        rate=st.sampled_from([RATE, RATE, 11025, 48000]),
        gain=st.sampled_from(["the file's", None, 2.5]),
        hop=st.integers(1, 3),
    )
    def begin(self, frames: int, rate: int, gain: str | float | None, hop: int) -> None:
        self.wave = noise(1, frames, 0.05, seed=frames)[0]
        self.file = self.codec.encode(self.wave, rate) if gain == "the file's" else None
        self.settings: dict[str, Any] = {"gain": 1 / self.file.header.levels[0] if self.file else gain, "hop": hop}
        self.rate = rate
        self.ears = [Ear(self.fresh())]

    def fresh(self) -> StreamEncoder:
        return self.codec.stream_encoder(self.rate, **self.settings)

    def given(self, ear: Ear, codes: Codes) -> Codes:
        assert codes.dtype == np.int32
        assert codes.shape[0] == QUANTIZERS
        return np.concatenate([ear.codes, codes], axis=1)

    @rule(which=st.integers(0, MOST - 1), size=st.one_of(st.integers(0, 4), st.integers(0, 4000)), two=st.booleans())
    def push(self, which: int, size: int, two: bool) -> None:
        ear = self.ears[which % len(self.ears)]
        block = self.wave[ear.heard : ear.heard + size]
        if ear.ended:
            with pytest.raises(SoundError, match="has ended"):
                ear.encoder.push(block)
            return
        codes = self.given(ear, ear.encoder.push(block[None] if two else block))
        self.ears[which % len(self.ears)] = replace(ear, heard=ear.heard + len(block), codes=codes)

    @rule(
        which=st.integers(0, MOST - 1),
        block=st.sampled_from([np.zeros(3, np.int16), np.full(2, np.nan), [[0.0], [1.0]]]),
    )
    def refuse(self, which: int, block: Any) -> None:
        """What is refused changes nothing, as the invariant sees."""
        with pytest.raises(SoundError):
            self.ears[which % len(self.ears)].encoder.push(block)

    @precondition(lambda self: len(self.ears) < MOST)
    @rule(which=st.integers(0, MOST - 1))
    def copy(self, which: int) -> None:
        ear = self.ears[which % len(self.ears)]
        self.ears.append(replace(ear, encoder=ear.encoder.copy()))

    @rule(which=st.integers(0, MOST - 1))
    def reset(self, which: int) -> None:
        ear = self.ears[which % len(self.ears)]
        ear.encoder.reset()
        self.ears[which % len(self.ears)] = Ear(ear.encoder)

    @rule(which=st.integers(0, MOST - 1))
    def flush(self, which: int) -> None:
        ear = self.ears[which % len(self.ears)]
        if ear.ended:
            with pytest.raises(SoundError, match="has ended"):
                ear.encoder.flush()
            return
        ear = replace(ear, codes=self.given(ear, ear.encoder.flush()), ended=True)
        np.testing.assert_array_equal(ear.codes, self.whole(ear.heard))
        if self.file and ear.heard == len(self.wave):
            np.testing.assert_array_equal(ear.codes, self.file.codes[0])
        self.ears[which % len(self.ears)] = ear

    def whole(self, frames: int) -> Codes:
        """The codes of the first samples of the sound, pushed at once."""
        encoder = self.fresh()
        return np.concatenate([encoder.push(self.wave[:frames]), encoder.flush()], axis=1)

    @invariant()
    def codes_come_in_time(self) -> None:
        for ear in getattr(self, "ears", []):
            late = ear.heard / self.rate - ear.encoder.delay_s - ear.codes.shape[1] * VECTOR / RATE
            assert ear.ended or late < self.settings["hop"] * VECTOR / RATE

    def teardown(self) -> None:
        for which in range(len(getattr(self, "ears", []))):
            if not self.ears[which].ended:
                self.flush(which)


# ------------------------------------------------------------------------------------------------------------ decoder


@dataclass(frozen=True)
class Mouth:
    """A decoder, what it was given (codes ``[quantizers, vectors]``, or how many vectors were lost), what it said."""

    decoder: StreamDecoder
    given: tuple[Codes | int, ...] = ()
    said: Wave = field(default_factory=lambda: np.zeros(0, np.float32))
    ended: bool = False

    @property
    def vectors(self) -> int:
        return sum(part if isinstance(part, int) else part.shape[1] for part in self.given)


class Mouths(RuleBasedStateMachine):
    """Decoders of one model, each of a stream of its own."""

    codec: ClassVar[Codec]

    @initialize(seed=st.integers(0, 9), rate=st.sampled_from([RATE, RATE, 22050]), hop=st.integers(1, 3))
    def begin(self, seed: int, rate: int, hop: int) -> None:
        self.settings: dict[str, Any] = {"seed": seed, "level": 0.7, "sample_rate_hz": rate, "hop": hop}
        self.mouths = [Mouth(self.codec.stream_decoder(**self.settings))]

    def told(self, which: int, part: Codes | int) -> None:
        """Gives a decoder codes or a loss."""
        mouth = self.mouths[which % len(self.mouths)]
        say = mouth.decoder.lost if isinstance(part, int) else mouth.decoder.push
        if mouth.ended:
            with pytest.raises(ContainerError, match="has ended"):
                say(part)  # type: ignore[arg-type]
            return
        said = np.concatenate([mouth.said, say(part)])  # type: ignore[arg-type]
        self.mouths[which % len(self.mouths)] = replace(mouth, given=(*mouth.given, part), said=said)

    @rule(which=st.integers(0, MOST - 1), vectors=st.integers(0, 9), seed=st.integers(0, 99), whole=st.booleans())
    def push(self, which: int, vectors: int, seed: int, whole: bool) -> None:
        rng = np.random.default_rng(seed)
        codes = rng.integers(0, LEVELS, (QUANTIZERS, vectors), np.int32)
        self.told(which, codes if whole else np.where(rng.random(codes.shape) < 0.1, UNKNOWN, codes).astype(np.int32))

    @rule(which=st.integers(0, MOST - 1), vectors=st.integers(0, 9))
    def lose(self, which: int, vectors: int) -> None:
        self.told(which, vectors)

    @rule(
        which=st.integers(0, MOST - 1),
        codes=st.sampled_from([np.full((QUANTIZERS, 1), LEVELS), np.full((QUANTIZERS, 1), -2), np.zeros((3, 1), int)]),
    )
    def refuse(self, which: int, codes: Any) -> None:
        """What is refused changes nothing, as the end sees."""
        with pytest.raises(ContainerError):
            self.mouths[which % len(self.mouths)].decoder.push(codes)
        with pytest.raises(ContainerError):
            self.mouths[which % len(self.mouths)].decoder.lost(-1)

    @precondition(lambda self: len(self.mouths) < MOST)
    @rule(which=st.integers(0, MOST - 1))
    def copy(self, which: int) -> None:
        mouth = self.mouths[which % len(self.mouths)]
        self.mouths.append(replace(mouth, decoder=mouth.decoder.copy()))

    @rule(which=st.integers(0, MOST - 1))
    def reset(self, which: int) -> None:
        decoder = self.mouths[which % len(self.mouths)].decoder
        decoder.reset()
        self.mouths[which % len(self.mouths)] = Mouth(decoder)

    @rule(which=st.integers(0, MOST - 1))
    def flush(self, which: int) -> None:
        mouth = self.mouths[which % len(self.mouths)]
        if mouth.ended:
            with pytest.raises(ContainerError, match="has ended"):
                mouth.decoder.flush()
            return
        said = np.concatenate([mouth.said, mouth.decoder.flush()])
        self.mouths[which % len(self.mouths)] = replace(mouth, said=said, ended=True)
        assert said.dtype == np.float32
        np.testing.assert_array_equal(said, self.at_once(mouth))
        codes = [part for part in mouth.given if not isinstance(part, int)]
        if all(not isinstance(part, int) and (part >= 0).all() for part in mouth.given):
            stream = self.codec.stream_of(np.concatenate([NO_CODES, *codes], axis=1)[None], self.settings["level"])
            rate = self.settings["sample_rate_hz"]
            whole = self.codec.decode(stream, seed=self.settings["seed"], exact=True, sample_rate_hz=rate)[0]
            if self.settings["hop"] == STREAM_HOP:
                np.testing.assert_array_equal(said, whole)
            else:  # other pieces round otherwise
                np.testing.assert_allclose(said, whole, atol=2e-3 * np.abs(whole).max(initial=0))

    def at_once(self, mouth: Mouth) -> Wave:
        """The same by a new decoder that hears of each run of codes, and of each run of losses, in one call."""
        decoder, runs = self.codec.stream_decoder(**self.settings), list[Codes | int]()
        for part in mouth.given:
            before = runs[-1] if runs else None
            if isinstance(part, int) and isinstance(before, int):
                runs[-1] = before + part
            elif isinstance(part, np.ndarray) and isinstance(before, np.ndarray):
                runs[-1] = np.concatenate([before, part], axis=1)
            else:
                runs.append(part)
        parts = [decoder.lost(run) if isinstance(run, int) else decoder.push(run) for run in runs]
        return np.concatenate([*parts, decoder.flush()])

    @invariant()
    def sound_comes_in_time(self) -> None:
        for mouth in getattr(self, "mouths", []):
            late = mouth.vectors * VECTOR / RATE - len(mouth.said) / self.settings["sample_rate_hz"]
            assert mouth.ended or late <= mouth.decoder.delay_s + 1e-3

    def teardown(self) -> None:
        for which in range(len(getattr(self, "mouths", []))):
            if not self.mouths[which].ended:
                self.flush(which)


@pytest.mark.parametrize("machine", [Ears, Mouths])
def test_in_any_order(codec: Codec, machine: type[Any]) -> None:
    run_state_machine_as_test(type(machine.__name__, (machine,), {"codec": codec}), settings=BOUNDED)


def test_a_wrong_encoder_is_seen(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose copies share what they hold."""
    monkeypatch.setattr(StreamEncoder, "copy", lambda self: self)
    with pytest.raises((AssertionError, SoundError)):
        run_state_machine_as_test(type("Wrong", (Ears,), {"codec": codec}), settings=BOUNDED)
