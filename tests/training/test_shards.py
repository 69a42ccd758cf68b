"""data.py: shards that notice damage, batches that are pure functions of the step."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from sounds import tone

from vqaudio.dsp.loudness import TARGET_RMS
from vqaudio.dsp.world import analyse
from vqaudio.errors import DataError
from vqaudio.io.corpora import find_recordings
from vqaudio.training import packing as data
from vqaudio.training.packing import Prepared, load_normalised, prepare
from vqaudio.training.resident import ResidentShards
from vqaudio.training.shards import LEVEL_JITTER_DB, Analysis, AudioShards, Drawn

RATE_HZ = 16000


def packed(root: Path, folder: Path, **settings: float) -> tuple[Prepared, AudioShards]:
    return prepare(root, folder, **settings), AudioShards(folder)  # type: ignore[arg-type]


# --- Packing ----------------------------------------------------------------------------------------------------------


def test_any_rate_and_channels_are_packed_alike(tmp_path: Path) -> None:
    for name, rate_hz, channels in (("a", 16000, 1), ("b", 44100, 2), ("c", 8000, 3)):
        tone(tmp_path / "in" / f"{name}.wav", 0.5, rate_hz, channels)
    done, shards = packed(tmp_path / "in", tmp_path / "out", validation_share=0.0)
    assert done.utterances == 3
    assert done.hours == pytest.approx(1.5 / 3600)
    assert shards.hours() == pytest.approx(1.5 / 3600)
    assert [u.length for u in shards._utterances] == [8000] * 3


def test_the_level_is_normalised(tmp_path: Path) -> None:
    for number, amplitude in enumerate((0.003, 0.1, 0.9)):
        tone(tmp_path / "in" / f"{number}.wav", 1.0, amplitude=amplitude)
    for path in (tmp_path / "in").iterdir():
        wave, gain = load_normalised(path, RATE_HZ)
        assert np.sqrt(np.mean((wave * gain) ** 2)) == pytest.approx(TARGET_RMS, rel=0.02)
    _, shards = packed(tmp_path / "in", tmp_path / "out", validation_share=0.0)
    for batch in shards.validation_batches(4, 4, 8000):
        rms = batch["wave"].square().mean(1).sqrt()
        torch.testing.assert_close(rms, torch.full((4,), TARGET_RMS), rtol=0.05, atol=0)
    jitter = 10 ** (LEVEL_JITTER_DB / 20) * 1.05
    rms = shards.batch(0, 0, slice(64), 64, 4000)["wave"].square().mean(1).sqrt() / TARGET_RMS
    assert 1 / jitter < rms.min() < 0.9
    assert 1.1 < rms.max() < jitter


def test_what_cannot_be_read_is_named_and_left_out(tmp_path: Path) -> None:
    tone(tmp_path / "in" / "ann" / "good.wav")
    (tmp_path / "in" / "ann" / "bad.wav").write_bytes(b"no sound")
    tone(tmp_path / "in" / "bob" / "empty.wav", seconds=0)
    done, shards = packed(tmp_path / "in", tmp_path / "out")
    assert done.utterances == 1
    assert [line for line in done.failed if "bad.wav" in line and "\n" not in line]
    assert [line for line in done.failed if "empty.wav: holds no sound" in line]
    assert len(done.failed) == 2
    assert shards.batch(0, 0, slice(2), 2, 100)["wave"].shape == (2, 100)


def test_nothing_to_pack_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.wav").write_bytes(b"no sound")
    with pytest.raises(DataError, match=r"none of its 1 files could be read; first: .*bad\.wav"):
        prepare(tmp_path / "in", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_large_corpora_span_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "SHARD_BYTES", 12_000)
    for number in range(5):
        tone(tmp_path / "in" / f"{number}.wav")
    done, shards = packed(tmp_path / "in", tmp_path / "out")
    assert done.utterances == 5
    assert len(list((tmp_path / "out").glob("shard-*.pcm"))) == 3
    shards.verify()
    for utterance, recording in zip(shards._utterances, find_recordings(tmp_path / "in"), strict=True):
        wave, gain = load_normalised(recording.path, RATE_HZ)
        np.testing.assert_allclose(
            shards._crop(Drawn(utterance, 0.0, 1.0), len(wave))["wave"], wave * gain, atol=1e-4 * gain
        )


# --- Damage -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 40 utterances of 10 speakers, 0.1 to 0.5 s, in two parts."""
    root = tmp_path_factory.mktemp("corpus")
    for number in range(40):
        tone(root / "in" / f"s{number % 10}" / f"{number:02d}.wav", 0.1 + 0.01 * number)
    prepare(root / "in", root / "shards", validation_share=0.25)
    return root / "shards"


