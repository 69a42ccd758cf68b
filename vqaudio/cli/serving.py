"""The verb that serves live sound to browsers: ``vqaudio serve`` (the extra ``serve``)."""

import contextlib
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from vqaudio.cli.console import Report
from vqaudio.cli.jobs import load_any
from vqaudio.cli.options import Device, DeviceOption, QuietOption, app
from vqaudio.cli.web.limits import Limits
from vqaudio.errors import ModelError

if TYPE_CHECKING:
    from vqaudio.codecs.speech import Codec

_PACKAGES = ("starlette", "uvicorn", "websockets")


def _origin(word: str) -> str:
    """An origin as browsers write it; ``typer.BadParameter`` where it is none."""
    try:
        parts = urlsplit(word.lower().rstrip("/"))
        name, _ = parts.hostname, parts.port
    except ValueError:
        name = None
    if not name or parts.scheme not in ("http", "https") or parts.path or parts.query or "@" in parts.netloc:
        raise typer.BadParameter(f"--origin {word} is not valid: give one such as https://talk.example.org")
    return f"{parts.scheme}://{parts.netloc}"


def _codecs(models: list[str], device: Device, report: Report) -> "dict[str, Codec]":
    """Those of ``models``, ready, by the names that clients choose from."""
    from pathlib import Path

    from vqaudio.cli.web.session import check_live
    from vqaudio.codecs.speech import Codec

    found: dict[str, Codec] = {}
    for model in models:
        name, codec = Path(model).name, load_any(model, device, report)
        if not isinstance(codec, Codec):
            raise ModelError(f"{model}: is a model of pictures; give one of sounds")
        check_live(model, codec)
        if name in found:
            raise ModelError(f"{model}: another model is called {name}, too; give each once")
        found[name] = codec
    return found


@app.command()
def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help="Bundled models or folders, to choose from; by default speech."),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", metavar="H", help="Listen here; 0.0.0.0 is all of the machine's addresses.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="P", min=0, max=65535, help="0 takes a free one.")] = 8000,
    origin: Annotated[
        list[str] | None,
        typer.Option("--origin", metavar="URL", help="Another site whose pages may ask, say a proxy's; repeatable."),
    ] = None,
    clients: Annotated[
        int, typer.Option("--clients", metavar="N", min=1, max=1000, help="Serve so many at once.")
    ] = Limits.clients,
    seconds: Annotated[
        float,
        typer.Option("--seconds", metavar="S", min=1, max=86400, help="After which a client's sound ends."),
    ] = Limits.session_s,
    hop: Annotated[
        int, typer.Option("--hop", metavar="N", min=1, max=8, help="Vectors coded at once: more is less work, later.")
    ] = 2,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
) -> None:
    """Live sound in a browser: a page that codes the microphone and plays both sounds; Ctrl-C ends it.

    Example: vqaudio serve speech my-model --port 8137

    The page is then at http://127.0.0.1:8137/. Programs use its WebSocket (docs/live.md). Only this machine can reach
    it, unless --host says otherwise.
    """
    from vqaudio.io.extras import needed

    for package in _PACKAGES:
        needed(package, "serve", "serve")
    from vqaudio.cli.web.server import Service, application, bound_socket, server_of
    from vqaudio.codecs.segments import one_blas_thread

    limits, report = Limits(clients=clients, session_s=seconds), Report(quiet)
    origins = frozenset(map(_origin, origin or []))
    with bound_socket(host, port, limits) as listening:
        service = Service(_codecs(models or ["speech"], device, report), limits, hop, report.note)
        server = server_of(application(service, {host.lower()}, origins), limits)
        shown, own = (f"[{host}]" if ":" in host else host), listening.getsockname()[1]
        report.result(f"serving at http://{shown}:{own}/; Ctrl-C ends it", {})
        try:
            with contextlib.suppress(KeyboardInterrupt), one_blas_thread():
                server.run(sockets=[listening])
            report.note("ended by Ctrl-C")
        finally:
            service.close()
