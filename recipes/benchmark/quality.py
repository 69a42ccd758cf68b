"""This codec beside others over the same utterances: quality.json, quality.md and quality.png.

python recipes/benchmark/quality.py CORPUS

Needs 'vqaudio[evaluate]'; other codecs are Debian's codec2, speex and opus-tools. What metrics find is kept by
checksum: a second run measures only what changed. At its end the tables of README, cards and docs are written anew
(tables.py).
"""

import argparse
import json
import multiprocessing
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from programs import PROGRAMS, Coded
from provenance import machine, versions
from quality_tables import as_markdown
from rich.progress import track
from systems import System, all_systems

from vqaudio.codecs.bundled import model_folder
from vqaudio.errors import VqaudioError
from vqaudio.evaluation.corpus import measurable_recordings, read_original
from vqaudio.evaluation.metrics import METRICS, Figures, MetricCache, Ruler, align, default_cache, difference, summary
from vqaudio.evaluation.report import ListeningCase, listening_files, read_rivals
from vqaudio.evaluation.report.pictures import rate_quality_png
from vqaudio.evaluation.speech import chosen_metrics, strict
from vqaudio.io.corpora import Recording
from vqaudio.models.sources import read_sources

RATE_HZ = 16000  # of the metrics
RESULTS = Path(__file__).parent / "results"
COMPARED = ("distillmos", "dnsmos", "word_error_rate", "stoi", "estoi", "pesq_wb", "speaker_similarity")


@dataclass(frozen=True)
class Task:
    """What a worker has to know."""

    model: str
    names: tuple[str, ...]
    cache: Path
    whisper: str
    sounds: bool  # whether they are wanted back


@dataclass(frozen=True)
class Measured:
    """One recording: figures, and perhaps sounds, of each system."""

    recording: Recording
    seconds: float
    figures: dict[str, Figures]
    sounds: dict[str, Any]


@cache
def tools(task: Task) -> tuple[list[System], Ruler]:
    """Of this process: the systems that are there, and the ruler."""
    systems = [system for system in all_systems(task.model) if system.absent is None]
    return systems, Ruler(task.names, MetricCache(task.cache), task.whisper)


def measure(task: Task, recording: Recording) -> Measured:
    """Every system through every metric."""
    return measure_recording(task, *tools(task), recording)


def measure_recording(task: Task, systems: list[System], ruler: Ruler, recording: Recording) -> Measured:
    """``systems`` through every metric of ``ruler``."""
    original = read_original(recording, RATE_HZ)
    seconds = len(original.wave) / RATE_HZ
    figures, sounds = {}, {}
    for system in systems:
        coded = system.through(original.wave, RATE_HZ)
        figures[system.name] = rates(coded, seconds) | ruler.measure(original, coded.wave)
        if task.sounds:
            sounds[system.name] = align(original.wave, coded.wave, RATE_HZ)
    return Measured(recording, seconds, figures, sounds)


def rates(coded: Coded, seconds: float) -> Figures:
    """Bits a second of the sound, where it was coded."""
    counts = {
        "bits_per_second": coded.file_bytes,
        "payload_bits_per_second": coded.payload_bytes,
        "packed_bits_per_second": coded.packed_bytes,
    }
    return {name: 8 * count / seconds for name, count in counts.items() if count is not None}


def measure_all(
    task: Task, recordings: list[Recording], workers: int, work: Callable[[Task, Recording], Measured] = measure
) -> Iterator[Measured]:
    """In the order in which they are done."""
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")  # a worker has a core
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(work, task, recording) for recording in recordings]
        for future in track(as_completed(futures), "measuring", len(futures), transient=True):
            yield future.result()


def in_turn(recordings: list[Recording]) -> list[Recording]:
    """One of each group, then the next of each, so that a run that is cut off has some of each."""
    seen: Counter[str] = Counter()
    turns = []
    for recording in recordings:
        turns.append(seen[recording.group])
        seen[recording.group] += 1
    return [recording for _, recording in sorted(zip(turns, recordings, strict=True), key=lambda pair: pair[0])]


# ------------------------------------------------------------------------------------------------------------ results


