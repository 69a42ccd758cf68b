"""image_corpora.py, image_data.py: collections as they are published, shards, and batches that are pure functions."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from pictures import CLASSY, TINY, gradient
from PIL import Image

from vqaudio.errors import ConfigError, DataError
from vqaudio.io.image_corpora import find_pictures, holds_pictures
from vqaudio.models.config import AudioVQVAEConfig, PhaseConfig, RunConfig, TrainConfig
from vqaudio.models.image_config import ImageVAEConfig
from vqaudio.training.image_shards import ImageShards, open_shards, prepare_pictures
from vqaudio.training.shards import AudioShards

NAMES = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n"


def cifar_files(count: int = 4) -> dict[str, bytes]:
    """CIFAR-10's binary version with so many pictures a file."""
    files = {"batches.meta.txt": NAMES.encode()}
    for number, name in enumerate([*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]):
        records = [bytes([(number + i) % 10]) + planes(number * 10 + i).tobytes() for i in range(count)]
        files[name] = b"".join(records)
    return files


def planes(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (3, 32, 32)).astype(np.uint8)


def cifar_archive(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def npz(path: Path, count: int = 12, side: int = 8) -> Path:
    images = np.stack([gradient(side, side, seed) for seed in range(count)])
    np.savez(path, images=images, labels=np.arange(count) % 3, batch=np.arange(count) // 4)
    return path


def folder(path: Path) -> Path:
    for label, sizes in {"cats": [(9, 12), (3, 4)], "dogs": [(20, 8)]}.items():
        (path / label).mkdir(parents=True)
        for number, size in enumerate(sizes):
            Image.fromarray(gradient(*size, number)).save(path / label / f"{number}.png")
    return path


# -------------------------------------------------------------------------------------------------------- collections


@pytest.mark.parametrize("packed", [True, False])
def test_cifar_as_published(packed: bool, tmp_path: Path) -> None:
    source = tmp_path / "cifar-10-binary.tar.gz"
    if packed:
        cifar_archive(source, cifar_files())
    else:
        source = tmp_path / "unpacked"
        (source / "cifar-10-batches-bin").mkdir(parents=True)
        for name, data in cifar_files().items():
            (source / "cifar-10-batches-bin" / name).write_bytes(data)
    assert holds_pictures(source)
    collection = find_pictures(source)
    assert collection.classes == tuple(NAMES.split())
    assert (len(collection.part(False)), len(collection.part(True))) == (20, 4)
    first = collection.samples[5]
    assert (first.label, first.name) == (2, "data_batch_2.bin/00001")
    assert np.array_equal(first.read(), planes(11).transpose(1, 2, 0))
    assert collection.part(True)[0].name.startswith("test_batch")


def test_the_python_version_is_refused_with_the_other_named(tmp_path: Path) -> None:
    source = cifar_archive(tmp_path / "cifar-10-python.tar.gz", {"data_batch_1": b"x", "batches.meta": b"y"})
    with pytest.raises(DataError, match=r"pickles; get cifar-10-binary\.tar\.gz"):
        find_pictures(source)


def test_an_npz_and_its_test_part(tmp_path: Path) -> None:
    source = npz(tmp_path / "a.npz")
    assert holds_pictures(source)
    collection = find_pictures(source)
    assert (len(collection.part(False)), len(collection.part(True))) == (8, 4)
    assert collection.classes == ("0", "1", "2")
    np.savez(tmp_path / "b.npz", images=np.zeros((3, 8, 8, 3), np.uint8))
    alone = find_pictures(tmp_path / "b.npz")
    assert len(alone.part(False)) == len(alone.part(True)) == 3


def test_a_folder_whose_sub_folders_are_classes(tmp_path: Path) -> None:
    source = folder(tmp_path / "pets")
    assert holds_pictures(source)
    collection = find_pictures(source)
    assert collection.classes == ("cats", "dogs")
    assert [sample.label for sample in collection.samples] == [0, 0, 1]
    assert collection.samples[0].read().shape == (9, 12, 3)


def test_sounds_are_no_pictures(tmp_path: Path) -> None:
    assert not holds_pictures(tmp_path)
    assert not holds_pictures(tmp_path / "none")
    (tmp_path / "a.wav").touch()
    assert not holds_pictures(tmp_path)
    (tmp_path / "manifest.tsv").touch()
    assert not holds_pictures(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"pictures": np.zeros((2, 4, 4, 3), np.uint8)}, "images"),
        ({"images": np.zeros((2, 4, 4), np.uint8)}, "uint8"),
        ({"images": np.zeros((2, 4, 4, 3), np.float32)}, "float32"),
        ({"images": np.zeros((0, 4, 4, 3), np.uint8)}, "uint8"),
        ({"images": np.zeros((2, 4, 4, 3), np.uint8), "labels": np.zeros(3, int)}, "labels"),
        ({"images": np.zeros((2, 4, 4, 3), np.uint8), "labels": np.array([-1, 0])}, "labels"),
        ({"images": np.zeros((2, 4, 4, 3), np.uint8), "batch": np.zeros(2)}, "batch"),
        ({"images": np.array([{}, {}])}, "cannot be read"),
    ],
)
def test_bad_arrays_are_refused(arrays: dict[str, np.ndarray], words: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=words):
        find_pictures(tmp_path / "a.npz")


@pytest.mark.parametrize("damage", ["cut", "missing", "empty", "none", "nothing"])
def test_damaged_sources_are_refused(damage: str, tmp_path: Path) -> None:
    files = cifar_files()
    if damage == "cut":
        files["data_batch_3.bin"] = files["data_batch_3.bin"][:-1]
    if damage == "missing":
        del files["test_batch.bin"]
    source = cifar_archive(tmp_path / "a.tar.gz", files)
    if damage == "empty":
        source.write_bytes(b"")
    if damage == "none":
        source = tmp_path / "none"
    if damage == "nothing":
        source = tmp_path / "folder"
        source.mkdir()
    with pytest.raises(DataError):
        find_pictures(source)


