"""``vqaudio serve``: what comes back is what coding gives; clients are bounded, and none is another's trouble."""

import dataclasses
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import children
import numpy as np
import pytest
import torch
from conftest import VOCODED, Run
from serving import RATE, Served, begin, coded, end, eventually, serving, small_socket, talk_of
from sounds import noise
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from vqaudio.cli.web.limits import Limits, Pace, is_own_page
from vqaudio.cli.web.session import Session
from vqaudio.codecs.speech import Codec, load
from vqaudio.io.live_sound import to_pcm
from vqaudio.models import checkpoint

SOUND = to_pcm(noise(1, 7900)[0])  # less than a message may hold


@pytest.fixture(scope="module")
def codec(vocoded_model: Path) -> Codec:
    return load(vocoded_model, "cpu")


@pytest.fixture(scope="module")
def voiced(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    """A codec that must be told who speaks."""
    torch.manual_seed(6)
    conditioning = dataclasses.replace(VOCODED.conditioning, voice_dim=6)
    config = dataclasses.replace(VOCODED, prior=None, conditioning=conditioning, speakers=("ann", "bob"))
    folder = tmp_path_factory.mktemp("models") / "voiced"
    checkpoint.save_model(folder, config, checkpoint.build(config).state_dict(), {}, half=True)
    return load(folder, "cpu")


@pytest.fixture(scope="module")
def served(codec: Codec, voiced: Codec) -> Iterator[Served]:
    with serving({"plain": codec, "voiced": voiced}) as running:
        yield running


def refusal(client: ClientConnection) -> tuple[str, int]:
    """What a client is told, and the code that its socket is closed with."""
    said = ""
    for message in client_messages(client):
        said = json.loads(message).get("error", said) if isinstance(message, str) else said
    assert client.close_code is not None
    return said, client.close_code


def client_messages(client: ClientConnection) -> Iterator[str | bytes]:
    """All that come until the socket is closed."""
    while True:
        try:
            yield client.recv(60)
        except ConnectionClosed:
            return


def forever(work: Callable[[], object]) -> None:
    """Does something again and again, very often."""
    for _ in range(100_000):
        work()


# -------------------------------------------------------------------------------------------------------------- sound


@pytest.mark.parametrize(
    ("size", "rate_hz", "gain"),
    [(2, RATE, 1.5), (640, RATE, None), (7654, 44100, None), (1918, 8000, 0.5)],
)
def test_what_comes_back_is_what_coding_gives(served: Served, codec: Codec, size: int, rate_hz: int, gain: Any) -> None:
    data = SOUND[:900] if size == 2 else SOUND
    talk = talk_of(served, data, size, sample_rate_hz=rate_hz, gain=gain or "auto")
    codes, sound = coded(codec, data, rate_hz, gain)
    assert np.array_equal(talk.codes, codes)
    assert talk.sound == sound
    count = len(data) // 2
    assert talk.progress[-1] == {
        "ended": "client",
        "samples": count,
        "decoded": count,
        "packet_bytes": len(talk.packets),
    }


def test_at_the_models_rate_it_is_the_whole_sounds_encode_and_decode(served: Served, codec: Codec) -> None:
    stream = codec.encode(np.frombuffer(SOUND, "<i2").astype(np.float32) / 32768, RATE, coder="packed")
    level = stream.header.levels[0]
    talk = talk_of(served, SOUND, gain=1 / level)
    assert np.array_equal(talk.codes, stream.codes[0])
    assert talk.sound == to_pcm(codec.decode(stream, exact=True)[0])


def test_no_sound_is_a_sound(served: Served) -> None:
    talk = talk_of(served, b"")
    assert talk.codes.shape[1] == 0
    assert talk.sound == b""


@pytest.mark.parametrize("hop", [1, 3])
def test_the_delay_is_the_one_that_is_told(codec: Codec, hop: int) -> None:
    with serving({"plain": codec}, hop=hop) as own, own.connect() as client:
        talk = begin(client, gain=1.0)
        for first in range(0, len(SOUND), 640):
            client.send(SOUND[first : first + 640])
        end(client, talk)
    behind = [one["samples"] - one["decoded"] for one in talk.progress[:-1] if one["samples"] < len(SOUND) // 2]
    assert len(behind) > 3
    assert max(behind) <= talk.begun["delay_s"] * RATE
    assert talk.begun["delay_s"] == codec.stream_encoder(hop=hop).delay_s + codec.stream_decoder(hop=hop).delay_s


def test_clients_have_streams_of_their_own(served: Served, codec: Codec, voiced: Codec) -> None:
    sounds = [to_pcm(noise(1, 6000, seed=seed)[0]) for seed in range(3)]
    asked: list[dict[str, Any]] = [{}, {"model": "voiced", "speaker": "bob"}, {"model": "voiced"}]
    clients = [served.connect() for _ in sounds]
    talks = [begin(client, **request) for client, request in zip(clients, asked, strict=True)]
    for first in range(0, len(sounds[0]), 500):
        for client, data in zip(clients, sounds, strict=True):
            client.send(data[first : first + 500])
    for client, talk, data, request in zip(clients, talks, sounds, asked, strict=True):
        end(client, talk)
        client.close()
        own = voiced if request else codec
        codes, sound = coded(own, data, speaker=request.get("speaker", "ann" if request else None))
        assert np.array_equal(talk.codes, codes)
        assert talk.sound == sound


# ----------------------------------------------------------------------------------------------------- wrong messages


@pytest.mark.parametrize(
    ("first", "code", "said"),
    [
        (b"\0\0", 1003, "the first message is a text"),
        ("hello", 1003, "no JSON"),
        ("[" * 4000, 1003, "no JSON"),
        ("[]", 1003, "a JSON object"),
        ('{"sample_rate_hz": 16000, "colour": 1}', 1003, "no other names than gain, model"),
        (" " * 5000, 1008, "at most 4096"),
        ("{}", 1008, "sample_rate_hz: give a whole number"),
        ('{"sample_rate_hz": true}', 1008, "sample_rate_hz: give a whole number"),
        ('{"sample_rate_hz": 16000.5}', 1008, "sample_rate_hz: give a whole number"),
        ('{"sample_rate_hz": 1e400}', 1008, "sample_rate_hz: give a whole number"),
        ('{"sample_rate_hz": 7999}', 1008, "from 8000 to 192000"),
        ('{"sample_rate_hz": 16000, "gain": 0}', 1008, 'gain: give "auto"'),
        ('{"sample_rate_hz": 16000, "gain": NaN}', 1008, 'gain: give "auto"'),
        ('{"sample_rate_hz": 16000, "gain": 1e300}', 1008, 'gain: give "auto"'),
        ('{"sample_rate_hz": 16000, "gain": "loud"}', 1008, 'gain: give "auto"'),
        ('{"sample_rate_hz": 16000, "model": "best"}', 1008, "give one of plain, voiced"),
        ('{"sample_rate_hz": 16000, "model": ["plain"]}', 1008, "give one of plain, voiced"),
        ('{"sample_rate_hz": 16000, "speaker": "ann"}', 1008, "speaker: the model knows none"),
        ('{"sample_rate_hz": 16000, "model": "voiced", "speaker": {}}', 1008, "speaker: the model knows none"),
    ],
)
def test_a_wrong_first_message_is_told(served: Served, first: str | bytes, code: int, said: str) -> None:
    with served.connect() as client:
        client.send(first)
        told, closed = refusal(client)
    assert said in told
    assert closed == code
    assert served.emptied()


@pytest.mark.parametrize(
    ("later", "code", "said"),
    [
        (b"\0", 1003, "whole number of 16-bit samples"),
        (bytes(16002), 1008, "give 8000 at most"),
        (bytes(1 << 17), 1009, ""),
        ("more", 1003, "no JSON"),
        ('{"end": false}', 1003, '{"end": true}'),
        ('{"sample_rate_hz": 16000}', 1003, "no other names"),
    ],
)
def test_a_wrong_later_message_is_told(served: Served, later: str | bytes, code: int, said: str) -> None:
    with served.connect() as client:
        begin(client)
        client.send(SOUND[:640])
        client.send(later)
        told, closed = refusal(client)
    assert said in told
    assert closed == code
    assert served.emptied()


def test_a_failure_of_ours_ends_one_client_alone(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Session, data: bytes) -> list[bytes]:
        raise ZeroDivisionError("planted")

    with served.connect() as good, served.connect() as bad:
        talk = begin(good)
        good.send(SOUND[:9000])
        begin(bad)
        assert eventually(lambda: served.service.clients == 2)
        with monkeypatch.context() as patched:
            patched.setattr(Session, "push", fail)
            bad.send(SOUND[:640])
            assert refusal(bad) == ("the server failed; its operator can read why", 1011)
        good.send(SOUND[9000:])
        end(good, talk)
    assert any("planted" in line for line in served.told)
    assert talk.progress[-1]["samples"] == len(SOUND) // 2


# ------------------------------------------------------------------------------------------------------------- bounds


def test_more_clients_than_places_are_told_to_come_again(codec: Codec) -> None:
    with serving({"plain": codec}, Limits(clients=1)) as own:
        with own.connect() as first:
            talk = begin(first)
            with own.connect() as second:
                assert refusal(second) == ("all 1 places are taken; come again later", 1013)
            first.send(SOUND)
            assert len(end(first, talk).sound) == len(SOUND)
        assert own.emptied()
        assert len(talk_of(own, SOUND).sound) == len(SOUND)


def test_who_says_nothing_is_not_waited_for(codec: Codec) -> None:
    with serving({"plain": codec}, Limits(silent_s=0.3)) as own:
        with own.connect() as mute:
            assert refusal(mute) == ("nothing came for 0.3 s", 1008)
        with own.connect() as pausing:
            begin(pausing)
            assert refusal(pausing) == ("nothing came for 0.3 s", 1008)
        for said in (b"", b"GET / HTTP/1.1\r\nHost: a\r\n"):
            with socket.create_connection(("127.0.0.1", own.port), 60) as half:
                half.sendall(said)
                assert closed_by_server(half)
        assert own.emptied()


def closed_by_server(own: socket.socket) -> bool:
    own.settimeout(60)
    try:
        return own.recv(1) == b""
    except ConnectionError:
        return True


def test_connections_are_bounded(codec: Codec) -> None:
    limits = Limits(clients=1)
    with serving({"plain": codec}, limits) as own:
        held = [socket.create_connection(("127.0.0.1", own.port), 60) for _ in range(limits.connections)]
        with socket.create_connection(("127.0.0.1", own.port), 60) as late:
            assert closed_by_server(late)
        for one in held:
            one.close()
        assert len(talk_of(own, SOUND).sound) == len(SOUND)


def test_a_sound_that_is_too_long_is_brought_to_its_end(codec: Codec) -> None:
    whole = to_pcm(noise(1, 32000)[0])
    with serving({"plain": codec}, Limits(session_s=1.0)) as own, own.connect() as client:
        talk, ended = begin(client), threading.Event()

        def go_on() -> None:
            for first in range(0, 64000, 640):
                if ended.wait(0.02):
                    return
                client.send(whole[first : first + 640])

        sender = threading.Thread(target=go_on)
        sender.start()
        end(client, talk, send_end=False)
        ended.set()
        sender.join()
    last = talk.progress[-1]
    assert last["ended"] == "time"
    assert 0 < last["samples"] == last["decoded"] < 32000
    codes, sound = coded(codec, whole[: 2 * last["samples"]])
    assert np.array_equal(talk.codes, codes)
    assert talk.sound == sound


def test_silence_at_the_end_of_the_time_is_no_offence(codec: Codec) -> None:
    with serving({"plain": codec}, Limits(session_s=0.3)) as own, own.connect() as client:
        talk = begin(client)
        client.send(SOUND[:640])
        assert end(client, talk, send_end=False).progress[-1]["ended"] == "time"


def test_who_vanishes_leaves_a_place(codec: Codec) -> None:
    with serving({"plain": codec}) as own, own.connect() as staying:
        talk = begin(staying)
        staying.send(SOUND[:9000])
        for reset in (False, True):
            leaving = own.connect()
            begin(leaving)
            leaving.send(SOUND)
            leaving.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", int(reset), 0))
            leaving.close_socket()  # without a word
        assert eventually(lambda: own.service.clients == 1)
        staying.send(SOUND[9000:])
        assert end(staying, talk).sound == coded(codec, SOUND)[1]


def test_who_does_not_read_is_dropped_and_nobody_else(codec: Codec) -> None:
    limits = Limits(slow_s=1.5, ahead_s=100.0, socket_bytes=4096)
    with serving({"plain": codec}, limits) as own, own.connect() as other:
        talk = begin(other)
        slow = connect(f"ws://127.0.0.1:{own.port}/live", sock=small_socket(own.port), max_queue=1)
        slow.send(json.dumps({"sample_rate_hz": RATE}))
        with pytest.raises(ConnectionClosed):
            forever(lambda: slow.send(SOUND[:8000]))
        other.send(SOUND[:9000])
        other.send(SOUND[9000:])
        assert end(other, talk).sound == coded(codec, SOUND)[1]
        assert any("nothing was read for 1.5 s" in line for line in own.told)
        slow.close_socket()


def test_answers_to_pings_do_not_pile_up(codec: Codec) -> None:
    with serving({"plain": codec}, Limits(socket_bytes=4096)) as own, small_socket(own.port) as raw:
        key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
        head = f"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n"
        raw.sendall(head.encode())
        assert raw.recv(12) == b"HTTP/1.1 101"
        ping = b"\x89" + bytes([0x80 | 125]) + bytes(4 + 125)
        with pytest.raises(ConnectionError):
            forever(lambda: raw.sendall(ping * 100))
        assert own.emptied()


def test_a_client_that_is_worked_on_blocks_no_listening(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, push = threading.Event(), Session.push

    def wait(self: Session, data: bytes) -> list[bytes]:
        gate.wait(60)
        return push(self, data)

    monkeypatch.setattr(Session, "push", wait)
    with serving({"plain": codec}) as own, own.connect() as client:
        talk = begin(client)
        for _ in range(os.cpu_count() or 1):
            client.send(SOUND)
        with own.connect() as wrong:
            wrong.send("{}")
            assert refusal(wrong)[1] == 1008
        page = http.client.HTTPConnection("127.0.0.1", own.port, timeout=60)
        page.request("GET", "/")
        assert page.getresponse().status == 200
        gate.set()
        end(client, talk)


def test_when_the_server_ends_its_clients_are_told(codec: Codec) -> None:
    with serving({"plain": codec}) as own, own.connect() as client:
        begin(client)
        own.stop()
        assert refusal(client) == ("", 1012)


def test_who_sends_faster_than_sound_happens_waits() -> None:
    pace = Pace(ahead_s=2.0)
    assert [pace.wait_s(100.0, 0.5) for _ in range(6)] == [0, 0, 0, 0, 0.5, 1.0]
    assert pace.wait_s(103.0, 0.5) == 0
    assert pace.wait_s(200.0, 0.5) == 0  # what was not sent meanwhile gives no right to more
    assert [pace.wait_s(200.0, 0.5) for _ in range(4)][-1] == 0.5
    empty = Pace(ahead_s=2.0)
    assert sum(empty.wait_s(0.0, 0.0) > 0 for _ in range(2100)) == pytest.approx(100, abs=1)


# --------------------------------------------------------------------------------------------------------- the origin


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        (None, "127.0.0.1:8000", True),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        ("http://LocalHost:8000", "localhost:8000", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("https://192.0.2.7", "192.0.2.7", True),
        ("http://talk.test:8000", "talk.test:8000", True),
        ("https://proxy.test", "127.0.0.1:8000", True),
        ("https://proxy.test:8443", "127.0.0.1:8000", False),
        ("http://127.0.0.1:9000", "127.0.0.1:8000", False),
        ("http://evil.test", "127.0.0.1:8000", False),
        ("http://evil.test:8000", "evil.test:8000", False),  # whose name leads here
        ("http://localhost.evil.test:8000", "localhost.evil.test:8000", False),
        ("http://talk.test@evil.test:8000", "talk.test@evil.test:8000", False),
        ("null", "127.0.0.1:8000", False),
        ("", "", False),
        ("file://", "", False),
        ("http://127.0.0.1:8000", None, False),
        ("http://[::1", "[::1", False),
        ("chrome-extension://127.0.0.1", "127.0.0.1", False),
    ],
)
def test_only_own_pages_may_ask(origin: str | None, host: str | None, own: bool) -> None:
    assert is_own_page(origin, host, {"talk.test"}, {"https://proxy.test"}) is own


def test_a_foreign_page_is_refused_before_anything_is_said(served: Served) -> None:
    with pytest.raises(InvalidStatus) as refused:
        served.connect(origin="http://evil.test")
    assert refused.value.response.status_code == 403
    with served.connect(origin=f"http://127.0.0.1:{served.port}") as client:
        assert "delay_s" in begin(client).begun


# ----------------------------------------------------------------------------------------------------------- the page


def test_the_page_needs_nothing_from_elsewhere(served: Served) -> None:
    page = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    found = {}
    for path in ("/", "/page.js", "/spectrogram.js", "/worklets.js", "/style.css", "/facts"):
        page.request("GET", path)
        answer = page.getresponse()
        found[path] = answer.read().decode()
        assert answer.status == 200
        assert "default-src 'none'; script-src 'self'" in (answer.getheader("Content-Security-Policy") or "")
        assert "://" not in found[path]
    assert set(json.loads(found["/facts"])["models"][1]) == {"name", "speakers"}
    for path in ("/server.py", "/../server.py", "/live"):
        page.request("GET", path)
        answer = page.getresponse()
        answer.read()
        assert answer.status == 404


# ----------------------------------------------------------------------------------------------------------- the verb


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "websockets"])
def test_a_missing_extra_is_named(run: Run, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    done = run("serve")
    assert (done.code, done.out, len(done.lines)) == (1, b"", 1)
    assert "pip install 'vqaudio[serve]'" in done.err


def test_a_port_in_use_is_told_in_a_line(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = run("serve", "--port", other.getsockname()[1])
    assert (done.code, done.out, len(done.lines)) == (1, b"", 1)
    assert "address already in use" in done.err
    assert "give another --port or --host" in done.err


def test_models_that_cannot_serve_are_told_in_a_line(run: Run, tiny_model: Path, vocoded_model: Path) -> None:
    picture = Path(__file__).parents[1] / "fixtures" / "v1" / "picture-model"
    for models, said in (
        ([tiny_model], "live sound needs one of kind vocoder-vqvae"),
        ([picture], "is a model of pictures"),
        ([vocoded_model, vocoded_model], "another model is called vocoded"),
        (["nobody"], "is no model"),
    ):
        done = run("serve", *models, "--port", 0, "--quiet")
        assert (done.code, done.out, len(done.lines)) == (1, b"", 1)
        assert said in done.err


@pytest.mark.parametrize("word", ["talk.test", "ftp://talk.test", "http://", "http://a/b", "http://a:x", "http://u@a"])
def test_an_origin_that_is_none_is_wrong_usage(run: Run, word: str) -> None:
    done = run("serve", "--origin", word)
    assert done.code == 2
    assert "give one such as" in " ".join(done.err.replace("│", " ").split())


def test_the_help_has_an_example(run: Run) -> None:
    done = run("serve", "--help")
    assert done.code == 0
    assert b"vqaudio serve speech my-model --port 8137" in done.out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_a_line(vocoded_model: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    command = [sys.executable, "-m", "vqaudio", "serve", str(vocoded_model), "--port", "0"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, env=children.environment(), **pipes) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.startswith("serving at http://127.0.0.1:"), server.communicate()
        port = int(line.split("/; ")[0].rpartition(":")[2])
        with connect(f"ws://127.0.0.1:{port}/live") as client:
            begin(client)
            client.send(SOUND)
            server.send_signal(number)
            assert refusal(client)[1] == 1012
        _, said = server.communicate(timeout=60)
    assert server.returncode == code
    lines = [one for one in said.splitlines() if "getting ready" not in one]
    ended = ["vqaudio: ended by Ctrl-C"] if number == signal.SIGINT else []
    assert lines[1:] == ended
    assert lines[0].startswith("vqaudio: 127.0.0.1: vocoded, 0.5 s")
