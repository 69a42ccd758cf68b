"""This codec beside others on the same utterances and scores: quality.json, quality.md and quality.png.

python recipes/benchmark/quality.py CORPUS -o FOLDER

Needs 'vqaudio[evaluate]'; other codecs are Debian's codec2, speex and opus-tools.
"""

import argparse
import io
import json
import os
import platform
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from programs import PROGRAMS, Coded

import vqaudio
from vqaudio.bitstream.container import StreamReader
from vqaudio.bitstream.header import Coder
from vqaudio.codecs.speech import Codec
from vqaudio.evaluation.metrics import Mean, Original, Scores, score, summary
from vqaudio.evaluation.report import figure_of
from vqaudio.evaluation.report.pictures import rate_quality_png
from vqaudio.evaluation.report.rivals import read_rivals
from vqaudio.evaluation.speech import chosen_recordings, chosen_scores, read_original, strict
from vqaudio.io.corpora import Recording

RATE_HZ = 16000  # of the scores
PACKAGES = ("vqaudio", "torch", "numpy", "pystoi", "pesq", "pocketsphinx", "librosa", "Resemblyzer")
COLUMNS = (
    "bits_per_second",
    "payload_bits_per_second",
    "word_error_rate",
    "speaker_similarity",
    "stoi",
    "estoi",
    "pesq_nb",
    "pesq_wb",
    "mel_distance_db",
    "pitch_error_semitones",
)


def through_model(codec: Codec, original: Original) -> dict[str, Coded]:
    """The model's files, under its prior where it has one and packed; their sound is the same."""
    streams = {
        coder: codec.encode(original.wave, original.sample_rate_hz, coder)
        for coder in sorted({codec.default_coder(), Coder.PACKED}, reverse=True)
    }
    wave = codec.decode(streams[Coder.PACKED])[0]
    found = {}
    for coder, stream in streams.items():
        file = io.BytesIO()
        stream.write(file, codec.block_coder(coder))
        file.seek(0)
        payload = sum(len(block.payload or b"") for block in StreamReader(file))
        found[coder.name.lower()] = Coded(wave, len(file.getvalue()), payload)
    return found


def figures_of(coded: Coded, scores: Scores, seconds: float) -> Scores:
    """Rates and scores of one utterance."""
    rates = {"bits_per_second": coded.file_bytes, "payload_bits_per_second": coded.payload_bytes}
    return {name: 8 * count / seconds for name, count in rates.items()} | scores


def go_through(codec: Codec, model: str, original: Original, names: tuple[str, ...]) -> Iterator[tuple[str, Scores]]:
    """Each codec's name and figures on one utterance."""
    seconds, scores = len(original.wave) / original.sample_rate_hz, None
    for coder, coded in through_model(codec, original).items():
        scores = scores or score(original, coded.wave, names)
        yield f"{model}, {coder}", figures_of(coded, scores, seconds)
    for program in PROGRAMS:
        if program.absent() is None:
            coded = program(original.wave, original.sample_rate_hz)
            yield program.name, figures_of(coded, score(original, coded.wave, names), seconds)


def measure(model: str, corpus: Path, limit: int, wanted: tuple[str, ...] | None) -> Iterator[dict[str, Any]]:
    """All codecs over the corpus, ``limit`` files of each group where it is not 0: the result so far after each file.

    The groups take turns, so that a run that is cut off has some of each.
    """
    codec = vqaudio.load(model, "cpu")
    names, not_measured = chosen_scores(wanted)
    absent = {program.name: line for program in PROGRAMS if (line := program.absent())}
    for line in (*not_measured, *(f"{name} is left out: {line}" for name, line in absent.items())):
        print(line, file=sys.stderr)
    found: dict[str, dict[str, list[Scores]]] = defaultdict(lambda: defaultdict(list))
    recordings, seconds = in_turn(chosen_recordings(corpus, limit)), 0.0
    for number, recording in enumerate(recordings, start=1):
        original = read_original(recording, RATE_HZ)
        seconds += len(original.wave) / RATE_HZ
        for name, figures in go_through(codec, Path(model).name, original, names):
            found[name][recording.group].append(figures)
            found[name]["all"].append(figures)
        print(f"{number} of {len(recordings)}: {recording.path.name}", file=sys.stderr, flush=True)
        yield {
            "machine": machine(),
            "versions": versions(),
            "corpus": corpus_facts(recordings[:number], seconds),
            "absent": absent,
            "not_measured": list(not_measured),
            "codecs": {name: codec_document(name, groups) for name, groups in found.items()},
        }


