"""Puts voices with names beside the weights of a model whose codes say who speaks: those of a corpus' speakers.

python recipes/speaker_conversion/named_voices.py CORPUS MODEL [--minutes 2] [--recordings 10]

Only with the consent of whoever's voices these are, or a licence that allows it.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from rich.progress import track

from vqaudio.codecs.speech import load
from vqaudio.codecs.voice_file import save_table
from vqaudio.evaluation.corpus import read_original
from vqaudio.io.corpora import find_recordings
from vqaudio.models.checksums import write_sums

RATE_HZ = 16000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("model", type=Path, help="a model's folder")
    parser.add_argument("--minutes", type=float, default=2, help="of somebody's speech, below which they are left out")
    parser.add_argument("--recordings", type=int, default=10, help="of each speaker, whose voices are averaged")
    wanted = parser.parse_args()
    codec, of = load(wanted.model), defaultdict(list)
    for recording in find_recordings(wanted.corpus):
        of[recording.speaker].append(read_original(recording, RATE_HZ).wave)
    enough = {name: own for name, own in of.items() if sum(map(len, own)) >= wanted.minutes * 60 * RATE_HZ}
    voices = {}
    for name, own in track(enough.items(), "listening", len(enough), transient=True):
        heard = [codec.voice_of(wave, RATE_HZ) for wave in own[: wanted.recordings]]
        voices[name] = np.mean(heard, axis=0, dtype=np.float32)
    save_table(wanted.model, voices)
    write_sums(wanted.model)
    print(f"{wanted.model}: {len(voices)} voices: {', '.join(sorted(voices))}")


if __name__ == "__main__":
    main()
