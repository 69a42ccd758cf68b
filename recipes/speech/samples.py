"""Measures new speech beside real speakers: long-term spectrum, syllable rate, share of silence; and draws a picture.

python recipes/speech/samples.py MODEL CORPUS -o FOLDER        (the picture needs matplotlib)
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from scipy.signal import find_peaks

import vqaudio
from vqaudio.codecs.encoding import mixed
from vqaudio.codecs.generation import generate
from vqaudio.dsp.loudness import measure_level
from vqaudio.dsp.mel import log_mel
from vqaudio.io.corpora import find_recordings
from vqaudio.io.resample import resample
from vqaudio.io.sound import SoundReader

RATE, HOP, BANDS = 16000, 160, 40
DB_PER_NEPER = 20 / np.log(10)


def normalised(wave: np.ndarray) -> np.ndarray:
    """At the level that the codec works at."""
    return wave * np.float32(measure_level([wave[None]], RATE, 1)[0].gain)


def features(wave: np.ndarray) -> dict[str, np.ndarray]:
    """Spectrum in dB ``[BANDS]`` over speech, syllables a second of speech, and the share of silence."""
    mel = DB_PER_NEPER * log_mel(torch.from_numpy(wave)[None], RATE, 512, HOP, BANDS)[0].numpy()
    loudness = 10 * np.log10((10 ** (mel / 10)).sum(0))
    active = loudness > np.percentile(loudness, 95) - 30
    envelope = np.convolve(loudness, np.hanning(9) / np.hanning(9).sum(), mode="same")
    peaks, _ = find_peaks(envelope, prominence=4, height=np.percentile(loudness, 95) - 25, distance=8)
    rate = len(peaks) / max(1e-9, active.sum() * HOP / RATE)
    return {
        "spectrum": mel[:, active].mean(1),
        "syllables_per_s": np.array(rate),
        "silence": np.array(1 - active.mean()),
    }


def real_speakers(corpus: Path) -> dict[str, dict[str, np.ndarray]]:
    """The features of each speaker's recordings, one after another."""
    waves = defaultdict(list)
    for recording in find_recordings(corpus):
        with SoundReader(recording.path) as sound:
            waves[recording.speaker].append(resample(mixed(sound)[None], sound.sample_rate_hz, RATE)[0])
    return {speaker: features(normalised(np.concatenate(of))) for speaker, of in waves.items()}


def compare(real: list[dict[str, np.ndarray]], new: list[dict[str, np.ndarray]]) -> dict[str, dict[str, float]]:
    """Means, the spread between real speakers, and how far real and new are from the mean real spectrum."""
    centre = np.mean([f["spectrum"] for f in real], axis=0)
    figures = {}
    for name in ("syllables_per_s", "silence"):
        theirs, ours = ([float(f[name]) for f in side] for side in (real, new))
        low, high = np.percentile(theirs, [5, 95])
        figures[name] = {"real_mean": np.mean(theirs), "real_5": low, "real_95": high, "new_mean": np.mean(ours)}
    distances = [[float(np.abs(f["spectrum"] - centre).mean()) for f in side] for side in (real, new)]
    pooled = np.mean([f["spectrum"] for f in new], axis=0)
    figures["spectrum_distance_db"] = {
        "real_mean": np.mean(distances[0]),
        "real_95": np.percentile(distances[0], 95),
        "new_mean": np.mean(distances[1]),
        "new_pooled": np.abs(pooled - centre).mean(),
    }
    return {name: {key: round(float(value), 3) for key, value in of.items()} for name, of in figures.items()}


def picture(waves: list[np.ndarray], path: Path) -> None:
    """The spectrograms of the first few."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(waves), 1, figsize=(9, 1.8 * len(waves)), sharex=True)
    for axis, wave in zip(axes, waves, strict=True):
        mel = log_mel(torch.from_numpy(wave)[None], RATE, 512, HOP, 80)[0].numpy()
        axis.imshow(mel, origin="lower", aspect="auto", extent=(0, len(wave) / RATE, 0, 80), vmin=-4, vmax=3)
        axis.set_ylabel("mel band")
    axes[-1].set_xlabel("seconds")
    figure.tight_layout()
    figure.savefig(path, dpi=70)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    codec = vqaudio.load(arguments.model, "cpu")
    streams = generate(codec, arguments.seconds, arguments.count)
    waves = [normalised(codec.decode(stream)[0]) for stream in streams]
    figures = compare(list(real_speakers(arguments.corpus).values()), [features(wave) for wave in waves])
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "samples.json").write_text(json.dumps(figures, indent=1) + "\n")
    picture(waves[:3], arguments.output / "samples.png")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
