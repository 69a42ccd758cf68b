"""What a model runs with: NumPy alone where that is enough, else torch, which comes with the extra ``train``."""

import ctypes
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from vqaudio.errors import ConfigError, ModelError
from vqaudio.io.extras import needed
from vqaudio.models.config import SpeechModelConfig, VocoderVQVAEConfig
from vqaudio.models.folder import CONFIG_FILE, WEIGHTS_FILE, read_arrays, read_config
from vqaudio.models.numpy_vocoder import NumpyVocoder
from vqaudio.models.sound_model import SoundModel

_DRIVERS = ("libcuda.so.1", "nvcuda.dll", "libamdhip64.so")  # without one of them torch finds no device


def choose_device(device: str) -> str:
    """The device that "auto" (CUDA where there is one, and torch), "cpu" or "cuda" stands for: "cpu" or "cuda".

    Raises:
        ConfigError: it is another word, or there is no CUDA device.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device = {device!r} is not valid: give auto, cpu or cuda")
    if device == "cuda":
        needed("torch", "train", "device = 'cuda'")
    if device == "cpu" or not _has_cuda(asked=device == "cuda"):
        if device == "cuda":
            found = "this machine has no CUDA device that torch can use"
            raise ConfigError(f"device = 'cuda' is not valid: {found}; give cpu")
        return "cpu"
    return "cuda"


def _has_cuda(asked: bool) -> bool:
    """Whether there is a device; torch, whose import takes seconds, is asked only where there may be one."""
    if not asked and sys.modules.get("torch") is None and not (importlib.util.find_spec("torch") and _has_driver()):
        return False
    import torch

    return torch.cuda.is_available()


def _has_driver() -> bool:
    for name in _DRIVERS:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


def torch_checkpoint(folder: Path) -> ModuleType:
    """:mod:`vqaudio.models.checkpoint`, for the model in ``folder``.

    Raises:
        ConfigError: torch is not installed.
    """
    needed("torch", "train", f"the model {folder.name}")
    from vqaudio.models import checkpoint

    return checkpoint


def load_sound_model(folder: Path, device: str) -> SoundModel:
    """The model of sounds in ``folder``, without torch where its kind and ``device`` allow.

    Raises:
        ModelError: there is none, it is damaged, or it is one of pictures.
        ConfigError: there is no such device; or the model needs torch, which is not installed.
    """
    config, where = read_config(folder), choose_device(device)
    if not isinstance(config, SpeechModelConfig):
        raise ModelError(f"{folder}: is a model of pictures; give one of sounds")
    if isinstance(config, VocoderVQVAEConfig) and where == "cpu":
        try:
            return NumpyVocoder(config, read_arrays(folder))
        except ModelError as error:
            if str(folder) in str(error):
                raise
            raise ModelError(f"{folder}: {WEIGHTS_FILE} does not fit {CONFIG_FILE} ({error}); copy it anew") from None
    model: SoundModel = torch_checkpoint(folder).load_model(folder).to(where)
    return model
