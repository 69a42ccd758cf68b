"""What several test files share: tiny models with random weights, which code badly and at once."""

import dataclasses
import io
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol

import hypothesis
import pytest
import torch

from vqaudio.cli import main as cli
from vqaudio.codecs.speech import Codec, load
from vqaudio.models import checkpoint
from vqaudio.models.checksums import write_sums
from vqaudio.models.config import (
    AudioVQVAEConfig,
    AugmentConfig,
    ConditioningConfig,
    EncoderConfig,
    MelConfig,
    QuantizerConfig,
    SpeechModelConfig,
    VocoderConfig,
    VocoderVQVAEConfig,
    WaveNetConfig,
)


@dataclass
class Done:
    code: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()


class Run(Protocol):
    def __call__(self, *arguments: object, stdin: bytes = b"") -> Done: ...


hypothesis.settings.register_profile("house", deadline=None)  # nothing here is timed
hypothesis.settings.load_profile("house")

TINY = AudioVQVAEConfig(
    pre_emphasis=0.85,
    quantizer=QuantizerConfig(codebook_size=100, code_dim=8),
    encoder=EncoderConfig(channels=(8,) * 6, residual_dilations=(1, 3)),
    conditioning=ConditioningConfig(channels=16, residual_dilations=(1, 3), features=16),
    decoder=WaveNetConfig(residual=16, skip=16, hidden=16, dilations=(1, 2, 4), features=16),
    decoder_window=1024,
    temperature=0.9,
)
PRIOR = WaveNetConfig(levels=100, residual=8, skip=8, hidden=8, dilations=(1, 2, 4), features=0, hop_length=1)


def _save(folder: Path, seed: int, config: SpeechModelConfig = TINY) -> Path:
    torch.manual_seed(seed)
    checkpoint.save_model(folder, config, checkpoint.build(config).state_dict(), {"step": 7}, half=True)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model of 16 kHz, 64 samples a token, 100 codes, with checksums as bundled ones have."""
    folder = _save(tmp_path_factory.mktemp("models") / "tiny", 0)
    write_sums(folder)
    return folder


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of another model of the same configuration."""
    return _save(tmp_path_factory.mktemp("models") / "other", 1)


@pytest.fixture(scope="session")
def talking_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model with a prior."""
    return _save(tmp_path_factory.mktemp("models") / "talking", 2, dataclasses.replace(TINY, prior=PRIOR))


@pytest.fixture(scope="session")
def talking_codec(talking_model: Path) -> Codec:
    return load(talking_model, "cpu")


@pytest.fixture(scope="session")
def tiny_codec(tiny_model: Path) -> Codec:
    return load(tiny_model, "cpu")


VOICED = dataclasses.replace(
    TINY,
    encoder=EncoderConfig(channels=(8,) * 7, residual_dilations=(1, 3)),
    conditioning=dataclasses.replace(TINY.conditioning, frames_per_vector=2, frame_dilations=(1,), voice_dim=6),
    speakers=("ann", "anna", "bob"),
    augment=AugmentConfig(),
)


@pytest.fixture(scope="session")
def voiced_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model with three speakers and two frames a token, and a prior."""
    return _save(tmp_path_factory.mktemp("models") / "voiced", 3, dataclasses.replace(VOICED, prior=PRIOR))


@pytest.fixture(scope="session")
def voiced_codec(voiced_model: Path) -> Codec:
    return load(voiced_model, "cpu")


@pytest.fixture
def run(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the program in this process, in the folder ``tmp_path``; a slow machine brings no progress lines."""
    monkeypatch.setattr("vqaudio.cli.progress.EVERY_S", math.inf)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VQAUDIO_DEBUG", raising=False)

    def go(*arguments: object, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stdin)))
        code = cli.main([str(argument) for argument in arguments])
        captured = capsysbinary.readouterr()
        done = Done(code, captured.out, captured.err.decode())
        assert "Traceback" not in done.err
        return done

    return go


HEARING = dataclasses.replace(
    TINY,
    quantizer=QuantizerConfig(codebook_size=100, code_dim=8, num_quantizers=4),
    encoder=EncoderConfig(
        channels=(12,), strides=(4,), spectrum=MelConfig(400, 20), spectrum_hop=64, residual_dilations=(1, 2)
    ),
    conditioning=dataclasses.replace(TINY.conditioning, frames_per_vector=4, frame_dilations=(1,)),
    mels=(MelConfig(400, 40),),
    excitation=True,
    pulses_hz=3000.0,
    decoder=dataclasses.replace(TINY.decoder, phases=33),
    prior=dataclasses.replace(PRIOR, phases=4),
)


@pytest.fixture(scope="session")
def hearing_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model like the bundled one: its encoder hears a spectrum, each vector is four tokens of 64
    samples, its decoder draws an excitation; and it has a prior."""
    return _save(tmp_path_factory.mktemp("models") / "hearing", 4, HEARING)


@pytest.fixture(scope="session")
def hearing_codec(hearing_model: Path) -> Codec:
    return load(hearing_model, "cpu")


VOCODED = VocoderVQVAEConfig(
    pre_emphasis=0.85,
    quantizer=QuantizerConfig(codebook_size=100, code_dim=8, num_quantizers=8),
    encoder=EncoderConfig(
        channels=(12,),
        strides=(8,),
        spectrum=MelConfig(400, 20),
        spectrum_hop=64,
        fine_spectrum=MelConfig(1024, 30),
        residual_dilations=(1, 2),
        look_ahead=1,
    ),
    conditioning=ConditioningConfig(
        channels=16, residual_dilations=(1, 2), features=16, frames_per_vector=8, frame_dilations=(1,), look_ahead=1
    ),
    vocoder=VocoderConfig(bands=20),
    prior=dataclasses.replace(PRIOR, phases=8),
)


@pytest.fixture(scope="session")
def vocoded_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model of speech parameters: 512 samples and eight tokens a vector, frames of 64 samples."""
    return _save(tmp_path_factory.mktemp("models") / "vocoded", 5, VOCODED)
