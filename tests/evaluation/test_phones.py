"""What codes stand for: planted phones are found, and made speech is aligned with its words."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqaudio.errors import DataError
from vqaudio.evaluation.metrics import Original
from vqaudio.evaluation.phones import PHONES, Aligner, PhoneWatch, SpokenCodes, map_phones, phones_of_frames

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "samples"
RATE, SIZE = 16000, 64
SENTENCE = "Put the kettle on, please."


@pytest.fixture(scope="module")
def kettle() -> np.ndarray:
    return soundfile.read(SAMPLES / "kettle.flac", dtype="float32")[0]


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    return Aligner()


def runs(phones: np.ndarray) -> list[str]:
    """The phones in their order, without silence."""
    starts = np.flatnonzero(np.diff(phones, prepend=-1))
    return [PHONES[number] for number in phones[starts] if number]


def test_the_phones_of_a_sentence_come_in_their_order(kettle: np.ndarray, aligner: Aligner) -> None:
    phones = aligner.align(kettle, RATE, SENTENCE)
    assert len(phones) == -(-len(kettle) * 100 // RATE)
    found = runs(phones)
    assert found[:2] == ["P", "UH"]
    assert found[-3:] == ["L", "IY", "Z"]
    assert {"K", "EH", "T", "L"} <= set(found)
    again = aligner.align(kettle, RATE, SENTENCE)
    assert np.array_equal(phones, again)


def test_silence_before_a_sentence_moves_it(kettle: np.ndarray, aligner: Aligner) -> None:
    plain = aligner.align(kettle, RATE, SENTENCE)
    late = aligner.align(np.pad(kettle, (RATE // 2, 0)), RATE, SENTENCE)
    assert np.mean(plain == late[50:]) > 0.8
    assert not late[:45].any()


def test_unknown_words_and_no_words_are_not_aligned(kettle: np.ndarray, aligner: Aligner) -> None:
    assert aligner.unknown_words("put the qwxzzy on") == ["qwxzzy"]
    assert aligner.align(kettle, RATE, "put the qwxzzy on") is None
    assert aligner.align(kettle, RATE, " ... ") is None
    assert aligner.align(kettle, RATE, SENTENCE) is not None  # what failed leaves nothing behind


def test_the_phone_of_a_frame_is_that_in_its_middle() -> None:
    phones = np.repeat([0, 3, 7], 10)  # 100 ms each
    assert phones_of_frames(phones, 7, 0.05).tolist() == [0, 0, 3, 3, 7, 7, 0]


def planted(count: int, seed: int, agreement: float) -> list[SpokenCodes]:
    """Utterances whose codes tell their phone (code // 2 is the phone) in a share of frames, and else nothing."""
    rng = np.random.default_rng(seed)
    utterances = []
    for _ in range(count):
        phones = rng.integers(0, 20, 500)
        codes = np.where(rng.random(500) < agreement, 2 * phones + rng.integers(0, 2, 500), rng.integers(0, SIZE, 500))
        utterances.append(SpokenCodes(phones, codes, rng.standard_normal((500, 13)) + phones[:, None]))
    return utterances


def test_planted_phones_are_found_and_chance_is_chance() -> None:
    perfect = map_phones(planted(6, 0, 1.0), SIZE)
    assert perfect.accuracy == perfect.speech_accuracy == 1
    assert perfect.chance == pytest.approx(1 / 20, abs=0.01)
    assert 0.3 < perfect.mfcc_accuracy < 1  # clusters of what phones shift by one deviation
    some = map_phones(planted(6, 1, 0.5), SIZE)
    assert some.accuracy == pytest.approx(0.5 + 0.5 * 0.06, abs=0.04)
    none = map_phones(planted(20, 2, 0.0), SIZE)
    assert none.accuracy == pytest.approx(none.chance, abs=0.02)


def test_an_utterance_is_named_by_others_only() -> None:
    """Codes that occur in one half alone cannot be named, however well they go with their phones there."""
    first, second = (np.full(100, 5), np.full(100, 9)), (np.full(100, 6), np.full(100, 30))
    utterances = [SpokenCodes(*pair, np.random.default_rng(0).standard_normal((100, 13))) for pair in (first, second)]
    assert map_phones(utterances, SIZE).accuracy == 0


def test_phones_may_be_counted_on_other_utterances() -> None:
    known, others = planted(10, 0, 1.0), planted(2, 1, 1.0)
    assert map_phones(others, SIZE, known=known).accuracy == 1
    renamed = [SpokenCodes((of.phones + 1) % 20, of.codes, of.cepstra) for of in known]
    assert map_phones(others, SIZE, known=renamed).accuracy == 0


def test_counts_are_of_all_frames() -> None:
    utterances = planted(4, 0, 0.7)
    found = map_phones(utterances, SIZE, left_out=3)
    assert found.counts.shape == (len(PHONES), SIZE)
    assert found.counts.sum() == found.frames == 2000
    assert (found.utterances, found.left_out) == (4, 3)
    assert "counts" not in found.document()


def test_one_utterance_is_too_little() -> None:
    with pytest.raises(DataError, match="less than two utterances"):
        map_phones(planted(1, 0, 1.0), SIZE)


def test_the_watch_takes_the_first_stage_and_counts_what_it_leaves_out(kettle: np.ndarray) -> None:
    watch = PhoneWatch(SIZE, stages=4, vector_s=0.02)
    vectors = -(-len(kettle) // 320)
    codes = np.arange(4 * vectors, dtype=np.int32) % SIZE
    watch.add(Original(kettle, RATE, SENTENCE), codes)
    watch.add(Original(kettle, RATE, "put the qwxzzy on"), codes)
    watch.add(Original(kettle, RATE), codes)
    assert (len(watch.utterances), watch.left_out) == (1, 1)
    spoken = watch.utterances[0]
    assert np.array_equal(spoken.codes, codes[::4])
    assert len(spoken.phones) == len(spoken.cepstra) == vectors
