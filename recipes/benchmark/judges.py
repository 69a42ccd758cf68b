"""What each metric costs, in seconds of one core for a second of sound: judges.json.

python recipes/benchmark/judges.py CORPUS [--count 3]

And, from that, how long the benchmark takes when nothing is known yet: a number of utterances, codecs and cores.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from provenance import machine

import vqaudio
from vqaudio.errors import VqaudioError
from vqaudio.evaluation.corpus import measurable_recordings, read_original
from vqaudio.evaluation.metrics import METRICS, align
from vqaudio.evaluation.speech import chosen_metrics

RESULTS = Path(__file__).parent / "results"
CODECS, CORES = 10, 2
ALIGNMENT = "align"  # of delay and gain, before all metrics


def measure(model: str, corpus: Path, count: int) -> dict[str, Any]:
    """Every metric on ``count`` utterances, once its network is loaded; and the length of the whole corpus."""
    recordings, _ = measurable_recordings(corpus)
    codec = vqaudio.load(model, "cpu")
    rate_hz = codec.config.sample_rate_hz
    names, _ = chosen_metrics(None)
    lengths = [len(read_original(recording, rate_hz).wave) / rate_hz for recording in recordings]
    pairs = []
    for recording in recordings[:: max(1, len(recordings) // count)][:count]:
        original = read_original(recording, rate_hz)
        decoded = codec.decode(codec.encode(original.wave, rate_hz))[0]
        pairs.append((original, align(original.wave, decoded, rate_hz)))
    sound_s = sum(len(decoded) for _, decoded in pairs) / rate_hz
    costs = {}
    for name in names:
        for original, decoded in pairs[:1]:
            METRICS[name].measure(original, decoded, "")  # loads
        for original, _ in pairs:  # found once, for all codecs
            _ = (original.pitch, original.speaker)
        started = time.process_time()
        for original, decoded in pairs:
            METRICS[name].measure(original, decoded, "")
        costs[name] = (time.process_time() - started) / sound_s
    started = time.process_time()
    for original, decoded in pairs:
        align(original.wave, decoded, rate_hz)
    costs[ALIGNMENT] = (time.process_time() - started) / sound_s
    return {
        "machine": machine(),
        "seconds of one core for a second of sound": costs,
        "together": sum(costs.values()),
        "corpus": {"utterances": len(recordings), "seconds": round(sum(lengths), 1)},
        f"minutes for {CODECS} codecs on {CORES} cores": sum(costs.values()) * sum(lengths) * CODECS / CORES / 60,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS, help="a folder, by default the recipe's results")
    parser.add_argument("--model", default="speech")
    parser.add_argument("--count", type=int, default=3, help="utterances")
    arguments = parser.parse_args()
    try:
        found = measure(arguments.model, arguments.corpus, arguments.count)
    except VqaudioError as error:
        sys.exit(str(error))
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "judges.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
