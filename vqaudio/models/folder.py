"""What is in a model's folder, read without torch: ``config.json`` (kind, format version, configuration, facts of the
training) and ``model.safetensors``. :mod:`vqaudio.models.checkpoint` writes them. No file is ever unpickled.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from vqaudio.errors import ConfigError, ModelError
from vqaudio.models.config import ModelConfig, SpeechModelConfig, model_from_mapping
from vqaudio.models.renamed import new_tensor_name, old_tensor_name, with_old_keys

FORMAT_VERSION = 2  # a model of format 1 is named by all its weights, of format 2 by its codes alone
CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
VOICES_FILE = "voices.safetensors"  # of a model whose codes say who speaks: a vector for each name
_LARGEST_CONFIG = 1 << 24  # bytes


def unreadable(path: Path, error: BaseException) -> ModelError:
    """The error for a file of a model that cannot be read, or is damaged."""
    return ModelError(f"{path}: cannot be read ({error}); copy the model anew")


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
        raise unreadable(path, error) from None
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


def read_arrays(folder: Path) -> dict[str, npt.NDArray[np.generic]]:
    """The weights of the model in ``folder``, as they are stored, by today's names.

    Raises:
        ModelError: when the file is missing or damaged.
    """
    path = folder / WEIGHTS_FILE
    try:
        return {new_tensor_name(name): array for name, array in load_file(path).items()}
    except (OSError, ValueError, SafetensorError) as error:
        raise unreadable(path, error) from None


def shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights of the model in ``folder``, by today's names; ``ModelError`` as :func:`read_arrays`."""
    path = folder / WEIGHTS_FILE
    try:
        with safe_open(path, "numpy") as file:
            return {new_tensor_name(name): tuple(file.get_slice(name).get_shape()) for name in list(file.keys())}
    except (OSError, ValueError, SafetensorError) as error:
        raise unreadable(path, error) from None


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
                    tensor = _little(file.get_tensor(stored))
                    digest.update(f"{name} {tensor.dtype.str} {tensor.shape}".encode() + tensor.tobytes())
    except (OSError, ValueError, SafetensorError) as error:
        raise unreadable(path, error) from None
    return digest.digest()


def _little(tensor: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """The array with its lowest bytes first, as it lies in the file, whichever way this machine has them."""
    return tensor.astype(tensor.dtype.newbyteorder("<"), copy=False)


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
        raise unreadable(folder / WEIGHTS_FILE, error) from None
    return digest.digest()
