"""Shards coded by a Ray cluster: actors hold the model, shards are their tasks, and this process writes what they make.

An actor that dies is started again and its shards are given out anew. No more shards are read from the source than keep
the actors busy.
"""

import os
import socket
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from vqaudio.codecs.segments import one_thread
from vqaudio.codecs.speech import Codec, load
from vqaudio.codecs.tokenizing import Outcome, tokenize_all
from vqaudio.errors import ConfigError
from vqaudio.io.extras import needed
from vqaudio.io.token_folder import Shard

LOCAL = "local"  # as an address: a cluster of this machine, for this command alone
_SHARDS_AHEAD = 2  # an actor's: one in work and one waiting
_PATIENCE_S = 10.0  # for a cluster to answer
_RETRIES = 3  # of a shard whose actor died


class _ShardCoder:
    """The actor: a codec, in one thread."""

    def __init__(self, model: str, device: str) -> None:
        self._codec: Codec = load(model, device)

    def process(self) -> int:
        """The number of the actor's process."""
        return os.getpid()

    def code(self, shard: Shard) -> list[Outcome]:
        """What the utterances of a shard come to."""
        with one_thread():
            return list(tokenize_all(self._codec, shard.entries))


def _check_reachable(address: str) -> None:
    """Raises ``OSError`` where nobody answers at HOST:PORT: Ray itself would try for a quarter of an hour."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), _PATIENCE_S).close()


class RayEncoder:
    """An :class:`vqaudio.codecs.corpora.Encoder` on Ray.

    Args:
        model: a bundled name, or a folder; every machine of the cluster must see it, and the source, under one path.
        device: "cpu", or "cuda" for a GPU an actor.
        workers: actors; 0 is one a core (a GPU) of the cluster.
        address: of the cluster, "auto" for the one that this machine is in, or :data:`LOCAL`.

    Raises:
        ConfigError: Ray is not installed, or there is no such cluster.
    """

    def __init__(self, model: str | Path, device: str, workers: int, address: str) -> None:
        ray = self._ray = needed("ray", "ray", "--ray")
        self._owns_cluster = not ray.is_initialized()
        if self._owns_cluster:
            local = {"num_cpus": workers or None, "include_dashboard": False}
            try:
                _check_reachable(address)
                ray.init(**(local if address == LOCAL else {"address": address}), log_to_driver=False)
            except (OSError, ValueError, RuntimeError) as error:
                reason = str(error).splitlines()[0]
                raise ConfigError(
                    f"--ray {address}: there is no such cluster ({reason}); give {LOCAL} or auto"
                ) from None
        kind = "GPU" if device == "cuda" else "CPU"
        count = workers or int(ray.cluster_resources().get(kind, 0))
        if count < 1:
            raise ConfigError(f"--ray {address}: the cluster has no {kind}; choose another --device")
        resources = {"num_cpus": 1, "num_gpus": 1 if kind == "GPU" else 0}
        actor = ray.remote(max_restarts=-1, max_task_retries=_RETRIES, **resources)(_ShardCoder)
        self._actors = [actor.remote(str(model), device) for _ in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._owns_cluster:
            self._ray.shutdown()

    def outcomes(self, shards: Iterable[Shard]) -> Iterator[tuple[Shard, list[Outcome]]]:
        """See :class:`vqaudio.codecs.corpora.Encoder`; in the order in which they are ready."""
        source = iter(shards)
        running: dict[Any, tuple[Shard, Any]] = {}
        free = deque(self._actors * _SHARDS_AHEAD)
        while True:
            while free and (shard := next(source, None)) is not None:
                actor = free.popleft()
                running[actor.code.remote(shard)] = shard, actor
            if not running:
                return
            (ready,), _ = self._ray.wait(list(running), num_returns=1)
            shard, actor = running.pop(ready)
            free.append(actor)
            yield shard, self._ray.get(ready)
