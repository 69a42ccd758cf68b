"""The verb evaluate."""

from pathlib import Path
from typing import Annotated

import typer

from vqaudio.cli.console import (
    Report,
)
from vqaudio.cli.inputs import STANDARD
from vqaudio.cli.jobs import (
    codes_sounds,
)
from vqaudio.cli.options import Device, DeviceOption, ForceOption, QuietOption, VerboseOption, app, refuse_given
from vqaudio.cli.pictures import evaluate_images


@app.command(epilog="Example: vqaudio evaluate speech --data corpus/ --report page/ --limit 20")
def evaluate(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A bundled model's name or a folder.")],
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            metavar="CORPUS",
            help="A folder of sound files, or one with manifest.tsv; for models of pictures, what prepare takes.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write everything, file by file, as JSON; - is standard output."),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--report", metavar="FOLDER", help="Write a page to listen to (index.html), or pictures, there."),
    ] = None,
    listen: Annotated[
        int, typer.Option("--listen", min=0, metavar="N", help="Utterances of each group that the page plays.")
    ] = 3,
    speakers: Annotated[
        list[str] | None,
        typer.Option(
            "--speaker", metavar="S", help="A voice that the page also speaks in: a name, or a sound file; repeatable."
        ),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option("--compare", metavar="FILE", help="A benchmark's quality.json, for the page's plot of codecs."),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="NAMES",
            help="Only these, commas between: stoi, estoi, pesq, mel, pitch, speaker, distillmos, dnsmos, wer.",
        ),
    ] = None,
    phones: Annotated[
        bool, typer.Option("--phones", help="Also find which phone each code stands for; the corpus needs transcripts.")
    ] = False,
    whisper: Annotated[
        str,
        typer.Option("--whisper", metavar="M", help="Another recogniser for wer: a model of Whisper for CTranslate2."),
    ] = "",
    limit: Annotated[int, typer.Option("--limit", min=0, metavar="N", help="Files of each group; 0 takes all.")] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Of the decoder's draws.")] = 0,
    temperature: Annotated[float | None, typer.Option("--temperature", help="By default the model's own.")] = None,
    device: DeviceOption = Device.auto,
    force: ForceOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Codes and decodes a corpus, and measures it: true rate, likelihood, code usage, words, voice, quality.

    Of a model of pictures, --report gets pictures of what comes back and of new ones.
    """
    report = Report(quiet, standard_output_taken=str(output) == STANDARD, verbose=verbose)
    if not codes_sounds(model):
        of_sounds = ("listen", "speakers", "compare", "metrics", "phones", "whisper", "seed", "temperature")
        refuse_given(context, f"is for sounds, and {model} is a model of pictures", *of_sounds)
        evaluate_images(model, data, output, limit, page, device, force, report)
        report.finish()
        return
    from vqaudio.cli.evaluate import ReportOptions, evaluate_sound, evaluation_plan

    if page is None and (compare or speakers):
        raise typer.BadParameter("--compare and --speaker are for the page: give --report FOLDER")
    wanted = ReportOptions(output, page, listen, tuple(speakers or ()), compare, phones, force)
    how = evaluation_plan(model, metrics, limit, seed, temperature, whisper)
    evaluate_sound(model, device, data, how, wanted, report)
    report.finish()
