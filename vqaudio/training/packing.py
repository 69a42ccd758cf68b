"""A corpus to shards: sound in 16 bits and, once and for all, the speech parameters that codes learn to carry.

Utterances are read and analysed by several processes and written by one, in order: the shards are the same whatever the
number of processes.
"""

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vqaudio.arrays import Floats
from vqaudio.dsp.loudness import measure_level
from vqaudio.dsp.world import analyse
from vqaudio.errors import DataError, SoundError
from vqaudio.io.atomic import atomic_folder
from vqaudio.io.corpora import Recording, find_recordings
from vqaudio.io.resample import StreamingResampler
from vqaudio.io.sound import SoundReader
from vqaudio.models.sources import file_checksum
from vqaudio.training.shards import FORMAT_VERSION, INDEX_FILE, Analysis, Utterance

SHARD_BYTES = 1 << 28
_FEW = 16  # recordings that are not worth the start of other processes


def is_validation(name: str, share: float) -> bool:
    """A pure function of the file's name, so that a corpus splits alike wherever it is packed."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little") < share * 2**32


def load_normalised(path: Path, sample_rate_hz: int) -> tuple[np.ndarray, float]:
    """A file's channels averaged and resampled: ``[samples]`` float32, and the gain that normalises its level."""
    with SoundReader(path) as reader:
        resampler = StreamingResampler(reader.sample_rate_hz, sample_rate_hz)
        parts = [resampler.push(block.mean(0, keepdims=True)) for block in reader.blocks(1 << 16)]
        wave = np.concatenate([*parts, resampler.flush()], axis=1)
        if reader.problem:
            raise SoundError(f"{path}: {reader.problem}")
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


class _Packed(NamedTuple):
    """One recording as it goes into the shards: ``wave[T]`` in 16 bits, ``parameters[frames, bands + 1]``, the last the
    pitch in Hz, or None; ``problem`` says why there is nothing."""

    wave: npt.NDArray[np.int16]
    gain: float
    parameters: npt.NDArray[np.float16] | None
    problem: str = ""


def _pack(recording: Recording, sample_rate_hz: int, analysis: Analysis | None) -> _Packed:
    nothing = np.zeros(0, np.int16)
    try:
        wave, gain = load_normalised(recording.path, sample_rate_hz)
    except SoundError as error:
        return _Packed(nothing, 1.0, None, str(error))
    if len(wave) == 0:
        return _Packed(nothing, 1.0, None, f"{recording.path}: holds no sound; record or copy it again")
    levels = (wave.clip(-1, 1) * 32767).round().astype("<i2")
    if analysis is None:
        return _Packed(levels, gain, None)
    heard: Floats = levels.astype(np.float32) * np.float32(gain / 32768)  # what a batch will hold
    found = analyse(heard, sample_rate_hz, analysis.hop_length, analysis.bands)
    return _Packed(levels, gain, np.concatenate([found.bands, found.f0_hz[:, None]], axis=1).astype("<f2"))


def _packed(
    recordings: list[Recording], sample_rate_hz: int, analysis: Analysis | None, processes: int
) -> Iterator[_Packed]:
    """Each recording, in order."""
    pack = partial(_pack, sample_rate_hz=sample_rate_hz, analysis=analysis)
    if processes == 1 or analysis is None or len(recordings) < _FEW:
        yield from map(pack, recordings)
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(pack, recordings, chunksize=4)


def prepare(
    root: Path,
    folder: Path,
    sample_rate_hz: int = 16000,
    validation_share: float = 0.02,
    progress: Callable[[Iterable[Recording]], Iterable[Recording]] = iter,
    analysis: Analysis | None = None,
    processes: int = 0,
) -> Prepared:
    """Packs the corpus under ``root`` into the shard folder ``folder`` (written atomically, replaced if it exists).

    Args:
        root: the corpus; what cannot be read is left out and named.
        folder: of the shards.
        sample_rate_hz: of the shards.
        validation_share: of the utterances, chosen by their names.
        progress: may wrap the list of recordings to show how far it is.
        analysis: of which speech parameters the shards have, if any: some ten times real time a core.
        processes: that analyse; 0 takes one a core.

    Raises:
        DataError: when there is nothing to pack.
        ConfigError: the analysis has an impossible number of bands.
    """
    recordings = find_recordings(root)
    genders = {recording.speaker: recording.gender for recording in recordings}
    speakers = sorted(genders)
    utterances: list[Utterance] = []
    failed: list[str] = []
    sources: list[str] = []
    with atomic_folder(folder) as temporary:
        waves = ShardWriter(temporary, "samples", ".pcm")
        tables = ShardWriter(temporary, "numbers", ".parameters")
        every = _packed(recordings, sample_rate_hz, analysis, processes or len(os.sched_getaffinity(0)))
        for recording, packed in zip(progress(recordings), every, strict=True):
            if packed.problem:
                failed.append(packed.problem)
                continue
            shard, offset = waves.append(packed.wave)
            held_out = is_validation(os.path.relpath(recording.path, root), validation_share)
            speaker = speakers.index(recording.speaker)
            place = (0, 0, 0)
            if packed.parameters is not None:
                table, number = tables.append(packed.parameters)
                place = (table, number // packed.parameters.shape[1], len(packed.parameters))
            sources.append(file_checksum(recording.path))
            utterances.append(Utterance(shard, offset, len(packed.wave), speaker, packed.gain, held_out, *place))
        waves.flush()
        tables.flush()
        if not utterances:
            raise DataError(f"{root}: none of its {len(recordings)} files could be read; first: {failed[0]}")
        index = {
            "format_version": FORMAT_VERSION,
            "sample_rate_hz": sample_rate_hz,
            "speakers": [[speaker, genders[speaker]] for speaker in speakers],
            "shards": waves.shards,
            "analysis": asdict(analysis) if analysis else None,
            "tables": tables.shards,
            "utterances": [list(asdict(utterance).values()) for utterance in utterances],
            "sources": sources,
        }
        (temporary / INDEX_FILE).write_text(json.dumps(index), encoding="utf-8")
    seconds = sum(utterance.length for utterance in utterances) / sample_rate_hz
    return Prepared(len(utterances), len(speakers), seconds / 3600, tuple(failed))
