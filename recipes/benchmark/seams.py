"""Whether anybody could tell segments side by side from strictly sequential decoding: seams.json and seams.md.

python recipes/benchmark/seams.py CORPUS -o FOLDER [--limit 4] [--metrics stoi,speaker,wer]

Each utterance is decoded side by side, and twice sequentially with two seeds. Scores: the difference from one
sequential decoding to side by side, beside that to the other sequential one, which is what another seed makes. Clicks:
the detector hears what stands out of its surroundings where segments meet, and at the same places of the sequential
decodings; if seams clicked, it would rank them above. That it hears clicks is shown with planted ones.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import vqaudio
from vqaudio.codecs.segments import OVERLAP, cut, layout
from vqaudio.codecs.speech import Codec
from vqaudio.evaluation.corpus import chosen_recordings, read_original
from vqaudio.evaluation.metrics import Ruler
from vqaudio.evaluation.metrics.statistics import bootstrap_mean
from vqaudio.evaluation.speech import chosen_metrics, strict

FIGURES = ("stoi", "estoi", "pesq_nb", "speaker_similarity", "word_error_rate", "mel_distance_db")
SURROUNDINGS = 400  # samples on either side
CLICK = 0.2  # height of a planted one, of the loudest sample


def prominence(wave: np.ndarray, first: int, end: int) -> float:
    """How far the sharpest bend of ``wave[first:end]`` stands out of the bends 25 ms around it."""
    bend = np.abs(np.diff(wave, 2, prepend=[0, 0]))
    place = first + int(bend[first:end].argmax())
    around = np.concatenate([bend[max(0, place - SURROUNDINGS) : place - 4], bend[place + 5 : place + SURROUNDINGS]])
    return float(bend[place] / (np.sqrt(np.mean(around**2)) + 1e-4))


def ranked_above(values: list[float], others: list[float]) -> float:
    """The share of pairs in which one of ``values`` is above one of ``others``: 0.5 where nothing tells them apart."""
    a, b = np.array(values)[:, None], np.array(others)[None]
    return float((a > b).mean() + (a == b).mean() / 2)


def seams(codec: Codec, tokens: int) -> list[int]:
    """The samples at which the overlaps of a decoded channel begin."""
    hop = codec.model.samples_per_token
    plan = layout(tokens, 1, hop, codec.model.num_quantizers)
    return [segment.end * hop for segment in cut(plan, 1, slice(0, tokens), tokens)][:-1]


def planted(wave: np.ndarray, places: list[int]) -> np.ndarray:
    """``wave`` with a step in the middle of each overlap, gone again after 80 samples."""
    clicked = wave.copy()
    for place in places:
        middle = place + OVERLAP // 2
        clicked[middle : middle + 80] += CLICK * np.abs(wave).max()
    return clicked


def measure(model: str, corpus: Path, limit: int = 4, names: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Everything, as a document for JSON."""
    codec, ruler = vqaudio.load(model, "cpu"), Ruler(chosen_metrics(names)[0])
    rate_hz = codec.config.sample_rate_hz
    differences: dict[str, dict[str, list[float]]] = {"side by side": {}, "another seed": {}}
    clicks: dict[str, list[float]] = {name: [] for name in ("side by side", "sequential", "another seed", "planted")}
    utterances = 0
    for recording in chosen_recordings(corpus, limit):
        original = read_original(recording, rate_hz)
        stream = codec.encode(original.wave, rate_hz)
        waves = {
            "side by side": codec.decode(stream)[0],
            "sequential": codec.decode(stream, exact=True)[0],
            "another seed": codec.decode(stream, seed=1, exact=True)[0],
        }
        figures = {name: ruler.measure(original, wave) for name, wave in waves.items()}
        places = [place for place in seams(codec, stream.header.tokens) if place + OVERLAP < len(original.wave)]
        waves["planted"] = planted(waves["sequential"], places)
        for name, found in clicks.items():
            found += [prominence(waves[name], place, place + OVERLAP) for place in places]
        for name, found in differences.items():
            for figure in FIGURES:
                if figure in figures[name]:
                    found.setdefault(figure, []).append(figures[name][figure] - figures["sequential"][figure])
        utterances += 1
    means = {n: {f: bootstrap_mean(np.array(v)) for f, v in rows.items()} for n, rows in differences.items()}
    ranks = {name: ranked_above(found, clicks["sequential"]) for name, found in clicks.items() if name != "sequential"}
    return {
        "utterances": utterances,
        "seams": len(clicks["sequential"]),
        "difference from sequential": {n: {f: vars(m) for f, m in rows.items()} for n, rows in means.items()},
        "ranked above sequential by the click detector": ranks,
    }


def as_markdown(result: dict[str, Any]) -> str:
    """The figures as tables."""
    differences = result["difference from sequential"]
    lines = ["# Side by side beside sequential", "", f"{result['utterances']} utterances, {result['seams']} seams.", ""]
    lines += ["| mean difference from sequential | side by side | another seed, sequential |", "| --- | --- | --- |"]
    for figure in differences["side by side"]:
        means = [differences[name][figure] for name in ("side by side", "another seed")]
        cells = [f"{m['value']:+.4f} ({m['low']:+.4f} to {m['high']:+.4f})" for m in means]
        lines.append(f"| {figure} | {cells[0]} | {cells[1]} |")
    lines += ["", "| places of seams | ranked above sequential |", "| --- | --- |"]
    ranks = result["ranked above sequential by the click detector"]
    lines += [f"| {name} | {value:.3f} |" for name, value in ranks.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path, help="a folder with manifest.tsv, or any of sound files")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a folder")
    parser.add_argument("--model", default="speech")
    parser.add_argument("--limit", type=int, default=4, help="files of each group; 0 takes all")
    parser.add_argument("--metrics", help="only these, with commas between")
    arguments = parser.parse_args()
    names = tuple(arguments.metrics.split(",")) if arguments.metrics else None
    result = measure(arguments.model, arguments.corpus, arguments.limit, names)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "seams.json").write_text(json.dumps(strict(result), indent=1) + "\n")
    (arguments.output / "seams.md").write_text(as_markdown(result))
    print(as_markdown(result))


if __name__ == "__main__":
    main()
