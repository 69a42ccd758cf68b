"""The command line's manners: folders and patterns, jobs side by side, dry runs, progress, colours, help."""

import json
import os
import pty
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import children
import pytest
import soundfile
from conftest import Run
from sounds import tone
from verbs import verbs

from vqaudio.cli import console, manual
from vqaudio.cli.console import Report
from vqaudio.cli.inputs import expanded
from vqaudio.cli.progress import ProgressLines, counted, duration
from vqaudio.codecs import bundled


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Three sounds and a text, in a folder and below."""
    for name in ("a.wav", "deep/b.flac", "deep/er/c.wav"):
        tone(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("nothing to hear")
    return tmp_path / "in"


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --------------------------------------------------------------------------------------------------------- many files


def test_a_folder_is_what_is_in_it(run: Run, corpus: Path, tiny_model: Path, tmp_path: Path) -> None:
    done = run("encode", "in", "--model", tiny_model, "-o", "out")
    assert done.code == 0
    assert set(files_in(tmp_path / "out")) == {"a.vqa", "deep/b.vqa", "deep/er/c.vqa"}
    sizes = sum(len(data) for data in files_in(tmp_path / "out").values())
    assert done.lines[-1].startswith(f"3 files, 1 s of sound, {sizes:,} bytes (")
    assert run("decode", "out", "--model", tiny_model, "-o", "back").code == 0
    assert set(files_in(tmp_path / "back")) == {"a.wav", "deep/b.wav", "deep/er/c.wav"}
    assert run("encode", "in/deep/er", "--model", tiny_model, "-o", "one").code == 0
    assert set(files_in(tmp_path / "one")) == {"c.vqa"}  # a folder's results go into a folder, also a single one


def test_a_pattern_is_what_matches(run: Run, corpus: Path, tiny_model: Path, tmp_path: Path) -> None:
    assert run("encode", "in/**/*.wav", "--model", tiny_model, "-o", "out").code == 0
    assert set(files_in(tmp_path / "out")) == {"a.vqa", "c.vqa"}
    done = run("encode", "in/*.mp3", "--model", tiny_model)
    assert done.code == 1
    assert done.err.startswith("vqaudio: in/*.mp3: ")
    tone(tmp_path / "odd[1].wav")
    assert expanded(["odd[1].wav"], {".wav"}).sources == ["odd[1].wav"]  # the file itself comes first


def test_a_folder_of_nothing_is_a_failure(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run("encode", "empty", "--model", tiny_model)
    assert (done.code, len(done.lines)) == (1, 1)


def test_jobs_side_by_side_give_the_same(run: Run, corpus: Path, tiny_model: Path, tmp_path: Path) -> None:
    for number in range(5):
        tone(corpus / f"{number}.wav", 0.1 + 0.1 * number)
    (corpus / "bad.wav").write_text("no sound")
    (corpus / "deep" / "bad.wav").write_text("no sound")
    made = {}
    for jobs in (1, 3):
        done = run("encode", "in", "--model", tiny_model, "-o", f"out{jobs}", "--jobs", jobs, "--json")
        assert done.code == 1
        entries = json.loads(done.out)["files"]
        assert [("error" in entry) for entry in entries].count(True) == 2
        assert [line for line in done.lines if line.startswith("10 files, 2 failed")]
        made[jobs] = ([entry["input"] for entry in entries], files_in(tmp_path / f"out{jobs}"))
    assert made[1] == made[3]
    assert len(made[1][1]) == 8


def test_convert_and_decode_side_by_side(run: Run, corpus: Path, voiced_model: Path, tmp_path: Path) -> None:
    for jobs in (1, 2):
        chosen = ("--speaker", "ann", "--model", voiced_model, "--jobs", jobs)
        assert run("convert", "in", *chosen, "-o", f"out{jobs}").code == 0
    assert files_in(tmp_path / "out1") == files_in(tmp_path / "out2")
    assert set(files_in(tmp_path / "out1")) == {"a-ann.wav", "deep/b-ann.wav", "deep/er/c-ann.wav"}


def test_a_dry_run_does_nothing(run: Run, corpus: Path, tmp_path: Path) -> None:
    """No model is loaded either: the one that is named does not exist."""
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "b.vqa").write_bytes(b"precious")
    before = files_in(tmp_path)
    done = run("encode", "in", "-o", "out", "--dry-run", "--model", "no such model")
    assert done.out.decode().splitlines() == [
        "in/a.wav -> out/a.vqa",
        "in/deep/b.flac -> out/deep/b.vqa",
        "in/deep/er/c.wav -> out/deep/er/c.vqa",
    ]
    assert done.code == 1
    assert done.lines == ["vqaudio: out/deep/b.vqa: exists; use --force to overwrite it"]
    done = run("encode", "in", "-o", "out", "--dry-run", "--force", "--json")
    assert done.code == 0
    assert json.loads(done.out)["files"][1]["output"] == "out/deep/b.vqa"
    for verb in (("decode", "x.vqa"), ("convert", "x.wav", "--speaker", "ann")):
        assert run(*verb, "--dry-run").code == 0
    assert files_in(tmp_path) == before
    assert not (tmp_path / "out" / "deep" / "er").exists()


# ----------------------------------------------------------------------------------------------------------- progress


def test_lines_of_progress() -> None:
    said, clock = list[str](), [100.0]
    lines = ProgressLines("talk.wav", said.append, lambda: clock[0])
    for at, share in ((100, 0.0), (109, 0.1), (110, 0.25), (119, 0.5), (121, 0.5), (260, 0.9), (400, 1.0)):
        clock[0] = at
        lines(share)
    assert said == [
        "talk.wav: 25 %, 30 s left",
        "talk.wav: 50 %, 21 s left",
        "talk.wav: 90 %, 18 s left",
        "talk.wav: 100 %",
    ]


def test_durations() -> None:
    assert [duration(s) for s in (0.4, 59, 60, 200, 7500)] == ["0 s", "59 s", "1 min 0 s", "3 min 20 s", "2 h 5 min"]


def test_sequences_are_counted() -> None:
    shares: list[float] = []
    assert list(counted([1, 2, 3, 4], shares.append)) == [1, 2, 3, 4]
    assert shares == [0.25, 0.5, 0.75, 1.0]
    assert list(counted(iter([1]), shares.append)) == [1]
    assert len(shares) == 4


def test_long_work_is_told_of_without_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr("vqaudio.cli.progress.EVERY_S", 0.0)
    with Report(quiet=False).progress("talk.wav") as tell:
        tell(1.0)
    assert list(Report(quiet=False).tracked([1, 2])) == [1, 2]
    assert capsys.readouterr().err.splitlines() == [
        "vqaudio: talk.wav: 100 %",
        "vqaudio: working: 50 %, 0 s left",
        "vqaudio: working: 100 %",
    ]
    with Report(quiet=True).progress("talk.wav") as tell:
        tell(1.0)
    assert capsys.readouterr().err == ""


# ------------------------------------------------------------------------------------------------------------ colours


@pytest.mark.parametrize(
    ("terminal", "environment", "coloured"),
    [(True, {}, True), (True, {"NO_COLOR": "1"}, False), (True, {"TERM": "dumb"}, False), (False, {}, False)],
)
def test_colours(tmp_path: Path, terminal: bool, environment: dict[str, str], coloured: bool) -> None:
    """Of a failure, on a terminal of its own and elsewhere."""
    kept = {name: value for name, value in children.environment().items() if name not in ("NO_COLOR", "TERM")}
    settings = {"cwd": tmp_path, "env": kept | {"TERM": "xterm"} | environment}
    command = [sys.executable, "-m", "vqaudio", "info", "missing.vqa"]
    if terminal:
        ours, theirs = pty.openpty()
        assert subprocess.run(command, stderr=theirs, stdin=subprocess.DEVNULL, **settings, check=False).returncode == 1
        os.close(theirs)
        said = os.read(ours, 65536)
        os.close(ours)
    else:
        said = subprocess.run(command, capture_output=True, **settings, check=False).stderr
    assert (b"\x1b[" in said) is coloured
    assert b"missing.vqa" in said


def test_no_terminal_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert not console.has_colours()


# --------------------------------------------------------------------------------------------------------------- help


@pytest.mark.parametrize("words", verbs(), ids=" ".join)
def test_every_help_has_an_example_that_is_understood(words: tuple[str, ...], run: Run) -> None:
    text = run(*words, "--help").out.decode()
    ((_, _, example),) = [line.partition("Example: ") for line in text.splitlines() if "Example: " in line]
    start = " ".join(("vqaudio", *words))
    assert example.startswith(start)
    given = shlex.split(example.removeprefix(start))
    command = verbs()[words]
    command.make_context(words[-1], given)


def test_verbs_that_report_have_json() -> None:
    silent = {("play",), ("record",), ("studio",), ("serve",)}
    for words, command in verbs().items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert ("--json" in options) or words in silent, words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, tmp_path: Path) -> None:
    variables = {"bash": {"COMP_WORDS": "vqaudio enc", "COMP_CWORD": "1"}}
    other = {"_TYPER_COMPLETE_ARGS": "vqaudio enc", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    asked = {"_VQAUDIO_COMPLETE": f"complete_{shell}"} | variables.get(shell, other)
    program = "import sys; from vqaudio.cli.main import main; sys.argv = ['vqaudio']; sys.exit(main())"
    settings: dict[str, Any] = {"cwd": tmp_path, "env": children.environment(**asked)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, **settings, check=False)
    assert "encode" in done.stdout, done.stderr
    assert "decode" not in done.stdout.replace("encoded", "")


def test_the_manual_names_everything() -> None:
    text = manual.page()
    for words, command in verbs().items():
        assert f'.SS "vqaudio {" ".join(words)}"' in text
        for parameter in command.params:
            for option in parameter.opts:
                assert option.replace("-", "\\-") in text or not option.startswith("-")
    assert "'" not in {line[0] for line in text.splitlines() if line}  # which would be a command to roff


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff on the path")
def test_the_manual_is_good_roff(tmp_path: Path) -> None:
    (tmp_path / "vqaudio.1").write_text(manual.page(), encoding="utf-8")
    command = ["groff", "-man", "-Tutf8", "-Kutf8", "-ww", tmp_path / "vqaudio.1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "vqaudio encode" in done.stdout


# --------------------------------------------------------------------------------------------------------------- JSON


def test_json_of_verbs(run: Run, tmp_path: Path, tiny_model: Path, corpus: Path, monkeypatch: Any) -> None:
    done = run("prepare", "in", "-o", "shards", "--no-analysis", "--json")
    assert done.code == 0
    (facts,) = json.loads(done.out)["files"]
    assert (facts["utterances"], facts["output"], facts["failed"]) == (3, "shards", [])
    soundfile.write(tmp_path / "demo.flac", soundfile.read(corpus / "a.wav")[0], 16000)
    monkeypatch.setattr(bundled, "PRETRAINED", tmp_path)
    done = run("demo", "--model", tiny_model, "--json")
    assert [entry["output"] for entry in json.loads(done.out)["files"]] == [
        "vqaudio-demo/demo.vqa",
        "vqaudio-demo/decoded.wav",
    ]
    done = run("evaluate", tiny_model, "--data", "in", "--metrics", "mel", "--json", "-")
    assert done.code == 0
    assert json.loads(done.out)["utterances"]
    assert "codes used" in done.err
