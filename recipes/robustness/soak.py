"""One process codes thousands of files of random length and kind: memory, files, threads and temporary files stay flat.

python recipes/robustness/soak.py --minutes 60 --json recipes/robustness/results/soak.json

Each turn makes a sound or a picture of random format, rate, channels and length, encodes it, sometimes damages the
stream, and decodes it, by the command line's own functions. What the process holds is looked at after each so many
turns. It is flat where the second half of the looks holds no more than the first half does, but for a little.
"""

import argparse
import gc
import io
import json
import os
import random
import sys
import tempfile
import threading
import time
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from PIL import Image

from vqaudio.cli.main import main as vqaudio

FIXTURES = Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "v1"
SOUNDS = (("wav", "PCM_16"), ("wav", "FLOAT"), ("flac", "PCM_16"), ("ogg", "VORBIS"), ("aiff", "PCM_24"), ("mp3", None))
RATES_HZ = (8000, 16000, 22050, 44100, 48000)
TURNS = 25  # from one look to the next
SLACK_MB = 24  # that memory may grow by and still count as flat: caches of resamplers and codecs fill up


@dataclass(frozen=True)
class Look:
    """What the process holds after ``files`` files."""

    files: int
    memory_mb: float
    descriptors: int
    threads: int
    temporary: int


def look(files: int) -> Look:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    temporary = [path for folder in (Path(), Path("tmp")) for path in folder.iterdir() if path.name != "tmp"]
    descriptors = len(os.listdir("/proc/self/fd"))
    return Look(files, round(pages * 4096 / 2**20, 1), descriptors, threading.active_count(), len(temporary))


def make_sound(rng: random.Random) -> str:
    suffix, subtype = rng.choice(SOUNDS)
    rate, channels = rng.choice(RATES_HZ), rng.choice((1, 1, 2))
    frames = int(rng.choice((0, 1, 0.01, 0.1, 1, 1, 3)) * rng.random() * rate)
    frames = max(frames, rate // 10) if suffix in ("mp3", "flac") else frames  # of nothing they are empty files
    wave = 0.1 * np.random.default_rng(rng.randrange(2**32)).standard_normal((frames, channels))
    soundfile.write(f"in.{suffix}", wave, rate, subtype=subtype)
    return f"in.{suffix}"


def make_picture(rng: random.Random) -> str:
    levels = np.random.default_rng(rng.randrange(2**32)).integers(
        0, 256, (rng.randrange(1, 80), rng.randrange(1, 80), 3), np.uint8
    )
    suffix = rng.choice(("png", "jpg", "webp"))
    Image.fromarray(levels).save(f"in.{suffix}")
    return f"in.{suffix}"


def code(words: list[str], expected: tuple[int, ...]) -> None:
    """Runs the program, whose words on standard error are shown where it ends otherwise than expected."""
    said = io.StringIO()
    with redirect_stderr(said):
        ended = vqaudio(words)
    assert ended in expected, f"{words}: {ended}, {said.getvalue()}"


def turn(rng: random.Random) -> None:
    """One file there and back; one in ten streams is damaged, which must be told and nothing worse."""
    picture = rng.random() < 0.3
    name = (make_picture if picture else make_sound)(rng)
    model = FIXTURES / ("picture-model" if picture else "sound-model")
    words = ["--quiet", "--model", str(model)]
    coder = rng.choice(("prior", "packed"))
    code(["encode", name, "-o", "x.vqa", "--coder", coder, *words], (0,))
    expected: tuple[int, ...] = (0,)
    if rng.random() < 0.1:
        data = bytearray(Path("x.vqa").read_bytes())
        for _ in range(3):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        Path("x.vqa").write_bytes(data)
        expected = (0, 1)
    target = "out.png" if picture else "out.wav"
    code(["decode", "x.vqa", "-o", target, *words], expected)
    for path in Path().iterdir():
        if path.is_file():
            path.unlink()


def is_flat(looks: list[Look]) -> dict[str, bool]:
    """Whether the second half of the looks holds more than the first, of each kind."""
    half = len(looks) // 2
    found = {}
    for kind, slack in (("memory_mb", SLACK_MB), ("descriptors", 0), ("threads", 0), ("temporary", 0)):
        first, second = (max(getattr(one, kind) for one in part) for part in (looks[:half], looks[half:]))
        found[kind] = second <= first + slack
    return found


def soak(minutes: float, files: int, seed: int) -> list[Look]:
    rng, looks, ends, done = random.Random(seed), list[Look](), time.monotonic() + 60 * minutes, 0
    while done < files and (time.monotonic() < ends or len(looks) < 4):
        for _ in range(TURNS):
            turn(rng)
        done += TURNS
        looks.append(look(done))
    return looks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--files", type=int, default=2**40, help="at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where the figures go")
    chosen = parser.parse_args()
    target = chosen.json.resolve() if chosen.json else None
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        os.chdir(folder)
        os.mkdir("tmp")
        tempfile.tempdir = str(Path("tmp").resolve())
        started = time.monotonic()
        looks = soak(chosen.minutes, chosen.files, chosen.seed)
        os.chdir("/")
    flat = is_flat(looks)
    result = {
        "files": looks[-1].files,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "flat": flat,
        "first": asdict(looks[0]),
        "middle": asdict(looks[len(looks) // 2]),
        "last": asdict(looks[-1]),
    }
    print(json.dumps(result, indent=1))
    if target:
        target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    sys.exit(not all(flat.values()))


if __name__ == "__main__":
    main()
