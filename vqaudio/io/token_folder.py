"""The folder that a corpus of tokens grows in, shard by shard: killed at any moment, it can be gone on with.

    OUT/
      tokens/00012-0f3a9c....parquet   a shard, named by its number and the SHA-256 of its bytes
      state/00012.json                 that shard 12 is done, of which utterances, and what could not be read
      run.json                         what makes the tokens: model, format, utterances in a shard
      errors.parquet, index.json       all that could not be read; all shards: once every one is there

A shard counts as done when its state is there, which is written last. A file without one is written again, with the
same bytes under the same name.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from vqaudio.errors import DataError, OutputError
from vqaudio.io.atomic import atomic_write
from vqaudio.io.sources import Entry
from vqaudio.io.token_tables import FORMATS, Failure, TokenRow, failures_bytes, table_bytes

FORMAT_VERSION = 1
_TOKENS, _STATE, _RUN, _ERRORS, _INDEX = "tokens", "state", "run.json", "errors.parquet", "index.json"
_DIGITS = 16  # of a checksum in a file's name


@dataclass(frozen=True)
class RunFacts:
    """What the tokens depend on besides the sounds.

    ``model`` is the fingerprint of the codes, ``weights`` the SHA-256 of the model's whole configuration and weights,
    both hexadecimal; ``format`` is one of :data:`~vqaudio.io.token_tables.FORMATS`.
    """

    model: str
    weights: str
    format: str
    shard_rows: int
    format_version: int = FORMAT_VERSION


class Shard(NamedTuple):
    """A run of the source's utterances, whose rows become one file."""

    number: int
    entries: list[Entry]

    def key(self) -> str:
        """What the shard is made of, as a checksum."""
        digest = hashlib.sha256()
        for entry in self.entries:
            digest.update(json.dumps([entry.id, entry.path, entry.speaker, entry.transcript]).encode() + b"\n")
        return digest.hexdigest()


class TokenFolder:
    """Such a folder, made if need be.

    Raises:
        DataError: it holds tokens of another model, in another format or in other shards, or something else.
        OutputError: it cannot be written to.
    """

    def __init__(self, path: Path, facts: RunFacts) -> None:
        self.path, self.facts = path, facts
        if path.exists() and not (path / _RUN).is_file() and _holds_something_else(path):
            raise DataError(f"{path}: is no folder of tokens; give another, or an empty one")
        try:
            for folder in (_TOKENS, _STATE):
                (path / folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}; choose another place") from None
        if (path / _RUN).is_file():
            self._check(_document(path / _RUN))
        else:
            self._write(_RUN, _json(asdict(facts)))

    def _check(self, before: dict[str, Any]) -> None:
        now = asdict(self.facts)
        different = [name for name in now if before.get(name) != now[name]]
        if different:
            name = different[0]
            raise DataError(
                f"{self.path}: was begun with {name} = {before.get(name)}, not {now[name]}; go on as it was begun, "
                "or give another folder"
            )

    # -------------------------------------------------------------------------------------------------- shard by shard

    def is_done(self, shard: Shard, renew: bool = False) -> bool:
        """Says whether a shard is there already.

        Raises:
            DataError: one of other utterances is there in its place, unless ``renew`` allows to make it anew.
        """
        state = self._state(shard.number)
        if state is None or not (self.path / _TOKENS / state["file"]).is_file():
            return False
        same: bool = state["key"] == shard.key()
        if not same and not renew:
            raise DataError(
                f"{self.path}: shard {shard.number} was made of other utterances: the source has changed; "
                "make such shards anew with --force, or give another folder"
            )
        return same

    def write(self, shard: Shard, rows: Sequence[TokenRow], failures: Sequence[Failure]) -> None:
        """Writes a shard, its rows in the order of their ids, and then that it is done.

        Raises:
            OutputError: the disk is full or broken; what is there stays good.
        """
        rows = sorted(rows, key=lambda row: (row.id, row.path))
        data = table_bytes(rows, self.facts.format, shard.number)
        digest = hashlib.sha256(data).hexdigest()
        name = f"{shard.number:05d}-{digest[:_DIGITS]}{FORMATS[self.facts.format]}"
        state = {
            "key": shard.key(),
            "file": name,
            "sha256": digest,
            "utterances": len(rows),
            "seconds": sum(row.duration for row in rows),
            "tokens": sum(row.codes.size for row in rows),
            "failures": [asdict(failure) for failure in failures],
        }
        self._write(f"{_TOKENS}/{name}", data)
        self._write(f"{_STATE}/{shard.number:05d}.json", _json(state))

    def finish(self, shards: int) -> bool:
        """Once all ``shards`` are there: writes their index and what failed, and removes what belongs to neither.

        Returns False, with nothing done, where some are missing, which other parts of the work may still make.
        """
        states = list(self._states(shards))
        if len(states) < shards:
            return False
        failures = [Failure(**failure) for state in states for failure in state["failures"]]
        kept = ("file", "sha256", "utterances", "seconds", "tokens")
        index = {**asdict(self.facts), "shards": [{name: state[name] for name in kept} for state in states]}
        self._write(_ERRORS, failures_bytes(failures))
        self._write(_INDEX, _json(index))
        files = {state["file"] for state in states}
        names = {f"{number:05d}.json" for number in range(shards)}
        for folder, known in ((_TOKENS, files), (_STATE, names)):
            for path in (self.path / folder).iterdir():
                if path.name not in known:
                    path.unlink(missing_ok=True)
        return True

    # -------------------------------------------------------------------------------------------------------- the files

    def _states(self, shards: int) -> Iterator[dict[str, Any]]:
        for number in range(shards):
            state = self._state(number)
            if state is None:
                return
            yield state

    def _state(self, number: int) -> dict[str, Any] | None:
        path = self.path / _STATE / f"{number:05d}.json"
        return _document(path) if path.is_file() else None

    def _write(self, name: str, data: bytes) -> None:
        try:
            with atomic_write(self.path / name, overwrite=True) as file:
                file.write(data)
        except OutputError as error:
            raise OutputError(f"{error}; the same command goes on from here") from None


def _holds_something_else(path: Path) -> bool:
    """Says whether ``path`` is more than such a folder that another part of the work is about to make."""
    if not path.is_dir():
        return True
    return any(inside.name not in (_TOKENS, _STATE) and not inside.name.startswith(".") for inside in path.iterdir())


def _json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error}); delete it to make that again") from None
    if not isinstance(document, dict):
        raise DataError(f"{path}: is damaged; delete it to make that again")
    return document
