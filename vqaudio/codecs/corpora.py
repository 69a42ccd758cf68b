"""A whole corpus to codes: shard after shard, in as many processes as there are cores, or in a cluster.

Utterances of one shard are spread over the processes, and a shard is written before the next begins: whoever kills the
work loses one shard at most. Which process codes an utterance changes nothing: each works in one thread.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Protocol, Self

from threadpoolctl import threadpool_limits

from vqaudio.codecs.bundled import model_folder
from vqaudio.codecs.segments import one_thread
from vqaudio.codecs.speech import Codec, load
from vqaudio.codecs.tokenizing import Outcome, tokenize_all
from vqaudio.errors import ConfigError, ModelError
from vqaudio.io.sources import Entry, entries
from vqaudio.io.token_folder import RunFacts, Shard, TokenFolder
from vqaudio.io.token_tables import FORMATS, Failure
from vqaudio.models.folder import fingerprint, whole_sha256

SHARD_ROWS = 1000
_MOST_AT_ONCE = 8  # utterances that a process is given together, so that it can read ahead
_SHARES = 4  # of what is left of a shard, a process gets one of so many: the last ones end together
_CRASHED = "ended the process that read it: a crash of the decoder, or not enough memory"


@dataclass(frozen=True)
class Part:
    """Of the shards, those whose number is ``index`` modulo ``count``: what one of several machines does."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ConfigError(f"part {self.index + 1}/{self.count} is not valid: give 1/{self.count} and up")

    def __contains__(self, number: int) -> bool:
        return number % self.count == self.index


