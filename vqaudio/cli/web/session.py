"""One client's sound on its way: samples in, packets and decoded sound out. Nothing here knows of sockets.

A client's first message says what is to come (:func:`read_request`). Then come blocks of 16-bit samples, and each
gives messages to send back: packets, the sound that they decode to, and how far both are.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vqaudio.bitstream.packets import PacketReader
from vqaudio.cli.live import PacketPlayer, PacketSender
from vqaudio.cli.web.limits import MAX_RATE_HZ, MAX_REQUEST_BYTES, MIN_RATE_HZ
from vqaudio.errors import ModelError
from vqaudio.io.live_sound import to_pcm

if TYPE_CHECKING:
    from vqaudio.arrays import Floats
    from vqaudio.codecs.speech import Codec

PACKETS, SOUND = b"\x01", b"\x02"  # the first byte of what is sent back
UNSUPPORTED, NOT_ALLOWED, FAILED, COME_AGAIN = 1003, 1008, 1011, 1013  # codes of closing, RFC 6455 section 7.4.1
_END = {"end": True}
_FULL_SCALE = 32768.0
_MOST_GAIN = 1e4


class RefusedError(Exception):
    """A client did what is not allowed, or cannot be served: ``code`` closes its socket, and the message says why."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True)
class Request:
    """What a client's first message asks for.

    Attributes:
        model: the name of one that is loaded.
        sample_rate_hz: of its sound.
        gain: the factor that normalises the level; None adapts it.
        speaker: who speaks, for a model that must be told.
    """

    model: str
    sample_rate_hz: int
    gain: float | None
    speaker: str | None


def read_request(text: str, models: Mapping[str, "Codec"]) -> Request:
    """The request in a client's first message, as docs/live.md describes it; ``models`` are those that are loaded.

    Raises:
        RefusedError: it is none.
    """
    found = _document(text, {"model", "sample_rate_hz", "gain", "speaker"})
    model, rate_hz = found.get("model", next(iter(models))), found.get("sample_rate_hz")
    gain, speaker = found.get("gain", "auto"), found.get("speaker")
    if not isinstance(model, str) or model not in models:
        raise RefusedError(NOT_ALLOWED, f"model: there is none of that name; give one of {', '.join(models)}")
    if type(rate_hz) is not int or not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise RefusedError(NOT_ALLOWED, f"sample_rate_hz: give a whole number from {MIN_RATE_HZ} to {MAX_RATE_HZ}")
    if gain != "auto" and not (type(gain) in (int, float) and 1 / _MOST_GAIN <= gain <= _MOST_GAIN):
        raise RefusedError(NOT_ALLOWED, f'gain: give "auto", or a number from {1 / _MOST_GAIN} to {_MOST_GAIN:.0f}')
    known = models[model].config.speakers
    if speaker is None and known:
        speaker = known[0]
    if speaker is not None and speaker not in known:
        raise RefusedError(NOT_ALLOWED, "speaker: the model knows none of that name; leave it out")
    return Request(model, rate_hz, None if gain == "auto" else float(gain), speaker)


def check_end(text: str) -> None:
    """Refuses a client's later message, a text, unless it ends the sound."""
    if _document(text, set(_END)) != _END:
        raise RefusedError(UNSUPPORTED, 'give blocks of samples, and {"end": true} at the end')


def _document(text: str, names: set[str]) -> dict[str, Any]:
    if len(text) > MAX_REQUEST_BYTES:
        raise RefusedError(NOT_ALLOWED, f"the message has {len(text)} characters; at most {MAX_REQUEST_BYTES} are read")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise RefusedError(UNSUPPORTED, "the message is no JSON") from None
    if not isinstance(found, dict) or not set(found) <= names:
        raise RefusedError(UNSUPPORTED, f"give a JSON object with no other names than {', '.join(sorted(names))}")
    return found


def check_live(name: str, codec: "Codec") -> None:
    """Refuses a codec that cannot serve; ``ModelError`` where its model decodes no live sound."""
    if codec.config.kind != "vocoder-vqvae":
        raise ModelError(f"{name}: is of kind {codec.config.kind}; live sound needs one of kind vocoder-vqvae")


class Session:
    """The state of one client's sound, which no other client shares.

    Attributes:
        delay_s: the longest time that coding and decoding hold back a sample.
    """

    def __init__(self, codec: "Codec", request: Request, hop: int) -> None:
        """``hop`` vectors are coded at once, and make a packet.

        Raises:
            VqaudioError: the codec cannot do what the request asks for.
        """
        rate_hz, self._messages = request.sample_rate_hz, list[bytes]()
        self._rate_hz, self._reader = rate_hz, PacketReader()
        self._samples, self._decoded, self._packet_bytes = 0, 0, 0
        level = 1 / request.gain if request.gain else 1.0
        decoder = codec.stream_decoder(speaker=request.speaker, sample_rate_hz=rate_hz, level=level, hop=hop)
        self._player = PacketPlayer(decoder, rate_hz, self._play)
        self._sender = PacketSender(codec, rate_hz, request.gain, 0, self._send, vectors=hop)
        self.delay_s = self._sender.delay_s + decoder.delay_s

    def beginning(self) -> list[bytes]:
        """The header packet."""
        return self._taken()

    def push(self, data: bytes) -> list[bytes]:
        """Adds samples; gives the messages to send back, perhaps none."""
        wave = np.frombuffer(data, "<i2").astype(np.float32) / np.float32(_FULL_SCALE)
        self._samples += len(wave)
        self._sender.push(wave)
        return self._taken()

    def finish(self) -> list[bytes]:
        """The end of the sound: the messages with the rest of it."""
        self._sender.finish()
        self._player.finish()
        return self._taken()

    def progress(self) -> dict[str, Any]:
        """How many samples have come, how many went back decoded, and the bytes of packets that carry them."""
        return {"samples": self._samples, "decoded": self._decoded, "packet_bytes": self._packet_bytes}

    @property
    def seconds(self) -> float:
        """Of sound that came."""
        return self._samples / self._rate_hz

    @property
    def bits_per_second(self) -> float:
        """Of packets, 0 where there was no sound."""
        return 8 * self._packet_bytes / self.seconds if self._samples else 0.0

    def seconds_of(self, data: bytes, most_s: float) -> float:
        """Those of a block; ``RefusedError`` where it is none, or longer than ``most_s``."""
        if len(data) % 2:
            raise RefusedError(UNSUPPORTED, f"a block of {len(data)} bytes holds no whole number of 16-bit samples")
        seconds = len(data) / 2 / self._rate_hz
        if seconds > most_s:
            most = math.floor(most_s * self._rate_hz)
            raise RefusedError(NOT_ALLOWED, f"a block of {len(data) // 2} samples is too long: give {most} at most")
        return seconds

    def _send(self, packet: bytes) -> None:
        self._packet_bytes += len(packet)
        self._messages.append(PACKETS + packet)
        for arrived in self._reader.push(packet):
            self._player.push(arrived)

    def _play(self, wave: "Floats") -> None:
        self._decoded += len(wave)
        self._messages.append(SOUND + to_pcm(wave))

    def _taken(self) -> list[bytes]:
        messages, self._messages = self._messages, []
        return messages
