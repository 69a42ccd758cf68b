"""A model as a folder: ``config.json`` (kind, format version, configuration, training facts) and ``model.safetensors``.

A training checkpoint has ``training.safetensors`` beside them (raw weights and the optimizer's state), for resuming
only. Folders appear whole or not at all. No file is ever unpickled.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vqaudio.errors import ModelError, OutputError
from vqaudio.io.atomic import atomic_folder
from vqaudio.models.config import AudioVQVAEConfig, ModelConfig, VocoderVQVAEConfig, model_to_mapping
from vqaudio.models.folder import (
    CONFIG_FILE,
    FORMAT_VERSION,
    WEIGHTS_FILE,
    codes_contract,
    fingerprint,
    read_config,
    read_document,
    unreadable,
    whole_sha256,
)
from vqaudio.models.image_config import ImageVQVAEConfig
from vqaudio.models.image_vqvae import ImageVAE, ImageVQVAE
from vqaudio.models.renamed import new_tensor_name
from vqaudio.models.speech_vqvae import AudioVQVAE
from vqaudio.models.vocoder_vqvae import VocoderVQVAE

TRAINING_FILE = "training.safetensors"

__all__ = [  # with what is read without torch
    "CONFIG_FILE",
    "FORMAT_VERSION",
    "TRAINING_FILE",
    "WEIGHTS_FILE",
    "Model",
    "build",
    "codes_contract",
    "fingerprint",
    "flat_state",
    "load_flat_state",
    "load_model",
    "load_parts",
    "read_config",
    "read_document",
    "read_tensors",
    "save_model",
    "whole_sha256",
    "with_prefix",
]

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

    Raises:
        OutputError: the disk is full.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    if half:
        weights = {name: w.half() if w.is_floating_point() else w for name, w in weights.items()}
    document = {"format_version": FORMAT_VERSION, "model": model_to_mapping(config), "training": dict(facts)}
    with atomic_folder(folder) as temporary:
        (temporary / CONFIG_FILE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        _write_tensors(weights, temporary / WEIGHTS_FILE, folder)
        if training is not None:
            tensors = {name: t.detach().cpu().contiguous() for name, t in training.items()}
            _write_tensors(tensors, temporary / TRAINING_FILE, folder)


def _write_tensors(tensors: dict[str, Tensor], path: Path, folder: Path) -> None:
    """Writes a file of what becomes ``folder``."""
    try:
        save_file(tensors, path)
    except SafetensorError as error:  # so it tells of a full disk
        raise OutputError(f"{folder} cannot be written: {error}; choose another place, or make room there") from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, in float32 where they are stored in half precision.

    Raises:
        ModelError: when the file is missing or damaged.
    """
    try:
        tensors = load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise unreadable(path, error) from None
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
