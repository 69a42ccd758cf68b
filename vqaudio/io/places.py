"""Where the bytes of a sound lie: a file, a part of one (in a tar), or a cell of a table."""

import functools
import hashlib
import io
import os
from pathlib import Path
from typing import BinaryIO, NamedTuple

from vqaudio.errors import DataError
from vqaudio.io.extras import needed

_HELD_BYTES = 1 << 26  # of a file; a larger one is read where it lies


class WholeFile(NamedTuple):
    """The file ``file``."""

    file: str


class FilePart(NamedTuple):
    """``size`` bytes of ``file`` from ``offset`` on."""

    file: str
    offset: int
    size: int


class TableCell(NamedTuple):
    """Row ``row`` of group ``group`` of a Parquet or Arrow file; ``column`` holds the bytes, or a struct with them."""

    file: str
    group: int
    row: int
    column: str


Place = WholeFile | FilePart | TableCell


class _NamedBytes(io.BytesIO):
    """Bytes in memory that messages can call by a name."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


def open_place(place: Place, name: str) -> tuple[BinaryIO, str]:
    """The open sound, which messages call ``name``, and the SHA-256 (hexadecimal) of its bytes.

    Raises:
        OSError: the file cannot be read.
        DataError: its bytes are not there.
    """
    if isinstance(place, TableCell):
        data = _cell_bytes(place)
    elif isinstance(place, FilePart):
        with open(place.file, "rb") as file:
            file.seek(place.offset)
            data = file.read(place.size)
        if len(data) != place.size:
            raise DataError(f"{place.file}: ends inside {name}; get a whole copy")
    else:
        whole = open(place.file, "rb")  # noqa: SIM115  # the caller's to close
        if os.fstat(whole.fileno()).st_size > _HELD_BYTES:
            digest = hashlib.file_digest(whole, "sha256").hexdigest()
            whole.seek(0)
            return whole, digest
        with whole:
            data = whole.read()
    return _NamedBytes(data, name), hashlib.sha256(data).hexdigest()


def _cell_bytes(place: TableCell) -> bytes:
    try:
        cell = _group(place.file, place.group, place.column)[place.row].as_py()
    except Exception as error:  # pyarrow raises whatever it comes upon in a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{place.file}: row {place.row} of group {place.group} cannot be read ({reason})") from None
    if isinstance(cell, dict):
        cell = cell.get("bytes")
    if not isinstance(cell, bytes):
        raise DataError(f"{place.file}: row {place.row} of group {place.group} holds no sound in {place.column!r}")
    return cell


@functools.lru_cache(maxsize=2)
def _group(file: str, group: int, column: str):  # type: ignore[no-untyped-def]  # pyarrow has no types
    """One column of a Parquet file's row group, or of an Arrow stream's record batch: rows come one after another."""
    if file.endswith(".parquet"):
        parquet = needed("pyarrow.parquet", "corpora", "reading Parquet")
        with parquet.ParquetFile(file) as table:
            found = table.read_row_group(group, columns=[column]).column(column).combine_chunks()
    else:
        found = arrow_batches(file)[group].column(column)
    found.validate(full=True)
    return found


@functools.lru_cache(maxsize=2)
def arrow_batches(file: str):  # type: ignore[no-untyped-def]
    """The record batches of an Arrow file or stream, mapped into memory."""
    arrow = needed("pyarrow", "corpora", "reading Arrow")
    source = arrow.memory_map(file)
    try:
        reader = arrow.ipc.open_stream(source)
        return list(reader)
    except arrow.ArrowInvalid:
        reader = arrow.ipc.open_file(source)
        return [reader.get_batch(number) for number in range(reader.num_record_batches)]


def place_of(path: Path, root: Path) -> str:
    """``path`` as seen from the folder ``root``, with slashes, whatever the system."""
    return Path(os.path.relpath(path, os.path.abspath(root))).as_posix()
