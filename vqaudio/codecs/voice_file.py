"""A voice in a small file: the speaker embedding that some recordings gave, and the model that it is for."""

import os
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from vqaudio.arrays import Floats
from vqaudio.errors import ModelError
from vqaudio.io.atomic import atomic_write

SUFFIX = ".voice"
_FORMAT = "vqaudio voice 1"
_LARGEST = 2**20  # bytes; a voice has some hundreds of numbers


def save_voice(path: Path, voice: Floats, weights_sha256: bytes, overwrite: bool = False) -> None:
    """Writes ``voice[V]``, which belongs to the model with these weights.

    Raises:
        OutputError: the file exists, or cannot be written.
    """
    facts = {"format": _FORMAT, "weights_sha256": weights_sha256.hex()}
    with atomic_write(path, overwrite) as file:
        file.write(save({"voice": np.ascontiguousarray(voice, np.float32)}, facts))


def load_voice(path: Path, weights_sha256: bytes) -> Floats:
    """The voice in the file ``path``, for the model with these weights.

    Raises:
        ModelError: the file is no voice, or one of another model.
    """
    try:
        if os.path.getsize(path) > _LARGEST:
            raise ModelError(f"{path}: is no voice; make one with 'vqaudio voices save'")
        with safe_open(path, "numpy") as file:
            facts = file.metadata() or {}
            if facts.get("format") != _FORMAT or list(file.keys()) != ["voice"]:
                raise ModelError(f"{path}: is no voice; make one with 'vqaudio voices save'")
            voice = file.get_tensor("voice")
    except (OSError, SafetensorError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as a voice ({error}); make it with 'vqaudio voices save'") from None
    if facts.get("weights_sha256") != weights_sha256.hex():
        raise ModelError(f"{path}: is a voice for another model; save it anew with the model that is to speak")
    if voice.ndim != 1 or not np.isfinite(voice).all():
        raise ModelError(f"{path}: is a damaged voice; save it anew")
    return np.asarray(voice, np.float32)
