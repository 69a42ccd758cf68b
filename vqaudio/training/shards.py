"""A corpus to shards, and shards to batches.

``prepare`` packs a corpus of speech into memory-mapped 16-bit shards with checksums. A batch is a pure function of
(seed, step): that is what makes a resumed run the same run, and several processes the same as one.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqaudio.dsp.loudness import measure_level
from vqaudio.errors import DataError, SoundError
from vqaudio.io.corpora import Recording, find_recordings
from vqaudio.io.resample import StreamingResampler
from vqaudio.io.sound import SoundReader
from vqaudio.models.checkpoint import atomic_folder

FORMAT_VERSION = 2
INDEX_FILE = "index.json"
SHARD_BYTES = 1 << 28
LEVEL_JITTER_DB = 3.0  # crops are this much louder or softer at random, so that level errors do no harm

# -------------------------------------------------------------------------------------------------------- packing


@dataclass(frozen=True)
class Utterance:
    """Where an utterance lies: ``length`` samples from ``offset`` of shard number ``shard``; ``gain`` normalises it."""

    shard: int
    offset: int
    length: int
    speaker: int
    gain: float
    validation: bool


def is_validation(name: str, share: float) -> bool:
    """A pure function of the file's name, so that a corpus splits alike wherever it is packed."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little") < share * 2**32


def load_normalised(path: Path, sample_rate_hz: int) -> tuple[np.ndarray, float]:
    """A file's channels averaged and resampled: ``[samples]`` float32, and the gain that normalises its level."""
    with SoundReader(path) as reader:
        resampler = StreamingResampler(reader.sample_rate_hz, sample_rate_hz)
        parts = [resampler.push(block.mean(0, keepdims=True)) for block in reader.blocks(1 << 16)]
        wave = np.concatenate([*parts, resampler.flush()], axis=1)
    (level,) = measure_level([wave], sample_rate_hz, 1)
    return wave[0], level.gain


class ShardWriter:
    """Appends numbers to numbered files of at most about ``SHARD_BYTES`` and checksums them.

    ``unit`` is what an index calls the numbers, ``suffix`` that of the files.
    """

    def __init__(self, folder: Path, unit: str, suffix: str) -> None:
        self.folder, self.unit, self.suffix = folder, unit, suffix
        self.shards: list[dict[str, Any]] = []
        self._bytes, self._count = bytearray(), 0

    def append(self, numbers: np.ndarray) -> tuple[int, int]:
        """Returns the shard's number and how many numbers precede these in it."""
        if len(self._bytes) >= SHARD_BYTES:
            self.flush()
        offset = self._count
        self._bytes += numbers.tobytes()
        self._count += numbers.size
        return len(self.shards), offset

    def flush(self) -> None:
        """Writes what is held."""
        if self._bytes:
            name = f"shard-{len(self.shards):05d}{self.suffix}"
            (self.folder / name).write_bytes(self._bytes)
            digest = hashlib.sha256(self._bytes).hexdigest()
            self.shards.append({"file": name, self.unit: self._count, "sha256": digest})
            self._bytes, self._count = bytearray(), 0


@dataclass(frozen=True)
class Prepared:
    """What ``prepare`` did. ``failed`` holds one line a file that could not be read."""

    utterances: int
    speakers: int
    hours: float
    failed: tuple[str, ...]


