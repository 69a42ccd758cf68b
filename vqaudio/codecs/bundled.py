"""The models that ship with the package, and the folders of others; streams whose model nobody named."""

import difflib
from functools import lru_cache
from pathlib import Path

from vqaudio.bitstream.entropy import BlockCoder, PackedCoder, PriorCoder
from vqaudio.bitstream.header import Coder, Header, Modality
from vqaudio.bitstream.stream import Stream as StreamInMemory
from vqaudio.codecs.frequency import sound_frequency_model
from vqaudio.codecs.hub import PREFIX, fetch
from vqaudio.codecs.running import choose_device as choose_device
from vqaudio.codecs.running import torch_checkpoint
from vqaudio.errors import ContainerError, ModelError
from vqaudio.models import folder as folders
from vqaudio.models.checksums import check_sums
from vqaudio.models.config import SpeechModelConfig
from vqaudio.models.layers import Arrays
from vqaudio.models.numpy_vocoder import NumpyWaveNet

PRETRAINED = Path(__file__).parents[1] / "pretrained"


def bundled() -> list[str]:
    """The names of the models that ship with the package, sorted."""
    return sorted(path.parent.name for path in PRETRAINED.glob(f"*/{folders.CONFIG_FILE}"))


def model_folder(model: str | Path) -> Path:
    """The folder of a bundled model, by name, of one on the Hugging Face hub (``hf://owner/name[@revision]``), or else
    the folder ``model`` itself.

    Raises:
        ModelError: there is neither; the message lists the bundled names, the likeliest first. Or a bundled one's
            files are not those that were bundled.
    """
    names = bundled()
    if str(model) in names:
        check_sums(PRETRAINED / model)
        return PRETRAINED / model
    if str(model).startswith(PREFIX):
        return fetch(str(model))
    folder = Path(model)
    if folder.is_dir():
        return folder
    near = difflib.get_close_matches(str(model), names)
    known = ", ".join([*near, *(name for name in names if name not in near)])
    hint = f"did you mean {near[0]}? " if near else ""
    raise ModelError(f"{model}: is no model; {hint}give a model's folder or a bundled one ({known or 'there is none'})")


def find_bundled(model_sha256: bytes) -> str | None:
    """The name of the bundled model with this fingerprint, if any."""
    return next((name for name in bundled() if folders.fingerprint(PRETRAINED / name) == model_sha256), None)


def find_coder(header: Header) -> BlockCoder | None:
    """What codes the blocks of a stream whose model nobody named: a bundled model's prior, or None if it has none.

    Raises:
        ContainerError: the stream is of sound and names a model of pictures, or the reverse.
    """
    if header.coder is Coder.PACKED:
        return PackedCoder(header.codebook_size)
    name = find_bundled(header.model_sha256)
    if name is None:
        return None
    is_sound = isinstance(folders.read_config(PRETRAINED / name), SpeechModelConfig)
    if is_sound is not (header.modality is Modality.AUDIO):
        raise ContainerError(f"the stream names the model {name!r}, which codes {'sounds' if is_sound else 'pictures'}")
    return _prior_coder(model_folder(name))


@lru_cache(maxsize=4)
def _prior_coder(folder: Path) -> PriorCoder:
    """That of the model in ``folder``: nothing in it ever changes, so that all may share it."""
    config = folders.read_config(folder)
    if isinstance(config, SpeechModelConfig):
        weights = Arrays(folders.read_arrays(folder)).part("prior.wavenet")
        return PriorCoder(sound_frequency_model(NumpyWaveNet(weights, config.prior) if config.prior else None))
    model = torch_checkpoint(folder).load_model(folder)
    from vqaudio.codecs.pixelcnn_sampler import picture_frequency_model

    return PriorCoder(picture_frequency_model(model))


class Stream(StreamInMemory):
    """A whole stream in memory, as :class:`vqaudio.bitstream.stream.Stream`; reading one finds bundled models."""

    @classmethod
    def coder_for(cls, header: Header) -> BlockCoder | None:
        """What codes the blocks of a stream for which no coder was given: a bundled model's prior, if it is its."""
        return find_coder(header)

    @classmethod
    def quantizers_of(cls, header: Header) -> int:
        """Tokens of a frame, where a bundled model made the stream; else 1."""
        name = find_bundled(header.model_sha256)
        config = None if name is None else folders.read_config(PRETRAINED / name)
        return config.quantizer.num_quantizers if isinstance(config, SpeechModelConfig) else 1
