"""Fine-tunes a model to your speech, and measures it before and after on speech that it has not learnt from.

    python recipes/finetune/run.py CORPUS --held-out OTHER_CORPUS -o runs/finetune
    python recipes/finetune/run.py CORPUS --held-out OTHER_CORPUS -o runs/finetune --telephone

With ``--telephone`` both corpora first go through a telephone (300 to 3,400 Hz, 8 kHz, mu-law): a kind of speech that
the bundled model does not know, for those who want to see what fine-tuning does and have no such corpus at hand.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import soundfile
from scipy.signal import butter, sosfiltfilt

from vqaudio.io.corpora import find_recordings
from vqaudio.io.resample import resample

HERE = Path(__file__).parent
PHONE_HZ, BAND_HZ = 8000, (300, 3400)
METRICS = "stoi,mel,pitch,distillmos"


def vqaudio(*words: object) -> None:
    """Runs a verb."""
    subprocess.run([sys.executable, "-m", "vqaudio", *map(str, words)], check=True)


def telephoned(corpus: Path, folder: Path, limit: int) -> Path:
    """The corpus as it sounds through a telephone: at most ``limit`` of its recordings, evenly chosen; 0 takes all."""
    recordings = find_recordings(corpus)
    band = butter(4, BAND_HZ, "bandpass", fs=PHONE_HZ, output="sos")
    lines = ["path\tspeaker\tgroup\ttranscript"]
    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(recordings[:: max(1, len(recordings) // limit) if limit else 1][: limit or None]):
        wave, rate_hz = soundfile.read(one.path, dtype="float32", always_2d=True)
        narrow = resample(wave.mean(1)[None], rate_hz, PHONE_HZ)[0]
        name = f"{number:05d}.wav"
        soundfile.write(folder / name, sosfiltfilt(band, narrow), PHONE_HZ, subtype="ULAW")
        lines.append("\t".join([name, one.speaker, one.group, one.transcript]))
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def measured(model: str | Path, corpus: Path, metrics: str, file: Path) -> dict[str, Any]:
    """All figures of a model on a corpus."""
    vqaudio("evaluate", model, "--data", corpus, "--metrics", metrics, "--json", file, "--force", "--quiet")
    return json.loads(file.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--held-out", type=Path, required=True, help="a corpus to measure on")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="speech", help="to begin with, of the shape in finetune.toml")
    parser.add_argument("--telephone", action="store_true", help="both corpora through a telephone")
    parser.add_argument("--limit", type=int, default=0, help="recordings to learn from with --telephone; 0 takes all")
    parser.add_argument("--metrics", default=METRICS, help="as for evaluate")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE", help="as for train")
    options = parser.parse_args()
    run, corpus, held_out = options.output, options.corpus, options.held_out
    run.mkdir(parents=True, exist_ok=True)
    if options.telephone:
        corpus = telephoned(corpus, run / "telephone", options.limit)
        held_out = telephoned(held_out, run / "telephone-held-out", 0)
    vqaudio("prepare", corpus, "-o", run / "shards", "--force")
    changes = [word for change in options.changes for word in ("--set", change)]
    words = ["--data", run / "shards", "-o", run / "run", "--start-from", options.model, *changes]
    vqaudio("train", HERE / "finetune.toml", *words)
    before = measured(options.model, held_out, options.metrics, run / "before.json")
    after = measured(run / "run" / "model", held_out, options.metrics, run / "after.json")
    table = {"before": before["groups"]["all"], "after": after["groups"]["all"]}
    (run / "finetune.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
