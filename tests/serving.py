"""A server of live sound for the tests, in a thread, and clients of it."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from websockets.sync.client import ClientConnection, connect

from vqaudio.bitstream.packets import PacketReader
from vqaudio.cli.web.limits import Limits
from vqaudio.cli.web.server import Service, application, bound_socket, server_of
from vqaudio.codecs.speech import Codec
from vqaudio.io.live_sound import to_pcm

RATE = 16000


@dataclass
class Served:
    """A server that runs: where, and what it told its operator."""

    port: int
    service: Service
    told: list[str]
    stop: Callable[[], None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def connect(self, **options: Any) -> ClientConnection:
        return connect(f"ws://127.0.0.1:{self.port}/live", **options)

    def emptied(self) -> bool:
        """Whether nobody is served any more, soon."""
        return eventually(lambda: self.service.clients == 0)


def eventually(condition: Callable[[], bool]) -> bool:
    """Waits for what must come; only a failure takes all of the time."""
    ends = time.monotonic() + 60
    while not (found := condition()) and time.monotonic() < ends:
        time.sleep(0.01)
    return found


@contextmanager
def serving(codecs: Mapping[str, Codec], limits: Limits | None = None, hop: int = 2) -> Iterator[Served]:
    """A server of these codecs on a port of its own."""
    limits, told = limits or Limits(), list[str]()
    listening = bound_socket("127.0.0.1", 0, limits)
    service = Service(codecs, limits, hop, told.append)
    server = server_of(application(service, {"talk.test"}, {"https://proxy.test"}), limits)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)

    def stop() -> None:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()

    thread.start()
    try:
        yield Served(listening.getsockname()[1], service, told, stop)
    finally:
        stop()
        service.close()
        listening.close()


@dataclass
class Talk:
    """What came back of a sound."""

    begun: dict[str, Any]
    packets: bytes = b""
    sound: bytes = b""
    progress: list[dict[str, Any]] = field(default_factory=list)

    @property
    def codes(self) -> np.ndarray:
        reader = PacketReader()
        arrived = [one.codes for one in reader.push(self.packets)]
        assert reader.ended
        return np.concatenate(arrived, axis=1)


def begin(client: ClientConnection, **request: Any) -> Talk:
    client.send(json.dumps({"sample_rate_hz": RATE, **request}))
    return Talk(json.loads(client.recv(60)))


def end(client: ClientConnection, talk: Talk, send_end: bool = True) -> Talk:
    """Ends the sound, and takes what is left to come."""
    if send_end:
        client.send('{"end": true}')
    while "ended" not in (talk.progress or [{}])[-1]:
        message = client.recv(60)
        if isinstance(message, str):
            talk.progress.append(json.loads(message))
        elif message[:1] == b"\x01":
            talk.packets += message[1:]
        else:
            assert message[:1] == b"\x02"
            talk.sound += message[1:]
    return talk


def talk_of(served: Served, data: bytes, size: int = 640, **request: Any) -> Talk:
    """``data``, 16-bit samples, sent in blocks of ``size`` bytes."""
    with served.connect() as client:
        talk = begin(client, **request)
        for first in range(0, len(data), size):
            client.send(data[first : first + size])
        return end(client, talk)


def coded(
    codec: Codec, data: bytes, rate_hz: int = RATE, gain: float | None = None, hop: int = 2, speaker: str | None = None
) -> tuple[np.ndarray, bytes]:
    """Codes and sound of 16-bit samples, coded here and at once."""
    wave = np.frombuffer(data, "<i2").astype(np.float32) / 32768
    encoder = codec.stream_encoder(rate_hz, gain=gain, hop=hop)
    decoder = codec.stream_decoder(sample_rate_hz=rate_hz, level=1 / gain if gain else 1.0, speaker=speaker, hop=hop)
    codes = np.concatenate([encoder.push(wave), encoder.flush()], axis=1)
    return codes, to_pcm(np.concatenate([decoder.push(codes), decoder.flush()])[: len(wave)])


def small_socket(port: int) -> socket.socket:
    """A connection that can take hardly anything."""
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    own.connect(("127.0.0.1", port))
    return own
