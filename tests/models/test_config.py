"""config.py: values within their bounds, whole runs and their overrides, and the paper's defaults."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqaudio.errors import ConfigError
from vqaudio.models.config import (
    AudioVQVAEConfig,
    ConditioningConfig,
    EncoderConfig,
    MelConfig,
    PhaseConfig,
    QuantizerConfig,
    RunConfig,
    TrainConfig,
    WaveNetConfig,
    load_run,
    model_from_mapping,
    model_to_mapping,
)
from vqaudio.models.strict import from_mapping

RECIPES = sorted((Path(__file__).resolve().parents[2] / "recipes").rglob("*.toml"))
PHASE = {"name": "all", "steps": 10, "learning_rate": 1e-3, "train": ["encoder"], "objective": {"mel": 1, "nll": 0.5}}
RUN = """
[model]
kind = "audio-vqvae"
[model.quantizer]
codebook_size = 64

[[train.phases]]
name = "codes"
steps = 10
learning_rate = 1e-3
train = ["encoder", "quantizer"]
objective = { mel = 1.0, codebook = 0.5 }

[[train.phases]]
name = "decoder"
steps = 20
learning_rate = 1e-4
train = ["decoder"]
objective = { nll = 1.0 }
"""


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(RUN, encoding="utf-8")
    return path


def test_the_default_is_the_papers_setting() -> None:
    config = AudioVQVAEConfig()
    assert config.encoder.hop_length == 64
    assert config.quantizer.codebook_size == 512
    assert config.quantizer.commitment == 0.25
    assert config.decoder.levels == 256


# --- Values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "table", "said"),
    [
        (QuantizerConfig, {"codebook_size": 1}, ["codebook_size", "= 1 ", "2 to 65536"]),
        (QuantizerConfig, {"commitment": float("nan")}, ["commitment", "nan", "above 0"]),
        (QuantizerConfig, {"update": "sgd"}, ["update", "'sgd'", '"ema" or "gradient"']),
        (QuantizerConfig, {"ema_decay": 1.0}, ["ema_decay", "1.0", "between 0 and 1"]),
        (EncoderConfig, {"channels": []}, ["channels", "1 to 12"]),
        (WaveNetConfig, {"dilations": [0]}, ["0", "above 0"]),
        (AudioVQVAEConfig, {"decoder": {"hop_length": 32}}, ["decoder.hop_length", "32", "64"]),
        (AudioVQVAEConfig, {"decoder_window": 100}, ["decoder_window", "100", "multiple of 64"]),
        (AudioVQVAEConfig, {"pre_emphasis": 1.0}, ["pre_emphasis", "1.0"]),
        (AudioVQVAEConfig, {"temperature": 0}, ["temperature", "0", "above 0"]),
        (AudioVQVAEConfig, {"speakers": ["a", "a"]}, ["speakers", "once"]),
        (AudioVQVAEConfig, {"mels": []}, ["mels", "at least one"]),
        (AudioVQVAEConfig, {"prior": {"levels": 7, "hop_length": 1, "features": 0}}, ["prior.levels", "7", "512"]),
        (PhaseConfig, PHASE | {"objective": {}}, ["objective", "at least one"]),
        (TrainConfig, {"phases": []}, ["phases", "at least one"]),
        (TrainConfig, {"phases": [PHASE, PHASE]}, ["phases", "its own name"]),
        (TrainConfig, {"phases": [PHASE], "precision": "fp8"}, ["precision", "'fp8'", "bf16-mixed"]),
        (TrainConfig, {"phases": [PHASE], "seed": -1}, ["seed", "-1", "0 to"]),
        (TrainConfig, {"phases": [PHASE], "weight_decay": -1.0}, ["weight_decay", "-1.0", "0 (none)"]),
    ],
)
def test_a_bad_value_is_named_in_one_line(cls: type, table: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping(cls, table, "here")
    message = str(caught.value)
    assert message.startswith("here.")
    assert "\n" not in message
    for words in said:
        assert words in message


def test_a_model_needs_a_known_kind() -> None:
    with pytest.raises(ConfigError, match=r"model\.kind is missing: give one of audio-vqvae"):
        model_from_mapping({"sample_rate_hz": 16000})
    with pytest.raises(ConfigError, match=r"model\.kind = 'gan' is not known: give one of audio-vqvae"):
        model_from_mapping({"kind": "gan"})
    with pytest.raises(ConfigError, match="kind"):
        model_from_mapping(None)


# --- Round trips ------------------------------------------------------------------------------------------------------

whole = st.integers(1, 1000)
fraction = st.floats(0.01, 0.99)
quantizers = st.builds(
    QuantizerConfig, st.integers(2, 65536), whole, fraction, st.sampled_from(["ema", "gradient"]), fraction, fraction
)
encoders = st.builds(EncoderConfig, st.lists(whole, min_size=1, max_size=6).map(tuple), st.lists(whole).map(tuple))
mels = st.lists(st.builds(MelConfig, whole, whole), min_size=1, max_size=3).map(tuple)


@st.composite
def models(draw: st.DrawFn) -> AudioVQVAEConfig:
    encoder, quantizer, features = draw(encoders), draw(quantizers), draw(whole)
    prior = WaveNetConfig(levels=quantizer.codebook_size, features=0, hop_length=1)
    return AudioVQVAEConfig(
        encoder=encoder,
        quantizer=quantizer,
        conditioning=ConditioningConfig(features=features),
        decoder=WaveNetConfig(features=features, hop_length=encoder.hop_length),
        prior=draw(st.sampled_from([None, prior])),
        mels=draw(mels),
        speakers=tuple(draw(st.lists(st.text(), unique=True, max_size=4))),
        decoder_window=encoder.hop_length * draw(whole),
        pre_emphasis=draw(fraction),
    )


@settings(max_examples=40, deadline=None)
@given(models())
def test_a_model_survives_its_table(config: AudioVQVAEConfig) -> None:
    assert model_from_mapping(model_to_mapping(config)) == config


# --- Files and overrides ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: "/".join(path.parts[-2:]))
def test_every_recipe_loads(path: Path) -> None:
    assert isinstance(load_run(path), RunConfig)


def test_a_run_is_read(run_file: Path) -> None:
    config = load_run(run_file)
    assert config.model.quantizer.codebook_size == 64
    assert [phase.name for phase in config.train.phases] == ["codes", "decoder"]
    assert config.train.phases[0].objective == (("mel", 1.0), ("codebook", 0.5))


def test_overrides_reach_every_depth(run_file: Path) -> None:
    config = load_run(
        run_file,
        (
            "model.quantizer.codebook_size=128",
            "model.encoder.residual_dilations=[1, 2]",
            "train.phases.1.steps=7",
            "train.phases.0.train=['encoder']",
            "train.phases.0.objective.mel=2",
            "train.precision=32-true",
        ),
    )
    assert config.model.quantizer.codebook_size == 128
    assert config.model.encoder.residual_dilations == (1, 2)
    assert config.train.phases[1].steps == 7
    assert config.train.phases[0].train == ("encoder",)
    assert config.train.phases[0].objective == (("mel", 2.0), ("codebook", 0.5))
    assert config.train.precision == "32-true"


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("model.quantizer.size=1", "quantizer.size is not known"),
        ("model.quantizer.codebook_size=many", "'many'"),
        ("trian.seed=1", r"\[trian\] is not known"),
    ],
)
def test_a_bad_override_is_refused(run_file: Path, assignment: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_run(run_file, (assignment,))


def test_a_run_needs_a_file_with_phases(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    with pytest.raises(ConfigError, match=r"run\.toml: cannot be read"):
        load_run(path)
    path.write_text("[model]\nkind = 'audio-vqvae'\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"train\.phases is missing"):
        load_run(path)