def prepare(
    root: Path,
    folder: Path,
    sample_rate_hz: int = 16000,
    validation_share: float = 0.02,
    progress: Callable[[Iterable[Recording]], Iterable[Recording]] = iter,
) -> Prepared:
    """Packs the corpus under ``root`` into the shard folder ``folder`` (written atomically, replaced if it exists).

    ``progress`` may wrap the list of recordings to show how far it is. What cannot be read is left out and named.

    Raises:
        DataError: when there is nothing to pack.
    """
    recordings = find_recordings(root)
    genders = {recording.speaker: recording.gender for recording in recordings}
    speakers = sorted(genders)
    utterances: list[Utterance] = []
    failed: list[str] = []
    with atomic_folder(folder) as temporary:
        writer = ShardWriter(temporary, "samples", ".pcm")
        for recording in progress(recordings):
            try:
                wave, gain = load_normalised(recording.path, sample_rate_hz)
            except SoundError as error:
                failed.append(str(error))
                continue
            if len(wave) == 0:
                failed.append(f"{recording.path}: holds no sound; record or copy it again")
                continue
            shard, offset = writer.append((wave.clip(-1, 1) * 32767).round().astype("<i2"))
            name = os.path.relpath(recording.path, root)
            held_out = is_validation(name, validation_share)
            speaker = speakers.index(recording.speaker)
            utterances.append(Utterance(shard, offset, len(wave), speaker, gain, held_out))
        writer.flush()
        if not utterances:
            raise DataError(f"{root}: none of its {len(recordings)} files could be read; first: {failed[0]}")
        index = {
            "format_version": FORMAT_VERSION,
            "sample_rate_hz": sample_rate_hz,
            "speakers": [[speaker, genders[speaker]] for speaker in speakers],
            "shards": writer.shards,
            "utterances": [list(asdict(utterance).values()) for utterance in utterances],
        }
        (temporary / INDEX_FILE).write_text(json.dumps(index), encoding="utf-8")
    seconds = sum(utterance.length for utterance in utterances) / sample_rate_hz
    return Prepared(len(utterances), len(speakers), seconds / 3600, tuple(failed))


# -------------------------------------------------------------------------------------------------------- batches


def read_index(folder: Path) -> dict[str, Any]:
    """The index of a shard folder; ``DataError`` where it has none of this format."""
    try:
        index = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{folder}: has no {INDEX_FILE}; run 'vqaudio prepare SOURCE -o {folder}' first") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / INDEX_FILE}: cannot be read ({error}); prepare the corpus anew") from None
    if not isinstance(index, dict) or index.get("format_version") != FORMAT_VERSION:
        raise DataError(f"{folder}: is not of shard format {FORMAT_VERSION}; prepare the corpus anew")
    return index


