"""The verbs that train: prepare and train."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from vqaudio.cli.console import (
    Report,
    TrainingView,
    progress_bar,
)
from vqaudio.cli.options import Device, DeviceOption, ForceOption, JsonOption, QuietOption, VerboseOption, app
from vqaudio.errors import DataError


@app.command(epilog="Example: vqaudio prepare corpus/ -o shards/")
def prepare(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A folder of sounds or of pictures, a corpus as published, CIFAR-10's binary archive, or an .npz.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="SHARDS", help="The folder of shards to make.")],
    sample_rate_hz: Annotated[
        int, typer.Option("--sample-rate", metavar="HZ", min=1000, max=768000, help="The sample rate of the shards.")
    ] = 16000,
    bands: Annotated[
        int, typer.Option("--bands", metavar="N", min=2, max=513, help="Mel bands of the speech parameters.")
    ] = 80,
    hop: Annotated[
        int, typer.Option("--hop", metavar="SAMPLES", min=1, help="Samples from one frame of parameters to the next.")
    ] = 68,
    analysis: Annotated[
        bool,
        typer.Option(
            "--analysis/--no-analysis",
            help="Whether speech parameters (envelope and pitch, by WORLD) are worked out: some ten times real time a "
            "core. Models of the wave alone need none.",
        ),
    ] = True,
    force: ForceOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    as_json: JsonOption = False,
) -> None:
    """Packs speech or pictures for training. Speaker, or class, is a sub-folder's name, or a column of manifest.tsv.

    Bands, hop and analysis are for speech.
    """
    from vqaudio.io.image_corpora import holds_pictures
    from vqaudio.training.image_shards import prepare_pictures
    from vqaudio.training.packing import prepare as pack
    from vqaudio.training.shards import INDEX_FILE, Analysis

    if output.exists() and not force:
        raise DataError(f"{output} exists; use --force to overwrite it")
    if output.exists() and not (output / INDEX_FILE).is_file():  # the whole folder would go
        raise DataError(f"{output} is no folder of shards, and is not replaced; give another")
    report = Report(quiet, as_json, verbose=verbose)
    facts: dict[str, Any] = {"output": str(output)}
    if holds_pictures(source):
        packed = prepare_pictures(source, output, progress=report.tracked)
        failed, line = packed.failed, f"{output}: {packed.pictures} pictures, {packed.classes} classes"
        facts |= {"pictures": packed.pictures, "classes": packed.classes}
    else:
        wanted = Analysis(hop, bands) if analysis else None
        done = pack(source, output, sample_rate_hz, progress=report.tracked, analysis=wanted)
        failed = done.failed
        line = f"{output}: {done.utterances} utterances, {done.speakers} speakers, {done.hours:.2f} hours"
        facts |= {"utterances": done.utterances, "speakers": done.speakers, "hours": done.hours}
    for failure in failed:
        report.failure("", failure)
    report.result(line, facts | {"failed": list(failed)})
    report.finish()


@app.command(epilog="Example: vqaudio train speech.toml --data shards/ -o runs/mine --resume")
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="The model and its training.")],
    data: Annotated[Path, typer.Option("--data", metavar="SHARDS", help="What 'vqaudio prepare' made.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="RUN", help="The folder of the run.")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another value, e.g. train.phases.0.steps=100; repeatable."),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option("--start-from", metavar="M", help="A model whose weights the run begins with: to fine-tune it."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's newest checkpoint.")] = False,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    as_json: JsonOption = False,
) -> None:
    """Trains a model; prints the finished model's folder. Ctrl-C saves a checkpoint to resume from."""
    from vqaudio.models.config import load_run

    settings = load_run(config, tuple(changes or ()))
    from vqaudio.codecs.bundled import choose_device, model_folder
    from vqaudio.training.image_shards import open_shards
    from vqaudio.training.loop import train as run
    from vqaudio.training.loop import usable_precision

    if start_from is not None:
        beginning = str(model_folder(start_from))
        settings = replace(settings, train=replace(settings.train, start_from=beginning))
    report = Report(quiet, verbose=verbose)
    with report.timed(f"opening {data}"):
        shards = open_shards(data, settings.model, str(choose_device(device)) if settings.train.resident else "")
    if (wanted := settings.train.precision) != usable_precision(wanted, device):
        report.note(f"this processor has no arithmetic of 16 bits: precision 32-true in place of {wanted}")
    with _one_word_of_failing_disks(), progress_bar() if report.shows_bars() else nullcontext() as bar:
        view = TrainingView(report, bar)
        finished = run(settings, shards, output, resume, device, view)
        view.end_phase()
    if os.environ.get("RANK", "0") == "0":  # of the processes that torchrun may have started
        print(json.dumps({"model": str(finished), "run": str(output)}, indent=1) if as_json else finished)
    report.finish()


@contextmanager
def _one_word_of_failing_disks() -> Iterator[None]:
    """A thread that writes TensorBoard's events prints how it ends; what ended it is raised in the main thread, too."""
    hook = threading.excepthook

    def told(ended: threading.ExceptHookArgs) -> None:
        if not isinstance(ended.exc_value, OSError):
            hook(ended)

    threading.excepthook = told
    try:
        yield
    finally:
        threading.excepthook = hook
