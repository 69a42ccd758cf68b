"""Shards of speech, memory-mapped, and batches of them.

A batch is a pure function of (seed, step): that is what makes a resumed run the same run, and several processes the
same as one. packing.py makes the shards.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vqaudio.arrays import Floats, Integers
from vqaudio.codecs.preview import preview
from vqaudio.dsp.mel_envelope import FLOOR
from vqaudio.errors import ConfigError, DataError
from vqaudio.models.config import ModelConfig, RunConfig, SpeechModelConfig, VocoderVQVAEConfig
from vqaudio.models.speech_model import SpeechModel
from vqaudio.training.log import TrainingLog

FORMAT_VERSION = 3
INDEX_FILE = "index.json"
LEVEL_JITTER_DB = 3.0  # crops are this much louder or softer at random, so that level errors do no harm


@dataclass(frozen=True)
class Utterance:
    """Where an utterance lies: ``length`` samples from ``offset`` of shard number ``shard``; ``gain`` normalises it.

    Its speech parameters, where the shards have them, are ``frames`` rows from ``row`` of table number ``table``.
    """

    shard: int
    offset: int
    length: int
    speaker: int
    gain: float
    validation: bool
    table: int = 0
    row: int = 0
    frames: int = 0


@dataclass(frozen=True)
class Analysis:
    """Of which speech parameters there are: log power in ``bands`` mel bands, and the pitch, each ``hop_length``
    samples (:mod:`vqaudio.dsp.world`)."""

    hop_length: int = 68
    bands: int = 80


class Drawn(NamedTuple):
    """A crop of an utterance: where it begins, as a share 0..1 of where it can, and by how much it is louder."""

    utterance: Utterance
    place: float
    gain: float


class _Part(NamedTuple):
    """Some utterances, and the sums of their lengths up to each."""

    utterances: list[Utterance]
    ends: Integers


def read_index(folder: Path) -> dict[str, Any]:
    """The index of a shard folder; ``DataError`` where it has none of this format."""
    try:
        index = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{folder}: has no {INDEX_FILE}; run 'vqaudio prepare SOURCE -o {folder}' first") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{folder / INDEX_FILE}: cannot be read ({error}); prepare the corpus anew") from None
    if not isinstance(index, dict) or index.get("format_version") != FORMAT_VERSION:
        raise DataError(
            f"{folder}: is not of shard format {FORMAT_VERSION}; prepare the corpus anew: "
            f"'vqaudio prepare SOURCE -o {folder} --force'"
        )
    return index


ALL_SPEAKERS = ("*",)  # as a model's speakers: those of the data


class AudioShards:
    """A shard folder, memory-mapped. Batches: ``wave[B, T]`` float32 of normalised level and ``speaker[B]`` int64; with
    speech parameters also ``bands[B, bands, frames]`` and ``f0[B, frames]``, float32, and where they have units of
    speech (:mod:`vqaudio.training.units`) ``units[B, frames]`` int64, -1 beyond an utterance's end. For a model that
    hears who speaks ``reference[B, T]``, a crop of any utterance of the same speaker."""

    references = False  # whether batches have them; a model that is fitted says so

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
            self.sources: tuple[str, ...] = tuple(map(str, index.get("sources", ())))  # some shards do not say
            self._shards = [self._map(folder / shard["file"], shard["samples"]) for shard in index["shards"]]
            self.analysis = Analysis(**index["analysis"]) if index["analysis"] else None
            self.checksums |= {table["file"]: table["sha256"] for table in index["tables"]}
            self._tables = [self._map_table(folder / table["file"], table["numbers"]) for table in index["tables"]]
            units = index.get("units", {"count": 0, "files": []})
            self.units: int = units["count"]
            self.checksums |= {file["file"]: file["sha256"] for file in units["files"]}
            self._units = [self._map(folder / file["file"], file["rows"]) for file in units["files"]]
            whole = bool(self._utterances) and all(self._holds(utterance) for utterance in self._utterances)
        except (KeyError, TypeError, ValueError, IndexError):
            whole = False
        if not whole:
            raise DataError(f"{folder / INDEX_FILE}: is damaged; prepare the corpus anew")

    @property
    def utterances(self) -> tuple[Utterance, ...]:
        """All that there are, in their order."""
        return tuple(self._utterances)

    def wave(self, utterance: Utterance) -> Floats:
        """The samples ``[T]`` of an utterance, at normalised level."""
        samples = self._shards[utterance.shard][utterance.offset : utterance.offset + utterance.length]
        return samples.astype(np.float32) * np.float32(utterance.gain / 32768)

    def _holds(self, utterance: Utterance) -> bool:
        end, rows = utterance.offset + utterance.length, utterance.row + utterance.frames
        sound = min(utterance.shard, utterance.offset) >= 0 and 0 < end <= len(self._shards[utterance.shard])
        if self.analysis is None:
            return sound
        parts = utterance.table, utterance.row, utterance.frames
        return sound and min(parts) >= 0 and (not utterance.frames or rows <= len(self._tables[utterance.table]))

    @staticmethod
    def _map(path: Path, samples: int) -> np.ndarray:
        if not path.is_file() or path.stat().st_size != 2 * samples:
            raise DataError(f"{path}: is missing or cut; prepare the corpus anew")
        return np.memmap(path, dtype="<i2", mode="r")

    def _map_table(self, path: Path, numbers: int) -> np.ndarray:
        assert self.analysis is not None
        if not path.is_file() or path.stat().st_size != 2 * numbers:
            raise DataError(f"{path}: is missing or cut; prepare the corpus anew")
        return np.memmap(path, dtype="<f2", mode="r").reshape(-1, self.analysis.bands + 1)

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
        for utterance in self._parts[False].utterances:
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

    def fitted(self, config: RunConfig) -> RunConfig:
        """``config`` with the data's speakers where it asks for them.

        Raises:
            ConfigError: the model learns from pictures, at another rate, or of other speakers; or crops do not fit it.
        """
        model = config.model
        if not isinstance(model, SpeechModelConfig):
            raise ConfigError(
                f"model.kind = {model.kind!r} learns from pictures, the data are sounds: prepare pictures"
            )
        if model.speakers == ALL_SPEAKERS:
            model = dataclasses.replace(model, speakers=self.speakers)
        if model.sample_rate_hz != self.sample_rate_hz:
            theirs = f"is not the data's {self.sample_rate_hz}: prepare it anew"
            raise ConfigError(f"model.sample_rate_hz = {model.sample_rate_hz} {theirs}")
        if model.speakers and model.speakers != self.speakers:
            raise ConfigError(
                f'model.speakers are not the data\'s: give ["*"] for all {len(self.speakers)} of its, or none for '
                "a decoder that knows no speakers"
            )
        if isinstance(model, VocoderVQVAEConfig) and model.units not in (0, self.units):
            raise ConfigError(
                f"model.units = {model.units} is not the data's {self.units}; see recipes/speaker_conversion"
            )
        for phase in config.train.phases:
            hop, crop = model.encoder.hop_length, phase.crop_samples
            if crop % hop:
                raise ConfigError(f"{phase.name}.crop_samples = {crop} is not valid: give a multiple of {hop}")
        self.references = isinstance(model, VocoderVQVAEConfig) and model.speaker_encoder is not None
        return dataclasses.replace(config, model=model)

    def facts(self, samples: int, model: ModelConfig) -> dict[str, Any]:
        """Hours of sound that so many samples are, and who the speakers are, of a model that knows some."""
        facts: dict[str, Any] = {"hours_of_sound": samples / self.sample_rate_hz / 3600}
        knows_some = isinstance(model, SpeechModelConfig) and model.speakers
        return facts | ({"speakers": self.speaker_facts()} if knows_some else {})

    def show(self, log: TrainingLog, step: int, model: nn.Module, batch: Mapping[str, Tensor], seconds: float) -> None:
        """The first crop of ``batch``, at most ``seconds`` of it, before and after coding; none where that is 0."""
        assert isinstance(model, SpeechModel)
        if seconds:
            log.show(step, preview(model, batch, seconds))

    def batch(self, seed: int, step: int, rows: slice, batch_size: int, crop_samples: int) -> dict[str, Tensor]:
        """Rows ``rows`` of training batch number ``step``: random crops, each utterance as likely as it is long."""
        rng = np.random.default_rng([seed, step])
        picks = self._draw(rng, False, batch_size)
        places, jitter = rng.random(batch_size), rng.uniform(-LEVEL_JITTER_DB, LEVEL_JITTER_DB, batch_size)
        gains = 10 ** (jitter / 20)
        drawn = [Drawn(*one) for one in zip(picks, places, gains, strict=True)]
        return self._referred(drawn, rows, crop_samples, [seed, step])

    def validation_batches(self, crops: int, batch_size: int, crop_samples: int) -> Iterator[dict[str, Tensor]]:
        """The same ``crops`` crops of the validation part at each call, as batches of ``batch_size``."""
        rng = np.random.default_rng(0)
        picks = self._draw(rng, True, crops)
        drawn = [Drawn(utterance, place, 1.0) for utterance, place in zip(picks, rng.random(crops), strict=True)]
        for first in range(0, crops, batch_size):
            yield self._referred(drawn, slice(first, first + batch_size), crop_samples, [0])

    @functools.cached_property
    def _parts(self) -> dict[bool, _Part]:
        """The validation part (True) and the rest; all utterances where the other part has taken every one."""
        parts = {}
        for validation in (False, True):
            own = [u for u in self._utterances if u.validation == validation] or self._utterances
            parts[validation] = _Part(own, np.cumsum([u.length for u in own]))
        return parts

    def _draw(self, rng: np.random.Generator, validation: bool, count: int) -> list[Utterance]:
        part = self._parts[validation]
        places = rng.integers(0, part.ends[-1], count)
        return [part.utterances[i] for i in np.searchsorted(part.ends, places, side="right")]

    @functools.cached_property
    def _spoken(self) -> dict[tuple[bool, int], list[Utterance]]:
        """The utterances of each speaker, in the validation part (True) and in the rest."""
        spoken: dict[tuple[bool, int], list[Utterance]] = {}
        for utterance in self._utterances:
            spoken.setdefault((utterance.validation, utterance.speaker), []).append(utterance)
        return spoken

    def _referred(self, drawn: list[Drawn], rows: slice, length: int, seed: list[int]) -> dict[str, Tensor]:
        """The batch of ``rows`` of what was drawn, with references where they are wanted."""
        batch = self._rows(drawn[rows], length)
        if self.references:
            rng = np.random.default_rng([*seed, 1])
            own = [self._spoken[one.utterance.validation, one.utterance.speaker] for one in drawn]
            others = [Drawn(heard[rng.integers(len(heard))], rng.random(), 1.0) for heard in own]
            batch["reference"] = self._rows(others[rows], length)["wave"]
        return batch

    def _rows(self, drawn: Sequence[Drawn], crop_samples: int) -> dict[str, Tensor]:
        """The batch of what was drawn."""
        rows = [self._crop(one, crop_samples) for one in drawn]
        return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}

    def _start(self, drawn: Drawn, length: int) -> int:
        """The first sample of a crop in its utterance. Where there are parameters, it is that of a frame."""
        hop = self.analysis.hop_length if self.analysis else 1
        return int(drawn.place * (max(0, drawn.utterance.length - length) // hop + 1)) * hop

    def _crop(self, drawn: Drawn, length: int) -> dict[str, np.ndarray]:
        """``length`` samples of the utterance; a short one is padded with silence."""
        utterance, gain, start = drawn.utterance, drawn.gain, self._start(drawn, length)
        first = utterance.offset + start
        end = min(first + length, utterance.offset + utterance.length)
        crop = self._shards[utterance.shard][first:end].astype(np.float32) * (utterance.gain / 32768 * gain)
        row = {"wave": np.pad(crop, (0, length - len(crop))).astype(np.float32), "speaker": np.array(utterance.speaker)}
        if self.analysis:
            hop = self.analysis.hop_length
            row |= self._parameters(utterance, start // hop, length // hop, gain)
        return row

    def _parameters(self, utterance: Utterance, first: int, frames: int, gain: float) -> dict[str, np.ndarray]:
        end = min(first + frames, utterance.frames)
        table = self._tables[utterance.table][utterance.row + first : utterance.row + end].astype(np.float32)
        bands, f0 = table[:, :-1].T + np.float32(2 * np.log(gain)), table[:, -1]
        missing = frames - bands.shape[1]
        found = {
            "bands": np.pad(bands, ((0, 0), (0, missing)), constant_values=np.log(FLOOR)),
            "f0": np.pad(f0, (0, missing)),
        }
        if self.units:
            own = self._units[utterance.table][utterance.row + first : utterance.row + end]
            found["units"] = np.pad(own.astype(np.int64), (0, missing), constant_values=-1)
        return found