@pytest.fixture
def copied(corpus: Path, tmp_path: Path) -> Path:
    for path in corpus.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_a_flipped_byte_is_found(copied: Path) -> None:
    shards = AudioShards(copied)
    shards.verify()
    path = copied / "shard-00000.pcm"
    flipped = bytearray(path.read_bytes())
    flipped[1001] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(DataError, match=r"shard-00000\.pcm: its checksum is wrong"):
        AudioShards(copied).verify()


def test_a_cut_or_missing_shard_is_refused(copied: Path) -> None:
    path = copied / "shard-00000.pcm"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DataError, match=r"shard-00000\.pcm: is missing or cut"):
        AudioShards(copied)
    path.unlink()
    with pytest.raises(DataError, match=r"shard-00000\.pcm: is missing or cut"):
        AudioShards(copied)


@pytest.mark.parametrize(
    "change",
    [
        {"utterances": []},
        {"utterances": [[0, 0, 10**9, 0, 1.0, False]]},
        {"utterances": [[5, 0, 10, 0, 1.0, False]]},
        {"utterances": [[0, -5, 10, 0, 1.0, False]]},
        {"utterances": [[0, 0, 10]]},
        {"shards": None},
        {"shards": [{"file": "shard-00000.pcm"}]},
        {"speakers": 3},
        {"format_version": 9},
    ],
)
def test_a_damaged_index_is_refused(copied: Path, change: dict[str, object]) -> None:
    index = json.loads((copied / "index.json").read_text(encoding="utf-8"))
    (copied / "index.json").write_text(json.dumps(index | change), encoding="utf-8")
    with pytest.raises(DataError, match="prepare the corpus anew"):
        AudioShards(copied)


def test_no_shards_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no index\.json; run 'vqaudio prepare"):
        AudioShards(tmp_path)
    (tmp_path / "index.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        AudioShards(tmp_path)


# --- Batches ----------------------------------------------------------------------------------------------------------


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a | b)


def test_a_batch_is_a_pure_function_of_seed_and_step(corpus: Path) -> None:
    first, second = AudioShards(corpus), AudioShards(corpus)
    torch.manual_seed(1)
    later = first.batch(3, 10, slice(6), 6, 2000)
    for step in range(4):
        second.batch(3, step, slice(6), 6, 2000)
    assert same(later, second.batch(3, 10, slice(6), 6, 2000))
    assert not same(later, second.batch(3, 11, slice(6), 6, 2000))
    assert not same(later, second.batch(4, 10, slice(6), 6, 2000))
    assert later["wave"].shape == (6, 2000)
    assert later["wave"].dtype == torch.float32
    assert later["speaker"].dtype == torch.int64


def test_the_processes_rows_make_up_the_batch(corpus: Path) -> None:
    shards = AudioShards(corpus)
    whole = shards.batch(0, 5, slice(6), 6, 2000)
    parts = [shards.batch(0, 5, slice(first, first + 2), 6, 2000) for first in (0, 2, 4)]
    assert same(whole, {name: torch.cat([part[name] for part in parts]) for name in whole})


