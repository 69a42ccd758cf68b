"""What is known of a model folder without loading its weights."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqaudio.bitstream.entropy import bits_per_code
from vqaudio.codecs.voice_file import speaker_names
from vqaudio.models import folder as folders
from vqaudio.models.config import AudioVQVAEConfig, ModelConfig, SpeechModelConfig, VocoderVQVAEConfig
from vqaudio.models.image_config import ImageVAEConfig, ImageVQVAEConfig


@dataclass(frozen=True)
class SpeechModelFacts:
    """The folder of a model of sounds at a glance.

    ``bits_per_second`` is that of one channel, the container's few bytes left out.
    """

    name: str
    kind: str
    sample_rate_hz: int
    tokens_per_second: float
    bits_per_token: int
    bits_per_second: float
    codebook_size: int
    parameters: int
    size_bytes: int
    sha256: str
    weights_sha256: str
    speakers: tuple[str, ...]
    training: dict[str, Any]


def _is_learnt(name: str, config: ModelConfig) -> bool:
    """Whether a weight is a parameter of the model, and no statistic that follows what it learns."""
    last = name.rsplit(".", 1)[-1]
    if name.startswith("quantizer."):
        return last == "codebook" and not isinstance(config, ImageVAEConfig) and config.quantizer.update == "gradient"
    follows = isinstance(config, VocoderVQVAEConfig) and config.speaker_encoder is not None
    return not (follows and name == "speakers.weight")


def _common(folder: Path, config: ModelConfig) -> dict[str, Any]:
    """What is told of every model."""
    learnt = (math.prod(shape) for name, shape in folders.shapes(folder).items() if _is_learnt(name, config))
    return {
        "name": folder.absolute().name,
        "kind": config.kind,
        "parameters": sum(learnt),
        "size_bytes": sum((folder / name).stat().st_size for name in (folders.CONFIG_FILE, folders.WEIGHTS_FILE)),
        "sha256": folders.fingerprint(folder).hex(),
        "weights_sha256": folders.whole_sha256(folder).hex(),
        "training": folders.read_document(folder).get("training", {}),
    }


def _speech_facts(folder: Path, config: AudioVQVAEConfig | VocoderVQVAEConfig) -> SpeechModelFacts:
    tokens_per_second = config.sample_rate_hz / config.samples_per_token
    bits = bits_per_code(config.quantizer.codebook_size)
    return SpeechModelFacts(
        **_common(folder, config),
        sample_rate_hz=config.sample_rate_hz,
        tokens_per_second=tokens_per_second,
        bits_per_token=bits,
        bits_per_second=tokens_per_second * bits,
        codebook_size=config.quantizer.codebook_size,
        speakers=speaker_names(folder, config),
    )


@dataclass(frozen=True)
class ImageModelFacts:
    """A folder with a model of pictures at a glance; a comparison's model without codes has None for theirs."""

    name: str
    kind: str
    tile: int
    tokens_per_tile: int | None
    bits_per_token: int | None
    bits_per_pixel: float | None
    codebook_size: int | None
    prior: bool
    parameters: int
    size_bytes: int
    sha256: str
    weights_sha256: str
    classes: tuple[str, ...]
    training: dict[str, Any]


def _image_facts(folder: Path, config: ImageVQVAEConfig | ImageVAEConfig) -> ImageModelFacts:
    codes = config if isinstance(config, ImageVQVAEConfig) else None
    bits = bits_per_code(codes.quantizer.codebook_size) if codes else 0
    return ImageModelFacts(
        **_common(folder, config),
        tile=config.tile,
        tokens_per_tile=codes.tile_tokens if codes else None,
        bits_per_token=bits or None,
        bits_per_pixel=codes.tile_tokens * bits / codes.tile**2 if codes else None,
        codebook_size=codes.quantizer.codebook_size if codes else None,
        prior=codes is not None and codes.prior is not None,
        classes=codes.classes if codes else (),
    )


def facts_of(folder: Path) -> SpeechModelFacts | ImageModelFacts:
    """What is known of the model in ``folder``.

    Raises:
        ModelError: it is no model, or a damaged one.
    """
    config = folders.read_config(folder)
    return _speech_facts(folder, config) if isinstance(config, SpeechModelConfig) else _image_facts(folder, config)
