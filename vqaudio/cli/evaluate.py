"""The work of ``vqaudio evaluate`` on a model of sound."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vqaudio.cli.console import Report, evaluation_lines, phone_line
from vqaudio.cli.conversion import Voices
from vqaudio.cli.jobs import load_ready
from vqaudio.cli.paths import binary_output
from vqaudio.errors import DataError

if TYPE_CHECKING:
    from vqaudio.codecs.speech import Codec
    from vqaudio.evaluation.phones import PhoneMap, PhoneWatch
    from vqaudio.evaluation.speech import Evaluation, EvaluationOptions, Utterance, Wave

PAGE = "index.html"


@dataclass(frozen=True)
class ReportOptions:
    """What comes of an evaluation besides the table.

    Attributes:
        json: a file for all figures.
        page: a folder for a page to listen to, and two for blind listening.
        listen: how many utterances of each group the page plays.
        speakers: names or sound files; the page has each utterance in these voices, too. Without any it takes the first
            two speakers of a model that has some.
        compare: a benchmark, whose codecs the page shows beside the model.
        phones: what the codes stand for, as well.
        force: to overwrite files.
    """

    json: Path | None = None
    page: Path | None = None
    listen: int = 0
    speakers: tuple[str, ...] = ()
    compare: Path | None = None
    phones: bool = False
    force: bool = False


def evaluation_plan(
    model: str, metrics: str | None, limit: int, seed: int, temperature: float | None, whisper: str
) -> "EvaluationOptions":
    """What the options ask for; ``metrics`` are names with commas between."""
    from vqaudio.codecs.bundled import model_folder
    from vqaudio.evaluation.metrics import default_cache
    from vqaudio.evaluation.speech import EvaluationOptions
    from vqaudio.models.sources import read_sources

    names = tuple(name.strip() for name in metrics.split(",")) if metrics is not None else None
    learnt_from = read_sources(model_folder(model))
    return EvaluationOptions(names, limit, seed, temperature, whisper, default_cache(), learnt_from)


def _converter(
    codec: "Codec", speakers: tuple[str, ...], plan: "EvaluationOptions", report: Report
) -> "Callable[[Utterance], dict[str, Wave]]":
    """Speaks an utterance in other voices; refuses unknown ones now."""
    voices = Voices(report)
    chosen = {speaker: voices.of(codec, speaker) for speaker in speakers or codec.config.speakers[:2]}
    for voice in chosen.values():
        codec.check_speaker(voice)

    def convert(utterance: "Utterance") -> "dict[str, Wave]":
        decode = partial(codec.decode, utterance.stream, seed=plan.seed, temperature=plan.temperature)
        return {f"converted to {Path(name).stem}": decode(speaker=voice)[0] for name, voice in chosen.items()}

    return convert


def evaluate_sound(
    model: str, device: str, data: Path, plan: "EvaluationOptions", wanted: ReportOptions, report: Report
) -> None:
    """Measures ``model`` on the corpus ``data`` (its folder or its manifest) and reports it."""
    name, corpus = Path(model).name, data.parent if data.name == "manifest.tsv" else data
    _check_corpus(corpus, plan, wanted)
    codec = load_ready(model, device, report)
    from vqaudio.evaluation.phones import phone_watch
    from vqaudio.evaluation.report import Gallery, listening_files, read_rivals, render
    from vqaudio.evaluation.speech import evaluate
    from vqaudio.io.atomic import atomic_files, atomic_write

    rivals = read_rivals(wanted.compare) if wanted.compare else []
    gallery = Gallery(wanted.listen if wanted.page else 0, _converter(codec, wanted.speakers, plan, report))
    listener = phone_watch(codec) if wanted.phones else None

    def watch(utterance: "Utterance") -> None:
        gallery.watch(utterance)
        if listener:
            listener.add(utterance.original, utterance.stream.tokens[0])

    with ExitStack() as files:  # refused now, if at all, and not after an hour's work
        document = files.enter_context(binary_output(str(wanted.json), wanted.force)) if wanted.json else None
        add = files.enter_context(atomic_files(wanted.page, overwrite=True)) if wanted.page else None
        page = files.enter_context(atomic_write(wanted.page / PAGE, wanted.force)) if wanted.page else None
        result = evaluate(codec, corpus, plan, report.tracked, watch)
        phones = _phone_map(listener, report) if listener else None
        if document:
            found = result.document() | ({"phones": phones.document()} if phones else {})
            document.write(json.dumps(found, indent=1).encode())
        if page and add:
            page.write(render(name, result, gallery, rivals, phones).encode())
            for place, content in listening_files(name, gallery.blind):  # in place of earlier ones, as the page is
                add(place, content)
    _tell(result, phones, wanted, report)


def _check_corpus(corpus: Path, plan: "EvaluationOptions", wanted: ReportOptions) -> None:
    """Refuses what cannot be measured on before any model is loaded."""
    from vqaudio.evaluation.corpus import check_transcripts, measurable_recordings

    recordings, _ = measurable_recordings(corpus, plan.limit, plan.learnt_from)
    if wanted.phones:
        check_transcripts(corpus, recordings)


def _phone_map(watch: "PhoneWatch", report: Report) -> "PhoneMap | None":
    """None, and a failure, where too little could be aligned: the rest of the evaluation stands."""
    try:
        return watch.result()
    except DataError as error:
        report.failure("--phones", str(error))
        return None


def _tell(result: "Evaluation", phones: "PhoneMap | None", wanted: ReportOptions, report: Report) -> None:
    for line in evaluation_lines(result):
        report.result(line, {})
    if phones:
        report.result(phone_line(phones), {})
    for line in result.not_measured:
        report.note(line)
    for line in result.failed:
        report.failure("", line)
    if wanted.page:
        report.note(f"the report is {wanted.page / PAGE}")
