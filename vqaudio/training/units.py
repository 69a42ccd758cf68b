"""Units of speech beside a corpus' speech parameters: a number for each frame, such as the cluster of what a recogniser
hears there. A model that learns to tell them keeps the words in its codes."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from vqaudio.arrays import Floats, Integers
from vqaudio.errors import DataError
from vqaudio.io.atomic import atomic_write
from vqaudio.training.shards import INDEX_FILE, AudioShards, Utterance, read_index

MAX_UNITS = 2048


def utterance_waves(shards: AudioShards) -> Iterator[tuple[Utterance, Floats]]:
    """Each utterance of the shards, and its wave ``[T]`` at normalised level, in order."""
    return ((utterance, shards.wave(utterance)) for utterance in shards.utterances)


def write_units(folder: Path, units: Iterable[Integers], count: int) -> None:
    """Puts units beside the speech parameters of the shards in ``folder``, in place of any before.

    Args:
        folder: of shards with speech parameters.
        units: for each utterance, in order, one of its frames each, 0 to ``count - 1``.
        count: how many different ones there are, 2 to 2,048.

    Raises:
        DataError: the shards have no speech parameters, or the units do not fit them.
    """
    index, shards = read_index(folder), AudioShards(folder)
    if shards.analysis is None:
        raise DataError(
            f"{folder}: has no speech parameters, beside which units would stand; prepare it with --analysis"
        )
    if not 2 <= count <= MAX_UNITS:
        raise DataError(f"{count} units are not supported: give 2 to {MAX_UNITS}")
    rows = [table["numbers"] // (shards.analysis.bands + 1) for table in index["tables"]]
    tables = [np.zeros(size, "<i2") for size in rows]
    for utterance, own in zip(shards.utterances, units, strict=True):
        if own.shape != (utterance.frames,) or not np.all((own >= 0) & (own < count)):
            raise DataError(f"units of the shape {own.shape} do not fit an utterance of {utterance.frames} frames")
        tables[utterance.table][utterance.row : utterance.row + utterance.frames] = own
    files = []
    for number, table in enumerate(tables):
        name, data = f"shard-{number:05d}.units", table.tobytes()
        with atomic_write(folder / name, overwrite=True) as file:
            file.write(data)
        files.append({"file": name, "rows": len(table), "sha256": hashlib.sha256(data).hexdigest()})
    with atomic_write(folder / INDEX_FILE, overwrite=True) as file:
        file.write(json.dumps(index | {"units": {"count": count, "files": files}}).encode())
