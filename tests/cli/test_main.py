"""The command line: results, exit codes, one line a failure, nothing half-written, never a traceback."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import children
import numpy as np
import pytest
import soundfile
import torch
from conftest import Run

import vqaudio
from vqaudio.bitstream import container
from vqaudio.cli import main as cli
from vqaudio.codecs import bundled
from vqaudio.codecs import speech as codec
from vqaudio.codecs.speech import Codec
from vqaudio.models import config
from vqaudio.training import loop

RATE = 44100


def speak(path: Path, seconds: float = 0.2, channels: int = 1, sample_rate_hz: int = RATE) -> Path:
    samples = np.random.default_rng(0).standard_normal((round(seconds * sample_rate_hz), channels)) * 0.1
    soundfile.write(path, samples, sample_rate_hz)
    return path


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    return speak(tmp_path / "talk.wav", channels=2)


@pytest.fixture
def shipped(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose bundled model "speech" is the tiny one."""
    folder = tmp_path_factory.mktemp("pretrained")
    (folder / "speech").symlink_to(tiny_model)
    speak(folder / "demo.flac", 0.3, sample_rate_hz=16000)
    monkeypatch.setattr(bundled, "PRETRAINED", folder)
    return folder


def left_behind(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# ------------------------------------------------------------------------------------------------------ round trips


@pytest.mark.usefixtures("shipped")
def test_beside_the_input(run: Run, talk: Path, tmp_path: Path) -> None:
    done = run("encode", "talk.wav")
    assert done.code == 0
    size = (tmp_path / "talk.vqa").stat().st_size
    assert done.out.decode().startswith(f"talk.vqa: 0.20 s, {size} bytes, {8 * size / 0.2 / 1000:.2f} kb/s, ")
    assert done.err == ""
    talk.unlink()
    done = run("decode", "talk.vqa")
    assert done.code == 0
    assert done.out.startswith(b"talk.wav: 0.20 s, ")
    found = soundfile.info(talk)
    assert (found.frames, found.samplerate, found.channels, found.subtype) == (8820, RATE, 2, "PCM_16")


@pytest.mark.parametrize(
    ("rate", "frames", "hz"), [("codec", 3200, 16000), ("original", 8820, RATE), ("8000", 1600, 8000)]
)
def test_rates_and_formats(
    run: Run, talk: Path, tiny_model: Path, tmp_path: Path, rate: str, frames: int, hz: int
) -> None:
    assert run("encode", talk, "--model", tiny_model, "-o", "a.vqa", "--quiet").out == b""
    assert run("decode", "a.vqa", "--model", tiny_model, "-o", "b.flac", "--rate", rate, "-q").code == 0
    found = soundfile.info(tmp_path / "b.flac")
    assert (found.frames, found.samplerate, found.format) == (frames, hz, "FLAC")


@pytest.mark.usefixtures("shipped")
def test_standard_input_and_output(run: Run, talk: Path) -> None:
    encoded = run("encode", "-", stdin=talk.read_bytes())
    assert encoded.code == 0
    assert "standard output: 0.20 s" in encoded.err
    run("encode", talk)
    assert encoded.out == talk.with_suffix(".vqa").read_bytes()
    decoded = run("decode", "-", "-o", "-", "-q", stdin=encoded.out)
    assert (decoded.code, decoded.err) == (0, "")
    assert soundfile.info(io.BytesIO(decoded.out)).frames == 8820


@pytest.mark.usefixtures("shipped", "talk")
def test_seeds(run: Run, tmp_path: Path) -> None:
    run("encode", "talk.wav")
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run("decode", "talk.vqa", "-o", f"{name}.wav", "--seed", seed).code == 0
    first, again, other = ((tmp_path / f"{name}.wav").read_bytes() for name in "abc")
    assert first == again != other


@pytest.mark.usefixtures("shipped", "talk")
def test_json(run: Run, tmp_path: Path) -> None:
    done = run("encode", "talk.wav", "missing.wav", "--json")
    assert done.code == 1
    good, bad = json.loads(done.out)["files"]
    assert good["output"] == "talk.vqa"
    assert good["bytes"] == (tmp_path / "talk.vqa").stat().st_size
    assert (good["duration_s"], good["channels"], good["sample_rate_hz"]) == (0.2, 2, RATE)
    assert bad["input"] == "missing.wav"
    assert "no such file" in bad["error"]


# -------------------------------------------------------------------------------------------------------- many files


@pytest.mark.usefixtures("shipped", "talk")
def test_many_files_of_which_some_are_bad(run: Run, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "folder").mkdir()
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), RATE, subtype="FLOAT")
    speak(tmp_path / "last.flac")
    bad = ("text.wav", "folder", "nan.wav", "missing.wav")
    done = run("encode", "talk.wav", *bad, "last.flac", "-o", "new/out")
    assert done.code == 1
    assert left_behind(tmp_path / "new") == {"out/talk.vqa", "out/last.vqa"}
    *failures, summary = done.lines
    assert [line.split(": ")[:2] for line in failures] == [["vqaudio", name] for name in bad]
    assert summary.startswith("6 files, 4 failed, 0 s of sound, ")
    assert "NaN" in done.err
    done = run("decode", "new/out/talk.vqa", "text.wav", "new/out/last.vqa", "-o", "sounds")
    assert done.code == 1
    assert left_behind(tmp_path / "sounds") == {"talk.wav", "last.wav"}
    *failures, summary = done.lines
    assert [line.split(": ")[:2] for line in failures] == [["vqaudio", "text.wav"]]
    assert summary.startswith("3 files, 1 failed, ")


