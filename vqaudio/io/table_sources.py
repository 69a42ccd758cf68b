"""Tables of utterances: Parquet files, and the folders that ``datasets.save_to_disk`` of Hugging Face writes.

A column ``audio`` may hold the sound itself, as bytes or as a struct of ``bytes`` and ``path``.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vqaudio.errors import DataError
from vqaudio.io.extras import needed
from vqaudio.io.places import TableCell, arrow_batches

Row = tuple[str, dict[str, Any], TableCell | None]

_SOUND = "audio"
_ROWS_AT_ONCE = 4096
_STATE, _SPLITS = "state.json", "dataset_dict.json"


def parquet_rows(path: Path) -> Iterator[Row]:
    """The rows of a Parquet file, without their sounds: where each stands, its other columns, its sound's cell.

    Raises:
        DataError: it is no Parquet file, or damaged.
        ConfigError: pyarrow is not installed.
    """
    parquet = needed("pyarrow.parquet", "corpora", "reading Parquet")
    arrow = needed("pyarrow", "corpora", "reading Parquet")
    try:
        with parquet.ParquetFile(path) as table:
            columns, has_sound = _plain_columns(table.schema_arrow)
            for group in range(table.num_row_groups):
                batches = table.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=columns)
                yield from _rows(path, group, (row for batch in batches for row in _dictionaries(batch)), has_sound)
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: is no Parquet file, or damaged ({_first_line(error)}); get a whole copy") from None


def is_saved_dataset(folder: Path) -> bool:
    """Says whether ``datasets.save_to_disk`` wrote the folder."""
    return (folder / _STATE).is_file() or (folder / _SPLITS).is_file()


def saved_dataset_rows(folder: Path) -> Iterator[Row]:
    """The rows of a saved data set, or of all splits of one, as :func:`parquet_rows`."""
    if (folder / _SPLITS).is_file():
        for split in _document(folder / _SPLITS).get("splits", []):
            yield from saved_dataset_rows(folder / str(split))
        return
    state = _document(folder / _STATE)
    if state.get("_indices_data_files") is not None:
        raise DataError(f"{folder}: holds a selection of rows; save it with flatten_indices() first")
    arrow = needed("pyarrow", "corpora", "reading Arrow")
    for data in state.get("_data_files", []):
        path = folder / str(data["filename"])
        try:
            for number, batch in enumerate(arrow_batches(str(path))):
                columns, has_sound = _plain_columns(batch.schema)
                yield from _rows(path, number, _dictionaries(batch.select(columns)), has_sound)
        except (arrow.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read ({_first_line(error)}); get a whole copy") from None


def _plain_columns(schema: Any) -> tuple[list[str], bool]:
    """The columns to read for every row, and whether another one holds the sounds."""
    types = needed("pyarrow.types", "corpora", "reading tables")
    kinds = dict(zip(schema.names, schema.types, strict=True))
    sound = kinds.get(_SOUND)
    held = sound is not None and (types.is_struct(sound) or types.is_binary(sound) or types.is_large_binary(sound))
    return [name for name in schema.names if name != _SOUND or not held], held


def _dictionaries(batch: Any) -> Any:
    """The rows of an Arrow batch. It is validated first: offsets that lead out of the file would be followed."""
    batch.validate(full=True)
    return batch.to_pylist()


def _rows(path: Path, group: int, rows: Iterable[dict[str, Any]], has_sound: bool) -> Iterator[Row]:
    for number, row in enumerate(rows):
        where = f"{path}, row {number} of group {group}"
        if not has_sound:
            yield where, row, None
            continue
        row.setdefault("id", row.get("path") or f"{path.stem}-{group:05d}-{number:06d}")
        yield where, row, TableCell(str(path), group, number, _SOUND)


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error}); save the data set anew") from None
    return document if isinstance(document, dict) else {}


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
