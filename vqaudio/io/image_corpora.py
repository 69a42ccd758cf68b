"""Collections of pictures as they are published: which pictures one holds, their classes, and which are for testing."""

import os
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vqaudio.errors import DataError
from vqaudio.io.corpora import SOUND_SUFFIXES
from vqaudio.io.image import READ_SUFFIXES, Picture, read_picture

_CIFAR_SIDE = 32
_CIFAR_RECORD = 1 + 3 * _CIFAR_SIDE * _CIFAR_SIDE  # label, then red, green and blue planes
_CIFAR_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_CIFAR_TEST, _CIFAR_NAMES = "test_batch.bin", "batches.meta.txt"
_CIFAR_FOLDER = "cifar-10-batches-bin"
_ARCHIVES = (".tar.gz", ".tgz", ".tar")
_MOST_BYTES = 1 << 32  # of one member of an archive


@dataclass(frozen=True)
class Sample:
    """One picture of a collection: a stable ``name``, its class (a number), and whether it is kept for testing.

    ``picture`` is the picture itself, or the path that it can be read from.
    """

    name: str
    picture: Picture | Path
    label: int
    test: bool

    def read(self) -> Picture:
        """The levels ``[height, width, 3]``; ``PictureError`` where the file cannot be read."""
        return read_picture(self.picture) if isinstance(self.picture, Path) else self.picture


@dataclass(frozen=True)
class Collection:
    """The pictures of a source and the names of their classes."""

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]

    def part(self, test: bool) -> tuple[Sample, ...]:
        """The pictures for testing or those for training; all where the collection does not say which are which."""
        return tuple(sample for sample in self.samples if sample.test == test) or self.samples


def holds_pictures(source: Path) -> bool:
    """Says whether ``source`` is a collection of pictures rather than a corpus of sounds."""
    if source.is_file():
        return source.name.lower().endswith((".npz", *_ARCHIVES))
    if not source.is_dir() or (source / "manifest.tsv").is_file():
        return False
    if _cifar_folder(source) is not None:
        return True
    suffixes = (os.path.splitext(name)[1].lower() for _, _, names in os.walk(source) for name in names)
    return next((s in READ_SUFFIXES for s in suffixes if s in READ_SUFFIXES or s in SOUND_SUFFIXES), False)


def find_pictures(source: Path) -> Collection:
    """The pictures of an ``.npz``, of CIFAR-10 as published (the binary version, packed or not), or of a folder.

    An ``.npz`` has ``images`` uint8 ``[N, height, width, 3]`` and may have integer ``labels[N]`` and ``batch[N]``,
    whose highest number is the test part. In a folder the class is a sub-folder's name.

    Raises:
        DataError: there is no such source, it is damaged, or it holds no pictures.
    """
    if source.is_file() and source.suffix.lower() == ".npz":
        return _from_npz(source)
    if source.is_file() and source.name.lower().endswith(_ARCHIVES):
        return _from_archive(source)
    if not source.is_dir():
        raise DataError(f"{source}: is no collection of pictures; give an .npz, CIFAR-10's archive, or a folder")
    cifar = _cifar_folder(source)
    if cifar is not None:
        return _from_cifar({name: (cifar / name).read_bytes() for name in _cifar_members(cifar)}, source)
    return _from_folder(source)


# --------------------------------------------------------------------------------------------------------------- .npz


