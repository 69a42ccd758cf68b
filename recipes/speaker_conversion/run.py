"""From a corpus to converted speech and the table of how well it went.

python recipes/speaker_conversion/run.py --corpus CORPUS --data EVAL_CORPUS --targets NAME [NAME ...] -o FOLDER
python recipes/speaker_conversion/run.py --smoke -o FOLDER

``--smoke`` goes the same way in seconds: generated voices, a tiny network, a few steps. It shows that everything works,
not how good it is.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import soundfile
from measure import measure

from vqaudio.cli.main import main as vqaudio
from vqaudio.models.config import load_run
from vqaudio.training.loop import train
from vqaudio.training.packing import prepare
from vqaudio.training.shards import AudioShards

CONFIG = Path(__file__).parent / "voices.toml"
RATE = 16000

SMOKE = (
    "model.encoder.channels=[4, 4, 4, 4, 4, 4, 4, 4]",
    "model.quantizer.codebook_size=16",
    "model.conditioning.channels=8",
    "model.decoder.residual=8",
    "model.decoder.skip=8",
    "model.decoder.hidden=8",
    "model.decoder.dilations=[1, 2]",
    "model.prior.levels=16",
    "model.prior.dilations=[1, 2]",
    "train.compile=false",
    *(f"train.phases.{phase}.steps=3" for phase in (0, 1)),
    *(f"train.phases.{phase}.decay_steps=0" for phase in (0, 1)),
    *(f"train.phases.{phase}.batch_size=4" for phase in (0, 1)),
    "train.validation_crops=2",
    "train.sound_seconds=0",
)


def made_up_voice(pitch_hz: float, formants_hz: tuple[float, ...], seconds: float, seed: int) -> np.ndarray:
    """Harmonics of a wandering pitch under resonances, swelling and fading four times a second: speech of a kind."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + 0.1 * np.sin(2 * np.pi * (1.5 * time + rng.random())))) / RATE
    wave = np.zeros_like(time)
    for harmonic in range(1, int(5000 / pitch_hz)):
        strength = sum(1 / (1 + ((harmonic * pitch_hz - formant) / 120) ** 2) for formant in formants_hz)
        wave += strength * np.sin(harmonic * phase)
    swell = np.sin(np.pi * 4 * time) ** 2
    return 0.05 * swell * wave + 1e-4 * rng.standard_normal(len(time))


def made_up_corpora(folder: Path) -> tuple[Path, Path]:
    """A corpus of two voices to learn from, and one of these and a third to convert."""
    voices = {
        "ann": ("F", 210.0, (700.0, 1800.0)),
        "bob": ("M", 110.0, (500.0, 1400.0)),
        "cat": ("F", 250.0, (800.0, 2100.0)),
    }
    for corpus, speakers, count in (("train", ("ann", "bob"), 3), ("eval", ("ann", "cat"), 3)):
        lines = ["path\tgroup\tspeaker\tgender\ttranscript"]
        for speaker in speakers:
            gender, pitch_hz, formants_hz = voices[speaker]
            for number in range(count):
                path = folder / corpus / speaker / f"{number}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, made_up_voice(pitch_hz, formants_hz, 1.6, number), RATE)
                lines.append(f"{speaker}/{number}.wav\t{speaker}\t{speaker}\t{gender}\tla la la")
        (folder / corpus / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "train", folder / "eval"


def run(corpus: Path, data: Path, targets: list[str], folder: Path, overrides: tuple[str, ...], limit: int) -> str:
    """Prepares, trains, converts one file, measures; returns the table."""
    prepare(corpus, folder / "shards", RATE)
    model = train(load_run(CONFIG, overrides), AudioShards(folder / "shards"), folder / "run", resume=True)
    first = next(path for path in sorted(data.rglob("*")) if path.suffix in (".wav", ".flac"))
    converted = folder / "converted"
    converted.mkdir(exist_ok=True)
    voices = [word for target in targets for word in ("--speaker", target)]
    code = vqaudio(["convert", str(first), *voices, "-o", str(converted), "--model", str(model), "--force"])
    if code:
        raise SystemExit(code)
    return measure(str(model), data, corpus, folder / "results", targets, limit, 1)


if __name__ == "__main__":
    matplotlib.use("Agg")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, help="speech to learn from, speakers known")
    parser.add_argument("--data", type=Path, help="utterances to convert, with transcripts")
    parser.add_argument("--targets", nargs="+", help="speakers of the corpus")
    parser.add_argument("--limit", type=int, default=4, help="utterances of each group")
    parser.add_argument("--smoke", action="store_true", help="generated voices and a tiny network")
    parser.add_argument("-o", "--output", type=Path, required=True)
    wanted = parser.parse_args()
    if wanted.smoke:
        made = made_up_corpora(wanted.output)
        print(run(*made, ["bob"], wanted.output, SMOKE, 1))
    elif not (wanted.corpus and wanted.data and wanted.targets):
        parser.error("give --corpus, --data and --targets, or --smoke")
    else:
        print(run(wanted.corpus, wanted.data, wanted.targets, wanted.output, (), wanted.limit))
