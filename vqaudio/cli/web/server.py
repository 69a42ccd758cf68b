"""The server: a WebSocket for each client, the page, and the bounds that keep clients from each other's way.

Each client's messages are worked on one after the other, in threads, so that the loop that listens to all is never
blocked; while one is worked on no more are read, and the client's own buffers fill. What a client may hold of the
server is bounded by :class:`vqaudio.cli.web.limits.Limits`.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from vqaudio.cli.console import trace, words_for
from vqaudio.cli.web.limits import Limits, Pace, is_own_page
from vqaudio.cli.web.session import (
    COME_AGAIN,
    FAILED,
    NOT_ALLOWED,
    UNSUPPORTED,
    RefusedError,
    Request,
    Session,
    check_end,
    read_request,
)
from vqaudio.errors import ConfigError, VqaudioError

if TYPE_CHECKING:
    from vqaudio.codecs.speech import Codec

Tell = Callable[[str], None]
_FILES = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/spectrogram.js": ("spectrogram.js", "text/javascript"),
    "/worklets.js": ("worklets.js", "text/javascript"),
    "/style.css": ("style.css", "text/css"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_MOST_REASON = 120  # bytes of a reason for closing, RFC 6455 section 5.5
_GRACE_S = 3  # in which clients are told that the server ends


class _GoneError(Exception):
    """The client has closed its socket, or vanished."""


class _Client:
    """One WebSocket, each step with its time."""

    def __init__(self, websocket: WebSocket, limits: Limits) -> None:
        self._websocket, self._limits = websocket, limits
        self.name = websocket.client.host if websocket.client else "a client"

    async def receive(self, within_s: float) -> str | bytes:
        """The next message; ``TimeoutError`` where none comes in time."""
        message = await asyncio.wait_for(self._websocket.receive(), within_s)
        if message["type"] != "websocket.receive":
            raise _GoneError
        data = message.get("bytes")
        return data if data is not None else str(message["text"])

    async def send(self, message: str | bytes) -> None:
        """Sends a message; ``RefusedError`` where the client does not read."""
        sending = self._websocket.send_text if isinstance(message, str) else self._websocket.send_bytes
        try:
            await asyncio.wait_for(sending(message), self._limits.slow_s)  # type: ignore[arg-type]
        except TimeoutError:
            raise RefusedError(NOT_ALLOWED, f"nothing was read for {self._limits.slow_s:g} s") from None

    async def close(self, code: int, error: str = "") -> None:
        """Says why, and closes; a client that does not take it is dropped."""
        reason = error.encode()[:_MOST_REASON].decode(errors="ignore")
        try:
            if error:
                await self.send(json.dumps({"error": error}))
            await asyncio.wait_for(self._websocket.close(code, reason), self._limits.slow_s)
        except (TimeoutError, RefusedError):
            pass  # the socket is aborted, see _socket_kinds


class Service:
    """What answers: the models, who is served, and the threads that code."""

    def __init__(self, codecs: "Mapping[str, Codec]", limits: Limits, hop: int, tell: Tell) -> None:
        """``codecs`` by the names that clients choose from; ``tell`` takes a line about each client that has gone."""
        self._codecs, self._limits, self._hop, self._tell = codecs, limits, hop, tell
        self._threads = ThreadPoolExecutor(len(os.sched_getaffinity(0)), "coding")
        self.clients = 0

    def facts(self) -> dict[str, Any]:
        """What the page offers."""
        models = [{"name": name, "speakers": list(codec.config.speakers)} for name, codec in self._codecs.items()]
        return {"models": models, "session_s": self._limits.session_s, "block_s": self._limits.block_s}

    def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown(cancel_futures=True)

    async def serve(self, websocket: WebSocket) -> None:
        """A client from its first message to the end, whatever it does."""
        client = _Client(websocket, self._limits)
        try:
            if self.clients >= self._limits.clients:
                raise RefusedError(COME_AGAIN, f"all {self._limits.clients} places are taken; come again later")
            self.clients += 1
            try:
                await self._talk(client)
            finally:
                self.clients -= 1
            await client.close(1000)
        except (_GoneError, WebSocketDisconnect):
            pass
        except RefusedError as refused:
            await self._turn_away(client, refused.code, str(refused))
        except VqaudioError as error:
            await self._turn_away(client, NOT_ALLOWED, words_for(error))
        except Exception as error:
            trace()
            self._tell(words_for(error))
            await self._turn_away(client, FAILED, "the server failed; its operator can read why")

    async def _turn_away(self, client: _Client, code: int, why: str) -> None:
        self._tell(f"{client.name}: turned away: {why}")
        with contextlib.suppress(WebSocketDisconnect):
            await client.close(code, why)

    async def _talk(self, client: _Client) -> None:
        try:
            text = await client.receive(self._limits.silent_s)
        except TimeoutError:
            raise _silent(self._limits) from None
        if not isinstance(text, str):
            raise RefusedError(UNSUPPORTED, 'the first message is a text, such as {"sample_rate_hz": 48000}')
        request = read_request(text, self._codecs)
        codec = self._codecs[request.model]
        session = await self._in_thread(Session, codec, request, self._hop)
        try:
            told = {"model": request.model, "delay_s": session.delay_s, "session_s": self._limits.session_s}
            await client.send(json.dumps(told))
            await self._give(client, session, session.beginning())
            why = await self._listen(client, session)
            await self._give(client, session, await self._in_thread(session.finish))
            await client.send(json.dumps({"ended": why, **session.progress()}))
        finally:
            self._tell(_account(client, request, session))

    async def _listen(self, client: _Client, session: Session) -> str:
        """Takes blocks until the sound ends; says why it did."""
        clock, pace = asyncio.get_running_loop().time, Pace(self._limits.ahead_s)
        ends_s = clock() + self._limits.session_s
        while (left_s := ends_s - clock()) > 0:
            try:
                block = await client.receive(min(left_s, self._limits.silent_s))
            except TimeoutError:
                if clock() >= ends_s:
                    break
                raise _silent(self._limits) from None
            if isinstance(block, str):
                check_end(block)
                return "client"
            wait_s = pace.wait_s(clock(), session.seconds_of(block, self._limits.block_s))
            await self._give(client, session, await self._in_thread(session.push, block))
            await asyncio.sleep(wait_s)
        return "time"

    async def _give(self, client: _Client, session: Session, messages: list[bytes]) -> None:
        for message in messages:
            await client.send(message)
        if messages:
            await client.send(json.dumps(session.progress()))

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


def _silent(limits: Limits) -> RefusedError:
    return RefusedError(NOT_ALLOWED, f"nothing came for {limits.silent_s:g} s")


def _account(client: _Client, request: Request, session: Session) -> str:
    return f"{client.name}: {request.model}, {session.seconds:.1f} s, {session.bits_per_second / 1000:.2f} kb/s"


# -------------------------------------------------------------------------------------------------------- application


def application(service: Service, names: Collection[str], origins: Collection[str]) -> Starlette:
    """The page and the WebSocket ``/live``; ``names`` and ``origins``: see :func:`is_own_page`."""
    folder = Path(__file__).parent
    contents = {path: ((folder / name).read_bytes(), kind) for path, (name, kind) in _FILES.items()}

    async def file(request: HttpRequest) -> Response:
        content, kind = contents[request.url.path]
        return Response(content, media_type=kind, headers=_HEADERS)

    async def facts(request: HttpRequest) -> Response:
        return JSONResponse(service.facts(), headers=_HEADERS)

    async def live(websocket: WebSocket) -> None:
        if not is_own_page(websocket.headers.get("origin"), websocket.headers.get("host"), names, origins):
            await websocket.close()  # before it is accepted: status 403
            return
        await websocket.accept()
        await service.serve(websocket)

    pages = [Route(path, file) for path in contents]
    return Starlette(routes=[*pages, Route("/facts", facts), WebSocketRoute("/live", live)])


def _socket_kinds(limits: Limits) -> tuple[type[asyncio.Protocol], type[asyncio.Protocol]]:
    """uvicorn's protocols with the bounds that it lacks: before there is a client, and when it does not read."""

    class Door(H11Protocol):
        """A connection that is no WebSocket yet: of so many, and for so long."""

        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                transport.abort()
            self._late = self.loop.call_later(limits.silent_s, transport.abort)

        def handle_websocket_upgrade(self, event: h11.Request) -> None:
            self._in_time()
            super().handle_websocket_upgrade(event)

        def connection_lost(self, exc: Exception | None) -> None:
            self._in_time()
            super().connection_lost(exc)

        def _in_time(self) -> None:
            if self._late is not None:
                self._late.cancel()

    class Socket(WebSocketsSansIOProtocol):
        """A WebSocket whose client can neither be sent without end nor linger when it is done."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.set_write_buffer_limits(limits.socket_bytes)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.transport.get_write_buffer_size() > 4 * limits.socket_bytes:  # answers to pings
                self.transport.abort()

        async def run_asgi(self) -> None:
            await super().run_asgi()
            self.loop.call_later(limits.slow_s, self.transport.abort)

    return Door, Socket


def bound_socket(host: str, port: int, limits: Limits) -> socket.socket:
    """A socket that listens; port 0 is any that is free.

    Raises:
        ConfigError: the port is taken, or not ours to take, or the host is none of this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"{host}:{port}: cannot be listened at ({reason}); give another --port or --host") from None
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # which the clients' sockets inherit
        listening.setsockopt(socket.SOL_SOCKET, option, limits.socket_bytes)
    return listening


def server_of(app: Starlette, limits: Limits) -> uvicorn.Server:
    """What runs ``app``: ``server_of(...).run(sockets=[bound_socket(...)])`` until a signal comes."""
    door, websocket = _socket_kinds(limits)
    config = uvicorn.Config(
        app,
        http=door,
        ws=websocket,
        ws_max_size=limits.message_bytes,
        ws_per_message_deflate=False,
        ws_ping_interval=None,  # who is there sends sound; an answer would wait behind it where the server is slow
        lifespan="off",
        log_config=None,
        log_level="critical",  # whatever matters is told in our own words
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    return uvicorn.Server(config)