def test_crops_lie_inside_utterances_and_short_ones_are_padded(tmp_path: Path) -> None:
    for number, length in enumerate((50, 400)):
        wave = np.full(length, (0.1, 0.2)[number], np.float32)
        (tmp_path / "in").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "in" / f"{number}.wav", wave, RATE_HZ)
    _, shards = packed(tmp_path / "in", tmp_path / "out", validation_share=0.0)
    short, long = shards._utterances
    for place in (0.0, 0.3, 0.999999):
        crop = shards._crop(Drawn(long, place, 1.0), 100)["wave"]
        assert len(crop) == 100
        np.testing.assert_allclose(crop, 0.2 * long.gain, rtol=1e-3)  # nothing of the short one beside it
        crop = shards._crop(Drawn(short, place, 1.0), 100)["wave"]
        np.testing.assert_allclose(crop[:50], 0.1 * short.gain, rtol=1e-3)
        assert not crop[50:].any()


def test_long_utterances_are_drawn_more_often(corpus: Path) -> None:
    shards = AudioShards(corpus)
    part = shards._parts[False].utterances
    drawn = shards._draw(np.random.default_rng(0), False, 20_000)
    longest = max(part, key=lambda u: u.length)
    share = longest.length / sum(u.length for u in part)
    assert sum(u is longest for u in drawn) / 20_000 == pytest.approx(share, rel=0.15)


def test_validation_never_overlaps_training(corpus: Path) -> None:
    shards = AudioShards(corpus)
    held_out, trained = shards._parts[True].utterances, shards._parts[False].utterances
    assert 3 <= len(held_out) <= 20
    assert len(held_out) + len(trained) == 40
    places = sorted((u.offset, u.offset + u.length, u.validation) for u in (*held_out, *trained))
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(places))
    seen = {id(u) for step in range(50) for u in shards._draw(np.random.default_rng([0, step]), False, 8)}
    assert not seen & {id(u) for u in held_out}


def test_the_split_is_decided_by_the_name_alone(tmp_path: Path, corpus: Path) -> None:
    root = corpus.parent / "in"
    few = tmp_path / "few"
    for path in sorted(root.rglob("*.wav"))[::3]:
        target = few / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    prepare(few, tmp_path / "shards", validation_share=0.25)

    def split(source: Path, shards: Path) -> dict[Path, bool]:
        names = [recording.path.relative_to(source) for recording in find_recordings(source)]
        return dict(zip(names, [u.validation for u in AudioShards(shards)._utterances], strict=True))

    whole, part = split(root, corpus), split(few, tmp_path / "shards")
    assert part == {name: whole[name] for name in part}


def test_validation_crops_are_the_same_at_each_call(corpus: Path) -> None:
    shards = AudioShards(corpus)
    first, second = (list(shards.validation_batches(7, 3, 1000)) for _ in range(2))
    assert [len(batch["wave"]) for batch in first] == [3, 3, 1]
    assert all(same(a, b) for a, b in zip(first, second, strict=True))


def test_a_tiny_corpus_is_used_whole(tmp_path: Path) -> None:
    tone(tmp_path / "in" / "only.wav")
    for share in (0.0, 1.0):
        _, shards = packed(tmp_path / "in", tmp_path / "out", validation_share=share)
        assert shards.batch(0, 0, slice(1), 1, 100)["wave"].any()
        assert next(shards.validation_batches(1, 1, 100))["wave"].any()


# --- Speech parameters ------------------------------------------------------------------------------------------------

SPOKEN = Analysis(hop_length=80, bands=24)


def voice(hz: float, seconds: float = 1.5) -> np.ndarray:
    """Pulses with a planted pitch."""
    pulses = np.zeros(int(seconds * 16000), np.float32)
    pulses[:: round(16000 / hz)] = 0.5
    return pulses


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("spoken")
    (root / "in").mkdir()
    for name, hz in {"a": 100, "b": 160, "c": 200}.items():
        soundfile.write(root / "in" / f"{name}.wav", voice(hz), 16000)
    return root


def test_a_planted_pitch_is_in_the_batches(spoken: Path) -> None:
    _, shards = packed(spoken / "in", spoken / "shards", analysis=SPOKEN, validation_share=0.0)
    batch = shards.batch(0, 0, slice(8), 8, 16000)
    assert batch["bands"].shape == (8, 24, 200)
    assert batch["f0"].shape == (8, 200)
    for pitch in batch["f0"]:
        voiced = pitch[pitch > 0]
        assert len(voiced) > 100
        assert min(abs(float(voiced.median()) - hz) for hz in (100, 160, 200)) < 2


