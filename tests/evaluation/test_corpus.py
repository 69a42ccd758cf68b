"""What a model may be measured on: files that hold sound, and none that it learnt from."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqaudio.cli import main as cli
from vqaudio.codecs.speech import Codec
from vqaudio.errors import DataError, ModelError
from vqaudio.evaluation.corpus import check_unseen, chosen_recordings, readable_recordings
from vqaudio.evaluation.metrics import ruler
from vqaudio.evaluation.speech import EvaluationOptions, evaluate
from vqaudio.models.sources import SOURCES_FILE, file_checksum, read_sources, write_sources
from vqaudio.training.packing import prepare
from vqaudio.training.shards import AudioShards

RATE = 16000


def corpus(root: Path, **waves: np.ndarray) -> Path:
    lines = ["path\tspeaker\ttranscript"]
    for name, wave in waves.items():
        soundfile.write(root / f"{name}.wav", wave, RATE)
        lines.append(f"{name}.wav\tann\ta word")
    (root / "manifest.tsv").write_text("\n".join(lines), encoding="utf-8")
    return root


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(RATE // 2) * 0.1


def test_faults_are_lines_and_the_rest_goes_on(tmp_path: Path) -> None:
    corpus(tmp_path, good=noise(0), empty=np.zeros(0), gone=noise(1))
    (tmp_path / "gone.wav").unlink()
    (tmp_path / "text.wav").write_text("no sound")
    with (tmp_path / "manifest.tsv").open("a", encoding="utf-8") as file:
        file.write("\ntext.wav\tann\t")
    good, failed = readable_recordings(chosen_recordings(tmp_path, 0))
    assert [recording.path.name for recording in good] == ["good.wav"]
    said = dict(zip(("empty", "gone", "text"), failed, strict=True))
    assert said["empty"] == f"{tmp_path / 'empty.wav'}: is empty; leave it out"
    assert "not there, with the transcript 'a word'; bring the file or leave out its line" in said["gone"]
    assert str(tmp_path / "text.wav") in said["text"]
    assert not any("\n" in line for line in failed)


@pytest.mark.parametrize("kind", ["empty folder", "missing column", "missing file", "no sound", "learnt from"])
def test_bad_input_is_a_line_before_any_metric_is_loaded(
    talking_codec: Codec, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = EvaluationOptions()
    if kind == "missing column":
        (tmp_path / "manifest.tsv").write_text("path\ttranscript\na.wav\thello")
    elif kind == "missing file":
        (tmp_path / "manifest.tsv").write_text("path\tspeaker\ttranscript\na.wav\tann\thello")
    elif kind == "no sound":
        (tmp_path / "a.wav").write_bytes(b"nothing")
    elif kind == "learnt from":
        corpus(tmp_path, a=noise(0), b=noise(1))
        plan = EvaluationOptions(learnt_from=frozenset({file_checksum(tmp_path / "b.wav")}))
    monkeypatch.setattr(ruler.Ruler, "__init__", lambda *_: pytest.fail("a metric was loaded"))
    with pytest.raises(DataError) as caught:
        evaluate(talking_codec, tmp_path, plan)
    assert "\n" not in str(caught.value)
    assert ("b.wav" if kind == "learnt from" else str(tmp_path)) in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("empty folder", "holds no"),
        ("missing column", "manifest.tsv, line 1: the header has no column 'speaker'; add it"),
        ("no file", "not there, with the transcript 'a word'; bring the file or leave out its line"),
        ("no sound", "a.wav: is empty; leave it out"),
        ("no transcripts", "less than two files have a transcript, which phones need"),
    ],
)
def test_the_verb_tells_bad_input_in_a_line_before_any_model_or_metric_is_loaded(
    talking_model: Path,
    tmp_path: Path,
    kind: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    if kind == "missing column":
        (data / "manifest.tsv").write_text("path\ttranscript\na.wav\thello")
    elif kind == "no file":
        (corpus(data, a=noise(0)) / "a.wav").unlink()
    elif kind == "no sound":
        corpus(data, a=np.zeros(0))
    elif kind == "no transcripts":
        soundfile.write(data / "a.wav", noise(0), RATE)
        soundfile.write(data / "b.wav", noise(1), RATE)
    for loads in ("vqaudio.cli.evaluate.load_ready", "vqaudio.evaluation.phones.Aligner"):
        monkeypatch.setattr(loads, lambda *_, **__: pytest.fail("something was loaded"))
    page = tmp_path / "page"
    assert cli.main(["evaluate", str(talking_model), "--data", str(data), "--phones", "--report", str(page)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert str(data) in line
    assert not page.exists()


def test_the_checksums_of_what_is_prepared_go_with_the_shards_and_the_model(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    source = corpus(tmp_path / "train", a=noise(0), b=noise(1), empty=np.zeros(0))
    prepare(source, tmp_path / "shards")
    shards = AudioShards(tmp_path / "shards")
    assert sorted(shards.sources) == sorted(file_checksum(source / name) for name in ("a.wav", "b.wav"))
    write_sources(tmp_path, shards.sources)
    assert read_sources(tmp_path) == frozenset(shards.sources)
    (tmp_path / "eval").mkdir()
    copied = corpus(tmp_path / "eval", other=noise(2), copy=noise(1))
    recordings = chosen_recordings(copied, 0)
    with pytest.raises(DataError, match=r"was trained on \S*copy\.wav: .* leave them out"):
        check_unseen(recordings, read_sources(tmp_path))
    check_unseen(recordings[:1], read_sources(tmp_path))
    check_unseen(recordings, frozenset())


def test_shards_without_checksums_still_open(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    prepare(corpus(tmp_path / "train", a=noise(0)), tmp_path / "shards")
    path = tmp_path / "shards" / "index.json"
    index = json.loads(path.read_text())
    del index["sources"]
    path.write_text(json.dumps(index))
    assert AudioShards(tmp_path / "shards").sources == ()


def test_a_model_that_says_nothing_learnt_from_nothing_known(tmp_path: Path) -> None:
    assert read_sources(tmp_path) == frozenset()


@pytest.mark.parametrize("text", [b"0123456789abcdeg\n", b"0123\n", b"\xff\xfe"])
def test_a_damaged_list_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / SOURCES_FILE).write_bytes(text)
    with pytest.raises(ModelError, match=SOURCES_FILE):
        read_sources(tmp_path)


def test_the_verb_refuses_what_the_model_learnt_from(
    talking_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    data = corpus(tmp_path / "data", a=noise(0))
    write_sources(talking_model, [file_checksum(data / "a.wav")])
    try:
        assert cli.main(["evaluate", str(talking_model), "--data", str(data), "--metrics", "mel"]) == 1
    finally:
        (talking_model / SOURCES_FILE).unlink()
    assert "was trained on" in capsys.readouterr().err
    assert cli.main(["evaluate", str(talking_model), "--data", str(data), "--metrics", "mel"]) == 0
