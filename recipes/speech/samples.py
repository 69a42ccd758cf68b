"""Measures new speech beside real speakers: long-term spectrum, syllable rate, share of silence, how natural it sounds,
and how sure a recogniser is of its words; and draws a picture.

python recipes/speech/samples.py MODEL CORPUS -o FOLDER [--before MODEL]        (needs 'vqaudio[evaluate]')
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.signal import find_peaks

import vqaudio
from vqaudio.codecs.encoding import mixed
from vqaudio.codecs.speech import Codec
from vqaudio.dsp.loudness import measure_level
from vqaudio.dsp.mel import log_mel
from vqaudio.evaluation.metrics.naturalness import distillmos
from vqaudio.evaluation.metrics.words import recognition_confidence
from vqaudio.io.corpora import find_recordings
from vqaudio.io.resample import resample
from vqaudio.io.sound import SoundReader

RATE, HOP, BANDS = 16000, 160, 40
DB_PER_NEPER = 20 / np.log(10)
SCALARS = ("syllables_per_s", "silence", "distillmos", "confidence")


def normalised(wave: np.ndarray) -> np.ndarray:
    """At the level that the codec works at."""
    return wave * np.float32(measure_level([wave[None]], RATE, 1)[0].gain)


def features(wave: np.ndarray) -> dict[str, Any]:
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


def heard(wave: np.ndarray) -> dict[str, float]:
    """How natural ``wave[T]`` sounds, and how sure a recogniser is of its words."""
    return {"distillmos": distillmos(wave, RATE), "confidence": recognition_confidence(wave, RATE)}


def real_speakers(corpus: Path, seconds: float) -> list[dict[str, Any]]:
    """The features of each speaker's recordings, one after another; of their beginning what is heard in it."""
    waves = defaultdict(list)
    for recording in find_recordings(corpus):
        with SoundReader(recording.path) as sound:
            waves[recording.speaker].append(resample(mixed(sound)[None], sound.sample_rate_hz, RATE)[0])
    every = [normalised(np.concatenate(of)) for of in waves.values()]
    return [features(wave) | heard(wave[: round(seconds * RATE)]) for wave in every]


def summary(found: list[dict[str, Any]], centre: np.ndarray) -> dict[str, dict[str, float]]:
    """Means and spread, and how far the spectra are from ``centre``, that of real speakers."""
    columns = {name: [float(f[name]) for f in found] for name in SCALARS}
    columns["spectrum_distance_db"] = [float(np.abs(f["spectrum"] - centre).mean()) for f in found]
    pooled = np.mean([f["spectrum"] for f in found], axis=0)
    columns["pooled_distance_db"] = [float(np.abs(pooled - centre).mean())]
    figures = {}
    for name, values in columns.items():
        low, high = np.nanpercentile(values, [5, 95])
        figures[name] = {"mean": np.nanmean(values), "low": low, "high": high}
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


def new_speech(model: str, seconds: float, count: int) -> list[np.ndarray]:
    """Waves that a model draws, at the level that the codec works at."""
    codec = vqaudio.load(model, "cpu")
    assert isinstance(codec, Codec)
    return [normalised(np.asarray(codec.decode(stream)[0])) for stream in codec.sample(count, seconds=seconds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--before", help="another model, such as the one before, to measure beside it")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    waves = {"new": new_speech(arguments.model, arguments.seconds, arguments.count)}
    if arguments.before:
        waves["before"] = new_speech(arguments.before, arguments.seconds, arguments.count)
    real = real_speakers(arguments.corpus, arguments.seconds)
    centre = np.mean([f["spectrum"] for f in real], axis=0)
    sides = {"real": real} | {name: [features(wave) | heard(wave) for wave in of] for name, of in waves.items()}
    figures = {name: summary(found, centre) for name, found in sides.items()}
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "samples.json").write_text(json.dumps(figures, indent=1) + "\n")
    picture(waves["new"][:3], arguments.output / "samples.png")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
