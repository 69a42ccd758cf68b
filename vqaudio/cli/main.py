"""The command line: its verbs and their options.

Exit codes: 0 when all went well, 1 when anything failed, 2 on wrong usage, 130 after Ctrl-C. Whatever is heavy is
imported in the function that needs it, so that ``--help`` comes at once.
"""

import io
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from vqaudio import __version__
from vqaudio.cli.console import (
    Report,
    TrainingView,
    complain,
    is_broken_pipe,
    progress_bar,
    trace,
    words_for,
)
from vqaudio.cli.image_jobs import evaluate_images, picture_stream_facts, sample_pictures
from vqaudio.cli.jobs import (
    Codecs,
    Encoders,
    Wishes,
    codes_sounds,
    damage_facts,
    decode_one,
    encode_one,
    load_ready,
    read_prompt,
    report_damage,
    report_for,
    sample_targets,
    write_sample,
)
from vqaudio.cli.paths import STANDARD, Job, binary_input, decoded_suffix, make_folders, plan
from vqaudio.codecs.conversion import Voices, convert_one, plan_conversions
from vqaudio.errors import DataError, ModelError

app = typer.Typer(
    help="A speech codec: a VQ-VAE whose tokens take 2 to 3 kb/s, and a WaveNet that speaks them.",
    add_completion=False,
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
ModelOption = Annotated[str, typer.Option("--model", metavar="M", help="A bundled model's name or a folder.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Another seed, another rendering.")]
TemperatureOption = Annotated[
    float | None, typer.Option("--temperature", help="Above 0; less is more cautious. By default the model's own.")
]
SpeakerOption = Annotated[
    str | None,
    typer.Option(
        "--speaker", metavar="S", help="Who speaks, for a model with speakers: a name, or a sound file of anybody."
    ),
]
InputsArgument = Annotated[list[str], typer.Argument(metavar="INPUT", help="Files; - is standard input.")]
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


# ------------------------------------------------------------------------------------------------ encode and decode


@app.command()
def encode(
    inputs: InputsArgument,
    output: OutputOption = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="M", help="A bundled model's name or a folder: by default speech, or images."),
    ] = None,
    coder: Annotated[
        CoderWord | None,
        typer.Option("--coder", help="How the tokens are written: by default with the prior where the model has one."),
    ] = None,
    device: DeviceOption = Device.auto,
    force: ForceOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Sounds and pictures to .vqa streams: what libsndfile reads, at any rate, with any channels; what Pillow reads."""
    jobs = plan(inputs, output, lambda source: ".vqa")
    report = report_for(jobs, quiet, as_json)
    encoders = Encoders(model, device, coder, report)
    make_folders(jobs, output)
    for job in jobs:
        with report.guard(job.name):
            encoders.encode(job, force)
    report.finish()


@app.command()
def decode(
    inputs: InputsArgument,
    output: OutputOption = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="M", help="The model; by default the bundled one that is needed.")
    ] = None,
    seed: SeedOption = 0,
    temperature: TemperatureOption = None,
    rate: Annotated[
        str,
        typer.Option(
            "--rate",
            metavar="codec|original|HZ",
            help="The result's sample rate: by default the original's, with exactly as many samples.",
        ),
    ] = "original",
    exact: Annotated[
        bool, typer.Option("--exact", help="Strictly from first to last sample, not segments side by side: slower.")
    ] = False,
    speaker: SpeakerOption = None,
    device: DeviceOption = Device.auto,
    force: ForceOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Streams (.vqa) to sounds and pictures; OUT's suffix names the format, by default WAV of 16 bits, or PNG.

    Seed, temperature, rate, exact and speaker are for sounds.
    """
    jobs = plan(inputs, output, decoded_suffix)
    report = report_for(jobs, quiet, as_json)
    voices = Voices(report)
    wishes = Wishes(seed, temperature, rate, exact, force, lambda codec: voices.of(codec, speaker))
    codecs = Codecs(model, device, report)
    make_folders(jobs, output)
    for job in jobs:
        with report.guard(job.name):
            decode_one(codecs.of, job, wishes, report)
    report.finish()


