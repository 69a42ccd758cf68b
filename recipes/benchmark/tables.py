"""Writes the figures of README, cards and docs from the committed results.

python recipes/benchmark/tables.py            # writes them
python recipes/benchmark/tables.py --check    # names what is stale, and fails if anything is

A figure stands between two comments, which Markdown does not show. A table is one of TABLES, or the first one of a
recipe's own results:

    <!-- table speed -->
    ...
    <!-- end -->

    <!-- table images/table.md | 0 1 -->      # the first two columns
    ...
    <!-- end -->

A single number has its file, the path in it, a format and, where one is needed, a factor, with bars between them:

    <!-- value benchmark/quality.json | codecs/Opus 6/figures/stoi/value | .2f -->0.89<!-- end -->
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable, Container, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from vqaudio.evaluation.metrics import Mean
from vqaudio.evaluation.report import figure_of

ROOT = Path(__file__).resolve().parents[2]
OURS = "speech"
GROUPS = {  # of the evaluation set, by what readers call them
    "libri_seen": "seen speakers",
    "libri_unseen": "unseen",
    "libri_testother_unseen": "unseen, noisier",
    "vctk": "VCTK",
}
RIVALS = ("original", OURS, "Codec 2 3200", "Codec 2 1300", "Speex 3.95", "Opus 6", "Opus 9")
LEADING = ("bits_per_second", "word_error_rate", "distillmos", "stoi", "pesq_wb", "speaker_similarity")
ALL = (
    "bits_per_second",
    "packed_bits_per_second",
    "word_error_rate",
    "distillmos",
    "dnsmos",
    "stoi",
    "estoi",
    "pesq_wb",
    "speaker_similarity",
    "pitch_error_cents",
    "voicing_error",
)
_MARKED = re.compile(r"(<!-- (table|value) ([^\n]*?) -->)(.*?)(<!-- end -->)", re.DOTALL)


def documents() -> list[Path]:
    """The Markdown files that git keeps."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.splitlines()]


@cache
def text_of(name: str) -> str:
    """``benchmark/quality.json`` is recipes/benchmark/results/quality.json."""
    recipe, file = name.split("/", 1)
    return (ROOT / "recipes" / recipe / "results" / file).read_text(encoding="utf-8")


def results(name: str) -> Any:
    return json.loads(text_of(name))


