"""The work of ``vqaudio evaluate`` on a model of sound."""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vqaudio.console import Report, evaluation_lines
from vqaudio.jobs import load_ready

if TYPE_CHECKING:
    from vqaudio.evaluate import Plan

PAGE = "index.html"


@dataclass(frozen=True)
class Wanted:
    """What comes of an evaluation besides the table: a JSON file, and a folder for a page with ``listen`` utterances of
    each group and the codecs of the benchmark in ``compare``; each may be left out."""

    json: Path | None = None
    page: Path | None = None
    listen: int = 0
    compare: Path | None = None
    force: bool = False


def evaluate_sound(model: str, device: str, data: Path, plan: "Plan", wanted: Wanted, report: Report) -> None:
    """Scores ``model`` on the corpus ``data`` (its folder or its manifest) and reports it."""
    codec = load_ready(model, device, report)
    from vqaudio.evaluate import evaluate
    from vqaudio.output import atomic_write
    from vqaudio.report import Gallery, read_rivals, render

    rivals = read_rivals(wanted.compare) if wanted.compare else []
    gallery = Gallery(wanted.listen if wanted.page else 0)
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
