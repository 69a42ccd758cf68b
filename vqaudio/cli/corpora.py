"""The verbs for corpora of tokens: tokenize and detokenize."""

import re
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vqaudio.cli.console import Report
from vqaudio.cli.jobs import Codecs, sound_output
from vqaudio.cli.options import (
    Device,
    DeviceOption,
    ForceOption,
    JsonOption,
    ModelOption,
    QuietOption,
    SeedOption,
    VerboseOption,
    app,
)
from vqaudio.cli.progress import times_real_time
from vqaudio.errors import ModelError

if TYPE_CHECKING:
    from vqaudio.arrays import Block
    from vqaudio.codecs.corpora import Part, ShardDone
    from vqaudio.codecs.speech import Codec
    from vqaudio.io.token_tables import TokenRow

_MOST_FAILURES = 10  # named on the terminal; errors.parquet has them all


class TableFormat(StrEnum):
    """What holds the tokens."""

    parquet = "parquet"
    arrow = "arrow"
    webdataset = "webdataset"


@app.command(epilog="Example: vqaudio tokenize corpus/ -o tokens/ --workers 2")
def tokenize(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A folder of sounds or a corpus as published; a manifest (.tsv, .csv, .jsonl, .parquet); WebDataset "
            "tars; a folder of Hugging Face's datasets.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="The folder of tokens to make.")],
    format: Annotated[TableFormat, typer.Option("--format", help="What holds the tokens.")] = TableFormat.parquet,
    model: ModelOption = "speech",
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", min=0, help="Processes of one thread; 0 is one a core.")
    ] = 0,
    shard_rows: Annotated[
        int, typer.Option("--shard-rows", metavar="N", min=1, help="Utterances in a file: what a kill can cost.")
    ] = 1000,
    part: Annotated[
        str, typer.Option("--part", metavar="I/N", help="Only each N-th shard from the I-th on, for N machines.")
    ] = "1/1",
    ray: Annotated[
        str | None,
        typer.Option("--ray", metavar="ADDRESS", help="On a Ray cluster: its address, auto, or local to start one."),
    ] = None,
    device: DeviceOption = Device.auto,
    force: Annotated[
        bool, typer.Option("--force", help="Make shards anew whose utterances have changed since they were made.")
    ] = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    as_json: JsonOption = False,
) -> None:
    """A corpus to tables of tokens, an utterance a row. Started again after a kill, it goes on where it was.

    What cannot be read is listed in OUT/errors.parquet, and does not stop the rest.
    """
    chosen = _part(part)
    from vqaudio.codecs.bundled import choose_device
    from vqaudio.codecs.corpora import encoder_for, run_facts, tokenize_corpus
    from vqaudio.io.extras import needed

    needed("pyarrow", "corpora", "tokenize")
    report = Report(quiet, as_json, verbose=verbose)
    facts = run_facts(model, format.value, shard_rows)
    started = time.perf_counter()
    with report.timed(f"starting workers for {model}"):
        encoder = encoder_for(model, str(choose_device(device)), workers, ray)
    done = tokenize_corpus(source, output, encoder, facts, chosen, force, lambda shard: _tell(shard, report))
    seconds = time.perf_counter() - started
    if done.failures:
        report.failure(str(output), f"{done.failures} utterances could not be read; errors.parquet says why")
    if not done.complete:
        report.note(f"{output}: part {part} is done, others are missing; the last to end writes index.json")
    figures = {
        "output": str(output),
        "shards": done.shards,
        "skipped": done.skipped,
        "utterances": done.utterances,
        "duration_s": done.audio_s,
        "failures": done.failures,
        "complete": done.complete,
        "times_real_time": times_real_time(done.audio_s, seconds),
    }
    before = f", {done.skipped} of {done.shards} shards were there" if done.skipped else ""
    hours = f"{done.audio_s / 3600:.2f} hours, {figures['times_real_time']:.1f} times real time"
    report.result(f"{output}: {done.utterances} utterances, {hours}{before}", figures)
    report.finish()