@pytest.mark.usefixtures("shipped", "talk")
def test_nothing_is_overwritten_without_force(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "talk.vqa"
    target.write_bytes(b"precious")
    done = run("encode", "talk.wav")
    assert done.code == 1
    assert done.lines == ["vqaudio: talk.wav: talk.vqa exists; use --force to overwrite it"]
    assert target.read_bytes() == b"precious"
    assert run("encode", "talk.wav", "--force").code == 0
    done = run("decode", "talk.vqa")
    assert done.lines == ["vqaudio: talk.vqa: talk.wav exists; use --force to overwrite it"]
    assert run("decode", "talk.vqa", "--force").code == 0
    assert left_behind(tmp_path) == {"talk.wav", "talk.vqa"}


@pytest.mark.usefixtures("shipped", "talk")
def test_unwritable_results(run: Run, tmp_path: Path) -> None:
    assert "there is no folder" in run("encode", "talk.wav", "-o", "no/where.vqa").err
    run("encode", "talk.wav")
    done = run("decode", "talk.vqa", "-o", "talk.xyz")
    assert (done.code, len(done.lines)) == (1, 1)
    assert done.err.startswith("vqaudio: talk.vqa: talk.xyz: format 'xyz' is not known")
    assert left_behind(tmp_path) == {"talk.wav", "talk.vqa"}


# -------------------------------------------------------------------------------------------------- wrong usage


@pytest.mark.usefixtures("talk")
@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-verb"],
        ["encode"],
        ["encode", "talk.wav", "--no-such-option"],
        ["encode", "talk.wav", "--device", "tpu"],
        ["encode", "talk.wav", "talk.wav"],
        ["encode", "talk.wav", "other/talk.wav", "-o", "out"],
        ["encode", "talk.wav", "talk.flac"],
        ["encode", "talk.wav", "b.wav", "-o", "talk.wav"],
        ["encode", "talk.wav", "b.wav", "-o", "-"],
        ["encode", "talk.wav", "-o", "talk.wav", "--force"],
        ["encode", "-", "-", "-o", "out"],
        ["encode", ""],
        ["encode", "talk.wav", "-o", "-", "--json"],
        ["decode", "talk.vqa", "--seed", "-1"],
        ["decode", "talk.vqa", "--seed", str(2**63)],
        ["decode", "talk.vqa", "--temperature", "0"],
        ["decode", "talk.vqa", "--temperature", "nan"],
        ["decode", "talk.vqa", "--rate", "999"],
        ["decode", "talk.vqa", "--rate", "fast"],
        ["prepare", "."],
        ["train", "run.toml"],
    ],
)
def test_wrong_usage(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.code == 2
    assert done.out == b""
    assert done.err
    assert left_behind(tmp_path) == {"talk.wav"}


def test_help_and_version(run: Run) -> None:
    verbs = ("encode", "decode", "info", "models", "prepare", "train", "demo")
    assert all(verb.encode() in run("--help").out for verb in verbs)
    for verb in verbs:
        assert run(verb, "--help").code == 0
    version, *hashes = run("--version").out.decode().splitlines()
    assert version == f"vqaudio {vqaudio.__version__}"
    names = [line.split()[0] for line in hashes]
    assert names == bundled.bundled()
    assert hashes[0].split()[1] == json.loads(run("info", names[0], "--json").out)["sha256"]


# ------------------------------------------------------------------------------------------------ models and damage


@pytest.mark.usefixtures("talk")
def test_models_that_do_not_fit(run: Run, tiny_model: Path, other_model: Path) -> None:
    done = run("encode", "talk.wav", "--model", "no-such-model")
    assert (done.code, len(done.lines)) == (1, 1)
    assert done.err.startswith("vqaudio: no-such-model: is no model")
    run("encode", "talk.wav", "--model", tiny_model)
    done = run("decode", "talk.vqa", "-o", "a.wav")
    assert (done.code, len(done.lines)) == (1, 1)
    assert "not bundled" in done.err
    done = run("decode", "talk.vqa", "-o", "a.wav", "--model", other_model)
    assert (done.code, len(done.lines)) == (1, 1)
    assert "was made with model" in done.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_where_there_is_none(run: Run, talk: Path, tiny_model: Path) -> None:
    done = run("encode", talk, "--model", tiny_model, "--device", "cuda")
    assert (done.code, len(done.lines)) == (1, 1)
    assert "no CUDA device" in done.err


@pytest.mark.usefixtures("shipped", "talk")
def test_a_damaged_stream(run: Run, tmp_path: Path) -> None:
    run("encode", "talk.wav")
    path = tmp_path / "talk.vqa"
    data = bytearray(path.read_bytes())
    data[-10] ^= 0xFF
    path.write_bytes(data)
    done = run("decode", "talk.vqa", "-o", "out.wav")
    assert done.code == 1
    assert done.lines == ["vqaudio: talk.vqa: channel 2 is damaged and silent from 0.00 s to 0.20 s"]
    assert soundfile.info(tmp_path / "out.wav").frames == 8820
    done = run("info", "talk.vqa", "--json")
    assert done.code == 1
    assert json.loads(done.out)["damage"] == [{"channel": 2, "first_s": 0.0, "end_s": 0.2}]


@pytest.mark.usefixtures("shipped", "talk")
def test_info_of_a_stream(run: Run, tmp_path: Path) -> None:
    run("encode", "talk.wav")
    facts = json.loads(run("info", "talk.vqa", "--json").out)
    size = (tmp_path / "talk.vqa").stat().st_size
    assert facts["bytes"] == size
    assert facts["bits_per_second"] == pytest.approx(8 * size / 0.2)
    assert (facts["model"], facts["coder"], facts["tokens"]) == ("speech", "packed", 50)
    assert b"codes used" in run("info", "-", stdin=(tmp_path / "talk.vqa").read_bytes()).out


def test_info_of_what_is_neither(run: Run, talk: Path) -> None:
    for what in ("nothing", talk, talk.parent):
        done = run("info", what)
        assert (done.code, len(done.lines), done.out) == (1, 1, b"")


@pytest.mark.usefixtures("shipped")
def test_models(run: Run, tiny_model: Path) -> None:
    (facts,) = json.loads(run("models", "--json").out)["models"]
    assert (facts["kind"], facts["bits_per_second"], facts["training"]) == ("audio-vqvae", 1750, {"step": 7})
    assert b"speech" in run("models").out
    assert json.loads(run("info", tiny_model, "--json").out)["sha256"] == facts["sha256"]
    assert b"sample rate hz" in run("info", "speech").out


@pytest.mark.usefixtures("shipped")
def test_demo(run: Run, tmp_path: Path) -> None:
    for _ in range(2):
        done = run("demo", "-o", "heard")
        assert done.code == 0
        assert b"kb/s" in done.out
        assert b"decoding" in done.out
    assert left_behind(tmp_path) == {"heard/original.flac", "heard/demo.vqa", "heard/decoded.wav"}
    assert soundfile.info(tmp_path / "heard/decoded.wav").frames == 4800


# ------------------------------------------------------------------------------------------------- prepare and train


def corpus(folder: Path) -> Path:
    for speaker in ("ada", "bob"):
        (folder / speaker).mkdir(parents=True)
        for number in range(3):
            speak(folder / speaker / f"{number}.wav", 0.5, sample_rate_hz=16000)
    return folder


def test_prepare(run: Run, tmp_path: Path) -> None:
    corpus(tmp_path / "corpus")
    (tmp_path / "corpus" / "bad.wav").write_text("no sound")
    done = run("prepare", "corpus", "-o", "shards", "--sample-rate", "16000")
    assert done.code == 1
    assert len(done.lines) == 1
    assert "bad.wav: is no sound file" in done.err
    assert b"6 utterances" in done.out
    (tmp_path / "corpus" / "bad.wav").unlink()
    assert "use --force" in run("prepare", "corpus", "-o", "shards").err
    assert run("prepare", "corpus", "-o", "shards", "--force").code == 0


def test_prepare_replaces_shards_only(run: Run, tmp_path: Path) -> None:
    corpus(tmp_path / "corpus")
    done = run("prepare", "corpus", "-o", ".", "--force")
    assert (done.code, len(done.lines)) == (1, 1)
    assert run("prepare", "missing", "-o", "shards").code == 1
    assert len(left_behind(tmp_path)) == 6


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, dict):
        given = {name: item for name, item in value.items() if item is not None}
        return "{" + ", ".join(f"{name} = {toml(item)}" for name, item in given.items()) + "}"
    return "[" + ", ".join(map(toml, value)) + "]" if isinstance(value, list) else json.dumps(value)