class Encoder(Protocol):
    """What codes shards, in any order; a context manager that ends its processes."""

    def outcomes(self, shards: Iterable[Shard]) -> Iterator[tuple[Shard, list[Outcome]]]:
        """Each of the ``shards``, taken as they are needed, with what its utterances came to."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


@dataclass(frozen=True)
class ShardDone:
    """A shard that was written, or (``seconds`` 0) was there."""

    number: int
    utterances: int
    audio_s: float
    failures: tuple[Failure, ...]
    seconds: float


@dataclass(frozen=True)
class Tokenized:
    """What the work came to. ``complete`` is false while other parts are missing."""

    shards: int
    skipped: int
    utterances: int
    audio_s: float
    failures: int
    complete: bool


def tokenize_corpus(
    source: Path,
    output: Path,
    encoder: Encoder,
    facts: RunFacts,
    part: Part = Part(),  # frozen
    renew: bool = False,
    report: Callable[[ShardDone], None] = lambda done: None,
) -> Tokenized:
    """Codes the utterances of ``source`` into the folder ``output``, and goes on where it was left.

    Args:
        source: see :func:`vqaudio.io.sources.entries`.
        output: see :class:`vqaudio.io.token_folder.TokenFolder`.
        encoder: a :class:`LocalEncoder`, say.
        facts: see :func:`run_facts`.
        part: what is to be done here of it all.
        renew: makes shards anew whose utterances have changed, which are refused otherwise.
        report: hears of each shard that is written.

    Raises:
        DataError: the source is none, or the folder is one of other tokens.
        OutputError: the folder cannot be written to; what is there stays good.
    """
    folder = TokenFolder(output, facts)
    total, skipped, utterances, audio_s, failures = 0, 0, 0, 0.0, 0

    def missing() -> Iterator[Shard]:
        nonlocal total, skipped
        for shard in shards_of(entries(source), facts.shard_rows):
            total = shard.number + 1
            if shard.number not in part:
                continue
            if folder.is_done(shard, renew):
                skipped += 1
            else:
                yield shard

    started = time.perf_counter()
    with encoder:
        for shard, outcomes in encoder.outcomes(missing()):
            failed = [one for one in outcomes if isinstance(one, Failure)]
            rows = [one for one in outcomes if not isinstance(one, Failure)]
            folder.write(shard, rows, failed)
            seconds, started = time.perf_counter() - started, time.perf_counter()
            done = ShardDone(shard.number, len(rows), sum(row.duration for row in rows), tuple(failed), seconds)
            utterances, audio_s = utterances + done.utterances, audio_s + done.audio_s
            failures += len(failed)
            report(done)
    return Tokenized(total, skipped, utterances, audio_s, failures, folder.finish(total))


def shards_of(found: Iterable[Entry], rows: int) -> Iterator[Shard]:
    """``found`` in shards of ``rows`` utterances, the last perhaps of fewer; no further ahead than is asked for."""
    held: list[Entry] = []
    number = 0
    for entry in found:
        held.append(entry)
        if len(held) == rows:
            yield Shard(number, held)
            held, number = [], number + 1
    if held:
        yield Shard(number, held)


def run_facts(model: str | Path, format: str, shard_rows: int = SHARD_ROWS) -> RunFacts:
    """What the tokens of ``model`` (a bundled name or a folder) depend on.

    Raises:
        ModelError: there is no such model, or it is damaged.
        ConfigError: there is no such format, or no rows in a shard.
    """
    if format not in FORMATS:
        raise ConfigError(f"format = {format!r} is not valid: give {', '.join(FORMATS)}")
    if shard_rows < 1:
        raise ConfigError(f"shard_rows = {shard_rows} is not valid: give 1 or more")
    folder = model_folder(model)
    names = fingerprint(folder).hex(), whole_sha256(folder).hex()
    return RunFacts(*names, format, shard_rows)


# -------------------------------------------------------------------------------------------------- on this machine

_codec: Codec | None = None  # a worker process's own


def start_worker(model: str, device: str) -> None:
    """Loads the model of a worker process, which ends when its parent does and leaves Ctrl-C to it."""
    global _codec
    threadpool_limits(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _codec = load(model, device)
    if torch := sys.modules.get("torch"):  # a model that needs it
        torch.set_num_threads(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)  # it waits for work that nobody will send


def _encode_in_worker(found: Sequence[Entry]) -> list[Outcome]:
    assert _codec is not None
    with one_thread():
        return list(tokenize_all(_codec, found))


class LocalEncoder:
    """An :class:`Encoder` of ``workers`` processes, each with a model and one thread; of 1, this process itself.

    Raises:
        ModelError: there is no such model; or the processes cannot be started.
    """

    def __init__(self, model: str | Path, device: str = "cpu", workers: int = 1) -> None:
        self._model, self._device, self._workers = str(model_folder(model)), device, workers
        self._pool: ProcessPoolExecutor | None = None
        self._codec = load(self._model, device) if workers == 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def outcomes(self, shards: Iterable[Shard]) -> Iterator[tuple[Shard, list[Outcome]]]:
        """See :class:`Encoder`."""
        for shard in shards:
            if self._codec is None:
                yield shard, self._spread(shard.entries)
                continue
            with one_thread():
                found = list(tokenize_all(self._codec, shard.entries))
            yield shard, found

    def _spread(self, found: list[Entry]) -> list[Outcome]:
        """What ``found`` came to; an utterance that ends the process that reads it is a failure like any other."""
        done: dict[int, Outcome] = {}
        with suppress(BrokenProcessPool):
            self._together(found, done)
        for number in [number for number in range(len(found)) if number not in done]:  # one by one: which was it?
            try:
                (done[number],) = self._submit([found[number]]).result()
            except BrokenProcessPool:
                done[number] = Failure(found[number].id, found[number].path, _CRASHED)
                self._restart()
        return [done[number] for number in range(len(found))]

    def _together(self, found: list[Entry], done: dict[int, Outcome]) -> None:
        waiting: dict[Future[list[Outcome]], range] = {}
        first = 0
        while first < len(found):
            size = max(1, min(_MOST_AT_ONCE, (len(found) - first) // (_SHARES * self._workers)))
            numbers = range(first, min(first + size, len(found)))
            waiting[self._submit([found[number] for number in numbers])] = numbers
            first = numbers.stop
        broken: BrokenProcessPool | None = None
        for future in as_completed(waiting):
            try:
                done.update(zip(waiting[future], future.result(), strict=True))
            except BrokenProcessPool as error:
                broken = error
        if broken:
            self._restart()
            raise broken

    def _submit(self, found: list[Entry]) -> "Future[list[Outcome]]":
        if self._pool is None:
            settings = (self._model, self._device)
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._workers, context, start_worker, settings)
        return self._pool.submit(_encode_in_worker, found)

    def _restart(self) -> None:
        """New processes, which must be able to do nothing."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
        self._pool = None
        try:
            self._submit([]).result()
        except BrokenProcessPool:
            raise ModelError(
                "the worker processes end as they start; try fewer --workers, or free some memory"
            ) from None


def encoder_for(model: str | Path, device: str, workers: int, ray_address: str | None = None) -> Encoder:
    """The one for this machine (``workers`` 0: one process a core, or one for a GPU), or for a cluster."""
    if ray_address is not None:
        from vqaudio.codecs.ray_encoder import RayEncoder

        return RayEncoder(model, device, workers, ray_address)
    return LocalEncoder(model, device, workers or (1 if device == "cuda" else len(os.sched_getaffinity(0))))
