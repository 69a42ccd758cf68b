"""recipes/live: packets get lost as often, and in such bursts, as asked; nothing lost is nothing changed."""

import sys
from pathlib import Path

import numpy as np
import pytest
from sounds import noise

from vqaudio.bitstream.packets import stream_to_packets
from vqaudio.codecs.speech import load

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "recipes" / "live"))

import loss
import speed


@pytest.mark.parametrize("pattern", loss.PATTERNS)
@pytest.mark.parametrize("share", loss.SHARES)
def test_losses_are_as_many_and_as_long_as_asked(pattern: str, share: float) -> None:
    lost = loss.losses(200_000, share, pattern, np.random.default_rng(0))
    assert lost.mean() == pytest.approx(share, rel=0.1)
    bursts = np.diff(lost.astype(int), prepend=0).clip(0).sum()
    assert lost.sum() / bursts == pytest.approx(loss.BURST if pattern == "bursts" else 1 / (1 - share), rel=0.1)


def test_with_no_loss_the_sound_is_that_of_the_stream(vocoded_model: Path) -> None:
    codec = load(vocoded_model, "cpu")
    stream = codec.encode(noise(1, 12_000)[0], 16_000, coder="packed")
    packets = list(stream_to_packets(stream, 16_000, 512, 2, 3))
    none = np.zeros(len(packets) - 1, bool)
    whole = codec.decode(stream)[0]
    live = loss.decoded(codec, packets, none)[: len(whole)]
    np.testing.assert_allclose(live, whole, atol=2e-3 * np.abs(whole).max())
    assert len(loss.decoded(codec, packets, np.arange(len(none)) == 3)) == len(loss.decoded(codec, packets, none))


def test_the_pages_tell_what_was_measured(vocoded_model: Path) -> None:
    codec = load(vocoded_model, "cpu")
    waves = [noise(1, 16_000)[0]]
    rows = [speed.one_hop(codec, waves, hop) for hop in (1, 8)]
    assert [row["vectors"] for row in rows] == [32, 32]
    facts = {"model": "m", "utterances": 1, "seconds": 1.0}
    text = speed.page({**facts, "memory_kb": speed.memory(codec, waves[0]), "rows": rows})
    assert f"| 8 | {rows[1]['encode']:.1f} |" in text
    row = {"pattern": "random", "share": 0.05, "repeated_quantizers": 3, "share_lost": 0.051, "bits_per_second": 4000}
    found = {name: {"value": 0.5} for name in loss.METRICS}
    text = loss.page({**facts, "packet_s": 0.068, "vectors_a_packet": 2, "rows": [row | found]})
    assert "| 5 %, random | 5.1 | 3 | 4.00 | 0.500 | 0.50 |" in text
