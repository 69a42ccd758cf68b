"""Sources of large corpora: each kind gives the same utterances, streams, and says what is wrong in one line."""

import io
import itertools
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sounds import tone

from vqaudio.errors import DataError
from vqaudio.io.places import open_place
from vqaudio.io.sources import Entry, entries

NAMES = ("ann/a.wav", "ann/b.wav", "bob/c.wav")
SAID = ("hello", "", 'Grüße, "quoted"')


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for name in NAMES:
        tone(tmp_path / "corpus" / name)
    return tmp_path / "corpus"


def rows(**more: str) -> list[dict[str, str]]:
    return [
        {"path": name, "speaker": name[:3], "transcript": said, **more} for name, said in zip(NAMES, SAID, strict=True)
    ]


def table(corpus: Path, with_bytes: bool) -> pa.Table:
    columns = {"transcript": list(SAID), "speaker": [name[:3] for name in NAMES], "id": [n[:-4] for n in NAMES]}
    if with_bytes:
        columns["audio"] = [{"bytes": (corpus / name).read_bytes(), "path": name} for name in NAMES]
    else:
        columns["path"] = list(NAMES)
    return pa.table(columns)


def make(kind: str, corpus: Path) -> Path:
    """A source of this kind, of the sounds in ``corpus``."""
    manifest = corpus / f"list.{kind}"
    if kind == "tsv":
        lines = ["path\tspeaker\ttranscript", *("\t".join(row.values()) for row in rows())]
        manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    elif kind == "csv":
        quoted = ['"{}"'.format('","'.join(v.replace('"', '""') for v in row.values())) for row in rows()]
        manifest.write_text("\r\n".join(["path,speaker,transcript", *quoted]), encoding="utf-8-sig")
    elif kind == "jsonl":
        manifest.write_text("\n".join(json.dumps(row) for row in rows()) + "\n\n", encoding="utf-8")
    elif kind == "parquet":
        pq.write_table(table(corpus, with_bytes=False), manifest)
    elif kind == "parquet with sounds":
        manifest = corpus.parent / "sounds.parquet"
        pq.write_table(table(corpus, with_bytes=True), manifest, row_group_size=2)
    elif kind == "folder of parquet":
        manifest = corpus.parent / "tables"
        manifest.mkdir()
        pq.write_table(table(corpus, with_bytes=True), manifest / "train-00000.parquet", row_group_size=2)
    elif kind == "datasets":
        manifest = corpus.parent / "saved"
        (manifest / "train").mkdir(parents=True)
        whole = table(corpus, with_bytes=True)
        with pa.ipc.new_stream(str(manifest / "train" / "data-00000-of-00001.arrow"), whole.schema) as writer:
            writer.write_table(whole, max_chunksize=2)
        state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_indices_data_files": None}
        (manifest / "train" / "state.json").write_text(json.dumps(state))
        (manifest / "dataset_dict.json").write_text(json.dumps({"splits": ["train"]}))
    elif kind == "tars":
        manifest = corpus.parent / "tars"
        manifest.mkdir()
        for number, part in enumerate((rows()[:2], rows()[2:])):
            with tarfile.open(manifest / f"{number}.tar", "w") as tar:
                for row in part:
                    facts = json.dumps({"speaker": row["speaker"], "text": row["transcript"]}).encode()
                    for suffix, data in (("json", facts), ("wav", (corpus / row["path"]).read_bytes())):
                        member = tarfile.TarInfo(f"{row['path'][:-4]}.{suffix}")
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))
    else:
        return corpus
    return manifest


KINDS = ("folder", "tsv", "csv", "jsonl", "parquet", "parquet with sounds", "folder of parquet", "datasets", "tars")


def content(entry: Entry) -> bytes:
    file, checksum = open_place(entry.place, entry.path)
    with file:
        assert len(checksum) == 64
        return file.read()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source_gives_the_same_utterances(corpus: Path, kind: str) -> None:
    found = list(entries(make(kind, corpus)))
    assert [entry.id for entry in found] == [name[:-4] for name in NAMES]
    assert [entry.speaker for entry in found] == [name[:3] for name in NAMES]
    if kind != "folder":
        assert [entry.transcript for entry in found] == list(SAID)
    assert [content(entry) for entry in found] == [(corpus / name).read_bytes() for name in NAMES]


def test_a_manifest_streams(tmp_path: Path) -> None:
    """The first utterances come although a later line is wrong: nobody has read so far."""
    manifest = tmp_path / "list.tsv"
    manifest.write_text("path\tspeaker\n" + "".join(f"{n}.wav\tann\n" for n in range(9)) + "broken\n")
    stream = entries(manifest)
    assert [entry.id for entry in itertools.islice(stream, 9)] == [str(n) for n in range(9)]
    with pytest.raises(DataError, match="line 11: has 1 cells for 2 columns; mend the line"):
        next(stream)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tsv", b"speaker\nann\n", "line 2: has no path"),
        ("a.csv", b'path,speaker\n"a.wav\n', "line 2: "),
        ("a.jsonl", b'{"path": "a.wav"\n', "line 1: is no JSON"),
        ("a.jsonl", b"[1]\n", "line 1: is no JSON object"),
        ("a.tsv", b"path\n\xff\xfe\n", "is not UTF-8"),
        ("a.parquet", b"PAR1 and no more", "is no Parquet file, or damaged"),
        ("a.tar", b"x" * 2000, "is no plain tar file, or damaged"),
        ("a.xml", b"<a/>", "its suffix names no kind of source"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, name: str, text: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(text)
    with pytest.raises(DataError, match=message) as caught:
        list(entries(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_there_is_no_such_source(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        entries(tmp_path / "nowhere")


def test_a_cut_tar_is_refused(corpus: Path) -> None:
    tar = make("tars", corpus) / "1.tar"
    (entry,) = entries(tar)
    tar.write_bytes(tar.read_bytes()[:2000])
    with pytest.raises(DataError, match="ends inside"):
        open_place(entry.place, entry.path)
