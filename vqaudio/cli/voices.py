"""The verb that keeps voices: voices save."""

from pathlib import Path
from typing import Annotated

import typer

from vqaudio.cli.console import Report
from vqaudio.cli.conversion import VOICE_SUFFIX, voice_in
from vqaudio.cli.options import (
    Device,
    DeviceOption,
    ForceOption,
    JsonOption,
    ModelOption,
    QuietOption,
    VerboseOption,
    app,
)

voices = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Voices to speak with, kept in small files.")
app.add_typer(voices, name="voices")


@voices.callback()
def _voices() -> None:
    pass  # without it, a program of one verb has no name for it


@voices.command(epilog="Example: vqaudio voices save ann one.wav two.wav")
def save(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The file to make; .voice is added where it is missing.")],
    references: Annotated[list[str], typer.Argument(metavar="REF", help="Sound files of one person, 3 s or more.")],
    model: ModelOption = "speech",
    device: DeviceOption = Device.auto,
    force: ForceOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    as_json: JsonOption = False,
) -> None:
    """Keeps the voice in some recordings, for --speaker NAME.voice. Only with the consent of whoever's voice it is."""
    import numpy as np

    from vqaudio.codecs.speech import load

    target = name if name.endswith(VOICE_SUFFIX) else name + VOICE_SUFFIX
    report = Report(quiet, as_json, verbose=verbose)
    with report.timed(f"loading {model}"):
        codec = load(model, device)
    heard = []
    for reference in references:
        with report.guard(reference), report.timed(reference):
            heard.append(voice_in(codec, reference, report))
    if heard and not report.failed:
        with report.guard(target):
            codec.save_voice(Path(target), np.mean(heard, axis=0, dtype=np.float32), overwrite=force)
            facts = {"output": target, "references": len(heard), "numbers": len(heard[0])}
            report.result(f"{target}: a voice, from {len(heard)} recordings", facts)
    report.finish()
