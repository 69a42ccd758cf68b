"""Where the utterances of a large corpus come from: a folder, a manifest, WebDataset tars, a data set of Hugging Face.

A source is read as a stream: the first utterance comes at once, whatever follows. An :class:`Entry` says where the
bytes of a sound lie and does not hold them, so that it can be sent to another process or machine.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqaudio.errors import DataError
from vqaudio.io import table_sources, tar_sources
from vqaudio.io.corpora import find_recordings
from vqaudio.io.places import FilePart, Place, TableCell, WholeFile, place_of

MANIFEST_SUFFIXES = (".tsv", ".csv", ".jsonl", ".parquet")
_ID = ("id", "utterance_id", "__key__")
_PATH = ("path", "audio", "file", "file_name", "audio_filepath")
_SPEAKER = ("speaker", "speaker_id", "client_id")
_TRANSCRIPT = ("transcript", "text", "sentence", "transcription")
_LONGEST_FIELD = 1 << 24  # characters of one cell of a CSV file
_LONGEST_LINE = 1 << 24  # characters


@dataclass(frozen=True)
class Entry:
    """One utterance of a source.

    Attributes:
        id: names it: the source's own id, or else its path without the suffix.
        path: of the sound as the source has it, relative to the source where it can be.
        place: where its bytes are.
        speaker: who speaks, "" where that is not known.
        transcript: what is said, "" where that is not known.
    """

    id: str
    path: str
    place: Place
    speaker: str = ""
    transcript: str = ""


def entries(source: Path) -> Iterator[Entry]:
    """The utterances of ``source``, always in the same order.

    Args:
        source: a manifest (TSV, CSV, JSON lines or Parquet, by its suffix), whose paths start at its folder; a tar file
            or a folder of tar files as WebDataset has them; a folder that ``datasets.save_to_disk`` wrote, or one of
            Parquet files with a column ``audio``; a folder with ``manifest.tsv``; or any corpus that
            :func:`vqaudio.io.corpora.find_recordings` knows.

    Raises:
        DataError: there is no such source, or a line of it makes no sense; also while iterating.
        ConfigError: a package that reads it is not installed.
    """
    if source.is_file():
        return _from_file(source)
    if not source.is_dir():
        raise DataError(f"{source}: no such file or folder; give a manifest, a tar file or the folder of a corpus")
    if (source / "manifest.tsv").is_file():
        return _from_file(source / "manifest.tsv")
    if table_sources.is_saved_dataset(source):
        return _from_rows(source, table_sources.saved_dataset_rows(source))
    if tars := sorted(source.glob("*.tar")):
        return _from_tars(source, tars)
    if tables := sorted(source.glob("*.parquet")):
        return (entry for table in tables for entry in _from_rows(source, table_sources.parquet_rows(table)))
    return _from_corpus(source)


def _from_file(path: Path) -> Iterator[Entry]:
    suffix = path.suffix.lower()
    if suffix == ".tar":
        return _from_tars(path.parent, [path])
    if suffix == ".parquet":
        return _from_rows(path, table_sources.parquet_rows(path))
    readers: dict[str, Callable[[Path], Iterator[tuple[str, dict[str, Any]]]]]
    readers = {".tsv": _tab_separated, ".csv": _comma_separated, ".jsonl": _json_lines}
    if suffix not in readers:
        known = ", ".join((*MANIFEST_SUFFIXES, ".tar"))
        raise DataError(f"{path}: its suffix names no kind of source; give one of {known}, or a folder")
    return _from_rows(path, ((where, row, None) for where, row in readers[suffix](path)))


# ---------------------------------------------------------------------------------------------------------- manifests


def _text(path: Path) -> io.TextIOWrapper:
    try:
        return open(path, encoding="utf-8-sig", newline="")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Where each line is, and the line."""
    with _text(path) as file:
        try:
            for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE), ""), start=1):
                if len(line) == _LONGEST_LINE:
                    raise DataError(f"{path}, line {number}: has {_LONGEST_LINE} characters or more; mend the line")
                yield f"{path}, line {number}", line.rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: is not UTF-8 ({error}); save it as UTF-8") from None


def _tab_separated(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    lines = _lines(path)
    columns = next(lines, ("", ""))[1].split("\t")
    for where, line in lines:
        if not line:
            continue
        cells = line.split("\t")
        if len(cells) != len(columns):
            raise DataError(f"{where}: has {len(cells)} cells for {len(columns)} columns; mend the line")
        yield where, dict(zip(columns, cells, strict=True))


def _comma_separated(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(f"{line}\n" for _, line in _lines(path))
    try:
        columns = next(reader, [])
        for cells in reader:
            where = f"{path}, line {reader.line_num}"
            if not cells:
                continue
            if len(cells) != len(columns):
                raise DataError(f"{where}: has {len(cells)} cells for {len(columns)} columns; mend the line")
            yield where, dict(zip(columns, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: is no CSV ({error}); mend the line") from None


def _json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for where, line in _lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: is no JSON ({error}); mend the line") from None
        if not isinstance(row, dict):
            raise DataError(f"{where}: is no JSON object; give one with a path")
        yield where, row


# ------------------------------------------------------------------------------------------------------ rows to entries


def _cell(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """The first of the columns ``names`` that says something."""
    found = (row[name] for name in names if row.get(name) not in (None, ""))
    return str(next(found, ""))


def _from_rows(source: Path, rows: Iterator[tuple[str, dict[str, Any], TableCell | None]]) -> Iterator[Entry]:
    """Entries of table rows, each with where it stands and the cell that holds its sound, if one does."""
    folder = source if source.is_dir() else source.parent
    for where, row, cell in rows:
        path = _cell(row, _PATH)
        if not path and cell is None:
            raise DataError(f"{where}: has no path; give a column {' or '.join(_PATH[:2])}")
        name = _cell(row, _ID) or _without_suffix(path)
        if not name:
            raise DataError(f"{where}: has neither id nor path; add one")
        place: Place = cell if cell is not None else WholeFile(str(folder / path))
        yield Entry(name, path, place, _cell(row, _SPEAKER), _cell(row, _TRANSCRIPT).strip())


def _without_suffix(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return folder + slash + (name.rpartition(".")[0] or name)


def _from_tars(root: Path, tars: list[Path]) -> Iterator[Entry]:
    for tar in tars:
        for sample in tar_sources.samples(tar):
            path = f"{tar.relative_to(root).as_posix()}/{sample.name}"
            place = FilePart(str(tar), sample.offset, sample.size)
            facts = sample.facts
            said = sample.text or _cell(facts, _TRANSCRIPT)
            yield Entry(_cell(facts, _ID) or sample.key, path, place, _cell(facts, _SPEAKER), said.strip())


def _from_corpus(root: Path) -> Iterator[Entry]:
    def listed() -> Iterator[Entry]:
        for recording in found:
            path = place_of(recording.path, root)
            whole = WholeFile(str(recording.path))
            yield Entry(_without_suffix(path), path, whole, recording.speaker, recording.transcript)

    found = sorted(find_recordings(root), key=lambda recording: str(recording.path))
    return listed()
