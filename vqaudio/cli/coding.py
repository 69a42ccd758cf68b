"""The verbs that code: encode, decode, convert."""

from functools import partial
from typing import Annotated

import typer

from vqaudio.cli.console import Report
from vqaudio.cli.conversion import CONVERTED, Voices, check_speakers, convert_one, plan_conversions, semitones_of
from vqaudio.cli.inputs import expanded, sound_and_picture_suffixes
from vqaudio.cli.jobs import (
    Codecs,
    DecodeRequest,
    Encoders,
    decode_one,
    load_ready,
    report_for,
)
from vqaudio.cli.live import check_standard, decode_live, encode_live, gain_of
from vqaudio.cli.many import dry_run, run_jobs
from vqaudio.cli.options import (
    CoderWord,
    Device,
    DeviceOption,
    DryRunOption,
    ForceOption,
    FormantsOption,
    GainOption,
    InputsArgument,
    JobsOption,
    JsonOption,
    LiveOption,
    ModelOption,
    OutputOption,
    QuietOption,
    SeedOption,
    SpeakerOption,
    TemperatureOption,
    VerboseOption,
    app,
    refuse_given,
)
from vqaudio.cli.paths import Job, decoded_suffix, make_folders, plan

STREAMS = (".vqa",)  # what decode takes out of a folder
_OF_MANY = ("jobs_at_once", "dry", "verbose")


@app.command(epilog="Example: vqaudio encode recordings/ -o coded/ --jobs 2")
def encode(
    context: typer.Context,
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
    live: LiveOption = False,
    rate: Annotated[
        int, typer.Option("--rate", metavar="HZ", min=1000, max=768000, help="Live: of sound without a header.")
    ] = 16000,
    channels: Annotated[int, typer.Option("--channels", min=1, max=1024, help="Live: of sound without a header.")] = 1,
    gain: GainOption = "auto",
    repeat: Annotated[
        int,
        typer.Option("--repeat", min=0, max=32, help="Live: quantizers that the next packet repeats, for losses."),
    ] = 0,
    device: DeviceOption = Device.auto,
    jobs_at_once: JobsOption = 1,
    dry: DryRunOption = False,
    force: ForceOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    as_json: JsonOption = False,
) -> None:
    """Sounds and pictures to .vqa streams: what libsndfile reads, at any rate, with any channels; what Pillow reads.

    --live takes 16-bit samples or a WAV from standard input and writes packets as soon as they are full.
    """
    if live:
        refuse_given(context, "does not apply to --live", "coder", "force", "as_json", *_OF_MANY)
        check_standard(inputs, output)
        encode_live(model or "speech", device, rate, channels, gain_of(gain), repeat, quiet)
        return
    refuse_given(context, "goes with --live", "rate", "channels", "gain", "repeat")
    jobs = plan(expanded(inputs, sound_and_picture_suffixes()), output, lambda source: ".vqa")
    report = report_for(jobs, quiet, as_json, verbose)
    if dry:
        dry_run([(job.name, job.target) for job in jobs], force, report)
        return
    encoders = Encoders(model, device, coder, report)
    make_folders(jobs, output)
    run_jobs(jobs, lambda job, part: encoders.encode(job, force, part), jobs_at_once, report)
    report.finish()


@app.command(epilog="Example: vqaudio decode talk.vqa -o again.wav")
def decode(
    context: typer.Context,
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
    pitch: Annotated[float, typer.Option("--pitch", metavar="SEMITONES", help="Move the pitch.")] = 0.0,
    formants: FormantsOption = 0.0,
    live: LiveOption = False,
    raw: Annotated[bool, typer.Option("--raw", help="Live: 16-bit samples without a header, not a WAV.")] = False,
    device: DeviceOption = Device.auto,
    jobs_at_once: JobsOption = 1,
    dry: DryRunOption = False,
    force: ForceOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    as_json: JsonOption = False,
) -> None:
    """Streams (.vqa) to sounds and pictures; OUT's suffix names the format, by default WAV of 16 bits, or PNG.

    Seed, temperature, rate, exact, speaker, pitch and formants are for sounds. --live takes the packets of encode
    --live from standard input and writes sound as soon as it is made.
    """
    if live:
        whole = ("temperature", "exact", "pitch", "formants", "force", "as_json")
        refuse_given(context, "does not apply to --live", *whole, *_OF_MANY)
        check_standard(inputs, output)
        DecodeRequest(rate=rate)  # refuses a bad rate
        report = Report(quiet, standard_output_taken=True)
        voice_of = partial(Voices(report).of, speaker=speaker)
        decode_live(Codecs(model, device, report), voice_of, seed, rate, raw, report)
        report.finish()
        return
    refuse_given(context, "goes with --live", "raw")
    jobs = plan(expanded(inputs, STREAMS), output, decoded_suffix)
    report = report_for(jobs, quiet, as_json, verbose)
    if dry:
        dry_run([(job.name, job.target) for job in jobs], force, report)
        return
    voices = Voices(report)
    who = partial(voices.of, speaker=speaker)
    request = DecodeRequest(seed, temperature, rate, exact, force, pitch, formants, "", who)
    codecs = Codecs(model, device, report)
    make_folders(jobs, output)
    run_jobs(jobs, lambda job, part: decode_one(codecs.of, job, request, part), jobs_at_once, report)
    report.finish()


@app.command(epilog="Example: vqaudio convert talk.wav --speaker somebody.wav -o said.wav")
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
    model: ModelOption = "speech",
    pitch: Annotated[
        str,
        typer.Option(
            "--pitch", metavar="auto|keep|SEMITONES", help="The speaker's own, the input's (for singing), or moved by."
        ),
    ] = "auto",
    formants: FormantsOption = 0.0,
    seed: SeedOption = 0,
    temperature: TemperatureOption = None,
    device: DeviceOption = Device.auto,
    jobs_at_once: JobsOption = 1,
    dry: DryRunOption = False,
    force: ForceOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    as_json: JsonOption = False,
) -> None:
    """The same words in another voice. Only with the consent of whoever's voice it is."""
    request = DecodeRequest(
        seed, temperature, force=force, pitch=semitones_of(pitch), formants=formants, comment=CONVERTED
    )
    conversions = plan_conversions(inputs, speakers, output)
    jobs = [Job(one.source, target) for one in conversions for _, target in one.targets]
    report = report_for(jobs, quiet, as_json, verbose)
    if dry:
        dry_run([(job.name, job.target) for job in jobs], force, report)
        return
    check_speakers(model, speakers)
    codec, voices = load_ready(model, device, report), Voices(report)
    if pitch != "auto" or formants:
        from vqaudio.codecs.pitch_shift import check_movable

        check_movable(codec.model)
    make_folders(jobs, output)
    keep = pitch == "keep"
    run_jobs(conversions, lambda one, part: convert_one(codec, one, request, keep, voices, part), jobs_at_once, report)
    report.finish()
