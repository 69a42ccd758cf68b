"""Tables of tokens: what is written is read again, from any format, and damage is one line."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from vqaudio.errors import DataError
from vqaudio.io.token_tables import FORMATS, Failure, TokenRow, failures_bytes, read_rows, table_bytes


def row(number: int, frames: int) -> TokenRow:
    codes = np.random.default_rng(number).integers(0, 65536, (4, frames)).astype(np.uint16)
    return TokenRow(f"a/{number}.x", "a.wav", codes, 16000, 64 * frames, 0.3, "ann", 'say "é"\t', "0f" * 32, "ab" * 32)


ROWS = [row(0, 3), row(1, 0), row(2, 700)]


@pytest.mark.parametrize("format", FORMATS)
def test_rows_come_back(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"a{FORMATS[format]}"
    path.write_bytes(table_bytes(ROWS, format, 3))
    assert path.read_bytes() == table_bytes(ROWS, format, 3)
    back = list(read_rows(path))
    for one, two in zip(ROWS, back, strict=True):
        assert two.codes.dtype == np.uint16
        np.testing.assert_array_equal(one.codes, two.codes)
        assert two.level == np.float32(one.level) or two.level == one.level
        for name in ("id", "path", "sample_rate", "samples", "speaker", "transcript", "checksum", "model", "duration"):
            assert getattr(one, name) == getattr(two, name)


def test_parquet_as_loaders_see_it(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(table_bytes(ROWS, "parquet"))
    table = pq.read_table(tmp_path / "a.parquet")
    assert str(table.schema.field("codes").type) == "list<element: list<element: uint16>>"
    assert table.column("codes").to_pylist() == [one.codes.tolist() for one in ROWS]
    assert table.column("duration").to_pylist() == [one.duration for one in ROWS]


def test_failures(tmp_path: Path) -> None:
    (tmp_path / "e.parquet").write_bytes(failures_bytes([Failure("a", "a.wav", "is empty")]))
    assert pq.read_table(tmp_path / "e.parquet").to_pylist() == [{"id": "a", "path": "a.wav", "reason": "is empty"}]
    (tmp_path / "e.parquet").write_bytes(failures_bytes([]))
    assert pq.read_table(tmp_path / "e.parquet").num_rows == 0


@pytest.mark.parametrize("format", FORMATS)
def test_damage_is_one_line(tmp_path: Path, format: str) -> None:
    data = table_bytes(ROWS, format)
    for cut in (0, 5, len(data) // 2):
        (tmp_path / f"a{FORMATS[format]}").write_bytes(data[:cut])
        if format == "webdataset" and cut == 0:  # an empty tar ends at once
            continue
        with pytest.raises(DataError, match=r"is no table of tokens, or damaged") as caught:
            list(read_rows(tmp_path))
        assert "\n" not in str(caught.value)


def test_a_folder_without_tables(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no tables of tokens"):
        list(read_rows(tmp_path))
