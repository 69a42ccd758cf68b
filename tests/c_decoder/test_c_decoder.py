"""recipes/c-decoder: Python's codes, its sound to -60 dB, and for what is damaged an error and no crash."""

import dataclasses
import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import VOCODED
from sounds import noise

import vqaudio
from vqaudio.bitstream.container import StreamReader
from vqaudio.bitstream.header import MAX_HEADER, header_size
from vqaudio.codecs.speech import Codec
from vqaudio.errors import VqaudioError
from vqaudio.models import checkpoint
from vqaudio.models.config import VocoderVQVAEConfig

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "recipes" / "c-decoder"
FIXTURES = ROOT / "tests" / "fixtures" / "v1"
SPEECH = ROOT / "vqaudio" / "pretrained" / "speech"
SANITIZED = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
FARTHEST_DB = -60.0

Decode = Callable[..., subprocess.CompletedProcess[str]]


def build(target: Path, main: str, *flags: str) -> Path:
    """The program, compiled without a warning; the test skips where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("needs a C compiler on the path: apt-get install gcc")
    standard = ("-std=c99", "-Wall", "-Wextra", "-pedantic")
    files = (SOURCE / "vqaudio.c", SOURCE / main)
    done = subprocess.run(
        [compiler, *standard, *flags, *files, "-o", target, "-lm"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return target


@pytest.fixture(scope="session")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("c") / "decode", "main.c", "-O2")


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """fuzz.c by itself, with sanitizers."""
    empty = tmp_path_factory.mktemp("c") / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("needs a C compiler on the path: apt-get install gcc")
    tried = [compiler, *SANITIZED, empty, "-o", empty.with_suffix("")]
    if subprocess.run(tried, capture_output=True, check=False).returncode:
        pytest.skip("the C compiler has no sanitizers: install libasan and libubsan")
    return build(tmp_path_factory.mktemp("c") / "guarded", "fuzz.c", "-O1", "-DFUZZ_ALONE", *SANITIZED)


def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    everything = os.environ | environment
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, env=everything, check=False)


def codes_of(decoder: Path, model: Path, stream: Path) -> tuple[list[list[int]], subprocess.CompletedProcess[str]]:
    """What the C decoder reads, channel after channel, and how it ended."""
    done = run(decoder, "--codes", model, stream, "-")
    return [[int(code) for code in line.split()] for line in done.stdout.splitlines()], done


def sound_of(decoder: Path, model: Path, stream: Path, *options: object) -> np.ndarray:
    output = stream.with_suffix(".wav")
    run(decoder, "--float", *options, model, stream, output)
    wave, rate_hz = soundfile.read(output, dtype="float32", always_2d=True)
    with stream.open("rb") as file:
        original_hz = StreamReader(file).header.sample_rate_hz
    assert rate_hz == (options[options.index("--rate") + 1] if "--rate" in options else original_hz)
    return np.ascontiguousarray(wave.T)


def difference_db(found: np.ndarray, reference: np.ndarray) -> float:
    assert found.shape == reference.shape
    error = np.square(found.astype(np.float64) - reference).sum()
    return float(10 * np.log10(error / np.square(reference, dtype=np.float64).sum()))


def voice(seconds: float, channels: int = 1, seed: int = 0) -> np.ndarray:
    """A gliding voice with pauses, and some noise: ``[channels, T]`` at 16 kHz."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(16_000 * seconds)) / 16_000
    waves = []
    for channel in range(channels):
        phase = np.cumsum(110 + 60 * channel + 40 * np.sin(2 * np.pi * 0.7 * time + seed)) / 16_000
        buzz = sum(np.sin(2 * np.pi * k * phase) / k for k in range(1, 25))
        loudness = np.clip(np.sin(2 * np.pi * 1.3 * time + channel), 0, 1)
        waves.append(0.1 * loudness * buzz + 0.01 * generator.standard_normal(len(time)))
    return np.stack(waves).astype(np.float32)


@pytest.fixture(scope="session")
def speech() -> Codec:
    return vqaudio.load("speech", "cpu")


@pytest.fixture(scope="session")
def vocoded(vocoded_model: Path) -> Codec:
    return vqaudio.load(vocoded_model, "cpu")


# --------------------------------------------------------------------------------------------------------------- codes

