"""data.py: corpora as they are published, shards that notice damage, batches that are pure functions of the step."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vqaudio import audio, data
from vqaudio.data import AudioShards, Prepared, find_recordings, load_normalised, prepare
from vqaudio.errors import DataError

RATE_HZ = 16000


def tone(path: Path, seconds: float = 0.3, rate_hz: int = RATE_HZ, channels: int = 1, amplitude: float = 0.1) -> Path:
    """A sound whose pitch is its path's own, so that files differ."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = amplitude * np.sin(2 * np.pi * (200 + len(path.name) * 10 + sum(path.name.encode()) % 300) * time)
    soundfile.write(path, np.stack([wave] * channels, 1), rate_hz)
    return path


def speakers_of(root: Path) -> dict[str, str]:
    return {recording.path.relative_to(root).as_posix(): recording.speaker for recording in find_recordings(root)}


def packed(root: Path, folder: Path, **settings: float) -> tuple[Prepared, AudioShards]:
    return prepare(root, folder, **settings), AudioShards(folder)  # type: ignore[arg-type]


# --- Corpora ----------------------------------------------------------------------------------------------------------


def test_any_folder_has_a_speaker_a_sub_folder(tmp_path: Path) -> None:
    for name in ("ann/1.wav", "ann/deep/2.flac", "bob/1.WAV", "loose.wav"):
        tone(tmp_path / "mine" / name)
    (tmp_path / "mine" / "ann" / "notes.txt").touch()
    expected = {"ann/1.wav": "ann", "ann/deep/2.flac": "ann", "bob/1.WAV": "bob", "loose.wav": "mine"}
    assert speakers_of(tmp_path / "mine") == expected


def test_a_manifest_names_paths_and_speakers(tmp_path: Path) -> None:
    tone(tmp_path / "a" / "1.wav")
    tone(tmp_path / "a" / "2.wav")
    lines = ["speaker\tpath\ttranscript", "ann\ta/1.wav\tone\u2028two", "bob\ta/2.wav\tthree", ""]
    (tmp_path / "manifest.tsv").write_text("\n".join(lines), encoding="utf-8")
    assert speakers_of(tmp_path) == {"a/1.wav": "ann", "a/2.wav": "bob"}
    (tmp_path / "manifest.tsv").write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    assert speakers_of(tmp_path) == {"a/1.wav": "ann", "a/2.wav": "bob"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"line 1: the header has no column 'path'"),
        ("path\tlength\nx\t1\n", r"line 1: the header has no column 'speaker'"),
        ("path\tspeaker\nx\tann\ny\n", r"line 3: has 1 cells for 2 columns"),
        ("path\tspeaker\nx\tann\tmore\n", r"line 2: has 3 cells for 2 columns"),
        ("path\tspeaker\nx\tann\n\nx\tann\n", r"line 3: has 1 cells"),
        ("path\tspeaker\nx\t\n", r"line 2: has no speaker"),
        ("path\tspeaker\n", r"holds no recordings"),
    ],
)
def test_a_bad_manifest_is_named_by_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "manifest.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        find_recordings(tmp_path)


def test_a_manifest_must_be_utf_8(tmp_path: Path) -> None:
    (tmp_path / "manifest.tsv").write_bytes(b"path\tspeaker\nx\tJos\xe9\n")
    with pytest.raises(DataError, match="is not UTF-8"):
        find_recordings(tmp_path)