@pytest.fixture
def run_toml(tmp_path: Path, tiny_codec: codec.Codec) -> Path:
    model = {name: value for name, value in config.model_to_mapping(tiny_codec.config).items() if value is not None}
    train = {"precision": "32-true", "log_every": 1, "validate_every": 2, "validation_crops": 2, "sound_seconds": 0.0}
    phase = {"name": "all", "steps": 2, "learning_rate": 1e-3, "batch_size": 2, "crop_samples": 4096}
    phase |= {"train": ["encoder", "quantizer", "conditioning", "decoder"], "objective": {"nll": 1.0, "codebook": 1.0}}
    tables = {"model": model, "train": train | {"phases": [phase]}}
    lines = [f"{name}.{key} = {toml(value)}" for name, table in tables.items() for key, value in table.items()]
    path = tmp_path / "run.toml"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.usefixtures("run_toml")
def test_train(run: Run, tmp_path: Path) -> None:
    run("prepare", corpus(tmp_path / "corpus"), "-o", "shards")
    chosen = ("--device", "cpu", "--set", "train.seed=3", "-v")
    done = run("train", "run.toml", "--data", "shards", "-o", "run", *chosen)
    assert done.code == 0, done.err
    assert "all 1 train: loss" in done.err
    assert [line.rpartition(": ")[0] for line in done.lines if re.search(r"\d s$", line)] == [
        "vqaudio: opening shards",
        "vqaudio: all",
        "vqaudio: in all",
    ]
    assert "bits_per_sample" in done.err
    finished = done.out.decode().strip()
    assert run("info", finished).code == 0
    done = run("train", "run.toml", "--data", "shards", "-o", "run", "--device", "cpu")
    assert (done.code, len(done.lines)) == (1, 1)
    assert "--resume" in done.err
    assert (
        run(
            "train",
            "run.toml",
            "--data",
            "shards",
            "-o",
            "run",
            "--device",
            "cpu",
            "--resume",
            "-q",
            "--set",
            "train.seed=3",
        ).err
        == ""
    )


