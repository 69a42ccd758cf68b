"""How likely each code is next, by a model's prior in integers: what a stream's bytes are made with."""

from collections.abc import Callable

from torch import nn

from vqaudio.bitstream.entropy import FrequencyModel
from vqaudio.codecs.pixelcnn_sampler import grid_frequency_model
from vqaudio.codecs.sampler import frequency_model
from vqaudio.errors import ConfigError
from vqaudio.models.image_vqvae import ImageVQVAE
from vqaudio.models.speech_model import SpeechModel


def frequency_model_of(model: nn.Module) -> Callable[[], FrequencyModel]:
    """What makes models of how likely each code is next, each with state of its own. The weights are made once.

    Raises:
        ConfigError: the model has no prior, or one that must be told what no stream names.
    """
    if not isinstance(model, SpeechModel | ImageVQVAE) or model.prior is None:
        raise ConfigError("the model has no prior to code with: use the packed coder")
    if isinstance(model, SpeechModel):
        assert model.prior is not None
        if model.prior.speakers is not None:
            raise ConfigError("the model's prior must be told who speaks, which no stream names: use the packed coder")
        return frequency_model(model.prior)
    if model.config.classes:
        raise ConfigError("the model's prior must be told a class, which no stream names: use the packed coder")
    return grid_frequency_model(model.prior, *model.config.grid[:2])
