"""Tables of codes, a row an utterance, as data loaders read them: Parquet, Arrow, or WebDataset tars.

The same rows give the same bytes, with one version of pyarrow: there is no time, no name of a machine and no order of
chance in them.
"""

import io
import json
import math
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vqaudio.errors import DataError, VqaudioError
from vqaudio.io.extras import needed

FORMATS = {"parquet": ".parquet", "arrow": ".arrow", "webdataset": ".tar"}  # and their files' suffixes
_CODES_FILE, _FACTS_FILE = "codes.npy", "json"


@dataclass(frozen=True, eq=False)
class TokenRow:
    """One utterance as codes.

    Attributes:
        id, path, speaker, transcript: as the source has them.
        codes: uint16 ``[num_quantizers, frames]``, each below the model's codebook size; channels were mixed to one.
        sample_rate: of the original, in Hz.
        samples: of the original's one channel.
        level: the factor from the normalised to the original's loudness, which decoding restores.
        checksum: SHA-256 of the sound's bytes, hexadecimal.
        model: the fingerprint of the codes, hexadecimal: see :func:`vqaudio.models.checkpoint.fingerprint`.
    """

    id: str
    path: str
    codes: npt.NDArray[np.uint16]
    sample_rate: int
    samples: int
    level: float
    speaker: str
    transcript: str
    checksum: str
    model: str

    @property
    def duration(self) -> float:
        """Of the original, in seconds."""
        return self.samples / self.sample_rate


@dataclass(frozen=True)
class Failure:
    """An utterance that could not be read: which, and why."""

    id: str
    path: str
    reason: str


_FACTS = ("id", "path", "sample_rate", "duration", "samples", "level", "speaker", "transcript", "checksum", "model")
_TYPES = {"sample_rate": "int32", "duration": "float64", "samples": "int64", "level": "float32"}  # the rest is text
_KINDS: dict[str, tuple[type, ...]] = {"int32": (int,), "int64": (int,), "float32": (float, int)}
_HIGHEST_RATE_HZ, _MOST_SAMPLES = 10_000_000, 2**48 - 1  # what a stream's header takes, too


def _facts(row: TokenRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _FACTS}


# ------------------------------------------------------------------------------------------------------------- writing


def table_bytes(rows: Sequence[TokenRow], format: str, number: int = 0) -> bytes:
    """The file of ``rows`` in one of the :data:`FORMATS`; ``number`` is the shard's, which keys in a tar begin with.

    Raises:
        ConfigError: pyarrow is not installed.
    """
    writers: dict[str, Callable[[], bytes]] = {
        "parquet": lambda: _parquet(_arrow_table(rows)),
        "arrow": lambda: _arrow_file(_arrow_table(rows)),
        "webdataset": lambda: _tar(rows, number),
    }
    return writers[format]()


def failures_bytes(failures: Sequence[Failure]) -> bytes:
    """A Parquet file of what could not be read: ``id``, ``path``, ``reason``."""
    arrow = needed("pyarrow", "corpora", "writing Parquet")
    names = ("id", "path", "reason")
    columns = [arrow.array([getattr(failure, name) for failure in failures], arrow.string()) for name in names]
    return _parquet(arrow.table(dict(zip(names, columns, strict=True))))


def _arrow_table(rows: Sequence[TokenRow]) -> Any:
    arrow = needed("pyarrow", "corpora", "writing tables of tokens")
    columns = {}
    for name in _FACTS:
        kind = getattr(arrow, _TYPES.get(name, "string"))()
        columns[name] = arrow.array([getattr(row, name) for row in rows], kind)
    flat = np.concatenate([np.zeros(0, np.uint16), *(row.codes.ravel() for row in rows)])
    widths = [width for row in rows for width in [row.codes.shape[1]] * row.codes.shape[0]]
    inner = arrow.ListArray.from_arrays(_ends(widths), arrow.array(flat, arrow.uint16()))
    codes = arrow.ListArray.from_arrays(_ends([len(row.codes) for row in rows]), inner)
    order = ("id", "path", "codes", *_FACTS[2:])
    return arrow.table({name: columns[name] if name != "codes" else codes for name in order})


def _ends(lengths: list[int]) -> npt.NDArray[np.int32]:
    return np.cumsum([0, *lengths]).astype(np.int32)


def _parquet(table: Any) -> bytes:
    file = io.BytesIO()
    needed("pyarrow.parquet", "corpora", "writing Parquet").write_table(table, file, compression="zstd")
    return file.getvalue()


def _arrow_file(table: Any) -> bytes:
    arrow, file = needed("pyarrow", "corpora", "writing Arrow"), io.BytesIO()
    with arrow.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


