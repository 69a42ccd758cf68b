"""The verb studio: a page to record, code, convert and draw, served to this machine alone."""

import os
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqaudio.cli.options import Device, DeviceOption, ModelOption, app
from vqaudio.errors import ConfigError
from vqaudio.io.extras import needed

if TYPE_CHECKING:
    from vqaudio.cli.studio_work import Limits, Models

HOST = "127.0.0.1"
_SETTINGS = {  # of Gradio, which reads them when it starts: where files go, and that nobody is told of anything
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def served(models: "Models", device: str, limits: "Limits", port: int | None, show: bool = False) -> Iterator[str]:
    """Serves the page while the block runs, and gives its address. All files that come and are made go with it.

    Args:
        port: 1 to 65535; None takes the first free one from 7860 on.
        show: to open the browser.

    Raises:
        ConfigError: the extra ``studio`` is not installed, or the port is taken.
        ModelError: there is no such model.
    """
    needed("gradio", "studio", "the studio")
    from vqaudio.cli.studio_work import Studio

    with tempfile.TemporaryDirectory(prefix="vqaudio-studio-", ignore_cleanup_errors=True) as folder:
        place = Path(folder).resolve()
        with _environment(_SETTINGS | {"GRADIO_TEMP_DIR": str(place)}), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Gradio's own
            from vqaudio.cli.studio_page import Page

            page = Page(Studio(models, device, place, limits))
            built = page.build()
            try:
                yield _launched(built, page.looks(), limits, port, show)
            finally:
                built.close(verbose=False)


def _launched(page: Any, looks: dict[str, Any], limits: "Limits", port: int | None, show: bool) -> str:
    try:
        _, address, _ = page.launch(
            server_name=HOST,
            server_port=port,
            inbrowser=show,
            share=False,
            prevent_thread_lock=True,
            quiet=True,
            max_file_size=limits.file_bytes,
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            enable_monitoring=False,
            **looks,
        )
    except OSError as error:
        wanted = "no port from 7860 on is free" if port is None else f"port {port} cannot be had"
        raise ConfigError(f"{wanted} ({error}); give another with --port") from None
    return str(address)


@app.command(epilog="Example: vqaudio studio --open")
def studio(
    model: ModelOption = "speech",
    voices: Annotated[str, typer.Option("--voices", metavar="M", help="The model that converts voices.")] = "speech",
    images: Annotated[str, typer.Option("--images", metavar="M", help="The model of pictures.")] = "images",
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="N", min=1, max=65535, help="By default the first free one from 7860 on."),
    ] = None,
    longest: Annotated[
        float,
        typer.Option("--longest", metavar="S", min=1, max=3600, help="Seconds of sound that a request may bring."),
    ] = 60.0,
    largest: Annotated[
        float, typer.Option("--largest", metavar="MB", min=0.1, max=1000, help="Megabytes that a file may have.")
    ] = 20.0,
    patience: Annotated[
        float, typer.Option("--patience", metavar="S", min=1, max=36000, help="Seconds that a request may work.")
    ] = 300.0,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    device: DeviceOption = Device.auto,
) -> None:
    """A page in the browser: record or drop a sound, hear it decoded and converted, draw new speech; pictures, too.

    Only this machine can reach it. Ctrl-C ends it, and removes all that was uploaded and made.
    """
    needed("gradio", "studio", "the studio")
    from vqaudio.cli.jobs import codes_sounds
    from vqaudio.cli.studio_work import Limits, Models

    for name in (model, voices):
        if not codes_sounds(name):
            raise typer.BadParameter(f"{name} is a model of pictures: give it with --images")
    if codes_sounds(images):
        raise typer.BadParameter(f"{images} is a model of sounds: give it with --model or --voices")
    limits = Limits(sound_s=longest, file_bytes=round(largest * 1e6), work_s=patience)
    with served(Models(model, voices, images), device, limits, port, show) as address:
        print(f"the studio is at {address} until Ctrl-C", flush=True)
        threading.Event().wait()
