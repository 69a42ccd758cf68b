"""``--verbose``: every verb that may work long says how long each part of its work took, in the same words."""

import re
from pathlib import Path

import pytest
import soundfile
from conftest import Run
from sounds import tone
from verbs import verbs

from vqaudio.cli.console import Report, TrainingView
from vqaudio.codecs import bundled
from vqaudio.models.config import PhaseConfig
from vqaudio.training.state import RunState

QUICK = {("info",), ("models",)}  # they read and tell
UNTIL_CTRL_C = {("play",), ("record",), ("serve",), ("studio",)}
TIME = re.compile(r"^vqaudio: (.+): (\d+\.\d{3}) s$")


def told(lines: list[str]) -> list[str]:
    """What was timed, in order."""
    return [found[1] for line in lines if (found := TIME.match(line))]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for name in ("a.wav", "b.wav"):
        tone(tmp_path / "in" / name)
    return tmp_path / "in"


def test_every_verb_that_works_long_has_it() -> None:
    for words, command in verbs().items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert ({"-v", "--verbose"} <= options) is (words not in QUICK | UNTIL_CTRL_C), words


def test_one_file(run: Run, corpus: Path, tiny_model: Path) -> None:
    done = run("encode", "in/a.wav", "--model", tiny_model, "-v")
    assert told(done.lines) == [f"loading {tiny_model}", f"compiling {tiny_model}", "in/a.wav", "in all"]
    assert len(done.lines) == 4
    assert done.out.decode().startswith("in/a.vqa: ")


def test_nothing_is_told_unasked(run: Run, corpus: Path, tiny_model: Path) -> None:
    assert told(run("encode", "in/a.wav", "--model", tiny_model).lines) == []
    assert told(run("encode", "in/b.wav", "--model", tiny_model, "-q", "-v").lines)[-1] == "in all"


@pytest.mark.parametrize("jobs", [1, 2])
def test_each_of_many(run: Run, corpus: Path, tiny_model: Path, jobs: int) -> None:
    parts = told(run("encode", "in", "-o", "out", "--model", tiny_model, "--jobs", jobs, "-v").lines)
    assert {"in/a.wav", "in/b.wav", "2 files"} <= set(parts)
    assert parts[-2:] == ["2 files", "in all"]


def test_a_corpus_and_back(run: Run, corpus: Path, hearing_model: Path) -> None:
    chosen = ("--model", hearing_model, "-v")
    done = run("tokenize", "in", "-o", "tokens", "--workers", 1, "--shard-rows", 1, *chosen)
    assert told(done.lines) == [f"starting workers for {hearing_model}", "shard 0", "shard 1", "in all"]
    done = run("detokenize", "tokens", "-o", "sounds", *chosen)
    assert told(done.lines) == [f"loading {hearing_model}", f"compiling {hearing_model}", "a", "b", "in all"]


def test_what_is_learnt_from_and_measured(run: Run, corpus: Path, tiny_model: Path) -> None:
    assert told(run("prepare", "in", "-o", "shards", "--no-analysis", "-v").lines) == ["working", "in all"]
    done = run("evaluate", tiny_model, "--data", "in", "--metrics", "mel", "-v")
    assert told(done.lines) == [f"loading {tiny_model}", f"compiling {tiny_model}", "working", "in all"]


def test_the_demo(run: Run, corpus: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "demo.flac", soundfile.read(corpus / "a.wav")[0], 16000)
    monkeypatch.setattr(bundled, "PRETRAINED", tmp_path)
    done = run("demo", "--model", tiny_model, "-v")
    assert told(done.lines)[-3:] == ["vqaudio-demo/original.flac", "vqaudio-demo/demo.vqa", "in all"]


def test_phases_of_a_training(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (PhaseConfig(name, 2, 1e-3, ("decoder",), (("nll", 1.0),)) for name in ("codes", "decoder"))
    view = TrainingView(Report(quiet=True, verbose=True), None)
    for phase in (first, second):
        for step in (1, 2):
            view.on_step(RunState(phase_step=step), phase)
    view.end_phase()
    assert told(capsys.readouterr().err.splitlines()) == ["codes", "decoder"]