class AudioShards:
    """A shard folder, memory-mapped. Batches: ``wave[B, T]`` float32 of normalised level and ``speaker[B]`` int64."""

    def __init__(self, folder: Path) -> None:
        """Opens the folder and checks its index; :meth:`verify` checks the contents.

        Raises:
            DataError: when the folder is not one of shards, or a shard is missing or cut.
        """
        index = read_index(folder)
        self.folder = folder
        try:
            self.sample_rate_hz: int = index["sample_rate_hz"]
            self.speakers: tuple[str, ...] = tuple(str(name) for name, _ in index["speakers"])
            self._genders: tuple[str, ...] = tuple(str(gender) for _, gender in index["speakers"])
            self.checksums: dict[str, str] = {shard["file"]: shard["sha256"] for shard in index["shards"]}
            self._utterances = [Utterance(*row) for row in index["utterances"]]
            self._shards = [self._map(folder / shard["file"], shard["samples"]) for shard in index["shards"]]
            whole = bool(self._utterances) and all(self._holds(utterance) for utterance in self._utterances)
        except (KeyError, TypeError, ValueError, IndexError):
            whole = False
        if not whole:
            raise DataError(f"{folder / INDEX_FILE}: is damaged; prepare the corpus anew")

    def _holds(self, utterance: Utterance) -> bool:
        end = utterance.offset + utterance.length
        return min(utterance.shard, utterance.offset) >= 0 and 0 < end <= len(self._shards[utterance.shard])

    @staticmethod
    def _map(path: Path, samples: int) -> np.ndarray:
        if not path.is_file() or path.stat().st_size != 2 * samples:
            raise DataError(f"{path}: is missing or cut; prepare the corpus anew")
        return np.memmap(path, dtype="<i2", mode="r")

    def verify(self) -> None:
        """Reads everything once and compares checksums.

        Raises:
            DataError: naming the shard whose bytes changed.
        """
        for name, expected in self.checksums.items():
            with open(self.folder / name, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                    raise DataError(f"{self.folder / name}: its checksum is wrong; prepare the corpus anew")

    @property
    def checksum(self) -> str:
        """One digest that stands for the data, kept in a run's facts."""
        return hashlib.sha256("".join(self.checksums.values()).encode()).hexdigest()

    def hours(self, validation: bool = False) -> float:
        """Hours of sound in the training or validation part."""
        samples = sum(u.length for u in self._utterances if u.validation == validation)
        return samples / self.sample_rate_hz / 3600

    def speaker_facts(self) -> list[dict[str, Any]]:
        """Name, gender ("F", "M" or "") and minutes in the training part of each speaker."""
        samples = [0] * len(self.speakers)
        for utterance in self._part(False):
            samples[utterance.speaker] += utterance.length
        known = zip(self.speakers, self._genders, samples, strict=True)
        return [
            {"name": name, "gender": gender, "minutes": round(count / self.sample_rate_hz / 60, 2)}
            for name, gender, count in known
        ]

    @staticmethod
    def row_samples(crop_samples: int) -> int:
        """What a row of a batch counts for in a run's samples seen."""
        return crop_samples

    def seen(self, samples: int) -> dict[str, float]:
        """How much of the data so many samples are, for a run's facts."""
        return {"hours_of_sound": samples / self.sample_rate_hz / 3600}

    def batch(self, seed: int, step: int, rows: slice, batch_size: int, crop_samples: int) -> dict[str, Tensor]:
        """Rows ``rows`` of training batch number ``step``: random crops, each utterance as likely as it is long."""
        rng = np.random.default_rng([seed, step])
        picks = self._draw(rng, self._part(False), batch_size)
        places, jitter = rng.random(batch_size), rng.uniform(-LEVEL_JITTER_DB, LEVEL_JITTER_DB, batch_size)
        gains = 10 ** (jitter / 20)
        drawn = list(zip(picks, places, gains, strict=True))[rows]
        return self._stack([(self._crop(u, place, crop_samples) * gain, u.speaker) for u, place, gain in drawn])

    def validation_batches(self, crops: int, batch_size: int, crop_samples: int) -> Iterator[dict[str, Tensor]]:
        """The same ``crops`` crops of the validation part at each call, as batches of ``batch_size``."""
        rng = np.random.default_rng(0)
        picks = self._draw(rng, self._part(True), crops)
        drawn = zip(picks, rng.random(crops), strict=True)
        rows = [(self._crop(utterance, place, crop_samples), utterance.speaker) for utterance, place in drawn]
        for first in range(0, crops, batch_size):
            yield self._stack(rows[first : first + batch_size])

    def _part(self, validation: bool) -> list[Utterance]:
        """The utterances of a part; all of them where the other part has taken every one of a small corpus."""
        return [u for u in self._utterances if u.validation == validation] or self._utterances

    @staticmethod
    def _draw(rng: np.random.Generator, part: list[Utterance], count: int) -> list[Utterance]:
        ends = np.cumsum([u.length for u in part])
        return [part[i] for i in np.searchsorted(ends, rng.integers(0, ends[-1], count), side="right")]

    def _crop(self, utterance: Utterance, place: float, length: int) -> np.ndarray:
        """``length`` samples from the share ``place`` (0..1) of the utterance; a short one is padded with silence."""
        first = utterance.offset + int(place * max(0, utterance.length - length + 1))
        end = min(first + length, utterance.offset + utterance.length)
        crop = self._shards[utterance.shard][first:end].astype(np.float32) * (utterance.gain / 32768)
        return np.pad(crop, (0, length - len(crop)))

    @staticmethod
    def _stack(rows: list[tuple[np.ndarray, int]]) -> dict[str, Tensor]:
        waves, speakers = zip(*rows, strict=True)
        return {"wave": torch.from_numpy(np.stack(waves).astype(np.float32)), "speaker": torch.tensor(speakers)}
