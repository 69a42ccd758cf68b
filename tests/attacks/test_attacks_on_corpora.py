"""Archives, tables and folders that would lead a reader elsewhere, or fill its memory."""

import io
import os
import tarfile
from pathlib import Path

import pytest
from attacks.bounded import MIB, said_by
from io_sounds import saved

from vqaudio.cli.corpora import sound_path
from vqaudio.errors import VqaudioError
from vqaudio.io.atomic import atomic_write
from vqaudio.io.places import FilePart, open_place
from vqaudio.io.sources import entries
from vqaudio.io.token_tables import TokenRow, read_rows, table_bytes

HOSTILE_NAMES = ("../../outside.wav", "/etc/outside.wav", "a/../../../outside.wav", "..\\..\\outside.wav", "~/x.wav")


def tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w") as file:
        for member, data in members:
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return path


def test_names_in_a_tar_lead_nowhere(tmp_path: Path) -> None:
    """A tar is read where it lies; what comes of its names stays below the folder that was named for it."""
    sound = saved("WAV")
    path = tar(tmp_path / "in.tar", [(tarfile.TarInfo(name), sound) for name in HOSTILE_NAMES])
    found = list(entries(path))
    assert len(found) == len(HOSTILE_NAMES)
    for entry in found:
        assert isinstance(entry.place, FilePart)
        assert entry.place.file == str(path)
        with open_place(entry.place, entry.path)[0] as file:
            assert file.read() == sound
        target = sound_path(tmp_path / "out", entry.id, "wav")
        assert (tmp_path / "out").resolve() in target.resolve().parents
    assert os.listdir(tmp_path) == ["in.tar"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_what_is_no_file_in_a_tar_is_not_followed(tmp_path: Path, kind: bytes) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(saved("WAV"))
    member = tarfile.TarInfo("a.wav")
    member.type, member.linkname = kind, str(secret)
    path = tar(tmp_path / "in.tar", [(member, b"")])
    assert list(entries(path)) == []
    codes = tarfile.TarInfo("a.codes.npy")
    codes.type, codes.linkname = kind, str(secret)
    path = tar(tmp_path / "tokens.tar", [(codes, b"")])
    assert "no table of tokens" in said_by(lambda: list(read_rows(path)))


def test_a_loop_of_folders_ends(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.wav").write_bytes(saved("WAV"))
    (tmp_path / "a" / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "self.wav").symlink_to("self.wav")

    def attack() -> None:
        assert [Path(entry.path).name for entry in entries(tmp_path)].count("x.wav") == 1

    assert said_by(attack) == ""


def test_a_link_to_a_device_is_not_written(tmp_path: Path) -> None:
    """The link stays, and what it names is replaced only where it is a file."""
    (tmp_path / "null.vqa").symlink_to("/dev/null")

    def attack() -> None:
        with atomic_write(tmp_path / "null.vqa", overwrite=True) as file:
            file.write(b"x")

    assert "no regular file" in said_by(attack)
    assert (tmp_path / "null.vqa").is_symlink()
    assert os.listdir(tmp_path) == ["null.vqa"]


def test_a_table_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    text = pyarrow.array(["a" * (64 * MIB)])
    columns = dict.fromkeys(("id", "path", "speaker", "transcript", "checksum", "model"), text)
    path = tmp_path / "tokens.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), path, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < MIB
    assert "no table of tokens" in said_by(lambda: list(read_rows(path)), 256 * MIB)


def test_codes_that_claim_a_huge_array(tmp_path: Path) -> None:
    head = b"\x93NUMPY\x01\x00v\x00{'descr': '<u2', 'fortran_order': False, 'shape': (8, 1000000000000), }".ljust(128)
    path = tar(tmp_path / "t.tar", [(tarfile.TarInfo("a.codes.npy"), head), (tarfile.TarInfo("a.json"), b"{}")])
    assert "no table of tokens" in said_by(lambda: list(read_rows(path)))


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".jsonl"])
def test_a_line_of_a_gigabyte(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"manifest{suffix}"
    path.write_text('{"path": "')
    os.truncate(path, 2**30)
    assert "line 1" in said_by(lambda: list(entries(path)), 256 * MIB)


def test_facts_that_nest_for_ever(tmp_path: Path) -> None:
    sound, facts = tarfile.TarInfo("a.wav"), tarfile.TarInfo("a.json")
    path = tar(tmp_path / "in.tar", [(sound, saved("WAV")), (facts, b"[" * 300_000)])
    assert "no JSON" in said_by(lambda: list(entries(path)))
    lines = tmp_path / "in.jsonl"
    lines.write_text("[" * 300_000)
    assert "no JSON" in said_by(lambda: list(entries(lines)))


def test_a_row_of_tokens_that_claims_no_rate(tmp_path: Path) -> None:
    import numpy as np

    row = TokenRow("a", "a", np.zeros((1, 1), np.uint16), 0, 1, 1.0, "", "", "", "")
    object.__setattr__(row, "sample_rate", -5)
    path = tmp_path / "t.parquet"
    path.write_bytes(table_bytes([row], "parquet"))
    with pytest.raises(VqaudioError, match="are no sound"):
        list(read_rows(path))
