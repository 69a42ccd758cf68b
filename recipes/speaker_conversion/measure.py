"""How well a model with speakers converts: words, voice and pitch of utterances spoken by others, as JSON and Markdown.

python recipes/speaker_conversion/measure.py voices --data EVAL_CORPUS --train TRAINING_CORPUS -o FOLDER \\
    [--targets 460 4640 ...] [--limit 4] [--foreign 2] [--beside MODEL ...]

Each utterance is spoken by its own speaker (by name, or by the voice heard in it: plain reconstruction), by each of
the targets, and by voices heard in one utterance of speakers whom the model never learnt from. Beside it stand
conversions without learning (baselines.py) to all of these, and those of other models. Who speaks is judged by
Resemblyzer and, where it is installed, by a second network (second_judge.py).
"""

import argparse
import json
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib
import numpy as np
import second_judge
from baselines import copied_frames, hear, world_shift
from matplotlib import pyplot

from vqaudio.codecs.speech import Codec
from vqaudio.codecs.speech import load as load_sounds
from vqaudio.evaluation.corpus import chosen_recordings, read_original
from vqaudio.evaluation.metrics import (
    Mean,
    Original,
    bootstrap_mean,
    bootstrap_rate,
    distillmos,
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
class Voice:
    """Who speaks, as each judge hears it; ``second`` is NaN where the second judge is not installed."""

    first: np.ndarray
    second: np.ndarray

    @classmethod
    def of(cls, waves: Iterable[np.ndarray], rate_hz: int) -> "Voice":
        """The mean over some recordings."""
        waves = list(waves)
        judges = [speaker_embedding, second_judge.embedding if second_judge.is_there() else unknown]
        means = [np.mean([judge(wave, rate_hz) for wave in waves], axis=0) for judge in judges]
        return cls(*(mean / np.linalg.norm(mean) for mean in means))


def unknown(wave: np.ndarray, rate_hz: int) -> np.ndarray:
    """What a judge says that is not there."""
    return np.full(second_judge.SIZE, np.nan, np.float32)


@dataclass(frozen=True)
class Target:
    """Someone to speak: who that is, measured on real recordings of them, and ``waves``, which a system may hear."""

    name: str
    gender: str
    known: bool  # by name, to the model
    waves: list[np.ndarray]
    voice: Voice
    pitch_hz: float


@dataclass(frozen=True)
class Spoken:
    """One rendering of one utterance. ``target_similarity`` of a plain reconstruction is that to the original."""

    system: str
    utterance: str
    target: str
    cross_gender: bool
    target_similarity: float
    source_similarity: float
    second_target_similarity: float
    second_source_similarity: float
    errors: int
    words: int
    distillmos: float
    pitch_ratio: float  # median pitch over the target's


def own_targets(codec: Codec, corpus: Path, names: list[str]) -> list[Target]:
    """The model's own speakers ``names``, by recordings from its training corpus."""
    of = defaultdict(list)
    for recording in find_recordings(corpus):
        of[recording.speaker].append(recording)
    return [target_of(codec, name, of[name][:CENTRE_OF], of[name][:CENTRE_OF], True) for name in names]


def foreign_targets(codec: Codec, recordings: list[Recording], count: int) -> list[Target]:
    """Speakers whom the model never learnt from: heard in one recording, measured on others."""
    of = defaultdict(list)
    for recording in recordings:
        if recording.speaker not in codec.config.speakers:
            of[recording.speaker].append(recording)
    found = [(name, own) for name, own in of.items() if len(own) > 2][:count]
    return [target_of(codec, name, own[:1], own[1 : CENTRE_OF + 1], False) for name, own in found]


def target_of(codec: Codec, name: str, heard: list[Recording], measured: list[Recording], known: bool) -> Target:
    """Someone whom a system hears in some recordings, and who is measured on some."""
    rate_hz = codec.config.sample_rate_hz
    waves = [read_original(recording, rate_hz).wave for recording in heard]
    others = [read_original(recording, rate_hz).wave for recording in measured]
    pitch = median_pitch_hz(pitch_hz(np.concatenate(others), rate_hz))
    return Target(name, heard[0].gender, known, waves, Voice.of(others, rate_hz), pitch)


Convert = Callable[[Original], np.ndarray]  # an utterance to the wave of its conversion


def systems_of(codecs: dict[str, Codec], target: Target) -> dict[str, Convert]:
    """All that converts to ``target``, by the name of its column."""

    def by(codec: Codec) -> Convert:
        rate_hz = codec.config.sample_rate_hz
        voice = target.name if target.known else codec.voice_of(target.waves[0], rate_hz)
        return lambda original: np.asarray(codec.decode(codec.encode(original.wave, rate_hz), speaker=voice)[0])

    kind = "conversion" if target.known else "to a stranger's voice"
    found = {f"{kind}{name and f', {name}'}": by(codec) for name, codec in codecs.items()}
    known = hear(target.waves, next(iter(codecs.values())).config.sample_rate_hz)
    for name, convert in (("WORLD, moved", world_shift(known)), ("copied frames", copied_frames(known))):
        found[name] = lambda original, convert=convert: convert(original.wave, original.sample_rate_hz)
    return found


@dataclass(frozen=True)
class Utterance:
    """What is converted, and who says it as the judges hear it."""

    name: str
    recording: Recording
    original: Original
    source: Voice


def rendering(system: str, utterance: Utterance, wave: np.ndarray, target: Target) -> Spoken:
    """What the judges say of ``wave``."""
    rate_hz, recording, source = utterance.original.sample_rate_hz, utterance.recording, utterance.source
    voice = Voice.of([wave], rate_hz)
    found = word_errors(recording.transcript, recognise(wave, rate_hz))
    return Spoken(
        system,
        utterance.name,
        target.name,
        bool(recording.gender and target.gender) and recording.gender != target.gender,
        similarity(voice.first, target.voice.first),
        similarity(voice.first, source.first),
        similarity(voice.second, target.voice.second),
        similarity(voice.second, source.second),
        found.errors,
        found.words,
        distillmos(wave, rate_hz),
        median_pitch_hz(pitch_hz(wave, rate_hz)) / target.pitch_hz,
    )


def reconstruction(codec: Codec, utterance: Utterance) -> Spoken:
    """The utterance spoken by its own speaker."""
    original, recording = utterance.original, utterance.recording
    stream = codec.encode(original.wave, original.sample_rate_hz)
    wave = np.asarray(codec.decode(stream, speaker=own_voice(codec, recording, original))[0])
    pitch = median_pitch_hz(original.pitch)
    itself = Target("", recording.gender, True, [original.wave], utterance.source, pitch)
    return rendering("reconstruction", utterance, wave, itself)


def renderings(
    codecs: dict[str, Codec], chosen: list[Recording], targets: list[Target], data: Path
) -> Iterator[Spoken]:
    """Each utterance reconstructed, and converted by each system to each target but its own speaker."""
    converters = {target.name: systems_of(codecs, target) for target in targets}
    codec = next(iter(codecs.values()))
    rate_hz = codec.config.sample_rate_hz
    for recording in chosen:
        name = Path(os.path.relpath(recording.path, data)).as_posix()
        original = read_original(recording, rate_hz)
        utterance = Utterance(name, recording, original, Voice.of([original.wave], rate_hz))
        yield reconstruction(codec, utterance)
        for target in targets:
            if target.name != recording.speaker:
                for system, convert in converters[target.name].items():
                    yield rendering(system, utterance, convert(original), target)


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
        "second judge: similarity to the target": mean(s.second_target_similarity for s in spoken),
        "second judge: nearer to the target": mean(
            s.second_target_similarity > s.second_source_similarity for s in spoken
        ),
        "word error rate": bootstrap_rate(errors, words),
        "DistillMOS": mean(s.distillmos for s in spoken),
        "median pitch over the target's": mean(s.pitch_ratio for s in spoken),
        "pitch within 10 %": mean(near_pitch(s) for s in spoken),
    }
    if spoken[0].system == "reconstruction":
        rows = {name: row for name, row in rows.items() if "nearer" not in name}
    if not second_judge.is_there():
        rows = {name: row for name, row in rows.items() if "second" not in name}
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
        sounds = {"original": original.wave, f"spoken by {target.name}": codec.decode(stream, speaker=target.name)[0]}
        figure, axes = pyplot.subplots(2, 1, figsize=(9, 5), sharex=True, layout="constrained")
        for axis, (title, wave) in zip(axes, sounds.items(), strict=True):
            axis.specgram(
                np.asarray(wave) + 1e-7, NFFT=1024, Fs=rate_hz, noverlap=896, vmin=-140, vmax=-40, cmap="magma"
            )
            axis.set(title=f"{title}", ylim=(0, 5000), ylabel="Hz")
        axes[1].set(xlabel="s", xlim=(0, SHOWN_S))
        figure.savefig(folder / f"{recording.path.stem}-{target.name}.png", dpi=64)
        pyplot.close(figure)


