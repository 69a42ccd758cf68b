"""The benchmark's codecs: bytes are counted right, delays stay within reach, and absent programs are named."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import children
import numpy as np
import pytest
import soundfile

from vqaudio.codecs.bundled import PRETRAINED
from vqaudio.codecs.speech import Codec
from vqaudio.evaluation.metrics import find_alignment, stoi
from vqaudio.evaluation.report import read_rivals
from vqaudio.models.sources import file_checksum, write_sources

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "recipes" / "benchmark"
sys.path.insert(0, str(RECIPE))

import systems  # noqa: E402 - from the recipe's folder
from programs import PROGRAMS, Program, ogg_payload  # noqa: E402

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


def spoken(hz: float) -> np.ndarray:
    """A buzz that rises and falls, as long as a metric needs."""
    time = np.arange(2 * RATE) / RATE
    phase = 2 * np.pi * np.cumsum(hz * (1 + 0.2 * np.sin(4 * time))) / RATE
    return (sum(np.sin(n * phase) / n for n in range(1, 20)) * (0.5 - 0.5 * np.cos(2 * np.pi * time)) * 0.1).astype(
        np.float32
    )


def test_nothing_coded_comes_back_nearly_as_it_was() -> None:
    wave = soundfile.read(ROOT / "data" / "samples" / "kettle.flac", dtype="float32")[0]
    for through, least in ((systems.untouched, 0.9999), (systems.world, 0.9), (systems.true_parameters, 0.9)):
        coded = through(wave, RATE)
        assert len(coded.wave) == len(wave)
        assert coded.file_bytes is None
        assert stoi(wave, coded.wave, RATE) > least


def test_our_bytes_are_those_of_our_files(talking_codec: Codec, tmp_path: Path) -> None:
    wave = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 0.1
    coded = systems.Ours(talking_codec)(wave, RATE)
    talking_codec.encode(wave, RATE).save(tmp_path / "a.vqa")
    assert coded.file_bytes == (tmp_path / "a.vqa").stat().st_size
    assert coded.payload_bytes < coded.file_bytes
    assert coded.packed_bytes == 70 + 12 + -(-250 * 7 // 8)
    assert np.array_equal(coded.wave, talking_codec.decode(talking_codec.encode(wave, RATE))[0])


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    for name in ("a/1.wav", "a/2.wav", "b/1.wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, spoken(100 + 20 * len(list(folder.rglob("*.wav")))), RATE)
    return folder


def run(corpus: Path, model: Path, output: Path, *more: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, RECIPE / "quality.py", corpus, "-o", output, "--model", model, "--workers", "1", *more]
    environment = children.environment(PATH=str(output.parent), XDG_CACHE_HOME=str(output.parent / "cache"))
    return subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True, check=False)


def test_the_benchmark_names_what_is_absent_and_writes_the_rest(
    talking_model: Path, corpus: Path, tmp_path: Path
) -> None:
    output = tmp_path / "results"
    done = run(corpus, talking_model, output, "--metrics", "mel", "--listen", tmp_path / "listen")
    assert done.returncode == 0, done.stderr
    assert "Codec 2 1300 is left out: c2enc is not on the path: apt-get install codec2" in done.stderr
    assert {path.name for path in output.iterdir()} == {"quality.json", "quality.md", "quality.png"}
    result = json.loads((output / "quality.json").read_text())
    assert len(result["absent"]) == len(PROGRAMS)
    assert result["corpus"] | {"seconds": 0} == {
        "utterances": 3,
        "seconds": 0,
        "with_transcript": 0,
        "groups": {"a": 2, "b": 1},
    }
    rivals = {rival.name: rival for rival in read_rivals(output / "quality.json")}
    assert next(iter(rivals)) == "original"
    assert rivals["original"].figures["mel_distance_db"].value == 0
    assert rivals["talking"].ours
    assert rivals["talking"].figures["mel_distance_db"].count == 3
    assert rivals["talking"].figures["packed_bits_per_second"].value > 1000
    assert done.stdout.count("| talking |") == 3  # all, a, b
    assert len(list((tmp_path / "listen" / "sounds").iterdir())) == 3 * (len(rivals) + 1)  # and the anchor
    first = (output / "quality.json").read_bytes()
    again = run(corpus, talking_model, output, "--metrics", "mel")
    assert again.returncode == 0, again.stderr
    assert (output / "quality.json").read_bytes() == first


@pytest.mark.parametrize("script", ["quality.py", "phones.py"])
@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (None, "data"),
        ("path\ttranscript\na.wav\thello", "the header has no column 'speaker'; add it"),
        ("path\tspeaker\ttranscript\na.wav\tann\thello", "not there, with the transcript 'hello'"),
    ],
    ids=["empty folder", "missing column", "missing file"],
)
def test_bad_input_ends_in_a_line(
    script: str, manifest: str | None, said: str, talking_model: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    if manifest:
        (data / "manifest.tsv").write_text(manifest)
    command = [
        sys.executable,
        str(RECIPE / script),
        str(data),
        "-o",
        str(tmp_path / "o"),
        "--model",
        str(talking_model),
    ]
    done = subprocess.run(command, env=children.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert said in line
    assert not (tmp_path / "o").exists()


def test_the_benchmark_refuses_what_the_model_learnt_from(talking_model: Path, corpus: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(talking_model, model)
    write_sources(model, [file_checksum(corpus / "b" / "1.wav")])
    done = run(corpus, model, tmp_path / "results", "--metrics", "mel")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "was trained on" in line
