"""Standard input and output that are slow, closed or full; options that do not apply; messages where they belong."""

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import children
import numpy as np
import pytest
import soundfile
from conftest import Run
from pictures import gradient
from PIL import Image

PROGRAM = [sys.executable, "-m", "vqaudio"]


def wav() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.random.default_rng(0).standard_normal(4000), 16000, format="WAV")
    return file.getvalue()


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(gradient(20, 9)).save(file, "PNG")
    return file.getvalue()


def shell(line: str, folder: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = line.replace("vqaudio", f"{sys.executable} -m vqaudio", 1)
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=children.environment(), input=stdin, capture_output=True, check=False
    )


@pytest.mark.parametrize("brings", [wav, png])
def test_a_slow_pipe_is_known_by_how_it_begins(brings: object, tmp_path: Path) -> None:
    data = brings()  # type: ignore[operator]
    command = [*PROGRAM, "encode", "-", "-o", "a.vqa"]
    options = {"cwd": tmp_path, "env": children.environment(), "stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **options) as process:  # type: ignore[call-overload]
        for byte in (data[:1], data[1:3], data[3:]):
            process.stdin.write(byte)
            process.stdin.flush()
            time.sleep(0.3)
        process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
    assert (tmp_path / "a.vqa").stat().st_size > 70


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("vqaudio encode - -o a.vqa <&-", "standard input is closed"),
        ("vqaudio encode in.wav -o - >&-", "standard output is closed"),
    ],
)
def test_closed_streams_are_told_in_a_line(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "in.wav").write_bytes(wav())
    done = shell(line, tmp_path)
    assert done.returncode == 1
    assert said in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1
    assert os.listdir(tmp_path) == ["in.wav"]


def test_messages_never_go_to_standard_output(tmp_path: Path) -> None:
    done = shell("vqaudio encode nothere.wav 2>&-", tmp_path)
    assert (done.returncode, done.stdout) == (1, b"")


def test_a_full_device_is_one_failure(tmp_path: Path) -> None:
    (tmp_path / "in.wav").write_bytes(wav())
    done = shell("vqaudio encode in.wav -o - > /dev/full", tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_a_sample_on_standard_output_is_the_sound_alone(run: Run, talking_model: Path) -> None:
    done = run("sample", "--model", talking_model, "--seconds", "0.2", "-o", "-")
    assert done.code == 0
    found = soundfile.info(io.BytesIO(done.out))
    assert (found.frames, found.samplerate) == (3200, 16000)
    assert "new speech" in done.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--model", "images", "--seconds", "5"), "--seconds is for sounds"),
        (("--model", "images", "--prompt", "nothere.wav"), "--prompt is for sounds"),
        (("--label", "cat"), "--label is for pictures"),
    ],
)
def test_options_that_do_not_apply_are_refused(run: Run, tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    done = run("sample", *options)
    assert done.code == 2
    assert said in done.err
    assert not list(tmp_path.iterdir())