def _part(text: str) -> "Part":
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise typer.BadParameter(f"{text!r} is no part: give I/N with I from 1 to N, such as 3/8")
    from vqaudio.codecs.corpora import Part

    return Part(int(found[1]) - 1, int(found[2]))


def _tell(done: "ShardDone", report: Report) -> None:
    for failure in done.failures[:_MOST_FAILURES]:
        report.failure(failure.path or failure.id, failure.reason)
    if len(done.failures) > _MOST_FAILURES:
        report.failure(f"shard {done.number}", f"{len(done.failures) - _MOST_FAILURES} more could not be read")
    rate = done.audio_s / done.seconds if done.seconds else 0.0
    report.took(f"shard {done.number}", done.seconds)
    report.note(f"shard {done.number}: {done.utterances} utterances, {done.audio_s:.0f} s, {rate:.1f} times real time")


@app.command(epilog="Example: vqaudio detokenize tokens/ -o sounds/ --id utterance-7")
def detokenize(
    source: Annotated[
        Path, typer.Argument(metavar="TOKENS", help="What 'tokenize' made: the folder, or one file of a table.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="The folder of sounds to make.")],
    ids: Annotated[
        list[str] | None, typer.Option("--id", metavar="ID", help="Only this utterance; repeatable.")
    ] = None,
    suffix: Annotated[
        str, typer.Option("--format", metavar="SUFFIX", help="Of the sounds: wav, flac, ogg ...")
    ] = "wav",
    model: Annotated[
        str | None, typer.Option("--model", metavar="M", help="The model; by default the bundled one that is needed.")
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = Device.auto,
    force: ForceOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    as_json: JsonOption = False,
) -> None:
    """Tables of tokens to sounds, each in OUT under its id, with the original's length and sample rate."""
    from vqaudio.codecs.tokenizing import detokenize as sound_of
    from vqaudio.io.token_tables import read_rows

    report = Report(quiet, as_json, verbose=verbose)
    wanted, codecs = set(ids or ()), Codecs(model, device, report)
    for row in read_rows(source):
        if wanted and row.id not in wanted:
            continue
        with report.guard(row.id):
            target = sound_path(output, row.id, suffix)
            codec = _codec_of(codecs, row)
            target.parent.mkdir(parents=True, exist_ok=True)
            with report.timed(row.id):
                _write(target, row, sound_of(codec, row, seed), force, report)
        wanted.discard(row.id)
        if ids and not wanted:
            break
    for missing in sorted(wanted):
        report.failure(missing, f"is no utterance of {source}; check the id")
    report.finish()


def _codec_of(codecs: Codecs, row: "TokenRow") -> "Codec":
    from vqaudio.codecs.speech import Codec
    from vqaudio.codecs.tokenizing import fingerprint_of

    codec = codecs.made_with(fingerprint_of(row.model))
    if not isinstance(codec, Codec):
        raise ModelError("the model codes pictures; give one of sounds")
    return codec


def _write(target: Path, row: "TokenRow", wave: "Block", force: bool, report: Report) -> None:
    with sound_output(str(target), force, row.sample_rate, 1) as writer:
        writer.write(wave)
    facts = {"id": row.id, "output": str(target), "duration_s": row.duration}
    report.result(f"{target}: {row.duration:.2f} s", facts)


def sound_path(folder: Path, name: str, suffix: str) -> Path:
    """Where the sound of the utterance ``name`` goes: below ``folder``, whatever the name holds."""
    parts = [part for part in re.split(r"[/\\]+", name) if part not in ("", ".", "..")]
    clean = [re.sub(r"[\x00-\x1f:*?\"<>|]", "_", part) for part in parts] or ["utterance"]
    return folder.joinpath(*clean[:-1], f"{clean[-1]}.{suffix.lstrip('.')}")
