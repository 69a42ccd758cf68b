"""Units of speech for shards: clusters of what the encoder of Whisper tiny.en hears, a number for each frame.

python recipes/speaker_conversion/units.py SHARDS --count 256

Needs 'vqaudio[evaluate]'. The recogniser is a teacher in training alone: a model that learns to tell the units keeps
the words in its codes.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.progress import track
from sklearn.cluster import MiniBatchKMeans

from vqaudio.errors import VqaudioError
from vqaudio.evaluation.metrics.words import load_whisper
from vqaudio.io.resample import resample
from vqaudio.training.shards import AudioShards
from vqaudio.training.units import utterance_waves, write_units

RATE_HZ, STEP, MOST = 16000, 320, 480_000  # samples of a step of the recogniser's, and of its window


def heard(wave: np.ndarray) -> np.ndarray:
    """What the recogniser's encoder makes of ``wave[T]``: ``[steps, dim]``, without the recording's own mean."""
    from ctranslate2 import StorageView

    recogniser, parts = load_whisper(), []
    for first in range(0, len(wave), MOST):
        part = wave[first : first + MOST]
        mel = recogniser.feature_extractor(np.pad(part, (0, MOST - len(part))), padding=0)[:, : MOST // 160]
        found = recogniser.model.encode(StorageView.from_array(np.ascontiguousarray(mel[None], np.float32)))
        parts.append(np.array(found, np.float32)[0, : -(-len(part) // STEP)])
    steps = np.concatenate(parts)
    return steps - steps.mean(axis=0)


def all_heard(shards: AudioShards) -> Iterator[np.ndarray]:
    """Of each utterance, in order."""
    every = list(shards.utterances)
    for _, wave in track(utterance_waves(shards), "listening", len(every), transient=True):
        yield heard(resample(wave[None], shards.sample_rate_hz, RATE_HZ)[0]).astype(np.float16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=Path)
    parser.add_argument("--count", type=int, default=256)
    arguments = parser.parse_args()
    try:
        shards = AudioShards(arguments.shards)
        steps = list(all_heard(shards))
        spread = np.concatenate(steps).astype(np.float32).std(axis=0) + 1e-3
        clusters = MiniBatchKMeans(arguments.count, batch_size=8192, n_init=1, random_state=0)
        clusters.fit(np.concatenate(steps).astype(np.float32) / spread)
        assert shards.analysis is not None
        units = []
        for utterance, own in zip(shards.utterances, steps, strict=True):
            found = clusters.predict(own.astype(np.float32) / spread)
            hop = shards.analysis.hop_length * RATE_HZ / shards.sample_rate_hz
            places = ((np.arange(utterance.frames) + 0.5) * hop / STEP).astype(np.int64)
            units.append(found[places.clip(max=len(found) - 1)].astype(np.int64))
        write_units(arguments.shards, units, arguments.count)
    except VqaudioError as error:
        sys.exit(str(error))
    print(f"{arguments.shards}: {arguments.count} units, {len(units)} utterances")


if __name__ == "__main__":
    main()