# ------------------------------------------------------------------------------------------------- shards and batches


@pytest.fixture
def shards(tmp_path: Path) -> ImageShards:
    done = prepare_pictures(npz(tmp_path / "a.npz", 60), tmp_path / "shards", validation_share=0.2)
    assert (done.pictures, done.classes, done.failed) == (56, 3, ())  # without the test part
    return ImageShards(tmp_path / "shards", 8)


def test_a_batch_is_a_pure_function_of_seed_and_step(shards: ImageShards) -> None:
    def batch(seed: int, step: int, rows: slice = slice(0, 6)) -> dict[str, np.ndarray]:
        return {name: t.numpy() for name, t in shards.batch(seed, step, rows, 6, 0).items()}

    first = batch(0, 3)
    assert first["image"].shape == (6, 3, 8, 8)
    assert np.array_equal(first["image"], batch(0, 3)["image"])
    assert not np.array_equal(first["image"], batch(0, 4)["image"])
    assert not np.array_equal(first["image"], batch(1, 3)["image"])
    halves = [batch(0, 3, rows) for rows in (slice(0, 3), slice(3, 6))]
    assert np.array_equal(first["image"], np.concatenate([half["image"] for half in halves]))
    assert np.array_equal(first["label"], np.concatenate([half["label"] for half in halves]))


def test_batches_hold_training_pictures_mirrored_or_not(shards: ImageShards) -> None:
    collection = find_pictures(shards.folder.parent / "a.npz")
    training = {sample.read().transpose(2, 0, 1).tobytes(): sample.label for sample in collection.part(False)}
    held_out = {tile.tobytes() for rows in shards.validation_batches(30, 10, 0) for tile in rows["image"].numpy()}
    assert held_out <= set(training)
    mirrored = 0
    for step in range(20):
        batch = shards.batch(0, step, slice(0, 8), 8, 0)
        for tile, label in zip(batch["image"].numpy(), batch["label"].tolist(), strict=True):
            plain = tile.tobytes() in training
            mirrored += not plain
            key = tile.tobytes() if plain else np.ascontiguousarray(tile[:, :, ::-1]).tobytes()
            assert training[key] == label
            assert key not in held_out
    assert 40 < mirrored < 120


def test_pictures_of_any_size_give_whole_tiles(tmp_path: Path) -> None:
    source = folder(tmp_path / "pets")
    (source / "cats" / "broken.png").write_bytes(b"no picture")
    done = prepare_pictures(source, tmp_path / "shards")
    assert done.pictures == 3
    assert len(done.failed) == 1
    assert "broken.png" in done.failed[0]
    shards = ImageShards(tmp_path / "shards", 10)
    assert shards.classes == ("cats", "dogs")
    pictures = [picture.read() for picture in find_pictures(tmp_path / "pets").samples if "broken" not in picture.name]
    small = np.pad(pictures[1], ((0, 7), (0, 6), (0, 0)), mode="edge")
    seen = False
    for step in range(10):
        batch = shards.batch(0, step, slice(0, 4), 4, 0)
        assert batch["image"].shape == (4, 3, 10, 10)
        tiles = batch["image"].numpy().transpose(0, 2, 3, 1)
        seen = seen or any(np.array_equal(tile, small) or np.array_equal(tile[:, ::-1], small) for tile in tiles)
    assert seen


def test_validation_is_the_same_at_each_call(shards: ImageShards) -> None:
    once, again = (list(shards.validation_batches(10, 4, 0)) for _ in range(2))
    assert [len(rows["image"]) for rows in once] == [4, 4, 2]
    assert all(np.array_equal(a["image"], b["image"]) for a, b in zip(once, again, strict=True))


def test_nothing_to_pack(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="none of its pictures"):
        prepare_pictures(tmp_path / "a", tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize("field", ["classes", "pictures", "shards"])
def test_damaged_shards_are_refused(field: str, shards: ImageShards) -> None:
    path = shards.folder / "index.json"
    index = json.loads(path.read_text())
    index[field] = {"classes": [], "pictures": [[0, 0, 10**6, 8, 0, False]], "shards": [{}]}[field]
    path.write_text(json.dumps(index))
    with pytest.raises(DataError, match="anew"):
        ImageShards(shards.folder, 8)


def test_a_cut_shard_is_refused(shards: ImageShards) -> None:
    (path,) = shards.folder.glob("*.rgb")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="missing or cut"):
        ImageShards(shards.folder, 8)


def test_models_and_data_that_do_not_fit(shards: ImageShards) -> None:
    phase = PhaseConfig(name="all", steps=1, learning_rate=1e-3, train=("encoder",), objective=(("nll", 1.0),))
    for model in (TINY, ImageVAEConfig(tile=8)):
        config = RunConfig(model, TrainConfig((phase,)))
        assert shards.fitted(config) == config
    for other in (AudioVQVAEConfig(), ImageVAEConfig(tile=16), CLASSY):
        with pytest.raises(ConfigError):
            shards.fitted(RunConfig(other, TrainConfig((phase,))))


def test_shards_open_as_what_they_hold(shards: ImageShards) -> None:
    opened = open_shards(shards.folder, TINY)
    assert isinstance(opened, ImageShards)
    assert opened.tile == 8
    assert isinstance(open_shards(shards.folder, AudioVQVAEConfig()), ImageShards)
    with pytest.raises(DataError):
        AudioShards(shards.folder)
