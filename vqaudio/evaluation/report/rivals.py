"""What other codecs reached on the same kind of sound, as ``recipes/benchmark`` measures it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqaudio.errors import DataError
from vqaudio.evaluation.metrics import Mean


@dataclass(frozen=True)
class Rival:
    """A codec and its means by figure, ``bits_per_second`` among them; ``ours`` is one of this package."""

    name: str
    figures: dict[str, Mean]
    ours: bool = False


def read_rivals(path: Path) -> list[Rival]:
    """The codecs in a benchmark's ``quality.json``.

    Raises:
        DataError: it cannot be read, or is no such file.
    """
    try:
        codecs = json.loads(path.read_bytes())["codecs"]
        return [Rival(name, _figures(codec["figures"]), bool(codec["ours"])) for name, codec in codecs.items()]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give the quality.json of a benchmark") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: is no benchmark ({error}); give a quality.json of recipes/benchmark") from None


def _figures(entries: dict[str, Any]) -> dict[str, Mean]:
    """Those that were measured."""
    found = {}
    for name, entry in entries.items():
        mean = Mean(**entry)
        if mean.count:
            found[name] = Mean(float(mean.value), float(mean.low), float(mean.high), int(mean.count))
    return found
