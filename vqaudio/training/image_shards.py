"""Pictures to shards to batches, as data.py does for sounds.

``prepare`` packs the training part of a collection into memory-mapped shards of bytes with checksums. A batch is a pure
function of (seed, step).
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vqaudio.errors import ConfigError, DataError, PictureError
from vqaudio.io.atomic import atomic_folder
from vqaudio.io.image import Picture
from vqaudio.io.image_corpora import Sample, find_pictures
from vqaudio.models.config import ModelConfig, RunConfig
from vqaudio.models.image_config import ImageVAEConfig, ImageVQVAEConfig
from vqaudio.models.image_vqvae import ImageVQVAE, compare
from vqaudio.training.log import TrainingLog
from vqaudio.training.packing import ShardWriter, is_validation
from vqaudio.training.resident import ResidentShards
from vqaudio.training.shards import FORMAT_VERSION, INDEX_FILE, AudioShards, read_index

_KIND = "pictures"  # in the index, which that of sounds does not have


@dataclass(frozen=True)
class Stored:
    """Where a picture lies: ``height * width * 3`` bytes from ``offset`` of shard number ``shard``."""

    shard: int
    offset: int
    height: int
    width: int
    label: int
    validation: bool


@dataclass(frozen=True)
class PreparedPictures:
    """What ``prepare_pictures`` did. ``failed`` holds one line a file that could not be read."""

    pictures: int
    classes: int
    failed: tuple[str, ...]


def prepare_pictures(
    source: Path,
    folder: Path,
    validation_share: float = 0.02,
    progress: Callable[[Iterable[Sample]], Iterable[Sample]] = iter,
) -> PreparedPictures:
    """Packs the training pictures of ``source`` into the shard folder ``folder`` (written atomically).

    Pictures that the collection keeps for testing are left out. ``progress`` may wrap the list to show how far it is.

    Raises:
        DataError: there is nothing to pack.
    """
    collection = find_pictures(source)
    stored: list[Stored] = []
    failed: list[str] = []
    with atomic_folder(folder) as temporary:
        writer = ShardWriter(temporary, "bytes", ".rgb")
        for sample in progress(collection.part(test=False)):
            try:
                picture = sample.read()
            except (PictureError, OSError) as error:
                failed.append(str(error))
                continue
            held_out = is_validation(sample.name, validation_share)
            shard, offset = writer.append(picture)
            height, width, _ = picture.shape
            stored.append(Stored(shard, offset, height, width, sample.label, held_out))
        writer.flush()
        if not stored:
            raise DataError(f"{source}: none of its pictures could be read; first: {failed[0]}")
        index = {
            "format_version": FORMAT_VERSION,
            "kind": _KIND,
            "classes": collection.classes,
            "shards": writer.shards,
            "pictures": [list(asdict(one).values()) for one in stored],
        }
        (temporary / INDEX_FILE).write_text(json.dumps(index), encoding="utf-8")
    return PreparedPictures(len(stored), len(collection.classes), tuple(failed))


class ImageShards:
    """A shard folder of pictures, memory-mapped. Batches: ``image[B, 3, tile, tile]`` uint8 and ``label[B]`` int64."""

    def __init__(self, folder: Path, tile: int) -> None:
        """Opens the folder; batches are of ``tile`` x ``tile`` pixels.

        Raises:
            DataError: the folder is not one of shards of pictures, or a shard is missing or cut.
        """
        index = read_index(folder)
        if index.get("kind") != _KIND:
            raise DataError(f"{folder}: holds no pictures; run 'vqaudio prepare' on some")
        self.folder, self.tile = folder, tile
        try:
            self.classes: tuple[str, ...] = tuple(index["classes"])
            self.checksums: dict[str, str] = {shard["file"]: shard["sha256"] for shard in index["shards"]}
            self._pictures = [Stored(*row) for row in index["pictures"]]
            self._shards = [self._map(folder / shard["file"], shard["bytes"]) for shard in index["shards"]]
            whole = bool(self._pictures) and all(self._holds(picture) for picture in self._pictures)
        except (KeyError, TypeError, ValueError, IndexError):
            whole = False
        if not whole:
            raise DataError(f"{folder / INDEX_FILE}: is damaged; prepare the pictures anew")
        # a part is all of a small collection where the other part has taken every picture
        self._training, self._validation = (
            [p for p in self._pictures if p.validation == validation] or self._pictures for validation in (False, True)
        )

    def _holds(self, picture: Stored) -> bool:
        end = picture.offset + 3 * picture.height * picture.width
        in_shard = min(picture.shard, picture.offset) >= 0 and end <= len(self._shards[picture.shard])
        return in_shard and min(picture.height, picture.width) > 0 and 0 <= picture.label < len(self.classes)

    @staticmethod
    def _map(path: Path, size: int) -> np.ndarray:
        if not path.is_file() or path.stat().st_size != size:
            raise DataError(f"{path}: is missing or cut; prepare the pictures anew")
        return np.memmap(path, dtype=np.uint8, mode="r")

    @property
    def checksum(self) -> str:
        """One digest that stands for the data, kept in a run's facts."""
        return hashlib.sha256("".join(self.checksums.values()).encode()).hexdigest()

    sources: tuple[str, ...] = ()  # pictures do not say which files they come from

    def fitted(self, config: RunConfig) -> RunConfig:
        """``config`` as it is; ``ConfigError`` where its model cannot learn from these pictures."""
        model = config.model
        if not isinstance(model, ImageVQVAEConfig | ImageVAEConfig):
            raise ConfigError(f"model.kind = {model.kind!r} learns from sounds, the data are pictures: prepare sounds")
        if model.tile != self.tile:
            raise ConfigError(f"model.tile = {model.tile} is not the batches' {self.tile}: open the shards with it")
        if isinstance(model, ImageVQVAEConfig) and model.classes and model.classes != self.classes:
            raise ConfigError(
                f"model.classes are not the data's: name its {len(self.classes)}, in order, or none for a prior that "
                "knows no classes"
            )
        return config

    @staticmethod
    def row_samples(crop_samples: int) -> int:
        """What a row of a batch counts for in a run's samples seen: one picture."""
        return 1

    def facts(self, samples: int, model: ModelConfig) -> dict[str, Any]:
        """How many pictures so many samples are."""
        return {"pictures_seen": samples}

    def show(self, log: TrainingLog, step: int, model: nn.Module, batch: Mapping[str, Tensor], seconds: float) -> None:
        """Tiles of ``batch`` above what comes back of them, of a model with codes."""
        if isinstance(model, ImageVQVAE):
            log.show_picture(step, compare(model, batch["image"]))

    def batch(self, seed: int, step: int, rows: slice, batch_size: int, crop_samples: int) -> dict[str, Tensor]:
        """Rows ``rows`` of training batch number ``step``: random pictures, places in them, and mirrored or not.

        ``crop_samples`` is for sounds.
        """
        rng = np.random.default_rng([seed, step])
        part = self._training
        picks, places, flips = (
            rng.integers(0, len(part), batch_size),
            rng.random((batch_size, 2)),
            rng.random(batch_size),
        )
        drawn = list(zip(picks, places, flips, strict=True))[rows]
        crops = [(self._crop(part[pick], place), flip < 0.5, part[pick].label) for pick, place, flip in drawn]
        return self._stack([(crop[:, ::-1] if flip else crop, label) for crop, flip, label in crops])

    def validation_batches(self, crops: int, batch_size: int, crop_samples: int) -> Iterator[dict[str, Tensor]]:
        """The same ``crops`` tiles of the validation part at each call, as batches of ``batch_size``."""
        rng = np.random.default_rng(0)
        part = self._validation
        picks, places = rng.integers(0, len(part), crops), rng.random((crops, 2))
        rows = [(self._crop(part[pick], place), part[pick].label) for pick, place in zip(picks, places, strict=True)]
        for first in range(0, crops, batch_size):
            yield self._stack(rows[first : first + batch_size])

    def _crop(self, stored: Stored, place: np.ndarray) -> Picture:
        """A tile from the shares ``place[2]`` (0..1) of the picture; a small one is continued by its edge."""
        size = 3 * stored.height * stored.width
        flat = self._shards[stored.shard][stored.offset : stored.offset + size]
        picture = flat.reshape(stored.height, stored.width, 3)
        top, left = (
            int(share * max(1, length - self.tile + 1)) for share, length in zip(place, picture.shape, strict=False)
        )
        crop = picture[top : top + self.tile, left : left + self.tile]
        lacking = [(0, self.tile - length) for length in crop.shape[:2]]
        return np.pad(crop, (*lacking, (0, 0)), mode="edge")

    @staticmethod
    def _stack(rows: list[tuple[Picture, int]]) -> dict[str, Tensor]:
        pictures, labels = zip(*rows, strict=True)
        image = np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2))
        return {"image": torch.from_numpy(image), "label": torch.tensor(labels)}


def open_shards(folder: Path, model: ModelConfig, resident: str = "") -> AudioShards | ImageShards:
    """The shards in ``folder``, of sounds or of pictures, for ``model`` to learn from; DataError as either's.

    ``resident`` names the device whose memory sounds are held in, if any.
    """
    if read_index(folder).get("kind") != _KIND:
        return ResidentShards(folder, torch.device(resident)) if resident else AudioShards(folder)
    return ImageShards(folder, model.tile if isinstance(model, ImageVQVAEConfig | ImageVAEConfig) else 1)
