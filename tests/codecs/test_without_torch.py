"""What runs without torch: nothing imports it, the codes are torch's, the sound is but for rounding, and what needs it
says so in one line."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import children
import numpy as np
import pytest
import torch
from conftest import VOCODED
from sounds import noise
from test_house import ROOT

from vqaudio.arrays import Floats
from vqaudio.codecs.bundled import PRETRAINED
from vqaudio.codecs.speech import Codec, load
from vqaudio.errors import ModelError
from vqaudio.io.sound import SoundReader
from vqaudio.models import checkpoint
from vqaudio.models.config import QuantizerConfig, SpeakerEncoderConfig, VocoderVQVAEConfig
from vqaudio.models.folder import read_arrays
from vqaudio.models.numpy_vocoder import NumpyVocoder

RATE = 16000
HEAVY = ("torch", "torchaudio", "PIL", "pyworld", "lightning_fabric")  # scipy comes with numba where it compiles
SINGLE = dataclasses.replace(
    VOCODED,
    quantizer=QuantizerConfig(codebook_size=100, code_dim=8),
    prior=None,
    speakers=("ann", "bob"),
    speaker_encoder=SpeakerEncoderConfig(channels=12, dilations=(1, 2)),
)


def lively(folder: Path, config: VocoderVQVAEConfig) -> Path:
    """A model none of whose blocks adds nothing, as those of a fresh one do."""
    torch.manual_seed(9)
    model = checkpoint.build(config)
    for value in model.parameters():
        if not value.any():
            torch.nn.init.normal_(value, std=0.1)
    for name, value in model.named_buffers():
        if name.endswith("ema_count"):
            value.uniform_(0.1, 9)
        elif name == "speakers.weight":
            value.normal_()
    checkpoint.save_model(folder, config, model.state_dict(), {"step": 1}, half=True)
    return folder


@pytest.fixture(scope="module", params=["residual", "single"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = {"residual": VOCODED, "single": SINGLE}[request.param]
    return lively(tmp_path_factory.mktemp("models") / request.param, config)


def both(folder: Path) -> tuple[Codec, Codec]:
    """The codec without torch, and torch's."""
    own, theirs = load(folder, "cpu"), Codec(checkpoint.load_model(folder), b"x" * 32, folder)  # type: ignore[arg-type]
    assert isinstance(own.model, NumpyVocoder)
    return own, theirs


def clip() -> Floats:
    with SoundReader(PRETRAINED / "demo.flac") as sound:
        return next(sound.blocks(5 * RATE))[0]


@pytest.mark.parametrize("wave", [noise(1, 9000, seed=3)[0], clip(), np.zeros(4000, np.float32)])
def test_codes_and_sound_are_torchs(folder: Path, wave: Floats) -> None:
    own, theirs = both(folder)
    codes = own.encode(wave, RATE).tokens
    assert np.array_equal(codes, theirs.encode(wave, RATE).tokens)
    voice = own.check_speaker("bob") if own.config.speakers else None
    ours, other = (codec.model.speak(codes[0].astype(np.int64), voice, 2) for codec in (own, theirs))
    np.testing.assert_allclose(ours.bands, other.bands, atol=2e-4)
    assert np.array_equal(ours.f0_hz > 0, other.f0_hz > 0)
    np.testing.assert_allclose(ours.f0_hz, other.f0_hz, rtol=1e-4)


def test_the_bundled_model_codes_and_sounds_as_torchs() -> None:
    own, theirs = both(PRETRAINED / "speech")
    stream = own.encode(clip(), RATE)
    assert np.array_equal(stream.tokens, theirs.encode(clip(), RATE).tokens)
    theirs.fingerprint = own.fingerprint
    ours, other = own.decode(stream, seed=1), theirs.decode(stream, seed=1)
    assert np.sqrt(np.mean((ours - other) ** 2)) < 1e-3 * np.sqrt(np.mean(other**2))


def test_a_voice_is_heard_as_torch_hears_it(tmp_path: Path) -> None:
    own, theirs = both(lively(tmp_path / "voiced", SINGLE))
    wave = clip()[: 4 * 512 * 20]
    ours, other = own.model.hear_voice(wave), theirs.model.hear_voice(wave)  # type: ignore[attr-defined]
    np.testing.assert_allclose(ours, other, atol=1e-3)
    assert np.array_equal(own.model.speaker_vectors(), theirs.model.speaker_vectors())


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = lively(tmp_path / "model", VOCODED)
    weights = read_arrays(folder)
    for name in ("encoder.out.weight", "quantizer.stages.3.codebook", "pitch_head.bias"):
        with pytest.raises(ModelError, match=f"{name} is missing"):
            NumpyVocoder(VOCODED, {key: array for key, array in weights.items() if key != name})
        with pytest.raises(ModelError, match=rf"{name} has the shape \[3\]"):
            NumpyVocoder(VOCODED, {**weights, name: np.zeros(3, np.float32)})


# ------------------------------------------------------------------------------------------------------ in a process


def run(code: str, folder: Path) -> str:
    settings = {"cwd": folder, "env": children.environment(), "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", code], check=True, **settings)
    return done.stdout


def test_coding_imports_nothing_that_learns(tmp_path: Path) -> None:
    code = f"""
import sys
from vqaudio.cli.main import main
assert main(["encode", {str(PRETRAINED / "demo.flac")!r}, "-o", "a.vqa", "-q", "--device", "cpu"]) == 0
assert main(["decode", "a.vqa", "-o", "a.wav", "--rate", "44100", "-q", "--device", "cpu"]) == 0
assert main(["info", "a.vqa", "--json"]) == 0
assert main(["info", "speech", "--json"]) == 0
assert main(["models"]) == 0
assert main(["encode", "--help"]) == 0
print("loaded:", *(name for name in {HEAVY!r} if name in sys.modules))
"""
    assert run(code, tmp_path).splitlines()[-1] == "loaded:"


def test_what_needs_torch_says_so_where_it_is_missing(tmp_path: Path) -> None:
    code = f"""
import sys
for name in {HEAVY!r}:
    sys.modules[name] = None
sys.stderr = sys.stdout
from vqaudio.cli.main import main
demo = {str(PRETRAINED / "demo.flac")!r}
print("codes", main(["encode", demo, "-o", "b.vqa", "-q"]))
open("picture.png", "wb").write(b"\\x89PNG\\r\\n")
print(main(["encode", "picture.png", "-o", "c.vqa"]))
print(main(["encode", demo, "-o", "c.vqa", "--device", "cuda"]))
print(main(["train", {str(ROOT / "recipes/speech/speech.toml")!r}, "--data", "x", "-o", "run"]))
"""
    said = run(code, tmp_path)
    assert "Traceback" not in said
    assert "internal error" not in said
    assert "codes 0" in said
    assert said.count("pip install 'vqaudio[train]'") == 3
    assert not (tmp_path / "c.vqa").exists()
