"""Configuration: frozen dataclasses, validated when made, read from strict TOML or JSON.

A model is one of the ``*Config`` classes below with a ``kind``; a training run is a :class:`RunConfig`. There are no
class paths and nothing is executed: an unknown key, a wrong type or a bad value is a
:class:`~vqaudio.errors.ConfigError` that names the field, the value and the remedy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqaudio.errors import ConfigError
from vqaudio.models.image_config import ImageVAEConfig, ImageVQVAEConfig
from vqaudio.models.renamed import with_new_keys
from vqaudio.models.settings import QuantizerConfig as QuantizerConfig
from vqaudio.models.settings import positive as _positive
from vqaudio.models.settings import require as _require
from vqaudio.models.speech_config import AudioVQVAEConfig as AudioVQVAEConfig
from vqaudio.models.speech_config import AugmentConfig as AugmentConfig
from vqaudio.models.speech_config import ConditioningConfig as ConditioningConfig
from vqaudio.models.speech_config import EncoderConfig as EncoderConfig
from vqaudio.models.speech_config import MelConfig as MelConfig
from vqaudio.models.speech_config import SpeechModelConfig as SpeechModelConfig
from vqaudio.models.speech_config import WaveNetConfig as WaveNetConfig
from vqaudio.models.strict import from_mapping, read_toml, to_mapping
from vqaudio.models.vocoder_config import SpeakerEncoderConfig as SpeakerEncoderConfig
from vqaudio.models.vocoder_config import VocoderConfig as VocoderConfig
from vqaudio.models.vocoder_config import VocoderVQVAEConfig as VocoderVQVAEConfig


@dataclass(frozen=True)
class PhaseConfig:
    """One part of training: what learns, from which loss terms, how fast and for how long.

    ``train`` lists the parts (top-level modules) that learn; the others are frozen, batch statistics included.
    ``objective`` weighs the model's loss terms; a term of weight 0 (or left out) is not computed. The learning rate
    rises linearly over ``warmup_steps``, stays, and falls linearly to ``final_share`` of itself over the last
    ``decay_steps``. ``crop_samples`` is for sounds; pictures come in the model's tiles.
    """

    name: str
    steps: int
    learning_rate: float
    train: tuple[str, ...]
    objective: tuple[tuple[str, float], ...]
    batch_size: int = 8
    crop_samples: int = 16384
    warmup_steps: int = 100
    decay_steps: int = 0
    final_share: float = 0.02

    def __post_init__(self) -> None:
        for name in ("steps", "learning_rate", "batch_size", "crop_samples"):
            _positive(name, getattr(self, name))
        _require(bool(self.train), "train", self.train, "name at least one part that learns")
        _require(bool(self.objective), "objective", self.objective, "give at least one loss term a weight")
        for name in ("warmup_steps", "decay_steps"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "give 0 or more steps")
        _require(0 <= self.final_share <= 1, "final_share", self.final_share, "give a share, 0 to 1")


@dataclass(frozen=True)
class TrainConfig:
    """What the training loop does besides its phases. Intervals are in steps, except where the name says minutes.

    ``start_from`` is a model folder whose weights the run begins with, all of them or those of the parts (top-level
    modules) named in ``start_parts``; what it does not give begins fresh. ``compile`` speeds the WaveNets up with
    torch.compile, which needs a C++ compiler. ``resident`` holds all sounds in the memory of the device.
    """

    phases: tuple[PhaseConfig, ...]
    seed: int = 0
    precision: str = "bf16-mixed"
    clip_norm: float = 1.0
    weight_decay: float = 0.01
    average_decay: float = 0.999
    start_from: str = ""
    start_parts: tuple[str, ...] = ()
    compile: bool = False
    resident: bool = False
    log_every: int = 50
    validate_every: int = 1000
    validation_crops: int = 32
    sound_seconds: float = 2.0
    checkpoint_minutes: float = 5.0

    def __post_init__(self) -> None:
        _require(bool(self.phases), "phases", self.phases, "give at least one [[train.phases]] table")
        _require(
            self.precision in ("32-true", "bf16-mixed", "16-mixed"),
            "precision",
            self.precision,
            'give "32-true", "bf16-mixed" or "16-mixed"',
        )
        _require(0 <= self.seed < 2**31, "seed", self.seed, "give 0 to 2147483647")
        _require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "give 0 (none) or more")
        for name in ("clip_norm", "log_every", "validate_every", "validation_crops", "checkpoint_minutes"):
            _positive(name, getattr(self, name))
        _require(0 <= self.average_decay < 1, "average_decay", self.average_decay, "give 0 (no averaging) up to 1")
        _require(self.sound_seconds >= 0, "sound_seconds", self.sound_seconds, "give 0 (no sounds) or more seconds")
        names = [phase.name for phase in self.phases]
        _require(len(set(names)) == len(names), "phases", names, "give each phase its own name")


ModelConfig = AudioVQVAEConfig | VocoderVQVAEConfig | ImageVQVAEConfig | ImageVAEConfig
MODEL_KINDS: dict[str, type[ModelConfig]] = {
    kind.kind: kind for kind in (AudioVQVAEConfig, VocoderVQVAEConfig, ImageVQVAEConfig, ImageVAEConfig)
}


@dataclass(frozen=True)
class RunConfig:
    """A whole training run: a model and how it is trained."""

    model: ModelConfig
    train: TrainConfig


# ------------------------------------------------------------------------------------------------ reading and writing


def model_from_mapping(mapping: Any, where: str = "model") -> ModelConfig:
    """Reads a model's table; its ``kind`` key says which class it is."""
    if not isinstance(mapping, Mapping) or "kind" not in mapping:
        raise ConfigError(f"{where}.kind is missing: give one of {', '.join(MODEL_KINDS)}")
    kind = mapping["kind"]
    if not isinstance(kind, str) or kind not in MODEL_KINDS:
        raise ConfigError(f"{where}.kind = {kind!r} is not known: give one of {', '.join(MODEL_KINDS)}")
    table = with_new_keys({key: value for key, value in mapping.items() if key != "kind"})
    return from_mapping(MODEL_KINDS[kind], table, where)


def model_to_mapping(config: ModelConfig) -> dict[str, Any]:
    """The table of a model, ``kind`` included."""
    return {"kind": config.kind, **to_mapping(config)}


def load_run(path: Path, overrides: tuple[str, ...] = ()) -> RunConfig:
    """Reads a run's TOML file and applies ``key.path=value`` overrides.

    Raises:
        ConfigError: when the file cannot be read or says something that is not valid.
    """
    table = read_toml(path, overrides)
    unknown = sorted(set(table) - {"model", "train"})
    if unknown:
        raise ConfigError(f"{path}: [{unknown[0]}] is not known: use [model] and [train]")
    model = model_from_mapping(table.get("model"), "model")
    return RunConfig(model, from_mapping(TrainConfig, table.get("train", {}), "train"))
