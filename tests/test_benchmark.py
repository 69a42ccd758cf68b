"""The benchmark's codecs: bytes are counted right, delays stay within reach, and absent programs are named."""

import json
import subprocess
import sys
from pathlib import Path

import children
import numpy as np
import pytest
import soundfile

from vqaudio.codecs.bundled import PRETRAINED
from vqaudio.evaluation.metrics import find_alignment
from vqaudio.evaluation.report import read_rivals

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "recipes" / "benchmark"
sys.path.insert(0, str(RECIPE))

from programs import PROGRAMS, Program, ogg_payload  # noqa: E402 - from the recipe's folder

RATE = 16000


def ogg_page(*segments: int) -> bytes:
    return b"OggS" + bytes(22) + bytes([len(segments), *segments]) + b"x" * sum(segments)


def test_the_payload_of_an_ogg_file_is_that_of_its_packets_but_for_two() -> None:
    headers = ogg_page(19) + ogg_page(255, 45)
    assert ogg_payload(headers) == 0
    assert ogg_payload(headers + ogg_page(10, 20, 255, 0, 7)) == 10 + 20 + 255 + 7
    assert ogg_payload(headers + ogg_page(10, 255) + ogg_page(255, 3)) == 10 + 513


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_program_codes_and_decodes(program: Program) -> None:
    if line := program.absent():
        pytest.skip(line)
    wave, _ = soundfile.read(PRETRAINED / "demo.flac", dtype="float32")
    coded = program(wave, RATE)
    nominal = 1000 * float(program.name.split()[-1].rstrip("C")) / (1000 if "Codec" in program.name else 1)
    assert 0.9 * nominal < 8 * coded.payload_bytes * RATE / len(wave) < 1.25 * nominal
    assert coded.payload_bytes <= coded.file_bytes
    assert abs(len(coded.wave) - len(wave)) < 0.1 * RATE
    assert abs(find_alignment(wave, coded.wave, RATE).delay) < 0.1 * RATE


def test_the_benchmark_names_what_is_absent_and_writes_the_rest(talking_model: Path, tmp_path: Path) -> None:
    corpus, output = tmp_path / "corpus", tmp_path / "results"
    corpus.mkdir()
    for name in "ab":
        soundfile.write(corpus / f"{name}.wav", np.random.default_rng(0).standard_normal(RATE // 4) * 0.1, RATE)
    command = [sys.executable, RECIPE / "quality.py", corpus, "-o", output, "--model", talking_model, "--scores", "mel"]
    environment = children.environment(PATH=str(tmp_path))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Codec 2 1300 is left out: c2enc is not on the path: apt-get install codec2" in done.stderr
    assert {path.name for path in output.iterdir()} == {"quality.json", "quality.md", "quality.png"}
    result = json.loads((output / "quality.json").read_text())
    assert len(result["absent"]) == len(PROGRAMS)
    assert result["corpus"]["utterances"] == 2
    rivals = read_rivals(output / "quality.json")
    assert [rival.name for rival in rivals] == ["talking, prior", "talking, packed"]
    assert all(rival.figures["mel_distance_db"].count == 2 for rival in rivals)
    assert done.stdout.count("| talking, packed |") == 2
