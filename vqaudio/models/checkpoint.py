"""A model as a folder: ``config.json`` (kind, format version, configuration, training facts) and ``model.safetensors``.

A training checkpoint has ``training.safetensors`` beside them (raw weights and the optimizer's state), for resuming
only. Folders appear whole or not at all. No file is ever unpickled.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from vqaudio.errors import ConfigError, ModelError
from vqaudio.io.atomic import atomic_folder
from vqaudio.models.config import (
    AudioVQVAEConfig,
    ModelConfig,
    SpeechModelConfig,
    VocoderVQVAEConfig,
    model_from_mapping,
    model_to_mapping,
)
from vqaudio.models.image_config import ImageVQVAEConfig
from vqaudio.models.image_vqvae import ImageVAE, ImageVQVAE
from vqaudio.models.renamed import new_tensor_name, old_tensor_name, with_old_keys
from vqaudio.models.speech_vqvae import AudioVQVAE
from vqaudio.models.vocoder_vqvae import VocoderVQVAE

FORMAT_VERSION = 2  # a model of format 1 is named by all its weights, of format 2 by its codes alone
CONFIG_FILE, WEIGHTS_FILE, TRAINING_FILE = "config.json", "model.safetensors", "training.safetensors"
_LARGEST_CONFIG = 1 << 24  # bytes


Model = AudioVQVAE | VocoderVQVAE | ImageVQVAE | ImageVAE


def build(config: ModelConfig) -> Model:
    """A model of the configuration's kind with fresh weights."""
    if isinstance(config, AudioVQVAEConfig):
        return AudioVQVAE(config)
    if isinstance(config, VocoderVQVAEConfig):
        return VocoderVQVAE(config)
    return ImageVQVAE(config) if isinstance(config, ImageVQVAEConfig) else ImageVAE(config)


def save_model(
    folder: Path,
    config: ModelConfig,
    state: Mapping[str, Tensor],
    facts: Mapping[str, Any],
    training: Mapping[str, Tensor] | None = None,
    half: bool = False,
) -> None:
    """Writes a model folder atomically.

    Args:
        folder: replaced if it exists.
        config: the model's configuration.
        state: the model's ``state_dict()``.
        facts: what the training was (JSON types), for the model card and for resuming.
        training: tensors that only a resumed run needs.
        half: stores the weights in half precision, as the bundled models are.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    if half:
        weights = {name: w.half() if w.is_floating_point() else w for name, w in weights.items()}
    document = {"format_version": FORMAT_VERSION, "model": model_to_mapping(config), "training": dict(facts)}
    with atomic_folder(folder) as temporary:
        (temporary / CONFIG_FILE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        save_file(weights, temporary / WEIGHTS_FILE)
        if training is not None:
            save_file({name: t.detach().cpu().contiguous() for name, t in training.items()}, temporary / TRAINING_FILE)


def read_document(folder: Path) -> dict[str, Any]:
    """The parsed ``config.json`` of a model folder.

    Raises:
        ModelError: when the folder has none, or one of another format version.
    """
    path = folder / CONFIG_FILE
    try:
        with open(path, "rb") as file:
            text = file.read(_LARGEST_CONFIG + 1)
        if len(text) > _LARGEST_CONFIG:
            raise ModelError(
                f"{path}: has more than {_LARGEST_CONFIG >> 20} MB, which no configuration has; copy it anew"
            )
        document = json.loads(text)
    except FileNotFoundError:
        raise ModelError(f"{folder}: is no model, it has no {CONFIG_FILE}; give a bundled name or a folder") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); copy the model anew") from None
    if not isinstance(document, dict) or document.get("format_version") not in (1, FORMAT_VERSION):
        raise ModelError(f"{path}: is not of model format {FORMAT_VERSION}; use the vqaudio version that wrote it")
    return document


def read_config(folder: Path) -> ModelConfig:
    """The configuration of the model in ``folder``.

    Raises:
        ModelError: when it has none, or one that is damaged.
    """
    try:
        return model_from_mapping(read_document(folder).get("model"))
    except ConfigError as error:
        raise ModelError(f"{folder / CONFIG_FILE}: {error}; or copy the model anew") from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, in float32 where they are stored in half precision.

    Raises:
        ModelError: when the file is missing or damaged.
    """
    try:
        tensors = load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); copy the model anew") from None
    half = torch.float16
    return {new_tensor_name(name): t.float() if t.dtype == half else t for name, t in tensors.items()}


def flat_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's tensors by "parameter number.name": no pickle is needed to keep them."""
    state = optimizer.state_dict()["state"]
    return {f"{number}.{name}": torch.as_tensor(value) for number, of in state.items() for name, value in of.items()}