def document(found: list[Measured], systems: list[System], not_measured: Iterable[str]) -> dict[str, Any]:
    """Everything for quality.json."""
    found = sorted(found, key=lambda one: one.recording.path)
    present = [system for system in systems if system.absent is None]
    ours = [system.name for system in present if system.role == "ours"]
    return {
        "machine": machine(),
        "versions": versions(
            (
                "vqaudio",
                "torch",
                "numpy",
                *sorted({name for metric in METRICS.values() for name in metric.distributions}),
            ),
            sorted({program.package for program in PROGRAMS}),
        ),
        "corpus": corpus_facts(found),
        "absent": {system.name: system.absent for system in systems if system.absent},
        "not_measured": list(not_measured),
        "codecs": {system.name: codec_document(system, found) for system in present},
        "differences": {f"{ours[0]} against {other}": differences(found, ours[0], other) for other in ours[1:]},
    }


def codec_document(system: System, found: list[Measured]) -> dict[str, Any]:
    groups: dict[str, list[Figures]] = defaultdict(list)
    for one in found:
        groups[one.recording.group].append(figures_of(system, one))
    every = [figures_of(system, one) for one in found]
    return {
        "ours": system.role == "ours",
        "role": system.role,
        "figures": means(every),
        "groups": {group: means(of) for group, of in sorted(groups.items())},
    }


def figures_of(system: System, one: Measured) -> Figures:
    """Without those of the original, which has a row of its own."""
    return {name: value for name, value in one.figures[system.name].items() if not name.endswith("_original")}


def means(utterances: list[Figures]) -> dict[str, Any]:
    return {name: strict(asdict(mean)) for name, mean in summary(utterances).items()}


def differences(found: list[Measured], one: str, other: str) -> dict[str, Any]:
    """How much more ``one`` has than ``other``, utterance by utterance."""
    columns = [[measured.figures[name] for measured in found] for name in (one, other)]
    return {name: strict(asdict(difference(*columns, name))) for name in COMPARED}


def corpus_facts(found: list[Measured]) -> dict[str, Any]:
    groups = Counter(one.recording.group for one in found)
    return {
        "utterances": len(found),
        "seconds": round(sum(one.seconds for one in found), 1),
        "with_transcript": sum(bool(one.recording.transcript) for one in found),
        "groups": dict(sorted(groups.items())),
    }


def write(result: dict[str, Any], folder: Path) -> None:
    """quality.json, quality.md and quality.png."""
    (folder / "quality.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "quality.md").write_text(as_markdown(result))
    rate_quality_png(read_rivals(folder / "quality.json"), folder / "quality.png")


def write_listening(found: list[Measured], folder: Path) -> None:
    """Pages for blind listening to every system."""
    cases = [ListeningCase(one.recording.path.name, RATE_HZ, one.sounds) for one in found]
    for name, data in listening_files("the codecs of the benchmark", cases):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


# ------------------------------------------------------------------------------------------------------- command line


def arguments_of(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments that say what is measured."""
    parser.add_argument("corpus", type=Path, help="a folder with manifest.tsv, or any of sound files")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS, help="a folder, by default the recipe's results")
    parser.add_argument("--model", default="speech")
    parser.add_argument("--limit", type=int, default=0, help="files of each group; 0 takes all")
    parser.add_argument("--metrics", help="only these, with commas between")
    parser.add_argument("--whisper", default="", help="another recogniser: a model of Whisper for CTranslate2")
    parser.add_argument(
        "--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes, by default a core each"
    )
    parser.add_argument("--listen", type=Path, help="a folder for pages of blind listening to all of it (use --limit)")
    return parser.parse_args()


def benchmark(arguments: argparse.Namespace) -> None:
    """Measures and writes; with the recipe's own results, also the tables in the docs."""
    learnt_from = read_sources(model_folder(arguments.model))
    recordings, failed = measurable_recordings(arguments.corpus, arguments.limit, learnt_from)
    wanted = tuple(arguments.metrics.split(",")) if arguments.metrics else None
    names, not_measured = chosen_metrics(wanted)
    systems = all_systems(arguments.model)
    absent = [f"{system.name} is left out: {system.absent}" for system in systems if system.absent]
    for line in (*failed, *not_measured, *absent):
        print(line, file=sys.stderr)
    arguments.output.mkdir(parents=True, exist_ok=True)
    task = Task(arguments.model, names, default_cache(), arguments.whisper, arguments.listen is not None)
    found = list(measure_all(task, in_turn(recordings), max(1, arguments.workers)))
    write(document(found, systems, not_measured), arguments.output)
    if arguments.listen:
        write_listening(found, arguments.listen)
    if arguments.output.resolve() == RESULTS:
        from tables import write_all

        write_all()
    print((arguments.output / "quality.md").read_text())


def main() -> None:
    try:
        benchmark(arguments_of(argparse.ArgumentParser(description=__doc__)))
    except VqaudioError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