@pytest.mark.usefixtures("run_toml")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_training_that_is_ended_says_by_what(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    """After a checkpoint, from which it goes on."""
    run("prepare", corpus(tmp_path / "corpus"), "-o", "shards", "--no-analysis")
    command = ("train", "run.toml", "--data", "shards", "-o", "run", "--device", "cpu", "-q")
    before = signal.signal(number, signal.default_int_handler)  # whatever these tests run under
    with monkeypatch.context() as patch:
        step = loop._Run._step
        patch.setattr(loop._Run, "_step", lambda *words: (step(*words), os.kill(os.getpid(), number)))
        done = run(*command)
    signal.signal(number, before)
    assert (done.code, done.err) == (code, "")
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["000000001"]
    assert run(*command, "--resume").code == 0


@pytest.mark.usefixtures("run_toml")
def test_train_without_what_it_needs(run: Run) -> None:
    for arguments in (["missing.toml"], ["run.toml"], ["run.toml", "--set", "train.sede=1"]):
        done = run("train", *arguments, "--data", "missing", "-o", "run")
        assert (done.code, len(done.lines)) == (1, 1)


# ------------------------------------------------------------------------------------------------------------ endings


@pytest.mark.usefixtures("shipped", "talk")
@pytest.mark.parametrize(
    ("ending", "code", "words"),
    [
        (KeyboardInterrupt(), 130, ""),
        (ZeroDivisionError("a bug\nof two lines"), 1, "internal error (ZeroDivisionError: a bug of two lines)"),
        (MemoryError(), 1, "not enough memory"),
        (OSError(28, "No space left on device"), 1, "talk.vqa cannot be written: No space left on device"),
        (BrokenPipeError(), 1, ""),
    ],
    ids=["ctrl-c", "bug", "memory", "full disk", "broken pipe"],
)
def test_nothing_half_written_stays(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: BaseException, code: int, words: str
) -> None:
    def die(*arguments: object) -> bytes:
        raise ending

    monkeypatch.setattr(container.StreamWriter, "write", die)
    done = run("encode", "talk.wav")
    assert done.code == code
    assert len(done.lines) == bool(words)
    assert words in done.err
    assert left_behind(tmp_path) == {"talk.wav"}


@pytest.mark.usefixtures("shipped", "talk")
def test_terminated(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container.StreamWriter, "write", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    assert run("encode", "talk.wav").code == 143
    assert left_behind(tmp_path) == {"talk.wav"}
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.usefixtures("shipped", "talk")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("arguments", [("encode", "talk.wav"), ("encode", "nothere.wav")])
def test_a_signal_after_the_work_and_before_the_end(
    run: Run, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int, arguments: tuple[str, ...]
) -> None:
    def work(given: list[str] | None) -> int:
        done = worked(given)
        signal.raise_signal(number)
        return done

    worked = cli._run
    monkeypatch.setattr(cli, "_run", work)
    before = signal.signal(number, signal.default_int_handler)  # whatever these tests run under
    done = run(*arguments)
    signal.signal(number, before)
    assert done.code == code
    assert "Traceback" not in done.err


@pytest.mark.usefixtures("shipped", "talk")
def test_developers_see_where_a_bug_is(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    def die(*arguments: object, **named: object) -> None:
        raise ZeroDivisionError

    run("--version")
    monkeypatch.setattr(Codec, "encode_file", die)
    monkeypatch.setenv("VQAUDIO_DEBUG", "1")
    assert cli.main(["encode", "talk.wav"]) == 1
    assert b"in die" in capsysbinary.readouterr().err


def test_as_a_program(tmp_path: Path) -> None:
    environment = children.environment()
    program = [sys.executable, "-m", "vqaudio"]
    settings: dict[str, Any] = {"env": environment, "cwd": tmp_path, "capture_output": True, "check": False}
    assert subprocess.run([*program, "encode"], **settings).returncode == 2
    with open("/dev/full", "wb") if Path("/dev/full").exists() else open(tmp_path / "out", "wb") as full:
        done = subprocess.run([*program, "--version"], **{**settings, "capture_output": False}, stdout=full, stderr=-1)
    if Path("/dev/full").exists():
        assert done.returncode == 1
        assert done.stderr.startswith(b"vqaudio: ")
        assert b"Traceback" not in done.stderr


def test_sample(run: Run, talking_model: Path, tmp_path: Path) -> None:
    done = run("sample", "--model", talking_model, "--seconds", 0.2, "--seed", 3)
    assert done.code == 0, done.err
    assert soundfile.info(tmp_path / "sample.wav").frames == 3200
    assert run("sample", "--model", talking_model, "--seconds", 0.2).code == 1  # exists
    several = run("sample", "--model", talking_model, "--seconds", 0.1, "--count", 3, "-o", "new", "--json")
    assert several.code == 0
    assert [entry["output"] for entry in json.loads(several.out)["files"]] == [f"new/sample-{n}.wav" for n in (1, 2, 3)]
    assert len({(tmp_path / f"new/sample-{n}.wav").read_bytes() for n in (1, 2, 3)}) == 3


def test_sample_goes_on_from_a_prompt(run: Run, talk: Path, talking_model: Path, tmp_path: Path) -> None:
    done = run("sample", "--model", talking_model, "--seconds", 0.2, "--prompt", talk, "-o", "more.vqa")
    assert done.code == 0, done.err
    assert run("decode", "more.vqa", "--model", talking_model).code == 0
    prompted = run("sample", "--model", talking_model, "--seconds", 0.1, "--prompt", "more.vqa", "-o", "yet.wav")
    assert prompted.code == 0, prompted.err
    length = soundfile.info(tmp_path / "more.wav").frames
    assert soundfile.info(tmp_path / "yet.wav").frames == length + 25 * 64


def test_sample_needs_a_prior(run: Run, tiny_model: Path) -> None:
    done = run("sample", "--model", tiny_model)
    assert done.code == 1
    assert "no prior" in done.err


@pytest.mark.parametrize("coder", ["prior", "packed"])
def test_either_coder_decodes_to_the_same_sound(run: Run, talk: Path, talking_model: Path, coder: str) -> None:
    assert run("encode", talk, "--model", talking_model, "--coder", coder, "-o", "a.vqa").code == 0
    assert run("encode", talk, "--model", talking_model, "-o", "b.vqa").code == 0
    for name in "ab":
        assert run("decode", f"{name}.vqa", "--model", talking_model).code == 0
    assert Path("a.wav").read_bytes() == Path("b.wav").read_bytes()
    assert json.loads(run("info", "a.vqa", "--json").out)["coder"] == coder
