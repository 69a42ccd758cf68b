"""The work of ``vqaudio evaluate`` on a model of sound."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vqaudio.cli.console import Report, evaluation_lines
from vqaudio.cli.conversion import Voices
from vqaudio.cli.jobs import load_ready

if TYPE_CHECKING:
    from vqaudio.codecs.speech import Codec
    from vqaudio.evaluation.speech import Plan, Utterance, Wave

PAGE = "index.html"


@dataclass(frozen=True)
class Wanted:
    """What comes of an evaluation besides the table.

    Attributes:
        json: a file for all figures.
        page: a folder for a page to listen to.
        listen: how many utterances of each group the page plays.
        speakers: names or sound files; the page has each utterance in these voices, too. Without any it takes the first
            two speakers of a model that has some.
        compare: a benchmark, whose codecs the page shows beside the model.
        force: to overwrite files.
    """

    json: Path | None = None
    page: Path | None = None
    listen: int = 0
    speakers: tuple[str, ...] = ()
    compare: Path | None = None
    force: bool = False


def _converter(
    codec: "Codec", speakers: tuple[str, ...], plan: "Plan", report: Report
) -> "Callable[[Utterance], dict[str, Wave]]":
    """Speaks an utterance in other voices; refuses unknown ones now."""
    voices = Voices(report)
    chosen = {speaker: voices.of(codec, speaker) for speaker in speakers or codec.config.speakers[:2]}
    for voice in chosen.values():
        codec.check_speaker(voice)

    def convert(utterance: "Utterance") -> "dict[str, Wave]":
        decode = partial(codec.decode, utterance.stream, plan.seed, plan.temperature)
        return {f"converted to {Path(name).stem}": decode(speaker=voice)[0] for name, voice in chosen.items()}

    return convert


def evaluate_sound(model: str, device: str, data: Path, plan: "Plan", wanted: Wanted, report: Report) -> None:
    """Scores ``model`` on the corpus ``data`` (its folder or its manifest) and reports it."""
    codec = load_ready(model, device, report)
    from vqaudio.evaluation.report import Gallery, read_rivals, render
    from vqaudio.evaluation.speech import evaluate
    from vqaudio.io.atomic import atomic_write

    rivals = read_rivals(wanted.compare) if wanted.compare else []
    gallery = Gallery(wanted.listen if wanted.page else 0, _converter(codec, wanted.speakers, plan, report))
    corpus = data.parent if data.name == "manifest.tsv" else data
    if wanted.page:
        wanted.page.mkdir(exist_ok=True)
    with ExitStack() as files:  # refused now, if at all, and not after an hour's work
        document = files.enter_context(atomic_write(wanted.json, wanted.force)) if wanted.json else None
        page = files.enter_context(atomic_write(wanted.page / PAGE, wanted.force)) if wanted.page else None
        result = evaluate(codec, corpus, plan, report.tracked, gallery.watch)
        if document:
            document.write(json.dumps(result.document(), indent=1).encode())
        if page:
            page.write(render(Path(model).name, result, gallery, rivals).encode())
    for line in evaluation_lines(result):
        report.result(line, {})
    for line in result.not_measured:
        report.note(line)
    for line in result.failed:
        report.failure("", line)
    if wanted.page:
        report.note(f"the report is {wanted.page / PAGE}")
