"""The program, to which each file of verbs adds its own, and the options that several verbs share."""

from enum import StrEnum
from typing import Annotated

import typer


def refuse_given(context: typer.Context, why: str, *names: str) -> None:
    """Refuses the options ``names`` where the user gave them; ``why`` completes "--name ...".

    Raises:
        typer.BadParameter: one was given.
    """
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = next(one for one in context.command.params if one.name == name).opts[0]
            raise typer.BadParameter(f"{option} {why}: leave it out")


app = typer.Typer(
    help="A speech codec: a VQ-VAE turns sound into discrete tokens, and tokens into sound.",
    no_args_is_help=True,
    rich_markup_mode=None,  # rich's help would take a fifth of a second to import
    pretty_exceptions_enable=False,  # main() words them
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Device(StrEnum):
    """Where the convolutions run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class CoderWord(StrEnum):
    """How tokens become bytes."""

    prior = "prior"
    packed = "packed"


DeviceOption = Annotated[Device, typer.Option("--device", help="Where to compute; auto takes CUDA where there is one.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite what exists.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print only failures, and results asked for as JSON.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the results as one JSON document.")]
JobsOption = Annotated[
    int, typer.Option("--jobs", metavar="N", min=0, max=1024, help="Files that are worked on at once; 0 is one a core.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only say which input would become which result; nothing is read or written.")
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Also say, on standard error, how long each part of the work took.")
]
ModelOption = Annotated[str, typer.Option("--model", metavar="M", help="A bundled model's name or a folder.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Another seed, another rendering.")]
TemperatureOption = Annotated[
    float | None, typer.Option("--temperature", help="Above 0; less is more cautious. By default the model's own.")
]
LiveOption = Annotated[bool, typer.Option("--live", help="Standard input to standard output, while it comes.")]
GainOption = Annotated[
    str, typer.Option("--gain", metavar="auto|G", help="Live: the factor to the usual level, or adapted to the sound.")
]
SpeakerOption = Annotated[
    str | None,
    typer.Option(
        "--speaker", metavar="S", help="Who speaks, for a model with speakers: a name, or a sound file of anybody."
    ),
]
FormantsOption = Annotated[
    float, typer.Option("--formants", metavar="SEMITONES", help="Move the formants: up is smaller, down is larger.")
]
InputsArgument = Annotated[
    list[str], typer.Argument(metavar="INPUT", help="Files, folders or patterns such as '*.wav'; - is standard input.")
]
OutputOption = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="A file, a folder or - (standard output); a folder, made if need be, where there are several INPUTs. "
        "Left out, results lie beside the inputs.",
    ),
]
