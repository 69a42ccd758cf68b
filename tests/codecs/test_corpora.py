"""A corpus to tokens: the same bytes however it is worked out, whatever is broken, and however often it is killed."""

import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import children
import crashing
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from conftest import Run
from sounds import tone

from vqaudio.codecs import corpora
from vqaudio.codecs.corpora import LocalEncoder, Part, run_facts, shards_of, tokenize_corpus
from vqaudio.codecs.encoding import WaveSound
from vqaudio.codecs.speech import Codec
from vqaudio.codecs.tokenizing import detokenize, row_of, tokenize
from vqaudio.errors import ConfigError, ContainerError, DataError, ModelError, OutputError
from vqaudio.io.places import WholeFile
from vqaudio.io.sources import Entry, entries
from vqaudio.io.token_tables import FORMATS, read_rows

COUNT = 23


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    for number in range(COUNT):
        tone(root / f"{'ab'[number % 2]}" / f"{number:02d}.flac", 0.2 + 0.05 * number, (16000, 22050)[number % 2])
    return root


@pytest.fixture(scope="module")
def whole(corpus: Path, hearing_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tokens of the corpus, worked out in one go."""
    folder = tmp_path_factory.mktemp("whole") / "tokens"
    go(corpus, folder, hearing_model)
    return folder


def go(source: Path, output: Path, model: Path, workers: int = 1, rows: int = 4, **more: object) -> corpora.Tokenized:
    facts = run_facts(model, "parquet", rows)
    return tokenize_corpus(source, output, LocalEncoder(model, "cpu", workers), facts, **more)


def tokens_of(codec: Codec, wave: np.ndarray, rate_hz: int) -> np.ndarray:
    """The tokens of a sound of one channel, in a file's order."""
    _, blocks = codec.encode_blocks(WaveSound(wave, rate_hz), "packed")
    return np.concatenate(list(blocks), axis=1)[0]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_row_has_what_encode_gives(corpus: Path, whole: Path, hearing_codec: Codec) -> None:
    rows = list(read_rows(whole))
    assert [row.id for row in rows] == [entry.id for entry in entries(corpus)]
    for row in rows[:3]:
        wave, rate_hz = soundfile.read(corpus / row.path, dtype="float32")
        stream = hearing_codec.encode(wave, rate_hz)
        assert row.codes.shape[0] == hearing_codec.num_quantizers == 4
        np.testing.assert_array_equal(row.codes.T.ravel(), tokens_of(hearing_codec, wave, rate_hz))
        assert (row.sample_rate, row.samples) == (rate_hz, len(wave))
        np.testing.assert_array_equal(detokenize(hearing_codec, row, seed=3), hearing_codec.decode(stream, seed=3))


def test_several_processes_give_the_same_bytes(corpus: Path, whole: Path, hearing_model: Path, tmp_path: Path) -> None:
    done = go(corpus, tmp_path / "two", hearing_model, workers=2)
    assert (done.utterances, done.shards, done.complete) == (COUNT, 6, True)
    assert content(tmp_path / "two") == content(whole)


def test_parts_make_the_whole(corpus: Path, whole: Path, hearing_model: Path, tmp_path: Path) -> None:
    done = [go(corpus, tmp_path / "parts", hearing_model, part=Part(index, 4)) for index in (2, 0, 3, 1)]
    assert [one.complete for one in done] == [False, False, False, True]
    assert sum(one.utterances for one in done) == COUNT
    assert content(tmp_path / "parts") == content(whole)
    with pytest.raises(ConfigError, match="part 5/4"):
        Part(4, 4)


def test_stereo_is_mixed_and_long_sounds_stream(
    corpus: Path, hearing_codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, (20000, 2)).astype(np.float32)
    soundfile.write(tmp_path / "s.wav", wave, 16000, subtype="FLOAT")
    entry = Entry("s", "s.wav", WholeFile(str(tmp_path / "s.wav")))
    held = tokenize(hearing_codec, entry)
    np.testing.assert_array_equal(held.codes.T.ravel(), tokens_of(hearing_codec, wave.mean(1), 16000))
    monkeypatch.setattr("vqaudio.codecs.tokenizing._HELD_SAMPLES", 100)
    np.testing.assert_array_equal(tokenize(hearing_codec, entry).codes, held.codes)


def test_broken_files_are_told_and_do_not_stop_the_rest(corpus: Path, hearing_model: Path, tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    shutil.copytree(corpus, root)
    (root / "a" / "00.flac").write_bytes(b"")
    whole = (root / "b" / "01.flac").read_bytes()
    (root / "b" / "01.flac").write_bytes(whole[: len(whole) // 2])
    (root / "b" / "03.flac").write_bytes(b"no sound at all")
    soundfile.write(root / "b" / "05.flac", np.zeros(0), 16000)
    (root / "a" / "02.flac").unlink()
    (root / "a" / "02.flac").symlink_to("nowhere")
    done = go(root, tmp_path / "out", hearing_model, rows=5)
    errors = {row["path"]: row["reason"] for row in pq.read_table(tmp_path / "out" / "errors.parquet").to_pylist()}
    assert set(errors) | {"a/02.flac"} == {"a/00.flac", "b/01.flac", "b/03.flac", "b/05.flac", "a/02.flac"}
    assert "is empty" in errors["a/00.flac"]
    assert all("\n" not in reason and "internal error" not in reason for reason in errors.values())
    assert done.failures == len(errors) == 4
    assert {row.path for row in read_rows(tmp_path / "out")}.isdisjoint(errors)
    assert done.utterances == COUNT - 5  # a link to nowhere is no file of the folder


def test_a_file_that_kills_its_process_is_a_failure(
    corpus: Path, hearing_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpora, "_encode_in_worker", crashing.end_at_13)  # a worker has its own
    done = go(corpus, tmp_path / "out", hearing_model, workers=2, rows=COUNT)
    (error,) = pq.read_table(tmp_path / "out" / "errors.parquet").to_pylist()
    assert error["path"] == "b/13.flac"
    assert "ended the process" in error["reason"]
    assert done.utterances == COUNT - 1


# -------------------------------------------------------------------------------------------------------- going on


def test_going_on_leaves_what_is_there(corpus: Path, whole: Path, hearing_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    shutil.copytree(whole, folder)
    (folder / "state" / "00002.json").unlink()
    (folder / "index.json").unlink()
    (folder / "tokens" / ".left-by-a-kill.parquet").write_bytes(b"half")
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "tokens").iterdir()}
    done = go(corpus, folder, hearing_model)
    assert (done.skipped, done.utterances) == (5, 4)
    assert content(folder) == content(whole)
    after = {path.name: path.stat().st_mtime_ns for path in (folder / "tokens").iterdir()}
    assert sum(before[name] != after[name] for name in after) == 1


def test_parts_may_begin_at_the_same_moment(corpus: Path, hearing_model: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "tokens").mkdir(parents=True)  # as another part has left it until now
    (tmp_path / "out" / ".half-written.json").write_bytes(b"{")
    assert go(corpus, tmp_path / "out", hearing_model, part=Part(1, 8)).utterances == 4


def test_another_run_is_refused(
    corpus: Path, whole: Path, hearing_model: Path, other_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "tokens"
    shutil.copytree(whole, folder)
    with pytest.raises(DataError, match="was begun with shard_rows = 4, not 5"):
        go(corpus, folder, hearing_model, rows=5)
    with pytest.raises(DataError, match="was begun with model"):
        go(corpus, folder, other_model)
    (tmp_path / "more").mkdir()
    manifest = tmp_path / "more" / "list.tsv"
    manifest.write_text("path\n" + "".join(f"{corpus}/{row.path}\n" for row in list(read_rows(whole))[:6]))
    with pytest.raises(DataError, match="the source has changed; make such shards anew with --force"):
        go(manifest, folder, hearing_model)
    done = go(manifest, folder, hearing_model, renew=True)
    assert (done.utterances, done.shards) == (6, 2)
    assert len(list(read_rows(folder))) == 6  # the other shards are gone
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match="is no folder of tokens"):
        go(corpus, tmp_path / "mine", hearing_model)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What a full disk does to a program: a write fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_line_and_can_be_gone_on_from(
    corpus: Path, whole: Path, hearing_model: Path, tmp_path: Path
) -> None:
    limit = max(path.stat().st_size for path in (whole / "tokens").iterdir()) - 1  # the largest shard does not fit
    with files_of_at_most(limit), pytest.raises(OutputError, match="the same command goes on from here") as caught:
        go(corpus, tmp_path / "out", hearing_model)
    assert os.strerror(errno.EFBIG) in str(caught.value)
    assert len(list((tmp_path / "out" / "state").iterdir())) < 6
    go(corpus, tmp_path / "out", hearing_model)
    assert content(tmp_path / "out") == content(whole)


def _states(folder: Path) -> set[str]:
    return {path.name for path in (folder / "state").glob("[!.]*")} if (folder / "state").is_dir() else set()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_random_moments_it_loses_and_doubles_nothing(
    corpus: Path, whole: Path, hearing_model: Path, tmp_path: Path, workers: int
) -> None:
    chance = random.Random(workers)
    folder = tmp_path / "out"
    command = [sys.executable, "-m", "vqaudio", "tokenize", corpus, "-o", folder, "--model", hearing_model]
    command += ["--shard-rows", "4", "--workers", str(workers), "--device", "cpu"]
    environment = children.environment(OMP_NUM_THREADS="1")
    for wanted in (1, 4):  # shards that are there when it is killed, some moments later
        child = subprocess.Popen([*map(str, command)], env=environment, stderr=subprocess.DEVNULL, cwd=tmp_path)
        while len(_states(folder)) < wanted and child.poll() is None:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.05)
        child.send_signal(signal.SIGKILL)
        child.wait()
        there = _states(folder)
        stamps = {name: (folder / "state" / name).stat().st_mtime_ns for name in there}
        named = {json.loads((folder / "state" / name).read_text())["file"] for name in there}
        orphans = {path.name for path in (folder / "tokens").glob("[!.]*")} - named
        assert len(orphans) <= 1  # the one shard that is to be made again
    subprocess.run([*map(str, command)], env=environment, check=True, capture_output=True, cwd=tmp_path)
    assert content(folder) == content(whole)
    assert all((folder / "state" / name).stat().st_mtime_ns == stamp for name, stamp in stamps.items())


def test_shards_are_read_no_further_than_asked() -> None:
    taken = []

    def source() -> Iterator[Entry]:
        for number in range(100):
            taken.append(number)
            yield Entry(str(number), "", WholeFile(""))

    shards = shards_of(source(), 3)
    assert next(shards).number == 0
    assert len(taken) == 3
    assert [len(shard.entries) for shard in shards][-2:] == [3, 1]


# ---------------------------------------------------------------------------------------------------------- back again


@pytest.mark.parametrize("format", FORMATS)
def test_there_and_back_on_the_command_line(
    run: Run, corpus: Path, hearing_model: Path, tmp_path: Path, format: str
) -> None:
    made = run("tokenize", corpus, "-o", "out", "--model", hearing_model, "--format", format, "--workers", 1)
    assert made.code == 0, made.err
    done = run("detokenize", "out", "-o", "sounds", "--id", "a/00", "--id", "b/01", "--model", hearing_model)
    assert done.code == 0, done.err
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("sounds/*/*")) == [
        "sounds/a/00.wav",
        "sounds/b/01.wav",
    ]
    info = soundfile.info(tmp_path / "sounds" / "b" / "01.wav")
    assert (info.samplerate, info.frames, info.channels) == (22050, round(0.25 * 22050), 1)
    assert run("detokenize", "out", "-o", "sounds", "--id", "c", "--model", hearing_model).code == 1


def test_wrong_usage(run: Run, corpus: Path, tmp_path: Path, hearing_model: Path) -> None:
    for part in ("0/2", "3/2", "a", "1"):
        assert run("tokenize", corpus, "-o", "out", "--part", part).code == 2
    assert not (tmp_path / "out").exists()
    done = run("tokenize", tmp_path / "none", "-o", "out", "--model", hearing_model, "--workers", 1)
    assert done.code == 1
    assert len(done.lines) == 1
    done = run("tokenize", corpus, "-o", "out2", "--model", hearing_model, "--workers", 1, "--ray", "local")
    if done.code:  # Ray is not installed, which most environments have not
        assert "pip install 'vqaudio[ray]'" in done.err


@pytest.mark.parametrize("words", [("tokenize", "corpus", "-o", "out"), ("detokenize", "a.parquet", "-o", "out")])
def test_without_its_extra_it_says_how_to_install_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    done = run(*words)
    assert done.code == 1
    assert len(done.lines) == 1
    assert "needs pyarrow" in done.err
    assert "pip install 'vqaudio[corpora]'" in done.err


def test_a_row_of_ones_own(hearing_codec: Codec, tiny_codec: Codec) -> None:
    row = row_of(hearing_codec, np.zeros((4, 10)), "new")
    assert detokenize(hearing_codec, row).shape == (1, 10 * 256)
    with pytest.raises(ModelError, match="made with model"):
        detokenize(tiny_codec, row)
    with pytest.raises(ContainerError, match="a code is 100"):
        detokenize(hearing_codec, row_of(hearing_codec, np.full((4, 10), 100)))