KEPT = json.loads((FIXTURES / "codes.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [name for name, kept in KEPT.items() if kept["model"] == "sound-model"])
def test_kept_streams_have_their_codes(decoder: Path, name: str) -> None:
    codes, done = codes_of(decoder, FIXTURES / "sound-model", FIXTURES / f"{name}.vqa")
    assert (codes, done.returncode, done.stderr) == (KEPT[name]["codes"], 0, "")


@pytest.mark.parametrize("coder", ["packed", "prior"])
@pytest.mark.parametrize(("seconds", "channels"), [(0.01, 1), (1.0, 2), (9.0, 1)])
def test_codes_of_the_bundled_model(
    decoder: Path, speech: Codec, tmp_path: Path, coder: str, seconds: float, channels: int
) -> None:
    stream = speech.encode(voice(seconds, channels), 16_000, coder=coder)
    stream.save(tmp_path / "a.vqa")
    codes, done = codes_of(decoder, SPEECH, tmp_path / "a.vqa")
    assert (codes, done.returncode) == (stream.tokens.tolist(), 0)


@pytest.mark.parametrize("scale", [0.01, 1.0, 8.0, 40.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_any_prior_becomes_the_same_integers(decoder: Path, tmp_path: Path, scale: float, seed: int) -> None:
    """Weights of other sizes have other positions, shifts and roundings; codes are drawn so that all of it counts."""
    torch.manual_seed(seed)
    state = checkpoint.build(VOCODED).state_dict()
    state = {name: scale * t if name.startswith("prior.") else t for name, t in state.items()}
    checkpoint.save_model(tmp_path / "model", VOCODED, state, {}, half=seed == 0)
    codec = vqaudio.load(tmp_path / "model", "cpu")
    codes = np.random.default_rng(seed).integers(0, 100, (2, 8, 300)).astype(np.int32)
    codec.stream_of(codes).save(tmp_path / "a.vqa")
    found, done = codes_of(decoder, tmp_path / "model", tmp_path / "a.vqa")
    assert done.stderr == ""
    assert np.array_equal(found, codes.transpose(0, 2, 1).reshape(2, -1))


def one_quantizer() -> VocoderVQVAEConfig:
    """A model of one token a vector, whose codebook and frames have other names and no spreading."""
    prior = dataclasses.replace(VOCODED.prior, phases=0)  # type: ignore[type-var]
    quantizer = dataclasses.replace(VOCODED.quantizer, num_quantizers=1, update="gradient")
    stack = dataclasses.replace(VOCODED.conditioning, frames_per_vector=1, frame_dilations=(), look_ahead=None)
    encoder = dataclasses.replace(VOCODED.encoder, spectrum_hop=16)
    return dataclasses.replace(VOCODED, prior=prior, quantizer=quantizer, conditioning=stack, encoder=encoder)


@pytest.mark.parametrize("coder", ["packed", "prior"])
def test_a_model_of_one_quantizer(decoder: Path, tmp_path: Path, coder: str) -> None:
    torch.manual_seed(3)
    config = one_quantizer()
    checkpoint.save_model(tmp_path / "model", config, checkpoint.build(config).state_dict(), {})
    codec = vqaudio.load(tmp_path / "model", "cpu")
    stream = codec.encode(noise(1, 20_000), 16_000, coder=coder)
    stream.save(tmp_path / "a.vqa")
    assert codes_of(decoder, tmp_path / "model", tmp_path / "a.vqa")[0] == stream.tokens.tolist()
    found = sound_of(decoder, tmp_path / "model", tmp_path / "a.vqa", "--seed", 7)
    assert difference_db(found, codec.decode(stream, seed=7)) < FARTHEST_DB


# --------------------------------------------------------------------------------------------------------------- sound


@pytest.mark.parametrize(
    ("seconds", "channels", "seed", "coder"),
    [(0.01, 1, 0, "packed"), (0.7, 2, 1, "prior"), (5.0, 1, 2**32 - 1, "packed"), (3.0, 1, 2**63 - 1, "prior")],
)
def test_sound_of_the_bundled_model(
    decoder: Path, speech: Codec, tmp_path: Path, seconds: float, channels: int, seed: int, coder: str
) -> None:
    stream = speech.encode(voice(seconds, channels, seed % 7), 16_000, coder=coder)
    stream.save(tmp_path / "a.vqa")
    found = sound_of(decoder, SPEECH, tmp_path / "a.vqa", "--seed", seed)
    assert difference_db(found, speech.decode(stream, seed=seed)) < FARTHEST_DB


def test_a_minute_does_not_drift(decoder: Path, speech: Codec, tmp_path: Path) -> None:
    """The phase of a voice adds up what its pitch is wrong."""
    clip, _ = soundfile.read(SPEECH.parent / "demo.flac", dtype="float32")
    for name, wave in {"made": voice(60), "spoken": np.resize(clip, 320_000)}.items():
        path, stream = tmp_path / f"{name}.vqa", speech.encode(wave, 16_000, coder="packed")
        stream.save(path)
        assert difference_db(sound_of(decoder, SPEECH, path), speech.decode(stream)) < FARTHEST_DB - 10


def test_another_seed_is_another_sound(decoder: Path, speech: Codec, tmp_path: Path) -> None:
    stream = speech.encode(voice(1), 16_000, coder="packed")
    stream.save(tmp_path / "a.vqa")
    assert difference_db(sound_of(decoder, SPEECH, tmp_path / "a.vqa", "--seed", 1), speech.decode(stream)) > -30


@pytest.mark.parametrize("rate_hz", [1000, 8000, 11_025, 44_100, 48_000, 44_099, 768_000])
def test_other_sample_rates(decoder: Path, vocoded: Codec, vocoded_model: Path, tmp_path: Path, rate_hz: int) -> None:
    stream = vocoded.encode(voice(0.6, 2), 16_000)
    stream.save(tmp_path / "a.vqa")
    found = sound_of(decoder, vocoded_model, tmp_path / "a.vqa", "--rate", rate_hz)
    assert difference_db(found, vocoded.decode(stream, sample_rate_hz=rate_hz)) < FARTHEST_DB


@pytest.mark.parametrize("frames", [0, 1, 511, 512, 513, 32_768, 32_769, 70_001])
def test_lengths_are_the_originals(
    decoder: Path, vocoded: Codec, vocoded_model: Path, tmp_path: Path, frames: int
) -> None:
    stream = vocoded.encode(noise(1, frames), 22_050)
    stream.save(tmp_path / "a.vqa")
    found = sound_of(decoder, vocoded_model, tmp_path / "a.vqa")
    reference = vocoded.decode(stream)
    assert found.shape == reference.shape == (1, frames)
    assert not frames or difference_db(found, reference) < FARTHEST_DB


def test_sixteen_bits(decoder: Path, vocoded: Codec, vocoded_model: Path, tmp_path: Path) -> None:
    stream = vocoded.encode(voice(0.5), 16_000)
    louder = dataclasses.replace(stream, header=dataclasses.replace(stream.header, levels=(30.0,)))
    louder.save(tmp_path / "a.vqa")
    assert run(decoder, vocoded_model, tmp_path / "a.vqa", tmp_path / "a.wav").returncode == 0
    found, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    wanted = 32768.0 * vocoded.decode(louder)[0]
    for beyond, limit in ((wanted > 40_000, 32_767), (wanted < -40_000, -32_768)):
        assert beyond.any()
        assert (found[beyond] == limit).all()
    assert difference_db(found, wanted.clip(-32_768, 32_767)) < FARTHEST_DB


# -------------------------------------------------------------------------------------------------------------- damage


def damaged(data: bytes, seed: int) -> bytes:
    """``data`` with something wrong behind its magic: bits flipped, a part missing, twice or of another place."""
    generator = np.random.default_rng(seed)
    size = header_size(data)
    start = size if seed % 4 else 5  # a header is damaged, too, now and then
    at, other = sorted(int(place) for place in generator.integers(start, len(data), 2))
    match seed % 5:
        case 0:
            flipped = bytearray(data)
            for place in generator.integers(start, len(data), 1 + seed % 7):
                flipped[place] ^= 1 << int(generator.integers(8))
            return bytes(flipped)
        case 1:
            return data[:at]
        case 2:
            return data[:at] + data[other:]
        case 3:
            return data[:other] + data[at:]
        case _:
            return data[:at] + bytes(generator.integers(0, 256, other - at, np.uint8)) + data[other:]


@pytest.fixture(scope="session")
def original(vocoded: Codec) -> dict[str, bytes]:
    """A stream of each coder, of small blocks, so that some stay whole."""
    found = {}
    for coder in ("packed", "prior"):
        stream = vocoded.encode(voice(3, 2), 22_050, coder=coder)
        header = dataclasses.replace(stream.header, tokens_per_block=56)
        file = io.BytesIO()
        dataclasses.replace(stream, header=header).write(file)
        found[coder] = file.getvalue()
    return found


@pytest.mark.parametrize("seed", range(40))
def test_damage_costs_what_it_costs_in_python(
    decoder: Path, vocoded: Codec, vocoded_model: Path, original: dict[str, bytes], tmp_path: Path, seed: int
) -> None:
    path = tmp_path / "a.vqa"
    path.write_bytes(damaged(original["prior" if seed % 2 else "packed"], seed))
    codes, done = codes_of(decoder, vocoded_model, path)
    try:
        with path.open("rb") as file:
            stream = vocoded.read(file)
    except VqaudioError:
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        return
    assert codes == stream.tokens.tolist()
    lost = -(-np.array([len(damage.tokens) for damage in stream.damage], int) // 56)
    assert len(done.stderr.splitlines()) == lost.sum()
    assert done.returncode == (1 if stream.damage else 0)


@pytest.mark.parametrize("coder", ["packed", "prior"])
def test_what_is_lost_is_silent_as_in_python(
    decoder: Path, vocoded: Codec, vocoded_model: Path, original: dict[str, bytes], tmp_path: Path, coder: str
) -> None:
    data = bytearray(original[coder])
    for place in (header_size(data) + 30, len(data) // 2, len(data) // 2 + 90):
        data[place] ^= 255
    (tmp_path / "a.vqa").write_bytes(data)
    stream = vocoded.read(io.BytesIO(bytes(data)))
    assert stream.damage
    found, reference = sound_of(decoder, vocoded_model, tmp_path / "a.vqa"), vocoded.decode(stream)
    assert (reference == 0).mean() > 0.05
    assert np.abs(found[reference == 0]).max() < 1e-6 * np.abs(reference).max()
    assert difference_db(found, reference) < FARTHEST_DB


def test_every_bit_of_a_header_is_mended(
    decoder: Path, vocoded_model: Path, original: dict[str, bytes], tmp_path: Path
) -> None:
    data, path = original["packed"], tmp_path / "a.vqa"
    path.write_bytes(data)
    whole = run(decoder, "--codes", vocoded_model, path, "-").stdout
    for bit in range(0, 8 * header_size(data), 3):
        path.write_bytes(data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :])
        assert run(decoder, "--codes", vocoded_model, path, "-").stdout == whole, bit


def test_no_bytes_crash_it(guarded: Path, vocoded_model: Path, original: dict[str, bytes], tmp_path: Path) -> None:
    """Under the sanitizers, each as it is and with its checksums put right."""
    paths = []
    for seed in range(60):
        paths.append(tmp_path / f"{seed}.vqa")
        data = damaged(original["prior" if seed % 2 else "packed"], seed)
        paths[-1].write_bytes(data[:MAX_HEADER] if seed % 3 else data)
    done = run(guarded, *paths, VQAUDIO_FUZZ_MODEL=str(vocoded_model))
    assert (done.returncode, done.stdout, done.stderr) == (0, "60 tried\n", "")


def test_no_model_crashes_it(guarded: Path, vocoded_model: Path, tmp_path: Path) -> None:
    config, weights = ((vocoded_model / name).read_bytes() for name in ("config.json", "model.safetensors"))
    beginnings = int.from_bytes(weights[:8], "little") + 8
    paths = []
    for seed in range(80):
        generator = np.random.default_rng(seed)
        parts = [bytearray(config), bytearray(weights)]
        place = int(generator.integers(len(config) if seed % 2 else beginnings))
        parts[seed % 2 == 0][place] = int(generator.choice(list(b'0917-.{}[]",:enx')))
        if seed % 8 == 0:
            parts[1] = parts[1][: int(generator.integers(len(weights)))]
        paths.append(tmp_path / f"{seed}.model")
        paths[-1].write_bytes(len(config).to_bytes(2, "little") + parts[0] + parts[1])
    without = {name: value for name, value in os.environ.items() if name != "VQAUDIO_FUZZ_MODEL"}
    done = subprocess.run([guarded, *paths], capture_output=True, text=True, env=without, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "80 tried\n", "")


# ---------------------------------------------------------------------------------------------------------- the program


def test_wrong_input_ends_in_one_line(
    decoder: Path, vocoded_model: Path, other_model: Path, original: dict[str, bytes], tmp_path: Path
) -> None:
    good, output = tmp_path / "good.vqa", tmp_path / "out.wav"
    good.write_bytes(original["packed"])
    text = tmp_path / "text.vqa"
    text.write_text("no stream at all\n")
    for model, stream, reason in (
        (vocoded_model, text, "is no .vqa stream"),
        (vocoded_model, FIXTURES / "picture-packed.vqa", "picture"),
        (FIXTURES / "sound-model", good, "was made with model"),
        (FIXTURES / "picture-model", good, "none of sounds"),
        (vocoded_model, tmp_path / "none.vqa", "No such file"),
        (tmp_path, good, "No such file"),
    ):
        done = run(decoder, model, stream, output)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1), done.stderr
        assert reason in done.stderr
        assert sorted(tmp_path.glob("out*")) == []
    assert run(decoder, vocoded_model, good, tmp_path / "none" / "out.wav").returncode == 1
    for words in ([], ["--seed", "-1"], ["--seed", "x"], ["--no"], [vocoded_model, good]):
        assert run(decoder, *words).returncode == 2


def test_a_model_that_draws_its_sound_gives_its_codes(decoder: Path, hearing_model: Path, tmp_path: Path) -> None:
    codec = vqaudio.load(hearing_model, "cpu")
    stream = codec.encode(noise(1, 9000), 16_000, coder="prior")
    stream.save(tmp_path / "a.vqa")
    assert codes_of(decoder, hearing_model, tmp_path / "a.vqa")[0] == stream.tokens.tolist()
    done = run(decoder, hearing_model, tmp_path / "a.vqa", tmp_path / "a.wav")
    assert done.returncode == 1
    assert "its codes alone" in done.stderr
