"""The door to all models, whatever they code: :func:`load` gives a codec for sounds or one for pictures."""

from pathlib import Path

from vqaudio.codecs.bundled import Stream, model_folder
from vqaudio.codecs.image import ImageCodec, load_images
from vqaudio.codecs.samples import Samples
from vqaudio.codecs.speech import Codec
from vqaudio.codecs.speech import load as load_sounds
from vqaudio.models import checkpoint
from vqaudio.models.config import SpeechModelConfig

__all__ = ["Codec", "ImageCodec", "Samples", "Stream", "load"]


def load(model: str | Path = "speech", device: str = "auto") -> Codec | ImageCodec:
    """The codec of a bundled model, by name, or of a model's folder: a :class:`Codec` or an :class:`ImageCodec`.

    Args:
        model: a name out of :func:`vqaudio.codecs.speech.bundled`, a model's folder, or ``hf://owner/name[@revision]``
            of one on the Hugging Face hub.
        device: where the convolutions run: "auto", "cpu" or "cuda".

    Raises:
        ModelError: there is no such model, it is damaged, or it codes nothing.
        ConfigError: there is no such device.
    """
    folder = model_folder(model)
    if isinstance(checkpoint.read_config(folder), SpeechModelConfig):
        return load_sounds(model, device)
    return load_images(model, device)