def test_no_corpus_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        find_recordings(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no recordings"):
        find_recordings(tmp_path)


@pytest.fixture
def no_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchaudio's own loading needs a package that is not ours."""
    import torchaudio

    def never(*_: object, **__: object) -> None:
        raise AssertionError("torchaudio.load was called")

    monkeypatch.setattr(torchaudio, "load", never)


def librispeech(root: Path) -> Path:
    for subset, speaker, chapter in (
        ("dev-clean", 84, 121123),
        ("dev-clean", 174, 50561),
        ("train-clean-100", 19, 198),
    ):
        folder = root / subset / str(speaker) / str(chapter)
        lines = []
        for utterance in range(2):
            name = f"{speaker}-{chapter}-{utterance:04d}"
            tone(folder / f"{name}.flac")
            lines.append(f"{name} GO DO YOU HEAR\n")
        (folder / f"{speaker}-{chapter}.trans.txt").write_text("".join(lines), encoding="utf-8")
    (root / "SPEAKERS.TXT").touch()
    (root / "my-notes").mkdir()
    return root


@pytest.mark.usefixtures("no_decoder")
def test_librispeech_as_published(tmp_path: Path) -> None:
    root = librispeech(tmp_path / "LibriSpeech")
    found = speakers_of(root)
    assert len(found) == 6
    assert found["dev-clean/84/121123/84-121123-0001.flac"] == "84"
    assert found["train-clean-100/19/198/19-198-0000.flac"] == "19"
    done, shards = packed(root, tmp_path / "shards")
    assert done.utterances == 6
    assert not done.failed
    assert shards.speakers == ("174", "19", "84")
    assert speakers_of(librispeech(tmp_path / "renamed")).keys() == found.keys()


def test_a_torn_librispeech_is_refused(tmp_path: Path) -> None:
    root = librispeech(tmp_path / "LibriSpeech")
    (root / "dev-clean" / "84" / "121123" / "84-121123.trans.txt").unlink()
    with pytest.raises(DataError, match=r"is not whole .*84-121123\.trans\.txt"):
        find_recordings(root)


def vctk(root: Path) -> Path:
    for speaker in ("p225", "s5"):
        for number in (1, 2):
            name = f"{speaker}_{number:03d}"
            for microphone in ("mic1", "mic2"):
                tone(root / "wav48_silence_trimmed" / speaker / f"{name}_{microphone}.flac", rate_hz=48000)
            (root / "txt" / speaker).mkdir(parents=True, exist_ok=True)
            (root / "txt" / speaker / f"{name}.txt").write_text("Please call Stella.\n", encoding="utf-8")
    tone(root / "wav48_silence_trimmed" / "p315" / "p315_001_mic1.flac")  # published without text
    tone(root / "wav48_silence_trimmed" / "p280" / "p280_001_mic1.flac")  # published without the second microphone
    (root / "txt" / "p280").mkdir()
    (root / "txt" / "p280" / "p280_001.txt").write_text("Please call Stella.\n", encoding="utf-8")
    (root / "speaker-info.txt").touch()
    return root


@pytest.mark.usefixtures("no_decoder")
@pytest.mark.parametrize("name", ["VCTK-Corpus-0.92", "vctk"])
def test_vctk_as_published(tmp_path: Path, name: str) -> None:
    root = vctk(tmp_path / name)
    folder = "wav48_silence_trimmed"
    assert speakers_of(root) == {
        f"{folder}/p225/p225_001_mic2.flac": "p225",
        f"{folder}/p225/p225_002_mic2.flac": "p225",
        f"{folder}/s5/s5_001_mic2.flac": "s5",
        f"{folder}/s5/s5_002_mic2.flac": "s5",
    }
    done, _ = packed(root, tmp_path / "shards")
    assert done.utterances == 4
    assert not done.failed


def ljspeech(root: Path) -> Path:
    names = ("LJ001-0001", "LJ001-0002")
    for name in names:
        tone(root / "wavs" / f"{name}.wav", rate_hz=22050)
    lines = [f'{name}|Printing, "in|Printing, "in the only sense\n' for name in names]
    (root / "metadata.csv").write_text("".join(lines), encoding="utf-8")
    return root


@pytest.mark.usefixtures("no_decoder")
@pytest.mark.parametrize("name", ["LJSpeech-1.1", "lj"])
def test_ljspeech_as_published(tmp_path: Path, name: str) -> None:
    root = ljspeech(tmp_path / name)
    assert speakers_of(root) == {"wavs/LJ001-0001.wav": "LJ", "wavs/LJ001-0002.wav": "LJ"}
    done, _ = packed(root, tmp_path / "shards")
    assert (done.utterances, done.failed) == (2, ())


def test_a_corpus_is_found_from_inside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = ljspeech(tmp_path / "LJSpeech-1.1")
    monkeypatch.chdir(root)
    assert [recording.path for recording in find_recordings(Path())] == sorted((root / "wavs").iterdir())


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
        assert np.sqrt(np.mean((wave * gain) ** 2)) == pytest.approx(audio.TARGET_RMS, rel=0.02)
    _, shards = packed(tmp_path / "in", tmp_path / "out", validation_share=0.0)
    for batch in shards.validation_batches(4, 4, 8000):
        rms = batch["wave"].square().mean(1).sqrt()
        torch.testing.assert_close(rms, torch.full((4,), audio.TARGET_RMS), rtol=0.05, atol=0)
    jitter = 10 ** (data.LEVEL_JITTER_DB / 20) * 1.05
    rms = shards.batch(0, 0, slice(64), 64, 4000)["wave"].square().mean(1).sqrt() / audio.TARGET_RMS
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
        np.testing.assert_allclose(shards._crop(utterance, 0.0, len(wave)), wave * gain, atol=1e-4 * gain)


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
        crop = shards._crop(long, place, 100)
        assert len(crop) == 100
        np.testing.assert_allclose(crop, 0.2 * long.gain, rtol=1e-3)  # nothing of the short one beside it
        crop = shards._crop(short, place, 100)
        np.testing.assert_allclose(crop[:50], 0.1 * short.gain, rtol=1e-3)
        assert not crop[50:].any()


def test_long_utterances_are_drawn_more_often(corpus: Path) -> None:
    shards = AudioShards(corpus)
    part = shards._part(False)
    drawn = shards._draw(np.random.default_rng(0), part, 20_000)
    longest = max(part, key=lambda u: u.length)
    share = longest.length / sum(u.length for u in part)
    assert sum(u is longest for u in drawn) / 20_000 == pytest.approx(share, rel=0.15)


def test_validation_never_overlaps_training(corpus: Path) -> None:
    shards = AudioShards(corpus)
    held_out, trained = shards._part(True), shards._part(False)
    assert 3 <= len(held_out) <= 20
    assert len(held_out) + len(trained) == 40
    places = sorted((u.offset, u.offset + u.length, u.validation) for u in (*held_out, *trained))
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(places))
    seen = {id(u) for step in range(50) for u in shards._draw(np.random.default_rng([0, step]), trained, 8)}
    assert not seen & {id(u) for u in held_out}


def test_the_split_is_decided_by_the_name_alone(tmp_path: Path, corpus: Path) -> None:
    root = corpus.parent / "in"
    few = tmp_path / "few"
    for path in sorted(root.rglob("*.wav"))[::3]:
        target = few / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    prepare(few, tmp_path / "shards", validation_share=0.25)
    whole = dict(zip(speakers_of(root), [u.validation for u in AudioShards(corpus)._utterances], strict=True))
    part = dict(
        zip(speakers_of(few), [u.validation for u in AudioShards(tmp_path / "shards")._utterances], strict=True)
    )
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
