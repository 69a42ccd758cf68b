"""What worker processes are given that end: a module of its own, for they must be able to import it."""

import os
import signal

from vqaudio.codecs import corpora
from vqaudio.codecs.tokenizing import Outcome
from vqaudio.io.sources import Entry

_encode = corpora._encode_in_worker


def end_at_13(found: list[Entry]) -> list[Outcome]:
    """Encodes, but ends its process where one of the entries is number 13."""
    if any("13" in entry.id for entry in found):
        os.kill(os.getpid(), signal.SIGKILL)
    return _encode(found)
