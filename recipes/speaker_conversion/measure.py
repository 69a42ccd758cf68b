"""How well a model with speakers converts: words, voice and pitch of utterances spoken by others, as JSON and Markdown.

python recipes/speaker_conversion/measure.py voices --data EVAL_CORPUS --train TRAINING_CORPUS -o FOLDER \\
    [--targets 460 4640 ...] [--limit 4] [--foreign 2]

Each utterance is spoken by its own speaker (by name, or by the voice learnt from it: plain reconstruction), by each of
the targets, and by voices learnt from one utterance of speakers whom the model never heard.
"""

import argparse
import json
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot

import vqaudio
from vqaudio.codecs.speech import Codec
from vqaudio.evaluation.corpus import chosen_recordings, read_original
from vqaudio.evaluation.metrics import (
    Mean,
    Original,
    bootstrap_mean,
    bootstrap_rate,
    median_pitch_hz,
    pitch_hz,
    recognise,
    similarity,
    speaker_embedding,
    word_errors,
)
from vqaudio.evaluation.speech import own_voice, strict
from vqaudio.io.corpora import Recording, find_recordings

CENTRE_OF = 5  # recordings of a target whose voices are averaged
NEAR_PITCH = 0.1
SHOWN_S = 4


@dataclass(frozen=True)
class Target:
    """Someone to speak: ``voice`` is what the codec is told; the rest is measured on real recordings of them."""

    name: str
    gender: str
    voice: str | np.ndarray | None
    embedding: np.ndarray
    pitch_hz: float


@dataclass(frozen=True)
class Spoken:
    """One rendering of one utterance. ``target_similarity`` of a plain reconstruction is that to the original."""

    utterance: str
    target: str
    cross_gender: bool
    target_similarity: float
    source_similarity: float
    errors: int
    words: int
    pitch_ratio: float  # median pitch over the target's


def real_voice(recordings: Iterable[Recording], rate_hz: int) -> tuple[np.ndarray, float]:
    """The mean embedding and the median pitch of some recordings of one person."""
    waves = [read_original(recording, rate_hz).wave for recording in recordings]
    centre = np.mean([speaker_embedding(wave, rate_hz) for wave in waves], axis=0)
    return centre / np.linalg.norm(centre), median_pitch_hz(pitch_hz(np.concatenate(waves), rate_hz))


def named_targets(codec: Codec, corpus: Path, names: list[str]) -> list[Target]:
    """The model's own speakers ``names``, by recordings from its training corpus."""
    of = defaultdict(list)
    for recording in find_recordings(corpus):
        of[recording.speaker].append(recording)
    rate_hz = codec.config.sample_rate_hz
    return [Target(name, of[name][0].gender, name, *real_voice(of[name][:CENTRE_OF], rate_hz)) for name in names]


def foreign_targets(codec: Codec, recordings: list[Recording], count: int) -> list[Target]:
    """Speakers whom the model never heard: the voice learnt from one recording, measured on others."""
    of = defaultdict(list)
    for recording in recordings:
        if recording.speaker not in codec.config.speakers:
            of[recording.speaker].append(recording)
    rate_hz = codec.config.sample_rate_hz
    found = []
    for name, (first, *others) in [(name, own) for name, own in of.items() if len(own) > 2][:count]:
        voice = codec.voice_of(read_original(first, rate_hz).wave, rate_hz)
        found.append(Target(f"{name} (learnt)", first.gender, voice, *real_voice(others[:CENTRE_OF], rate_hz)))
    return found


def spoken_by_all(codec: Codec, recording: Recording, name: str, targets: list[Target]) -> Iterator[Spoken]:
    """The utterance reconstructed, and converted to each target but its own speaker."""
    rate_hz = codec.config.sample_rate_hz
    original = read_original(recording, rate_hz)
    stream = codec.encode(original.wave, rate_hz)
    own = own_voice(codec, recording, original)
    pitch = median_pitch_hz(original.pitch)
    itself = Target("", recording.gender, own, original.speaker, pitch)
    for target in [itself, *(t for t in targets if t.name.split()[0] != recording.speaker)]:
        wave = codec.decode(stream, speaker=target.voice)[0]
        embedding = speaker_embedding(wave, rate_hz)
        found = word_errors(recording.transcript, recognise(wave, rate_hz))
        yield Spoken(
            name,
            target.name,
            bool(recording.gender and target.gender) and recording.gender != target.gender,
            similarity(embedding, target.embedding),
            similarity(embedding, original.speaker),
            found.errors,
            found.words,
            median_pitch_hz(pitch_hz(wave, rate_hz)) / target.pitch_hz,
        )


def figures(spoken: list[Spoken]) -> dict[str, Mean]:
    """The table's row for some renderings."""

    def mean(values: Iterable[float]) -> Mean:
        return bootstrap_mean(np.array(list(values), float))

    crossed = [s for s in spoken if s.cross_gender]
    errors, words = (np.array([getattr(s, part) for s in spoken], float) for part in ("errors", "words"))
    rows = {
        "renderings": Mean(len(spoken), len(spoken), len(spoken), len(spoken)),
        "similarity to the target": mean(s.target_similarity for s in spoken),
        "similarity to the source": mean(s.source_similarity for s in spoken),
        "nearer to the target": mean(s.target_similarity > s.source_similarity for s in spoken),
        "word error rate": bootstrap_rate(errors, words),
        "median pitch over the target's": mean(s.pitch_ratio for s in spoken),
        "pitch within 10 %": mean(near_pitch(s) for s in spoken),
    }
    if crossed:
        rows["cross-gender: median pitch over the target's"] = mean(s.pitch_ratio for s in crossed)
        rows["cross-gender: pitch within 10 %"] = mean(near_pitch(s) for s in crossed)
        rows["cross-gender: nearer to the target"] = mean(s.target_similarity > s.source_similarity for s in crossed)
    return rows