@app.command()
def convert(
    inputs: InputsArgument,
    speakers: Annotated[
        list[str],
        typer.Option("--speaker", metavar="S", help="Who is to speak: a name, or a sound file of anybody; repeatable."),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="A file, a folder or - (standard output); a folder, made if need be, where there are several results. "
            "Left out, INPUT-S.wav lies beside INPUT.",
        ),
    ] = None,
    model: ModelOption = "voices",
    seed: SeedOption = 0,
    temperature: TemperatureOption = None,
    device: DeviceOption = Device.auto,
    force: ForceOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """The same words in another voice. Only with the consent of whoever's voice it is."""
    conversions = plan_conversions(inputs, speakers, output)
    jobs = [Job(one.source, target) for one in conversions for _, target in one.targets]
    report = report_for(jobs, quiet, as_json)
    codec, voices = load_ready(model, device, report), Voices(report)
    make_folders(jobs, output)
    wishes = Wishes(seed, temperature, force=force)
    for one in conversions:
        with report.guard(Job(one.source, "").name):
            convert_one(codec, one, wishes, voices, report)
    report.finish()


# ----------------------------------------------------------------------------------------------------- new speech


@app.command()
def sample(
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="A sound file or a stream (.vqa); with --count a folder. By default sample.wav or the folder samples; "
            "sample.png for pictures, which with --count lie side by side in one file.",
        ),
    ] = None,
    model: ModelOption = "speech",
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", help="How much new sound to draw.")] = 10.0,
    count: Annotated[int, typer.Option("--count", metavar="N", help="How many samples.")] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Another seed, other speech.")] = 0,
    temperature: Annotated[float, typer.Option("--temperature", help="Above 0; less keeps to what is likely.")] = 1.0,
    top_p: Annotated[float, typer.Option("--top-p", help="Draw from the likeliest tokens with this share.")] = 1.0,
    prompt: Annotated[
        str | None, typer.Option("--prompt", metavar="FILE", help="A sound file or stream to go on from.")
    ] = None,
    speaker: SpeakerOption = None,
    label: Annotated[
        str | None,
        typer.Option("--label", metavar="CLASS", help="The class of the pictures, for a model that knows some."),
    ] = None,
    device: DeviceOption = Device.auto,
    force: ForceOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """New speech, or new pictures, from the model's prior over its tokens."""
    if not codes_sounds(model):
        report = report_for([Job(model, output or "sample.png")], quiet, as_json)
        from vqaudio.codecs.image import load_images

        images = load_images(model, device)
        sample_pictures(images, output, count, seed, temperature, top_p, label, force, report)
        report.finish()
        return
    targets = sample_targets(output, count)
    report = Report(quiet, as_json)
    codec = load_ready(model, device, report)
    from vqaudio.codecs.generation import generate

    opening = read_prompt(codec, prompt) if prompt else None
    voice = Voices(report).of(codec, speaker)
    codec.check_speaker(voice)  # before the work rather than after it
    with report.progress("drawing tokens") as progress:
        streams = generate(codec, seconds, count, seed, temperature, top_p, opening, progress)
    for target, stream in zip(targets, streams, strict=True):
        with report.guard(target):
            write_sample(codec, stream, target, seed, force, voice, report)
    report.finish()


# --------------------------------------------------------------------------------------------------------- evaluate


