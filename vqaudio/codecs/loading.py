"""The door to all models, whatever they code: :func:`load` gives a codec for sounds or one for pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from vqaudio.codecs.bundled import Stream, model_folder
from vqaudio.codecs.running import torch_checkpoint
from vqaudio.codecs.samples import Samples
from vqaudio.codecs.speech import Codec
from vqaudio.codecs.speech import load as load_sounds
from vqaudio.models.config import SpeechModelConfig
from vqaudio.models.folder import read_config

if TYPE_CHECKING:
    from vqaudio.codecs.image import ImageCodec

__all__ = ["Codec", "ImageCodec", "Samples", "Stream", "load"]


def __getattr__(name: str) -> Any:
    if name != "ImageCodec":  # which needs torch
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vqaudio.codecs.image import ImageCodec

    return ImageCodec


def load(model: str | Path = "speech", device: str = "auto") -> Union[Codec, "ImageCodec"]:
    """The codec of a bundled model, by name, or of a model's folder: a :class:`Codec` or an :class:`ImageCodec`.

    Args:
        model: a name out of :func:`vqaudio.codecs.speech.bundled`, a model's folder, or ``hf://owner/name[@revision]``
            of one on the Hugging Face hub.
        device: where the convolutions run: "auto", "cpu" or "cuda".

    Raises:
        ModelError: there is no such model, it is damaged, or it codes nothing.
        ConfigError: there is no such device; or the model needs torch, which is not installed.
    """
    folder = model_folder(model)
    if isinstance(read_config(folder), SpeechModelConfig):
        return load_sounds(model, device)
    return load_pictures(model, device)


def load_pictures(model: str | Path = "images", device: str = "auto") -> "ImageCodec":
    """See :func:`vqaudio.codecs.image.load_images`.

    Raises:
        ConfigError: torch, which pictures need, is not installed; or as there.
    """
    torch_checkpoint(model_folder(model))  # says so where torch is missing
    from vqaudio.codecs.image import load_images

    return load_images(model, device)
