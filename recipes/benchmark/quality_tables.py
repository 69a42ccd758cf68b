"""The tables of quality.md."""

from typing import Any

from vqaudio.evaluation.metrics import Mean
from vqaudio.evaluation.report import figure_of

COLUMNS = (
    "bits_per_second",
    "payload_bits_per_second",
    "packed_bits_per_second",
    "word_error_rate",
    "distillmos",
    "dnsmos",
    "stoi",
    "estoi",
    "pesq_wb",
    "speaker_similarity",
    "mel_distance_db",
    "pitch_error_cents",
    "voicing_error",
)


def cell(figures: dict[str, Any], name: str) -> str:
    """The mean and its interval."""
    return figure_of(name).format_mean(Mean(**figures[name])) if name in figures else "–"


def as_markdown(result: dict[str, Any]) -> str:
    """A table over all utterances, one for each group, and one of differences."""
    corpus, codecs = result["corpus"], result["codecs"]
    words = ", ".join(f"{name} {value}" for name, value in result["versions"].items())
    groups = ", ".join(f"{count} {name}" for name, count in corpus["groups"].items())
    lines = ["# Quality beside other codecs", "", f"- machine: {result['machine']}", f"- versions: {words}"]
    lines += [f"- {corpus['utterances']} utterances, {corpus['seconds']} s: {groups}"]
    lines += [f"- {corpus['with_transcript']} of them have a transcript"]
    lines += [f"- left out: {name} ({line})" for name, line in result["absent"].items()]
    lines += [f"- {line}" for line in result["not_measured"]]
    lines += ["", "In brackets: bootstrap 95 % intervals. Rates are of whole files; these are short, so headers weigh."]
    lines += table("all", {name: codec["figures"] for name, codec in codecs.items()})
    for group in corpus["groups"]:
        lines += table(group, {name: codec["groups"][group] for name, codec in codecs.items()})
    for pair, figures in result["differences"].items():
        shown = [name for name in figures if figures[name]["count"]]
        lines += ["", f"## {pair}", "", "| metric | difference, utterance by utterance |", "| --- | --- |"]
        lines += [f"| {figure_of(name).label} | {cell(figures, name)} |" for name in shown]
    return "\n".join(lines) + "\n"


def table(title: str, codecs: dict[str, dict[str, Any]]) -> list[str]:
    """A row a codec."""
    shown = [name for name in COLUMNS if any(figures.get(name, {}).get("count") for figures in codecs.values())]
    lines = ["", f"## {title}", "", f"| codec | {' | '.join(figure_of(name).label for name in shown)} |"]
    lines += ["| --- |" + " --- |" * len(shown)]
    return lines + [f"| {name} | {' | '.join(cell(of, column) for column in shown)} |" for name, of in codecs.items()]