def test_parameters_are_those_of_the_crop(spoken: Path) -> None:
    _, shards = packed(spoken / "in", spoken / "aligned", analysis=SPOKEN, validation_share=0.0)
    (batch,) = shards.validation_batches(3, 3, 8000)
    for wave, bands in zip(batch["wave"], batch["bands"], strict=True):
        found = analyse(wave.numpy(), 16000, 80, 24)
        inner = slice(30, -30)  # whose windows do not reach beyond the crop
        assert np.abs(found.bands.T[:, inner] - bands.numpy()[:, inner]).mean() < 0.3


def test_a_louder_crop_has_louder_bands(spoken: Path) -> None:
    _, shards = packed(spoken / "in", spoken / "gains", analysis=SPOKEN, validation_share=0.0)
    utterance = shards._parts[False].utterances[0]
    plain, loud = (shards._crop(Drawn(utterance, 0.3, gain), 8000) for gain in (1.0, 2.0))
    np.testing.assert_allclose(loud["bands"] - plain["bands"], 2 * np.log(2), atol=1e-4)
    np.testing.assert_allclose(loud["wave"], 2 * plain["wave"], rtol=1e-5)
    assert (loud["f0"] == plain["f0"]).all()


def test_beyond_a_short_utterance_is_silence(spoken: Path) -> None:
    _, shards = packed(spoken / "in", spoken / "short", analysis=SPOKEN, validation_share=0.0)
    batch = shards.batch(0, 0, slice(1), 1, 32000)
    assert not batch["wave"][0, 24000:].any()
    assert not batch["f0"][0, 300:].any()
    assert (batch["bands"][0, :, 300:] == np.float32(np.log(1e-12))).all()


def test_processes_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(20):
        soundfile.write(tmp_path / "in" / f"{number:02}.wav", voice(100 + 5 * number, 0.3), 16000)
    for processes in (1, 2):
        data.prepare(tmp_path / "in", tmp_path / str(processes), analysis=SPOKEN, processes=processes)
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "12")
    assert one == two


def test_a_cut_table_is_refused(spoken: Path) -> None:
    data.prepare(spoken / "in", spoken / "cut", analysis=SPOKEN)
    table = spoken / "cut" / "shard-00000.parameters"
    table.write_bytes(table.read_bytes()[:-2])
    with pytest.raises(DataError, match=r"shard-00000\.parameters: is missing or cut; prepare the corpus anew"):
        AudioShards(spoken / "cut")


def test_an_old_format_is_refused_with_the_command_that_makes_a_new_one(spoken: Path) -> None:
    data.prepare(spoken / "in", spoken / "old")
    index = json.loads((spoken / "old" / "index.json").read_text())
    (spoken / "old" / "index.json").write_text(json.dumps(index | {"format_version": 2}))
    with pytest.raises(DataError, match=r"not of shard format 3; .*'vqaudio prepare SOURCE -o .*old --force'"):
        AudioShards(spoken / "old")


@pytest.mark.parametrize("analysed", [False, True])
def test_shards_in_memory_give_the_same_batches(corpus: Path, spoken: Path, tmp_path: Path, analysed: bool) -> None:
    if analysed:
        prepare(spoken, tmp_path / "out", RATE_HZ, analysis=Analysis())
    shards = AudioShards(tmp_path / "out" if analysed else corpus)
    resident = ResidentShards(shards.folder, torch.device("cpu"))
    crop = shards.analysis.hop_length * 40 if shards.analysis else 3000
    for step in range(4):
        theirs, ours = (of.batch(3, step, slice(1, 4), 6, crop) for of in (shards, resident))
        assert set(theirs) == set(ours)
        for name, expected in theirs.items():
            torch.testing.assert_close(ours[name], expected)
    pairs = zip(shards.validation_batches(5, 2, crop), resident.validation_batches(5, 2, crop), strict=True)
    for expected_rows, rows in pairs:
        torch.testing.assert_close(rows, expected_rows)
