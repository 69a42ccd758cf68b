"""recipes/live/serve_load.py: what it counts is what came, and its search finds the most clients that hold."""

import asyncio
import sys
from pathlib import Path

import pytest
from serving import serving
from sounds import noise

from vqaudio.codecs.speech import load

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "recipes" / "live"))

import serve_load
from serve_load import Heard


def test_clients_get_all_that_they_say_and_are_promised_the_models_delay(vocoded_model: Path) -> None:
    codec = load(vocoded_model, "cpu")
    with serving({"plain": codec}) as served:
        address = f"ws://127.0.0.1:{served.port}/live"
        found = asyncio.run(serve_load.talks(address, [noise(1, 5000)[0]], 16000, 2, 1.0, 60.0))
    for heard in found:
        assert heard.promised_s == codec.stream_encoder(gain=None).delay_s + codec.stream_decoder().delay_s
        assert heard.seconds == pytest.approx(1.0)
        assert all(delay_s > 0 for _, delay_s, _ in heard.blocks[:-1])


def blocks(delay_s: float, count: int) -> list[tuple[float, float, float]]:
    return [(number * 0.1 + delay_s, delay_s, 0.1) for number in range(count)]


@pytest.mark.parametrize(
    ("delays_s", "count", "holds"), [((0.5, 0.6), 100, True), ((0.5, 0.9), 100, False), ((0.5, 0.5), 90, False)]
)
def test_clients_hold_where_nearly_all_comes_in_time(delays_s: tuple[float, ...], count: int, holds: bool) -> None:
    found = serve_load.figures([Heard(0.5, blocks(delay_s, count)) for delay_s in delays_s], 10.0)
    assert found["holds"] is holds
    assert found["promised_s"] == 0.5
    if count == 90:
        assert found["longest_s"] == pytest.approx(2.0)


def test_a_client_that_got_nothing_does_not_hold() -> None:
    assert serve_load.figures([Heard(0.5)], 10.0)["holds"] is False


@pytest.mark.parametrize("most", [0, 1, 2, 3, 7, 8, 21, 63, 64])
def test_the_search_finds_the_most_that_hold(most: int) -> None:
    runs = serve_load.most_that_hold(lambda count: {"clients": count, "holds": count <= most})
    counts = [one["clients"] for one in runs]
    assert counts == sorted(set(counts))
    assert max((one["clients"] for one in runs if one["holds"]), default=0) == most
    assert most == serve_load.MOST or most + 1 in counts
    assert len(counts) <= 13


def test_the_page_tells_what_was_measured() -> None:
    figures = {"promised_s": 0.321, "delay_50_s": 0.35, "delay_95_s": 0.412, "longest_s": 0.5}
    runs = [{"clients": count, "holds": count < 4, **figures, "cores_of_others": 0.31} for count in (1, 2, 3, 4)]
    case = {"cores": 1, "hop": 2, "cores_a_client": 0.24, "runs": runs}
    document = {"model": "m", "seconds": 12.0, "machine_cores": 2, "cases": [case]}
    text = serve_load.page(document)
    assert "| 1 | 2 | 3 | 321 | 350 | 412 | 0.24 | 4 | 0.3 to 0.3 |" in text
    assert "a machine of 2 cores; the last column is what others took" in text