@app.command()
def evaluate(
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
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything, file by file, as JSON.")
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
    scores: Annotated[
        str | None,
        typer.Option(
            "--scores",
            metavar="NAMES",
            help="Only these, commas between: stoi, estoi, pesq, mel, pitch, speaker, wer (the last three are slow).",
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, metavar="N", help="Files of each group; 0 takes all.")] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Of the decoder's draws.")] = 0,
    temperature: Annotated[float | None, typer.Option("--temperature", help="By default the model's own.")] = None,
    device: DeviceOption = Device.auto,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Codes and decodes a corpus, and scores it: true rate, likelihood, code usage, words, voice, quality.

    Of a model of pictures, --report gets pictures of what comes back and of new ones.
    """
    report = Report(quiet)
    if not codes_sounds(model):
        evaluate_images(model, data, output, limit, page, device, force, report)
        report.finish()
        return
    from vqaudio.cli.evaluate import Wanted, evaluate_sound
    from vqaudio.evaluation.speech import Plan

    if page is None and (compare or speakers):
        raise typer.BadParameter("--compare and --speaker are for the page: give --report FOLDER")
    names = tuple(name.strip() for name in scores.split(",")) if scores is not None else None
    wanted = Wanted(output, page, listen, tuple(speakers or ()), compare, force)
    evaluate_sound(model, device, data, Plan(names, limit, seed, temperature), wanted, report)
    report.finish()


# -------------------------------------------------------------------------------------------------- info and models


@app.command()
def info(
    what: Annotated[str, typer.Argument(metavar="FILE|MODEL", help="A stream, a bundled model's name or its folder.")],
    as_json: JsonOption = False,
) -> None:
    """What a stream or a model is: sizes, true bit rate, damage."""
    report = Report(quiet=False)
    with report.guard(what):
        is_stream = what == STANDARD or os.path.isfile(what)
        facts = _stream_facts(what, report) if is_stream else _model_facts(what)
        print(json.dumps(facts, indent=1) if as_json else _as_lines(facts))
    report.finish()


def _as_lines(facts: dict[str, Any]) -> str:
    """``name: value`` lines of what is known; nested values as JSON."""
    facts = {name: value for name, value in facts.items() if value not in (None, "", (), [])}
    width = max(map(len, facts))
    words = {
        name: json.dumps(value) if isinstance(value, dict | list | tuple) else value for name, value in facts.items()
    }
    words = {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in words.items()}
    return "\n".join(f"{name.replace('_', ' '):<{width}}  {value}" for name, value in words.items())


def _stream_facts(source: str, report: Report) -> dict[str, Any]:
    from vqaudio.bitstream.container import Modality
    from vqaudio.codecs.transcode import OpenStream, stream_facts

    with binary_input(source) as file:
        stream = OpenStream(file)
        if stream.reader.header.modality is Modality.IMAGE:
            return picture_stream_facts(stream, source, report)
        facts = stream_facts(stream)
    coded, header = facts.coded, facts.coded.header
    report_damage(coded, source, report)
    return {
        "duration_s": coded.duration_s,
        "samples": header.shape[0],
        "channels": header.channels,
        "sample_rate_hz": header.sample_rate_hz,
        "bytes": coded.stream_bytes,
        "bits_per_second": coded.bits_per_second,
        "raw_bits_per_second": header.tokens * header.channels * header.bits / coded.duration_s
        if header.tokens
        else None,
        "tokens": header.tokens,
        "codes_used": facts.codes_used,
        "codebook_size": header.codebook_size,
        "entropy_bits": facts.entropy_bits,
        "coder": header.coder.name.lower(),
        "model": facts.model,
        "model_sha256": header.model_sha256.hex(),
        "damage": damage_facts(coded),
        "messages": list(coded.messages),
    }


def _model_facts(model: str) -> dict[str, Any]:
    from vqaudio.codecs.loading import facts_of
    from vqaudio.codecs.speech import model_folder

    try:
        folder = model_folder(model)
    except ModelError as error:
        raise ModelError(f"{error}, or the path of a stream that exists") from None
    return asdict(facts_of(folder))


@app.command()
def models(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="A bundled model or a folder, to list its speakers.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """The models that come with the package, or the speakers of one."""
    from vqaudio.codecs.speech import bundled

    if model is not None:
        _list_speakers(_model_facts(model), as_json)
        return
    found = [_model_facts(name) for name in bundled()]
    if as_json:
        print(json.dumps({"models": found}, indent=1))
        return
    print(f"{'name':<12} {'Hz':>7} {'tokens/s':>9} {'codes':>6} {'kb/s':>6} {'parameters':>11} {'MB':>6}  speakers")
    for facts in found:
        size = f"{facts['parameters']:>11} {facts['size_bytes'] / 1e6:>6.1f}"
        if "tile" in facts:
            what = f"pictures: {facts['bits_per_pixel']:.2f} bits a pixel in tiles of {facts['tile']} x {facts['tile']}"
            print(f"{facts['name']:<12} {'-':>7} {'-':>9} {facts['codebook_size']:>6} {'-':>6} {size}  {what}")
            continue
        code = f"{facts['tokens_per_second']:>9.1f} {facts['codebook_size']:>6} {facts['bits_per_second'] / 1000:>6.2f}"
        print(f"{facts['name']:<12} {facts['sample_rate_hz']:>7} {code} {size}  {len(facts['speakers']) or 'any'}")


def _list_speakers(facts: dict[str, Any], as_json: bool) -> None:
    """Those with a minute of training and more a line each, then the names of the others."""
    nothing_known = [{"name": name, "gender": "", "minutes": 0.0} for name in facts.get("speakers", ())]
    known = facts["training"].get("speakers", nothing_known)
    licence = facts["training"].get("licence", "")
    if as_json:
        print(json.dumps({"model": facts["name"], "licence": licence, "speakers": known}, indent=1))
        return
    if not known:
        print(f"{facts['name']} knows no speakers")
        return
    ordered = sorted(known, key=lambda one: -one["minutes"])
    print(f"{'speaker':<10} {'gender':<7} {'minutes':>7}")
    for one in ordered:
        if one["minutes"] >= 1:
            print(f"{one['name']:<10} {one['gender']:<7} {one['minutes']:>7.1f}")
    others = [f"{one['name']} {one['gender']}".strip() for one in ordered if one["minutes"] < 1]
    if others:
        print(f"with less than a minute each: {', '.join(others)}")
    if licence:
        print(licence)


# ------------------------------------------------------------------------------------------------ prepare and train


@app.command()
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
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Packs speech or pictures for training. Speaker, or class, is a sub-folder's name, or a column of manifest.tsv."""
    from vqaudio.training.image_corpora import holds_pictures
    from vqaudio.training.image_shards import prepare_pictures
    from vqaudio.training.shards import INDEX_FILE
    from vqaudio.training.shards import prepare as pack

    if output.exists() and not force:
        raise DataError(f"{output} exists; use --force to overwrite it")
    if output.exists() and not (output / INDEX_FILE).is_file():  # the whole folder would go
        raise DataError(f"{output} is no folder of shards, and is not replaced; give another")
    report = Report(quiet)
    if holds_pictures(source):
        packed = prepare_pictures(source, output, progress=report.tracked)
        failed, line = packed.failed, f"{output}: {packed.pictures} pictures, {packed.classes} classes"
    else:
        done = pack(source, output, sample_rate_hz, progress=report.tracked)
        failed = done.failed
        line = f"{output}: {done.utterances} utterances, {done.speakers} speakers, {done.hours:.2f} hours"
    for failure in failed:
        report.failure("", failure)
    report.result(line, {})
    report.finish()


@app.command()
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="The model and its training.")],
    data: Annotated[Path, typer.Option("--data", metavar="SHARDS", help="What 'vqaudio prepare' made.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="RUN", help="The folder of the run.")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another value, e.g. train.phases.0.steps=100; repeatable."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's newest checkpoint.")] = False,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
) -> None:
    """Trains a model; prints the finished model's folder. Ctrl-C saves a checkpoint to resume from."""
    from vqaudio.models.config import load_run

    settings = load_run(config, tuple(changes or ()))
    from vqaudio.training.image_shards import open_shards
    from vqaudio.training.loop import train as run

    report = Report(quiet)
    with progress_bar() if report.shows_bars() else nullcontext() as bar:
        finished = run(settings, open_shards(data, settings.model), output, resume, device, TrainingView(report, bar))
    if os.environ.get("RANK", "0") == "0":  # of the processes that torchrun may have started
        print(finished)


# --------------------------------------------------------------------------------------------------------------- demo


@app.command()
def demo(
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FOLDER", help="Where the results go; an earlier demo's are replaced."),
    ] = Path("vqaudio-demo"),
    model: ModelOption = "speech",
    device: DeviceOption = Device.auto,
) -> None:
    """Encodes and decodes the sound that comes with the package, to hear and to measure."""
    from vqaudio.codecs.speech import PRETRAINED

    report = Report(quiet=True)
    codec = load_ready(model, device, Report(quiet=False))
    codec.warm_coder(codec.default_coder())
    output.mkdir(parents=True, exist_ok=True)
    original = output / "original.flac"
    shutil.copyfile(PRETRAINED / "demo.flac", original)
    to_stream = Job(str(original), str(output / "demo.vqa"))
    to_sound = Job(to_stream.target, str(output / "decoded.wav"))
    encoded = encode_one(codec, to_stream, None, True, report)
    decoded = decode_one(lambda header: codec, to_sound, Wishes(force=True), report)
    print(f"original  {original}: {encoded['duration_s']:.2f} s")
    print(f"stream    {to_stream.target}: {encoded['bytes']} bytes, {encoded['bits_per_second'] / 1000:.2f} kb/s")
    print(f"decoded   {to_sound.target}")
    print(f"encoding  {encoded['times_real_time']:.1f} times real time")
    print(f"decoding  {decoded['times_real_time']:.1f} times real time")


# --------------------------------------------------------------------------------------------------------- the program


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"vqaudio {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


class _Terminated(BaseException):
    """SIGTERM, as an exception: half-written files are then removed."""


@contextmanager
def _sigterm_as_exception() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise _Terminated

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _run(arguments: list[str] | None) -> int:
    """Runs the program and gives its exit code, whatever happens."""
    try:
        app(args=arguments, prog_name="vqaudio")
        return 0
    except SystemExit as end:  # how typer ends, also after wrong usage
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except _Terminated:
        return 128 + signal.SIGTERM
    except Exception as error:
        if not is_broken_pipe(error):
            trace()
            complain(words_for(error))
        return 1


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line on ``arguments`` (by default the program's own) and returns its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no text
    with _sigterm_as_exception():
        code = _run(arguments)
    try:
        print(end="", flush=True)
    except OSError as error:
        if not is_broken_pipe(error):
            complain(words_for(error), "standard output")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the interpreter's own last flush
        code = code or 1
    return code
