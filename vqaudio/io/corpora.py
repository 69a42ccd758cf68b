"""Corpora of speech as they are published: which sound files one holds, who speaks in each, and what is said."""

import dataclasses
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vqaudio.errors import DataError

_SOUND_FORMATS = ("wav", "flac", "ogg", "opus", "mp3", "aiff", "aif", "au", "w64", "caf")
SOUND_SUFFIXES = frozenset(f".{name}" for name in _SOUND_FORMATS)


@dataclass(frozen=True)
class Recording:
    """One sound file of a corpus and who speaks in it.

    ``transcript`` is what is said and ``gender`` "F" or "M", "" where that is not known. ``group`` is the part of the
    corpus that it is of: as the manifest has it, or else the first folder on its path.
    """

    path: Path
    speaker: str
    transcript: str = ""
    group: str = ""
    gender: str = ""


def _gender(word: str) -> str:
    """ "F" or "M" where a corpus says so in whatever way, else ""."""
    first = word.strip()[:1].upper()
    return first if first in ("F", "M") else ""


def _from_manifest(root: Path) -> list[Recording]:
    """``manifest.tsv``: tab-separated, a header line with ``path``, ``speaker``, perhaps ``transcript``, ``group``,
    ``gender``.

    Paths start at the folder.
    """
    path = root / "manifest.tsv"
    try:
        header, *rows = path.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 ({error}); save it as UTF-8") from None
    columns = header.split("\t")
    missing = {"path", "speaker"} - set(columns)
    if missing:
        raise DataError(f"{path}, line 1: the header has no column {sorted(missing)[0]!r}; add it")
    recordings = []
    for number, row in enumerate(rows, start=2):
        cells = row.split("\t")
        if len(cells) != len(columns):
            raise DataError(f"{path}, line {number}: has {len(cells)} cells for {len(columns)} columns; mend the line")
        entry = dict(zip(columns, cells, strict=True))
        for column in ("path", "speaker"):
            if not entry[column]:
                raise DataError(f"{path}, line {number}: has no {column}; mend the line")
        more = {column: entry.get(column, "").strip() for column in ("transcript", "group")}
        recordings.append(
            Recording(root / entry["path"], entry["speaker"], **more, gender=_gender(entry.get("gender", "")))
        )
    return recordings


def _from_librispeech(root: Path) -> list[Recording]:
    from torchaudio.datasets import LIBRISPEECH

    recordings = []
    genders = _librispeech_genders(root / "SPEAKERS.TXT")
    for subset in sorted(p.name for p in root.iterdir() if p.is_dir()):
        try:
            dataset = LIBRISPEECH(root.parent, url=subset, folder_in_archive=root.name)
        except ValueError:  # no subset of the corpus
            continue
        for index in range(len(dataset)):
            relative, _, transcript, speaker, _, _ = dataset.get_metadata(index)
            recordings.append(
                Recording(root / relative, str(speaker), transcript, gender=genders.get(str(speaker), ""))
            )
    return recordings


def _librispeech_genders(path: Path) -> dict[str, str]:
    """Of each speaker, from the corpus's own table (``14 | F | train-clean-360 | ...``), if it is there."""
    if not path.is_file():
        return {}
    rows = (line.split("|") for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith(";"))
    return {row[0].strip(): _gender(row[1]) for row in rows if len(row) > 1}


def _from_ljspeech(root: Path) -> list[Recording]:
    from torchaudio.datasets import LJSPEECH

    # The class names the folder by its archive, and tells the files' names only along with the decoded sound.
    dataset = LJSPEECH(root.parent, url=f"{root.name}.tar.bz2")
    return [Recording(root / "wavs" / f"{name}.wav", "LJ", said) for name, *_, said in dataset._flist]


def _from_vctk(root: Path) -> list[Recording]:
    from torchaudio.datasets import VCTK_092

    class Paths(VCTK_092):  # type: ignore[misc]  # torchaudio has no types
        """The class has no metadata: its loaders are asked for the path in place of the sound."""

        def _load_text(self, file_path: str) -> str:
            return Path(file_path).read_text(encoding="utf-8").strip()

        def _load_audio(self, file_path: str) -> tuple[str, int]:
            return os.path.relpath(file_path, self._path), 48000

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "VCTK-Corpus-0.92").symlink_to(root)  # the class looks for no other name
        dataset = Paths(folder)
        samples = [dataset[index] for index in range(len(dataset))]
    return [Recording(root / relative, speaker, said) for relative, _, said, speaker, _ in samples]


def _from_folder(root: Path) -> list[Recording]:
    """Any folder of sound files: the speaker is the first sub-folder's name, or the folder's own."""
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in SOUND_SUFFIXES and p.is_file())
    return [
        Recording(path, relative.parts[0] if len((relative := path.relative_to(root)).parts) > 1 else root.name)
        for path in files
    ]


def _reader_for(root: Path) -> Callable[[Path], list[Recording]]:
    if (root / "manifest.tsv").is_file():
        return _from_manifest
    if (root / "metadata.csv").is_file() and (root / "wavs").is_dir():
        return _from_ljspeech
    if (root / "wav48_silence_trimmed").is_dir():
        return _from_vctk
    if any(root.glob("*/*/*/*.trans.txt")):
        return _from_librispeech
    return _from_folder


def _grouped(recording: Recording, root: Path) -> Recording:
    folders = Path(os.path.relpath(recording.path, root)).parts[:-1]
    return dataclasses.replace(recording, group=folders[0] if folders else root.name)


def find_recordings(root: Path) -> list[Recording]:
    """The recordings of a corpus: a folder with ``manifest.tsv``, a tree of LibriSpeech, VCTK 0.92 or LJSpeech as
    published, or any folder of sound files (speaker = sub-folder).

    Raises:
        DataError: when the folder is missing or holds no recordings.
    """
    if not root.is_dir():
        raise DataError(f"{root}: is not a folder; give the folder of a corpus")
    root = Path(os.path.abspath(root))  # the readers need its name
    try:
        recordings = _reader_for(root)(root)
    except (OSError, ValueError) as error:  # torchaudio's answers to a tree with parts missing
        raise DataError(f"{root}: is not whole ({error}); unpack the corpus anew") from None
    recordings = [recording if recording.group else _grouped(recording, root) for recording in recordings]
    if not recordings:
        raise DataError(f"{root}: holds no recordings; give a folder of sound files or one with manifest.tsv")
    return recordings