def load_flat_state(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Puts back what :func:`flat_state` gave.

    Raises:
        ModelError: when the tensors are those of other parameters.
    """
    document = optimizer.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = tensor
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    fits = all(
        number < len(parameters) and all(t.ndim == 0 or t.shape == parameters[number].shape for t in of.values())
        for number, of in state.items()
    )
    if not fits or not set(state) >= set(range(len(parameters))):
        raise ModelError("the checkpoint's optimizer does not fit its phase: leave the phase's parts as they were")
    optimizer.load_state_dict({**document, "state": state})


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def load_model(folder: Path) -> Model:
    """The model in ``folder``, in evaluation mode and float32.

    Raises:
        ModelError: when files are missing or damaged, or do not fit each other.
    """
    config, weights = read_config(folder), read_tensors(folder / WEIGHTS_FILE)
    try:
        with torch.device("meta"):  # first without memory: the configuration may ask for far more than the file holds
            build(config).load_state_dict({name: tensor.to("meta") for name, tensor in weights.items()})
        model = build(config)
        model.load_state_dict(weights)
    except (RuntimeError, TypeError, ValueError, OverflowError, MemoryError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise ModelError(f"{folder}: {WEIGHTS_FILE} does not fit {CONFIG_FILE} ({reason}); copy it anew") from None
    return model.eval().requires_grad_(False)


def load_parts(model: Model, folder: Path, parts: tuple[str, ...] = ()) -> None:
    """Puts the weights of the model in ``folder`` into ``model``: of ``parts`` (top-level modules), or all it has.

    Raises:
        ModelError: when a part is there but does not fit, or is named but not there.
    """
    tensors = read_tensors(folder / WEIGHTS_FILE)
    there = {key.split(".", 1)[0] for key in tensors} & {name for name, _ in model.named_children()}
    missing = sorted(set(parts) - there)
    if missing:
        raise ModelError(f"{folder}: cannot give the part {missing[0]!r}, which it or the configuration lacks")
    for name, part in model.named_children():
        if parts and name not in parts:
            continue
        mine = {key.removeprefix(f"{name}."): t for key, t in tensors.items() if key.startswith(f"{name}.")}
        if mine:
            try:
                part.load_state_dict(mine)
            except RuntimeError as error:
                first = str(error).splitlines()[-1].strip()
                raise ModelError(f"{folder}: its {name} does not fit the configuration ({first})") from None


def fingerprint(folder: Path) -> bytes:
    """What names a model in the streams that it makes: its codes, not what makes sound or pictures of them.

    SHA-256 (32 bytes) of what codes mean: the contract of the configuration, the codebooks, and the prior. A decoder
    that learnt more, from the same codes, speaks the same streams. Models of format 1 go by :func:`whole_sha256`.

    Raises:
        ModelError: when files are missing or damaged.
    """
    document = read_document(folder)
    if document["format_version"] == 1:
        return whole_sha256(folder)
    contract = codes_contract(read_config(folder), with_old_keys(document["model"]))
    digest = hashlib.sha256(json.dumps(contract, sort_keys=True).encode())
    path = folder / WEIGHTS_FILE
    try:
        with safe_open(path, "numpy") as file:
            for name, stored in sorted((old_tensor_name(stored), stored) for stored in list(file.keys())):
                if name.startswith("prior.") or (name.startswith("quantizer.") and name.endswith("codebook")):
                    tensor = file.get_tensor(stored)
                    digest.update(f"{name} {tensor.dtype.str} {tensor.shape}".encode() + tensor.tobytes())
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); copy the model anew") from None
    return digest.digest()


def codes_contract(config: ModelConfig, table: Mapping[str, Any]) -> dict[str, Any]:
    """What of a configuration says what its codes are: of which signal, how many, out of how many.

    Values are those of the ``table`` as it stands in the file, keys those of old: a field that came later, or has
    another name now, leaves a model's name alone.
    """
    contract = {name: table.get(name) for name in ("kind", "sample_rate_hz", "tile", "latents", "prior", "classes")}
    quantizer = table.get("quantizer") or {}
    contract["quantizer"] = {name: quantizer.get(name) for name in ("codebook_size", "code_dim", "stages")}
    if isinstance(config, SpeechModelConfig):
        contract["samples_per_vector"] = config.encoder.hop_length
    return contract


def whole_sha256(folder: Path) -> bytes:
    """SHA-256 (32 bytes) of a model's configuration and all its weights.

    Raises:
        ModelError: when files are missing or damaged.
    """
    read_config(folder)
    digest = hashlib.sha256(json.dumps(read_document(folder)["model"], sort_keys=True).encode())
    try:
        with open(folder / WEIGHTS_FILE, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise ModelError(f"{folder / WEIGHTS_FILE}: cannot be read ({error}); copy the model anew") from None
    return digest.digest()
