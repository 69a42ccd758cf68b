"""Makes the small sample sounds of this repository with eSpeak NG, a free speech synthesizer.

``python data/make_samples.py`` writes ``data/samples/*.flac`` and the clip that ``vqaudio demo`` codes,
``vqaudio/pretrained/demo.flac``. The sentences are our own, so all of it may be shared.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from scipy.signal import resample_poly

ROOT = Path(__file__).resolve().parents[1]
PEAK = 0.5

Wave = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Utterance:
    """One text as one voice says it; ``pace_wpm`` is in words a minute, ``pitch`` from 0 to 99."""

    text: str
    voice: str
    pace_wpm: int = 150
    pitch: int = 50


@dataclass(frozen=True)
class Clip:
    """A file to make. ``places`` puts each utterance between left (0) and right (1); without it the file is mono."""

    path: str
    sample_rate_hz: int
    utterances: tuple[Utterance, ...]
    places: tuple[float, ...] = ()


CLIPS = (
    Clip(
        "vqaudio/pretrained/demo.flac",
        16000,
        (
            Utterance(
                "A codec hears a voice, writes it down in a few hundred numbers, and says it again from memory.",
                "en-us",
                pace_wpm=155,
            ),
        ),
    ),
    Clip(
        "data/samples/harbour.flac",
        16000,
        (Utterance("The red boat left the harbour at dawn.", "en-gb+m3", pitch=40),),
    ),
    Clip(
        "data/samples/kettle.flac",
        16000,
        (Utterance("Put the kettle on, please.", "en-us+f3", pitch=60),),
    ),
    Clip(
        "data/samples/crossing_stereo.flac",
        44100,
        (Utterance("Look left,", "en-gb+m3", pitch=40), Utterance("then look right.", "en-us+f3", pitch=60)),
        places=(0.1, 0.9),
    ),
)


def speak(utterance: Utterance, sample_rate_hz: int) -> Wave:
    """Synthesizes one utterance: samples ``[time]`` at ``sample_rate_hz``, peak at :data:`PEAK`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        options = ["-v", utterance.voice, "-s", str(utterance.pace_wpm), "-p", str(utterance.pitch), "-w", str(path)]
        subprocess.run(["espeak-ng", *options, utterance.text], check=True)
        wave, native_rate_hz = soundfile.read(path)
    divisor = np.gcd(native_rate_hz, sample_rate_hz)
    wave = resample_poly(wave, sample_rate_hz // divisor, native_rate_hz // divisor)
    return np.asarray(wave * (PEAK / np.abs(wave).max()), dtype=np.float64)


def place(waves: Sequence[Wave], places: Sequence[float]) -> Wave:
    """Lays waves one after another at equal power between two channels: ``[time, 2]``."""
    angles = np.asarray(places) * (np.pi / 2)
    return np.concatenate(
        [np.outer(wave, (np.cos(angle), np.sin(angle))) for wave, angle in zip(waves, angles, strict=True)]
    )


def make(clip: Clip) -> Path:
    """Writes one clip as 16-bit FLAC and returns where."""
    waves = [speak(utterance, clip.sample_rate_hz) for utterance in clip.utterances]
    path = ROOT / clip.path
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = place(waves, clip.places) if clip.places else np.concatenate(waves)
    soundfile.write(path, wave, clip.sample_rate_hz, subtype="PCM_16")
    return path


def main() -> int:
    """Makes every clip; 1 when eSpeak NG is not installed."""
    if shutil.which("espeak-ng") is None:
        print("make_samples: espeak-ng is not installed: get it (Debian: apt install espeak-ng)", file=sys.stderr)
        return 1
    for clip in CLIPS:
        path = make(clip)
        info = soundfile.info(path)
        print(
            f"{clip.path}: {info.duration:.2f} s, {info.channels} x {info.samplerate} Hz, {path.stat().st_size} bytes"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
