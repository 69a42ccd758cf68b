"""A corpus coded on a local Ray of several processes, one of which is killed: the bytes are those of one process."""

import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from sounds import tone

from vqaudio.codecs.corpora import LocalEncoder, run_facts, tokenize_corpus
from vqaudio.codecs.tokenizing import Outcome
from vqaudio.errors import ConfigError
from vqaudio.io.token_folder import Shard

pytestmark = pytest.mark.heavy
ray = pytest.importorskip("ray")

from vqaudio.codecs.ray_encoder import RayEncoder  # noqa: E402  # after the check that there is Ray


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    for number in range(40):
        tone(root / "ann" / f"{number:02d}.flac", 0.2 + 0.1 * number)
    (root / "ann" / "03.flac").write_bytes(b"no sound")
    return root


@pytest.fixture(scope="module")
def whole(corpus: Path, hearing_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "tokens"
    tokenize_corpus(corpus, folder, LocalEncoder(hearing_model), run_facts(hearing_model, "parquet", 3))
    return folder


class _Unlucky(RayEncoder):
    """Kills the process of its first actor once the first shard has come back."""

    def outcomes(self, shards: Iterable[Shard]) -> Iterator[tuple[Shard, list[Outcome]]]:
        for number, done in enumerate(super().outcomes(shards)):
            yield done
            if number == 0:
                victim = ray.get(self._actors[0].process.remote())
                os.kill(victim, signal.SIGKILL)
                self.killed = victim


def test_the_same_bytes_although_a_worker_is_killed(
    corpus: Path, whole: Path, hearing_model: Path, tmp_path: Path
) -> None:
    encoder = _Unlucky(hearing_model, "cpu", 2, "local")
    done = tokenize_corpus(corpus, tmp_path / "out", encoder, run_facts(hearing_model, "parquet", 3))
    assert encoder.killed
    assert (done.utterances, done.failures, done.complete) == (39, 1, True)
    assert content(tmp_path / "out") == content(whole)


def test_no_such_cluster(hearing_model: Path) -> None:
    with pytest.raises(ConfigError, match=r"--ray 127\.0\.0\.1:1: there is no such cluster") as caught:
        RayEncoder(hearing_model, "cpu", 1, "127.0.0.1:1")
    assert "\n" not in str(caught.value)
