"""How likely each code is next, by a model's prior in integers: what a stream's bytes are made with."""

from collections.abc import Callable

from vqaudio.bitstream.entropy import FrequencyModel
from vqaudio.codecs.sampler import frequency_model
from vqaudio.errors import ConfigError
from vqaudio.models.sound_model import SymbolNetwork


def sound_frequency_model(prior: SymbolNetwork | None) -> Callable[[], FrequencyModel]:
    """What makes models of how likely each code of a sound is next, by the WaveNet ``prior``.

    Raises:
        ConfigError: there is none, or one that must be told what no stream names.
    """
    if prior is None:
        raise ConfigError("the model has no prior to code with: use the packed coder")
    if prior.config.features:
        raise ConfigError("the model's prior must be told who speaks, which no stream names: use the packed coder")
    return frequency_model(prior)
