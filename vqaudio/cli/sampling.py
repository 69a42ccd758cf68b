"""The verbs that need no input of one's own: sample and demo."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from vqaudio.cli.console import (
    Report,
)
from vqaudio.cli.conversion import Voices
from vqaudio.cli.jobs import (
    DecodeRequest,
    codes_sounds,
    decode_one,
    encode_one,
    load_ready,
    read_prompt,
    report_for,
    sample_targets,
    write_sample,
)
from vqaudio.cli.options import (
    Device,
    DeviceOption,
    ForceOption,
    JsonOption,
    ModelOption,
    QuietOption,
    SpeakerOption,
    VerboseOption,
    app,
    refuse_given,
)
from vqaudio.cli.paths import STANDARD, Job, check_targets
from vqaudio.cli.pictures import sample_pictures


@app.command(epilog="Example: vqaudio sample --seconds 5 --prompt talk.wav -o more.wav")
def sample(
    context: typer.Context,
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
    verbose: VerboseOption = False,
    as_json: JsonOption = False,
) -> None:
    """New speech, or new pictures, from the model's prior over its tokens."""
    if not codes_sounds(model):
        refuse_given(context, f"is for sounds, and {model} is a model of pictures", "seconds", "prompt", "speaker")
        jobs = [Job(STANDARD, output or "sample.png")]
        check_targets(jobs)
        report = report_for(jobs, quiet, as_json, verbose)
        from vqaudio.codecs.loading import load_pictures

        with report.timed(f"loading {model}"):
            images = load_pictures(model, device)
        sample_pictures(images, output, count, seed, temperature, top_p, label, force, report)
        report.finish()
        return
    refuse_given(context, f"is for pictures, and {model} is a model of sounds", "label")
    targets = sample_targets(output, count)
    jobs = [Job(STANDARD, target) for target in targets]
    check_targets(jobs)
    report = report_for(jobs, quiet, as_json, verbose)
    codec = load_ready(model, device, report)
    opening = read_prompt(codec, prompt) if prompt else None
    voice = Voices(report).of(codec, speaker)
    codec.check_speaker(voice)  # before the work rather than after it
    with report.progress("drawing tokens") as progress:
        streams = codec.sample(
            count,
            seconds=seconds,
            prompt=opening,
            seed=seed,
            temperature=temperature,
            top_p=top_p,
            progress=progress,
        )
    for target, stream in zip(targets, streams, strict=True):
        with report.guard(target):
            write_sample(codec, stream, target, seed, force, voice, report)
    report.finish()


@app.command(epilog="Example: vqaudio demo -o demo")
def demo(
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FOLDER", help="Where the results go; an earlier demo's are replaced."),
    ] = Path("vqaudio-demo"),
    model: ModelOption = "speech",
    device: DeviceOption = Device.auto,
    verbose: VerboseOption = False,
    as_json: JsonOption = False,
) -> None:
    """Encodes and decodes the sound that comes with the package, to hear and to measure."""
    from vqaudio.codecs.bundled import PRETRAINED

    report = Report(quiet=True, as_json=as_json, verbose=verbose)
    codec = load_ready(model, device, Report(quiet=False, verbose=verbose))
    codec.warm_coder(codec.default_coder())
    output.mkdir(parents=True, exist_ok=True)
    original = output / "original.flac"
    shutil.copyfile(PRETRAINED / "demo.flac", original)
    to_stream = Job(str(original), str(output / "demo.vqa"))
    to_sound = Job(to_stream.target, str(output / "decoded.wav"))
    encoded = encode_one(codec, to_stream, None, True, report)
    decoded = decode_one(lambda header: codec, to_sound, DecodeRequest(force=True), report)
    if as_json:
        report.finish()
        return
    print(f"original  {original}: {encoded['duration_s']:.2f} s")
    print(f"stream    {to_stream.target}: {encoded['bytes']} bytes, {encoded['bits_per_second'] / 1000:.2f} kb/s")
    print(f"decoded   {to_sound.target}")
    print(f"encoding  {encoded['times_real_time']:.1f} times real time")
    print(f"decoding  {decoded['times_real_time']:.1f} times real time")
    report.finish()
