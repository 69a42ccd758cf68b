"""What a vocoder makes speech of: the envelope in mel bands, and the pitch."""

from typing import NamedTuple

from vqaudio.arrays import Floats


class SpeechParameters(NamedTuple):
    """Frame i is that of sample ``i * hop_length``. ``bands[frames, bands]`` is the natural log of power in mel bands,
    ``f0_hz[frames]`` the pitch, 0 where there is no voice."""

    bands: Floats
    f0_hz: Floats
