"""The door to all models, whatever they code: :func:`load` gives a codec for sounds or one for pictures."""

from pathlib import Path

from vqaudio.codecs.bundled import Stream, model_folder
from vqaudio.codecs.image import ImageCodec, ImageModelFacts, image_model_facts, load_images
from vqaudio.codecs.speech import Codec, ModelFacts, model_facts
from vqaudio.codecs.speech import load as load_sounds
from vqaudio.models import checkpoint
from vqaudio.models.config import SpeechModelConfig

__all__ = ["Codec", "ImageCodec", "Stream", "facts_of", "load"]


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


def facts_of(folder: Path) -> ModelFacts | ImageModelFacts:
    """What is known of the model in ``folder``; the weights are not loaded.

    Raises:
        ModelError: it is no model, or a damaged one.
    """
    config = checkpoint.read_config(folder)
    return model_facts(folder) if isinstance(config, SpeechModelConfig) else image_model_facts(folder, config)