def near_pitch(spoken: Spoken) -> float:
    """1 or 0; NaN where there is no pitch."""
    return math.nan if math.isnan(spoken.pitch_ratio) else float(abs(spoken.pitch_ratio - 1) <= NEAR_PITCH)


def markdown(model: str, table: dict[str, dict[str, Mean]], original: Mean) -> str:
    """The table, a kind of rendering a column."""
    names = list(dict.fromkeys(name for column in table.values() for name in column))
    lines = [f"# Speaker conversion with `{model}`", "", f"Word error rate of the originals: {cell(original)}.", ""]
    lines += [f"| | {' | '.join(table)} |", f"| --- |{' --- |' * len(table)}"]
    for name in names:
        cells = [cell(column[name]) if name in column else "" for column in table.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def cell(mean: Mean) -> str:
    """A mean with half its 95 % interval, or a count."""
    return (
        f"{mean.value:.0f}" if mean.value == mean.count > 1 else f"{mean.value:.3f} ±{(mean.high - mean.low) / 2:.3f}"
    )


def pictures(codec: Codec, recording: Recording, targets: list[Target], folder: Path) -> None:
    """Spectrograms of one utterance, original and converted, a file a target."""
    rate_hz = codec.config.sample_rate_hz
    original = read_original(recording, rate_hz)
    stream = codec.encode(original.wave, rate_hz)
    for target in targets:
        sounds = {"original": original.wave, f"spoken by {target.name}": codec.decode(stream, speaker=target.voice)[0]}
        figure, axes = pyplot.subplots(2, 1, figsize=(9, 5), sharex=True, layout="constrained")
        for axis, (title, wave) in zip(axes, sounds.items(), strict=True):
            axis.specgram(
                np.asarray(wave) + 1e-7, NFFT=1024, Fs=rate_hz, noverlap=896, vmin=-140, vmax=-40, cmap="magma"
            )
            axis.set(title=f"{title}", ylim=(0, 5000), ylabel="Hz")
        axes[1].set(xlabel="s", xlim=(0, SHOWN_S))
        figure.savefig(folder / f"{recording.path.stem}-{target.name.split()[0]}.png", dpi=64)
        pyplot.close(figure)


def measure(
    model: str, data: Path, train: Path, folder: Path, names: list[str], limit: int, foreign: int, drawn: int = 2
) -> str:
    """Writes ``conversion.json``, ``conversion.md`` and pictures to ``folder`` and returns the table."""
    codec = vqaudio.load(model)
    assert isinstance(codec, Codec)
    chosen = [recording for recording in chosen_recordings(data, limit) if recording.transcript]
    named = named_targets(codec, train, names)
    learnt = foreign_targets(codec, find_recordings(data), foreign)
    kinds = {**{t.name: "conversion" for t in named}, **{t.name: "to a learnt voice" for t in learnt}}
    spoken = defaultdict(list)
    originals = []
    for recording in chosen:
        name = Path(os.path.relpath(recording.path, data)).as_posix()
        original: Original = read_original(recording, codec.config.sample_rate_hz)
        originals.append(word_errors(recording.transcript, recognise(original.wave, original.sample_rate_hz)))
        for one in spoken_by_all(codec, recording, name, [*named, *learnt]):
            spoken[kinds.get(one.target, "reconstruction")].append(one)
            print(one, flush=True)
    order = ("reconstruction", "conversion", "to a learnt voice")
    table = {kind: figures(spoken[kind]) for kind in order if spoken[kind]}
    own = bootstrap_rate(np.array([o.errors for o in originals], float), np.array([o.words for o in originals], float))
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "table": {kind: {name: asdict(mean) for name, mean in column.items()} for kind, column in table.items()},
        "original_word_error_rate": asdict(own),
        "renderings": {kind: [asdict(one) for one in rows] for kind, rows in spoken.items()},
    }
    (folder / "conversion.json").write_text(json.dumps(strict(document), indent=1) + "\n", encoding="utf-8")
    text = markdown(Path(model).name, table, own)
    (folder / "conversion.md").write_text(text, encoding="utf-8")
    pictures(codec, chosen[0], named[:drawn], folder)
    return text


if __name__ == "__main__":
    matplotlib.use("Agg")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True, help="utterances to convert, with transcripts")
    parser.add_argument("--train", type=Path, required=True, help="recordings of the targets")
    parser.add_argument("--targets", nargs="+", required=True, help="names of the model's speakers")
    parser.add_argument("--limit", type=int, default=0, help="utterances of each group; 0 takes all")
    parser.add_argument("--foreign", type=int, default=2, help="unknown speakers whose voices are learnt")
    parser.add_argument("-o", "--output", type=Path, required=True)
    wanted = parser.parse_args()
    print(
        measure(
            wanted.model,
            wanted.data,
            wanted.train,
            wanted.output,
            wanted.targets,
            wanted.limit,
            wanted.foreign,
        )
    )
