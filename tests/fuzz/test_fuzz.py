"""A short campaign, always the same: every input ends in a result that holds or in an error of one line."""

from pathlib import Path

import numpy as np
import pytest
from fuzz import campaign, mutation, seeds
from fuzz.targets import TARGETS, Target

from vqaudio.errors import ContainerError

INPUTS = {"model": 40, "stream": 1000, "header": 1000, "layout": 1000}
FOUND = sorted((Path(__file__).parent / "found").glob("*-*"))


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_lost(name: str) -> None:
    tally = campaign.run_inputs(name, 0, 0, INPUTS.get(name, 300), 1e9)
    assert tally.lost == []
    assert tally.tried == INPUTS.get(name, 300)
    assert tally.refused > 0 or name == "layout"  # which takes anything
    assert tally.accepted > 0


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
def test_what_campaigns_found_stays_mended(path: Path) -> None:
    target = TARGETS[path.name.split("-")[0]]
    found = Target(target.run, lambda: [path.read_bytes()])
    name = "once"
    TARGETS[name] = found
    try:
        assert campaign.run_inputs(name, 0, 0, 1, 1e9).lost == []
    finally:
        del TARGETS[name]


def test_an_input_is_the_same_for_ever() -> None:
    inputs = [TARGETS["stream"].input(3, number) for number in range(30)]
    assert inputs == [TARGETS["stream"].input(3, number) for number in range(30)]
    assert len(set(inputs)) > 20


@pytest.mark.parametrize("raised", [ValueError("no"), ContainerError("two\nlines"), MemoryError()])
def test_what_ends_otherwise_is_seen(raised: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(data: bytes) -> None:
        raise raised

    monkeypatch.setattr(campaign, "ROOT", tmp_path)
    monkeypatch.setitem(TARGETS, "bad", Target(run, lambda: [b"x"]))
    assert len(campaign.run_inputs("bad", 0, 0, 3, 1e9).lost) == 3


def test_seals_are_made_right_again() -> None:
    good = bytearray(seeds.streams()[0])
    good[40] ^= 1  # the sample rate
    with pytest.raises(ContainerError):
        TARGETS["header"].run(bytes(good[:70]) + b"x" * 6)
    mutation.reseal_stream(good)
    TARGETS["header"].run(bytes(good))
    ogg = next(data for data in seeds.sounds() if data[:4] == b"OggS")
    again = bytearray(ogg)
    mutation.reseal_ogg(again)
    assert bytes(again) == ogg
    packets = bytearray(seeds.packets()[0])
    mutation.reseal_packets(packets)
    assert bytes(packets) == seeds.packets()[0]


def test_the_frequencies_are_a_models() -> None:
    table = seeds.SlowChange().frequencies_along(np.arange(seeds.LEVELS + 1))
    assert (table.sum(1) == 1 << 24).all()
    assert table.min() >= 1