def in_turn(recordings: list[Recording]) -> list[Recording]:
    """One of each group, then the next of each."""
    seen: Counter[str] = Counter()
    turns = []
    for recording in recordings:
        turns.append(seen[recording.group])
        seen[recording.group] += 1
    return [recording for _, recording in sorted(zip(turns, recordings, strict=True), key=lambda pair: pair[0])]


def codec_document(name: str, groups: dict[str, list[Scores]]) -> dict[str, Any]:
    return {
        "ours": name not in {program.name for program in PROGRAMS},
        "figures": document(groups["all"]),
        "groups": {group: document(of) for group, of in groups.items() if group != "all"},
    }


def document(utterances: list[Scores]) -> dict[str, Any]:
    return {name: strict(asdict(mean)) for name, mean in summary(utterances).items()}


def corpus_facts(recordings: list[Recording], seconds: float) -> dict[str, Any]:
    groups = Counter(recording.group for recording in recordings)
    transcripts = sum(bool(recording.transcript) for recording in recordings)
    return {"utterances": len(recordings), "seconds": round(seconds, 1), "with_transcript": transcripts, **groups}


def machine() -> str:
    """The processor, as /proc tells it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {os.cpu_count()} cores"


def versions() -> dict[str, str]:
    """Of Python, of the packages that score, and of the other codecs' Debian packages."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    for package in sorted({program.package for program in PROGRAMS}):
        with suppress(OSError, subprocess.CalledProcessError):
            asked = ["dpkg-query", "-W", "-f", "${Version}", package]
            found[package] = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    return found


# ------------------------------------------------------------------------------------------------------------- tables


def as_markdown(result: dict[str, Any]) -> str:
    """A table over all utterances, and one for each group."""
    corpus, codecs = result["corpus"], result["codecs"]
    words = ", ".join(f"{name} {value}" for name, value in result["versions"].items())
    lines = ["# Quality beside other codecs", "", f"- machine: {result['machine']}", f"- versions: {words}"]
    lines += [f"- utterances: {', '.join(f'{key} {value}' for key, value in corpus.items())}"]
    lines += [f"- left out: {name} ({line})" for name, line in result["absent"].items()]
    lines += [f"- {line}" for line in result["not_measured"]]
    original = next(iter(codecs.values()))["figures"].get("word_error_rate_original")
    if original and original["count"]:
        lines += [f"- word error rate of the originals: {figure_of('word_error_rate').format_mean(Mean(**original))}"]
    lines += ["", "In brackets: bootstrap 95 % intervals. Rates are of whole files; these are short, so headers weigh."]
    lines += table("all", {name: codec["figures"] for name, codec in codecs.items()})
    for group in next(iter(codecs.values()))["groups"]:
        lines += table(group, {name: codec["groups"][group] for name, codec in codecs.items()})
    return "\n".join(lines) + "\n"


def table(title: str, codecs: dict[str, dict[str, Any]]) -> list[str]:
    shown = [name for name in COLUMNS if any(name in figures for figures in codecs.values())]
    lines = ["", f"## {title}", "", f"| codec | {' | '.join(figure_of(name).label for name in shown)} |"]
    lines += ["| --- |" + " --- |" * len(shown)]
    for codec, figures in codecs.items():
        cells = [figure_of(name).format_mean(Mean(**figures[name])) if name in figures else "–" for name in shown]
        lines.append(f"| {codec} | {' | '.join(cells)} |")
    return lines


def write(result: dict[str, Any], folder: Path) -> None:
    """quality.json, quality.md and quality.png."""
    (folder / "quality.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "quality.md").write_text(as_markdown(result))
    rate_quality_png(read_rivals(folder / "quality.json"), folder / "quality.png")


def arguments_of(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments that say what is measured."""
    parser.add_argument("corpus", type=Path, help="a folder with manifest.tsv, or any of sound files")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a folder")
    parser.add_argument("--model", default="speech")
    parser.add_argument("--limit", type=int, default=0, help="files of each group; 0 takes all")
    parser.add_argument("--scores", help="only these, with commas between")
    return parser.parse_args()


def benchmark(arguments: argparse.Namespace) -> None:
    """Measures, writes as it goes, and prints the tables at the end."""
    arguments.output.mkdir(parents=True, exist_ok=True)
    wanted = tuple(arguments.scores.split(",")) if arguments.scores else None
    for result in measure(arguments.model, arguments.corpus, arguments.limit, wanted):
        write(result, arguments.output)
    print((arguments.output / "quality.md").read_text())


def main() -> None:
    arguments = arguments_of(argparse.ArgumentParser(description=__doc__))
    benchmark(arguments)


if __name__ == "__main__":
    main()
