"""Which phone each code stands for (van den Oord et al. 2017, section 4.3): phones.json and phones.png.

python recipes/benchmark/phones.py CORPUS --count TRAINING_CORPUS

The corpus needs transcripts. The phone of a code is the one that it occurs with most often in another corpus (--count
CORPUS, such as the training set) or, without one, in the other half of the utterances, as 'vqaudio evaluate --phones'
has it beside everything else.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.progress import track

import vqaudio
from vqaudio.codecs.bundled import model_folder
from vqaudio.codecs.speech import Codec
from vqaudio.errors import VqaudioError
from vqaudio.evaluation.corpus import check_transcripts, measurable_recordings, read_original
from vqaudio.evaluation.phones import PhoneMap, PhoneWatch, phone_watch
from vqaudio.evaluation.report.pictures import phone_png
from vqaudio.io.corpora import Recording
from vqaudio.models.sources import read_sources

RESULTS = Path(__file__).parent / "results"


def measure(model: str, corpus: Path, count: Path | None, limit: int = 0) -> tuple[PhoneMap, int]:
    """Over all recordings of ``corpus`` that have a transcript; the codes' phones are those of ``count``, and how many
    utterances of it they were counted on."""
    recordings, _ = measurable_recordings(corpus, 0, read_sources(model_folder(model)))
    check_transcripts(corpus, recordings)
    counted = [] if count is None else counted_recordings(count, limit)
    codec = vqaudio.load(model, "cpu")
    known = watch(codec, counted) if counted else None
    return watch(codec, recordings).result(known), len(known.utterances) if known else 0


def counted_recordings(corpus: Path, limit: int) -> list[Recording]:
    """Those of ``corpus`` with a transcript; at most ``limit`` of them, drawn at random, where that is not 0."""
    recordings, _ = measurable_recordings(corpus)
    check_transcripts(corpus, recordings)
    spoken = [recording for recording in recordings if recording.transcript.strip()]
    if limit:
        spoken = random.Random(0).sample(spoken, min(limit, len(spoken)))
    return spoken


def watch(codec: Codec, recordings: Iterable[Recording]) -> PhoneWatch:
    """The codes and phones of those that have a transcript."""
    found = phone_watch(codec)
    for recording in track([one for one in recordings if one.transcript.strip()], "aligning", transient=True):
        original = read_original(recording, codec.config.sample_rate_hz)
        found.add(original, codec.encode(original.wave, original.sample_rate_hz).tokens[0])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS, help="a folder, by default the recipe's results")
    parser.add_argument("--model", default="speech")
    parser.add_argument("--count", type=Path, help="another corpus, to count which phone a code occurs with")
    parser.add_argument("--limit", type=int, default=0, help="recordings of the counted corpus; 0 takes all")
    arguments = parser.parse_args()
    try:
        found, counted_on = measure(arguments.model, arguments.corpus, arguments.count, arguments.limit)
    except VqaudioError as error:
        sys.exit(str(error))
    arguments.output.mkdir(parents=True, exist_ok=True)
    document = {"model": Path(arguments.model).name, **found.document(), "counted_on": counted_on}
    (arguments.output / "phones.json").write_text(json.dumps(document, indent=1) + "\n")
    (arguments.output / "phones.png").write_bytes(phone_png(found.counts))
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