def measure(
    model: str,
    data: Path,
    train: Path,
    folder: Path,
    names: list[str],
    limit: int,
    foreign: int,
    drawn: int = 2,
    beside: tuple[str, ...] = (),
) -> str:
    """Writes ``conversion.json``, ``conversion.md`` and pictures to ``folder`` and returns the table."""
    codec = load_sounds(model)
    codecs = {"": codec} | {Path(name).name: load_sounds(name) for name in beside}
    chosen = [recording for recording in chosen_recordings(data, limit) if recording.transcript]
    targets = [*own_targets(codec, train, names), *foreign_targets(codec, find_recordings(data), foreign)]
    originals = []
    for recording in chosen:
        original: Original = read_original(recording, codec.config.sample_rate_hz)
        originals.append(word_errors(recording.transcript, recognise(original.wave, original.sample_rate_hz)))
    spoken = defaultdict(list)
    for one in renderings(codecs, chosen, targets, data):
        spoken[one.system].append(one)
        print(one, flush=True)
    table = {kind: figures(rows) for kind, rows in spoken.items()}
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
    pictures(codec, chosen[0], [target for target in targets if target.known][:drawn], folder)
    return text


if __name__ == "__main__":
    matplotlib.use("Agg")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True, help="utterances to convert, with transcripts")
    parser.add_argument("--train", type=Path, required=True, help="recordings of the targets")
    parser.add_argument("--targets", nargs="+", required=True, help="names of the model's speakers")
    parser.add_argument("--limit", type=int, default=0, help="utterances of each group; 0 takes all")
    parser.add_argument("--foreign", type=int, default=2, help="unknown speakers whose voices are heard")
    parser.add_argument("--beside", nargs="*", default=(), help="other models to measure in the same run")
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
            beside=tuple(wanted.beside),
        )
    )
