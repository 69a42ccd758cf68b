"""Voices in small files: what some recordings told of somebody, and the model that it is for; and those with names that
lie beside a model's weights."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from vqaudio.arrays import Floats
from vqaudio.errors import ModelError
from vqaudio.io.atomic import atomic_write
from vqaudio.models.folder import VOICES_FILE
from vqaudio.models.speech_config import SpeechModelConfig

SUFFIX = ".voice"
_FORMAT = "vqaudio voice 1"
_LARGEST = 2**20  # bytes; a voice has some hundreds of numbers, a table hundreds of voices


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
        facts, vectors = _read(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as a voice ({error}); make it with 'vqaudio voices save'") from None
    if facts.get("format") != _FORMAT or list(vectors) != ["voice"]:
        raise ModelError(f"{path}: is no voice; make one with 'vqaudio voices save'")
    voice = vectors["voice"]
    if facts.get("weights_sha256") != weights_sha256.hex():
        raise ModelError(f"{path}: is a voice for another model; save it anew with the model that is to speak")
    if voice.ndim != 1 or not np.isfinite(voice).all():
        raise ModelError(f"{path}: is a damaged voice; save it anew")
    return voice


def _read(path: Path) -> tuple[dict[str, str], dict[str, Floats]]:
    """What a file says of itself, and its vectors by name; ``ValueError`` where it is larger than voices are."""
    if os.path.getsize(path) > _LARGEST:
        raise ValueError(f"it has more than {_LARGEST} bytes")
    with safe_open(path, "numpy") as file:
        vectors = {name: np.asarray(file.get_tensor(name), np.float32) for name in file.keys()}  # noqa: SIM118
        return file.metadata() or {}, vectors


def save_table(folder: Path, voices: Mapping[str, Floats]) -> None:
    """Puts ``voices`` with names beside the weights in ``folder``, in place of any before."""
    with atomic_write(folder / VOICES_FILE, overwrite=True) as file:
        file.write(save({name: np.ascontiguousarray(voice, np.float32) for name, voice in sorted(voices.items())}))


def load_table(folder: Path) -> dict[str, Floats]:
    """The voices with names that lie beside the weights in ``folder``; none where there is no such file.

    Raises:
        ModelError: the file is damaged.
    """
    path = folder / VOICES_FILE
    if not path.is_file():
        return {}
    try:
        return _read(path)[1]
    except (OSError, SafetensorError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); get an intact copy of the model") from None


def speaker_names(folder: Path, config: SpeechModelConfig) -> tuple[str, ...]:
    """The names that the model in ``folder`` knows voices by: of its speakers, or of those beside its weights."""
    return config.speakers or tuple(load_table(folder))