def rows(header: Iterable[str], body: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    first = list(header)
    return rows_of([first, ["---"] * len(first), *(list(row) for row in body)])


def rows_of(cells: list[list[str]]) -> str:
    return "\n".join(re.sub(r"^\|  \|", "| |", f"| {' | '.join(row)} |") for row in cells)


# ------------------------------------------------------------------------------------------------------------- tables


def mean_of(figures: dict[str, Any], name: str) -> Mean | None:
    return Mean(**figures[name]) if figures.get(name, {}).get("count") else None


def plain(figures: dict[str, Any], name: str) -> str:
    """The mean alone."""
    mean = mean_of(figures, name)
    return figure_of(name).format(mean.value) if mean else "–"


def with_interval(figures: dict[str, Any], name: str) -> str:
    mean = mean_of(figures, name)
    return figure_of(name).format_mean(mean) if mean else "–"


def quality(names: Container[str] | None = None) -> str:
    """Every codec, or those of ``names``, over all utterances, the figures that lead."""
    codecs = results("benchmark/quality.json")["codecs"]
    header = ["", *(figure_of(name).label for name in LEADING)]
    body = []
    for codec, entry in codecs.items():
        if names is not None and codec not in names:
            continue
        cells = [plain(entry["figures"], name) for name in LEADING]
        body.append([f"**{codec}**" if entry["ours"] else codec, *cells])
    return rows(header, body)


def rivals() -> str:
    """For a reader in a hurry: ours, and of each other codec the rates around it."""
    return quality(RIVALS)


def groups() -> str:
    """Our codec group by group, with intervals."""
    entry = results("benchmark/quality.json")["codecs"][OURS]
    columns = {GROUPS.get(name, name): figures for name, figures in entry["groups"].items()} | {"all": entry["figures"]}
    shown = [name for name in ALL if any(mean_of(figures, name) for figures in columns.values())]
    body = [[figure_of(name).label, *(with_interval(of, name) for of in columns.values())] for name in shown]
    return rows(["", *columns], body)


def speed() -> str:
    """Times real time, beside those of the checkout that was measured in the same run, if one was."""
    found, title = results("benchmark/speed.json"), "times real time, one core unless it says otherwise"
    if (earlier := found.get(f"before: {title}")) is None:
        return rows(["", "times real time"], ([name, f"{value:.3g}"] for name, value in found[title].items()))
    body = ([name, f"{value:.3g}", f"{earlier[name]:.3g}"] for name, value in found[title].items())
    return rows(["", "times real time", "by torch, as before"], body)


def ablation() -> str:
    """What the excitation is worth, on utterances that training held out."""
    found = results("benchmark/ablation.json")
    columns = LEADING[1:]
    body = [[name, *(plain(entry["figures"], of) for of in columns)] for name, entry in found["codecs"].items()]
    for pair, figures in found["differences"].items():
        body.append([pair, *(with_interval(figures, of) for of in columns)])
    return rows(["", *(figure_of(name).label for name in columns)], body)


def judges() -> str:
    """What each metric costs."""
    found = results("benchmark/judges.json")
    costs = found["seconds of one core for a second of sound"]
    body = [[name, f"{cost:.3f}"] for name, cost in sorted(costs.items(), key=lambda pair: -pair[1])]
    return rows(
        ["metric", "seconds of one core for a second of sound"], [*body, ["together", f"{found['together']:.2f}"]]
    )


def finetune() -> str:
    """A model before and after it learnt telephone speech."""
    found = results("finetune/finetune.json")
    shown = ("bits_per_second", "bits_per_token", "stoi", "mel_distance_db")
    sides = (found["before"], found["after"])
    return rows(
        ["", "before", "after"], ([figure_of(name).label, *(with_interval(of, name) for of in sides)] for name in shown)
    )


def token_curve() -> str:
    """Bits a token that a language model of codes needs, as it learns."""
    curves = results("token_lm/curve.json")["curves"]
    sides = list(curves.values())
    body = [[str(step["step"]), *(f"{side[i]['bits']:.3f}" for side in sides)] for i, step in enumerate(sides[0])]
    body[0][0] += " (the bundled prior)"
    return rows(["step", *curves], body)


def phones() -> str:
    """What the codes name, beside chance."""
    found = results("benchmark/phones.json")
    labels = {
        "accuracy": "codes",
        "speech_accuracy": "codes, silence left out",
        "mfcc_accuracy": "k-means of MFCC, as many clusters",
        "chance": "always the commonest phone",
    }
    header = f"{found['model']}, {found['utterances']} utterances, {found['frames']} frames"
    if found.get("counted_on"):
        header += f"; counted on {found['counted_on']} of training"
    return rows([header, "phones named rightly"], ([of, f"{100 * found[name]:.1f} %"] for name, of in labels.items()))


def samples() -> str:
    """New speech beside real speakers, and beside that of the model before."""
    found = results("speech/samples.json")
    labels = {
        "syllables_per_s": "syllables a second of speech",
        "silence": "share of silence",
        "spectrum_distance_db": "distance from the mean long-term spectrum, dB",
        "pooled_distance_db": "the same, all together, dB",
        "distillmos": "DistillMOS",
        "confidence": "the recogniser's confidence in words",
    }
    real = found["real"]
    body = [[label, _spread(real[name]), *_means(found, name)] for name, label in labels.items()]
    head = ["", "real speakers: mean (5 to 95 %)", "new speech: mean"]
    return rows([*head, "of the model before"] if "before" in found else head, body)


def _spread(of: dict[str, float]) -> str:
    return f"{of['mean']:.2f} ({of['low']:.2f} to {of['high']:.2f})" if of["low"] != of["high"] else "–"


def _means(found: dict[str, Any], name: str) -> list[str]:
    return [f"{found[side][name]['mean']:.2f}" for side in ("new", "before") if side in found]


def image_speed() -> str:
    """Drawing pictures, by the kernel and by a loop over the network."""
    found = results("images/speed.json")
    body = [
        [f"16 pictures of {found['codes_a_tile']} codes drawn and decoded", f"{found['sample_16_pictures_s']:.2f} s"],
        ["codes a second, compiled kernel that works out only what is new", f"{found['cached_codes_per_s']:,.0f}"],
        ["codes a second, a loop that runs the network for each", f"{found['naive_codes_per_s']:,.0f}"],
        ["ratio", f"{found['cached_over_naive']:,.0f}"],
    ]
    return rows(["", ""], body)


def corpora() -> str:
    """A corpus to tokens, by how many processes; Ray's actors run elsewhere, where their time is not seen."""
    runs = results("benchmark/corpora.json")["runs"]
    alone = next(iter(runs.values()))
    body = []
    for name, run in runs.items():
        processor = "–" if name.startswith("Ray") else f"{run['processor_s'] - run['start_processor_s']:.1f}"
        speed = run["times_real_time"]
        body.append([name, processor, f"{speed:.1f}", f"{speed / alone['times_real_time']:.2f}"])
    head = f"{alone['audio_s'] / 60:.0f} minutes, start not counted"
    return rows([head, "seconds of the processor", "times real time", "times one process"], body)


TABLES: dict[str, Callable[[], str]] = {
    "quality": quality,
    "rivals": rivals,
    "groups": groups,
    "speed": speed,
    "ablation": ablation,
    "judges": judges,
    "finetune": finetune,
    "token curve": token_curve,
    "corpora": corpora,
    "samples": samples,
    "phones": phones,
    "image speed": image_speed,
}


def included(words: str) -> str:
    """The first table of a file of results, ``FILE`` or ``FILE | COLUMN COLUMN ...``, columns counted from 0."""
    name, *chosen = (word.strip() for word in words.split("|"))
    found = re.search(r"(?:^\|.*\n?)+", text_of(name), re.MULTILINE)
    assert found, f"{name} has no table"
    if not chosen:
        return found[0].strip()
    lines = [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in found[0].strip().splitlines()]
    cells = [[line[int(column)] for column in chosen[0].split()] for line in lines]
    return rows_of([row for row in cells if any(row[1:])])


def value(words: str) -> str:
    """What ``FILE | PATH | FORMAT | FACTOR`` says."""
    file, path, how, *factor = (word.strip() for word in words.split("|"))
    found = results(file)
    for key in path.split("/"):
        found = found[key]
    return format(found * float(factor[0]) if factor else found, how)


def figure(kind: str, words: str) -> str:
    """What stands between the comments."""
    if kind == "value":
        return value(words)
    return f"\n{TABLES[words]() if words in TABLES else included(words)}\n"


def renewed(text: str) -> str:
    """``text`` with its figures as the results have them."""
    return _MARKED.sub(lambda match: match[1] + figure(match[2], match[3]) + match[5], text)


def stale(paths: Iterable[Path]) -> list[str]:
    """A line for each figure that differs from the results."""
    lines = []
    for path in paths:
        for match in _MARKED.finditer(path.read_text(encoding="utf-8")):
            if match[4] != figure(match[2], match[3]):
                lines.append(f"{path.relative_to(ROOT)}: {match[2]} {match[3]} differs from the results")
    return lines


def write_all() -> None:
    """Brings every document up to date."""
    text_of.cache_clear()
    for path in documents():
        text = path.read_text(encoding="utf-8")
        if (new := renewed(text)) != text:
            path.write_text(new, encoding="utf-8")
            print(path.relative_to(ROOT), file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a figure is stale")
    if parser.parse_args().check:
        if lines := stale(documents()):
            sys.exit("\n".join([*lines, "run 'python recipes/benchmark/tables.py'"]))
        return
    write_all()


if __name__ == "__main__":
    main()
