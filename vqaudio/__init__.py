"""vqaudio: a VQ-VAE speech codec with a WaveNet decoder and a learnt prior.

The public face is here: :func:`load` gives a :class:`Codec` (of pictures an :class:`ImageCodec`), a codec makes and
reads a :class:`Stream`, decoding a sound gives :class:`Samples`, and whatever a user can cause to go wrong is a
:class:`VqaudioError`::

    codec = vqaudio.load("speech")
    stream = codec.encode(wave, sample_rate_hz)
    stream.save("hello.vqa")
    samples = codec.decode(vqaudio.Stream.load("hello.vqa"), seed=0)
    samples.save("hello.wav")

Each name is fetched when it is first used, so that ``import vqaudio`` loads neither torch nor numba.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vqaudio.bitstream.header import Coder
    from vqaudio.codecs.loading import Codec, ImageCodec, Samples, Stream, load
    from vqaudio.errors import VqaudioError

__version__ = "0.1.0"

__all__ = ["Codec", "Coder", "ImageCodec", "Samples", "Stream", "VqaudioError", "__version__", "load"]

_HOME = {
    "Codec": "vqaudio.codecs.loading",
    "Coder": "vqaudio.bitstream.header",
    "ImageCodec": "vqaudio.codecs.loading",
    "Samples": "vqaudio.codecs.loading",
    "Stream": "vqaudio.codecs.loading",  # not stream's own: the codecs know the models that streams need
    "VqaudioError": "vqaudio.errors",
    "load": "vqaudio.codecs.loading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value  # the next use finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
