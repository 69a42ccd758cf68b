"""What the recipes of live sound share: their arguments, the utterances, and where results go."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vqaudio.evaluation.corpus import read_original
from vqaudio.evaluation.metrics import Original
from vqaudio.io.corpora import find_recordings


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """Of corpus, output, model and count."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="speech")
    parser.add_argument("--count", type=int, default=6, help="utterances")
    return parser


def arguments_of(description: str | None) -> argparse.Namespace:
    """Corpus, output, model and count."""
    return parser_of(description).parse_args()


def originals(corpus: Path, count: int, rate_hz: int) -> Iterator[Original]:
    """``count`` of the corpus' recordings, spread over it."""
    recordings = find_recordings(corpus)
    for i in range(min(count, len(recordings))):
        yield read_original(recordings[i * len(recordings) // count], rate_hz)


def write(folder: Path, name: str, document: dict[str, Any], page: str) -> None:
    """``name``.json and ``name``.md."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (folder / f"{name}.md").write_text(page, encoding="utf-8")