def _from_npz(source: Path) -> Collection:
    try:
        with np.load(source) as arrays:
            images = arrays["images"]
            labels = arrays["labels"] if "labels" in arrays else np.zeros(len(images), np.int64)
            batch = arrays["batch"] if "batch" in arrays else np.zeros(len(images), np.int64)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{source}: cannot be read ({' '.join(str(error).split())}); it needs an array images"
        ) from None
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or not images.size:
        raise DataError(f"{source}: images are {images.dtype} {images.shape}; give uint8 [N, height, width, 3]")
    for name, array in (("labels", labels), ("batch", batch)):
        if array.shape != (len(images),) or not np.issubdtype(array.dtype, np.integer) or array.min() < 0:
            raise DataError(f"{source}: {name} are {array.dtype} {array.shape}; give integers from 0, one a picture")
    last = int(batch.max())
    tests = batch == last if last != int(batch.min()) else np.zeros(len(images), bool)
    return Collection(
        tuple(
            Sample(f"{source.name}/{number:08d}", image, int(label), bool(test))
            for number, (image, label, test) in enumerate(zip(images, labels, tests, strict=True))
        ),
        tuple(str(number) for number in range(int(labels.max()) + 1)),
    )


# -------------------------------------------------------------------------------------------------------------- CIFAR


def _cifar_folder(source: Path) -> Path | None:
    for folder in (source, source / _CIFAR_FOLDER):
        if (folder / _CIFAR_FILES[0]).is_file():
            return folder
    return None


def _cifar_members(folder: Path) -> list[str]:
    return [name for name in (*_CIFAR_FILES, _CIFAR_TEST, _CIFAR_NAMES) if (folder / name).is_file()]


def _from_archive(source: Path) -> Collection:
    wanted = {*_CIFAR_FILES, _CIFAR_TEST, _CIFAR_NAMES}
    found: dict[str, bytes] = {}
    python_version = False
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                name = Path(member.name).name
                python_version = python_version or name == "batches.meta"
                if name in wanted and member.isfile() and member.size < _MOST_BYTES:
                    file = archive.extractfile(member)
                    assert file is not None
                    found[name] = file.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise DataError(f"{source}: cannot be read ({error}); get an intact copy") from None
    if python_version:
        raise DataError(f"{source}: is CIFAR-10's Python version, made of pickles; get cifar-10-binary.tar.gz")
    return _from_cifar(found, source)


def _from_cifar(files: dict[str, bytes], source: Path) -> Collection:
    missing = sorted({*_CIFAR_FILES, _CIFAR_TEST} - set(files))
    if missing:
        raise DataError(f"{source}: has no {missing[0]}; get the whole of CIFAR-10, binary version")
    names = tuple(files.get(_CIFAR_NAMES, b"").decode("utf-8", "replace").split())
    samples: list[Sample] = []
    for name in (*_CIFAR_FILES, _CIFAR_TEST):
        samples += _cifar_records(name, files[name], source)
    count = max(sample.label for sample in samples) + 1
    return Collection(tuple(samples), names if len(names) >= count else tuple(map(str, range(count))))


def _cifar_records(name: str, data: bytes, source: Path) -> Iterator[Sample]:
    if not data or len(data) % _CIFAR_RECORD:
        raise DataError(f"{source}: {name} has {len(data)} bytes, no whole number of pictures; get an intact copy")
    for number, record in enumerate(np.frombuffer(data, np.uint8).reshape(-1, _CIFAR_RECORD)):
        planes = record[1:].reshape(3, _CIFAR_SIDE, _CIFAR_SIDE)
        yield Sample(f"{name}/{number:05d}", planes.transpose(1, 2, 0), int(record[0]), name == _CIFAR_TEST)


# ------------------------------------------------------------------------------------------------------------- folder


def _from_folder(source: Path) -> Collection:
    files = sorted(path for path in source.rglob("*") if path.suffix.lower() in READ_SUFFIXES and path.is_file())
    if not files:
        raise DataError(f"{source}: holds no pictures; give a folder of PNG, JPEG, WebP files or the like")
    relative = [path.relative_to(source) for path in files]
    of = [parts.parts[0] if len(parts.parts) > 1 else source.resolve().name for parts in relative]
    classes = tuple(sorted(set(of)))
    return Collection(
        tuple(
            Sample(str(name), path, classes.index(label), False)
            for name, path, label in zip(relative, files, of, strict=True)
        ),
        classes,
    )