def _tar(rows: Sequence[TokenRow], number: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for place, row in enumerate(rows):
            codes = io.BytesIO()
            np.save(codes, row.codes, allow_pickle=False)
            facts = json.dumps(_facts(row), ensure_ascii=False).encode()
            for suffix, data in ((_CODES_FILE, codes.getvalue()), (_FACTS_FILE, facts)):
                member = tarfile.TarInfo(f"{number:05d}-{place:06d}.{suffix}")  # an id may hold what a key must not
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


# ------------------------------------------------------------------------------------------------------------- reading


def token_files(path: Path) -> list[Path]:
    """The files of a table of tokens: ``path`` itself, those in the folder, or those of what ``tokenize`` wrote there.

    Raises:
        DataError: there are none.
    """
    if path.is_file():
        return [path]
    folder = path / "tokens" if (path / "tokens").is_dir() else path
    found = sorted(file for file in folder.glob("[!.]*") if file.suffix in FORMATS.values() and file.is_file())
    if not found:
        raise DataError(f"{path}: holds no tables of tokens ({', '.join(FORMATS.values())}); make some with 'tokenize'")
    return found


def read_rows(path: Path) -> Iterator[TokenRow]:
    """The rows of a table of tokens, file by file; ``path`` is one of its files or the folder.

    Raises:
        DataError: a file is no such table, or damaged.
        ConfigError: pyarrow is not installed.
    """
    readers = {".parquet": _read_parquet, ".arrow": _read_arrow, ".tar": _read_tar}
    for file in token_files(path):
        if file.suffix not in readers:
            raise DataError(f"{file}: its suffix names no table of tokens; give one of {', '.join(readers)}")
        try:
            yield from readers[file.suffix](file)
        except VqaudioError:
            raise
        except Exception as error:  # libraries raise whatever they come upon in a damaged file
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(f"{file}: is no table of tokens, or damaged ({reason}); make it anew") from None


def _read_parquet(path: Path) -> Iterator[TokenRow]:
    with needed("pyarrow.parquet", "corpora", "reading Parquet").ParquetFile(path) as table:
        for batch in table.iter_batches():
            yield from _batch_rows(batch)


def _read_arrow(path: Path) -> Iterator[TokenRow]:
    arrow = needed("pyarrow", "corpora", "reading Arrow")
    with arrow.memory_map(str(path)) as source, arrow.ipc.open_file(source) as reader:
        for number in range(reader.num_record_batches):
            yield from _batch_rows(reader.get_batch(number))


def _batch_rows(batch: Any) -> Iterator[TokenRow]:
    """Rows of an Arrow batch. Its arrays may be slices, whose values begin elsewhere than their first offset."""
    batch.validate(full=True)  # offsets that lead out of the file would be followed
    facts = batch.select(list(_FACTS)).to_pylist()
    codes = batch.column("codes")
    for row, known in enumerate(facts):
        stages = codes[row].values
        count = len(stages)
        flat = stages.flatten().to_numpy(zero_copy_only=False)
        yield _row(known, flat.reshape(count, -1).copy() if count else np.zeros((0, 0), np.uint16))


def _read_tar(path: Path) -> Iterator[TokenRow]:
    held: dict[str, npt.NDArray[np.uint16]] = {}
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            key, _, suffix = member.name.partition(".")
            file = tar.extractfile(member) if member.isfile() else None
            if file is None:
                raise ValueError(f"{member.name} is no file")
            if suffix == _CODES_FILE:
                held[key] = np.load(io.BytesIO(file.read()), allow_pickle=False)
            elif suffix == _FACTS_FILE:
                yield _row(json.loads(file.read()), held.pop(key))


def _row(facts: dict[str, Any], codes: npt.NDArray[Any]) -> TokenRow:
    if codes.dtype != np.uint16 or codes.ndim != 2:
        raise ValueError(f"codes are {codes.dtype} {list(codes.shape)}, not uint16 [num_quantizers, frames]")
    known = {name: facts[name] for name in _FACTS if name != "duration"}
    for name, value in known.items():
        kinds = _KINDS.get(_TYPES.get(name, ""), (str,))
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise ValueError(f"{name} is {value!r:.40}, which is no {kinds[0].__name__}")
    if not (1 <= known["sample_rate"] <= _HIGHEST_RATE_HZ and 0 <= known["samples"] <= _MOST_SAMPLES):
        raise ValueError(f"{known['samples']} samples at {known['sample_rate']} Hz are no sound")
    if not 0 <= known["level"] < math.inf:
        raise ValueError(f"the level {known['level']} is none")
    return TokenRow(codes=codes, **known)
