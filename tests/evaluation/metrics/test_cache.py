"""The cache of findings: what was kept comes back, and a cache that does not work never fails an evaluation."""

import math
import os
from pathlib import Path

import numpy as np
import pytest

from vqaudio.evaluation.metrics.cache import IN_MEMORY, MetricCache, checksum, default_cache


def test_what_was_kept_comes_back_also_later(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "metrics.sqlite3"
    cache = MetricCache(path)
    assert cache.find("a") is None
    cache.keep("a", {"stoi": 0.1 + 0.2, "heard": "héard"})
    cache.keep("b", {"pesq": math.nan})
    cache.keep("a", {"stoi": 0.5})
    cache.close()
    again = MetricCache(path)
    assert again.find("a") == {"stoi": 0.5}
    assert math.isnan(again.find("b")["pesq"])


def test_two_may_use_one_file(tmp_path: Path) -> None:
    one, other = MetricCache(tmp_path / "m.sqlite3"), MetricCache(tmp_path / "m.sqlite3")
    one.keep("a", {"x": 1.0})
    other.keep("b", {"x": 2.0})
    assert (one.find("b"), other.find("a")) == ({"x": 2.0}, {"x": 1.0})


def test_without_a_file_it_is_kept_in_memory() -> None:
    one, other = MetricCache(IN_MEMORY), MetricCache(IN_MEMORY)
    one.keep("a", {"x": 1.0})
    assert (one.find("a"), other.find("a")) == ({"x": 1.0}, None)


@pytest.mark.parametrize("kind", ["garbage", "folder", "cut"])
def test_a_damaged_cache_is_no_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.sqlite3"
    if kind == "garbage":
        path.write_bytes(b"no data base" * 1000)
    elif kind == "folder":
        path.mkdir()
    else:
        first = MetricCache(path)
        first.keep("a", {"x": 1.0})
        first.close()
        os.truncate(path, 2000)
    cache = MetricCache(path)
    assert cache.find("a") is None
    cache.keep("a", {"x": 2.0})
    cache.close()
    assert cache.find("a") is None  # closed


def test_a_finding_of_another_form_is_not_used(tmp_path: Path) -> None:
    cache = MetricCache(tmp_path / "m.sqlite3")
    cache._connection.execute("INSERT INTO findings VALUES ('a', 'no JSON')")
    assert cache.find("a") is None


def test_the_checksum_tells_sounds_apart_and_knows_equal_ones() -> None:
    wave = np.arange(10, dtype=np.float32)
    assert checksum(wave) == checksum(wave.copy()) == checksum(np.repeat(wave, 2)[::2])
    others = [checksum(wave[:-1]), checksum(wave * 2), checksum(wave, wave), checksum(wave[:5], wave[5:])]
    assert len({checksum(wave), *others}) == 5


def test_the_default_lies_in_the_users_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "vqaudio" / "metrics.sqlite3"
