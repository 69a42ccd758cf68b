"""Segments side by side: laid out by the stream alone, spoken as each would be alone, joined without a gap."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vqaudio.codecs import segments as segments
from vqaudio.codecs.sampler import Sampler
from vqaudio.codecs.segments import Crossfader, Layout, Part, Segment, crossfade, cut, draw_parts, layout
from vqaudio.models.config import WaveNetConfig
from vqaudio.models.wavenet import WaveNet

HOP, FEATURES = 4, 3
CONFIG = WaveNetConfig(levels=16, residual=8, skip=8, hidden=8, dilations=(1, 2), features=FEATURES, hop_length=HOP)


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    torch.manual_seed(0)
    return Sampler(WaveNet(CONFIG), 0, 0.7)


@given(st.integers(0, 10**6), st.integers(1, 40), st.sampled_from((64, 256)))
def test_the_layout_keeps_its_bounds(tokens: int, channels: int, hop_length: int) -> None:
    plan = layout(tokens, channels, hop_length)
    segment, least = (-(-samples // hop_length) for samples in (segments.SEGMENT, segments.LEAST))
    assert 1 <= plan.tokens <= max(segment, 2 * least, segments.GROUP * least // segments._FEW)  # of few, long ones
    assert plan.batch == 1 or plan.batch * channels <= segments.BATCH
    assert plan.warm_up * hop_length >= segments.WARM_UP
    assert plan.overlap * hop_length >= segments.OVERLAP
    if plan.batch > 1:
        assert plan.tokens >= segments.LEAST // hop_length
    together = layout(4 * tokens, channels, hop_length, 4)
    assert not any(size % 4 for size in (together.tokens, together.warm_up, together.overlap))
    assert together.tokens > 0


@given(st.integers(1, 3000), st.integers(0, 60), st.integers(0, 60), st.integers(1, 3), st.integers(50, 600))
def test_a_window_is_cut_without_gap_or_overlap(
    inner: int, before: int, after: int, channels: int, tokens: int
) -> None:
    available = before + inner + after
    plan = Layout(tokens, 8, 32, 24)
    pieces = cut(plan, channels, slice(before, before + inner), available)
    for channel in range(channels):
        mine = [piece for piece in pieces if piece.channel == channel]
        assert mine[0].first == before
        assert mine[-1].end == before + inner
        assert all(a.end == b.first for a, b in itertools.pairwise(mine))
        for piece in mine:
            assert max(0, piece.first - plan.warm_up) == piece.begin <= piece.first < piece.end
            assert piece.stop == min(available, piece.end + plan.overlap)


def parts_of(pieces: list[Segment], features: list[np.ndarray]) -> list[Part]:
    return [
        Part(features[piece.channel][piece.begin : piece.stop], None, np.random.default_rng(index))
        for index, piece in enumerate(pieces)
    ]


@pytest.mark.parametrize("tokens", [11, 60])  # 16 segments in two groups; 4 segments, each by itself
def test_each_stretch_is_spoken_as_it_would_be_alone(sampler: Sampler, tokens: int) -> None:
    rng = np.random.default_rng(1)
    features = [rng.standard_normal((90, FEATURES)).astype(np.float32) for _ in range(2)]
    pieces = cut(Layout(tokens, 4, 32, 24), 2, slice(3, 85), 90)
    together = draw_parts(sampler, parts_of(pieces, features))
    for index, (piece, symbols) in enumerate(zip(pieces, together, strict=True)):
        own = features[piece.channel][piece.begin : piece.stop]
        uniforms = np.random.default_rng(index).random(len(own) * HOP)
        np.testing.assert_array_equal(symbols, sampler.stream().push(own, uniforms))


@pytest.mark.parametrize("count", [3, 9])  # few go each alone, many together
def test_streams_side_by_side_draw_what_each_draws(sampler: Sampler, count: int) -> None:
    rng = np.random.default_rng(4)
    features = rng.standard_normal((count, 35, FEATURES)).astype(np.float32)  # more frames than are conditioned at once
    uniforms = rng.random((count, 35 * HOP))
    together = sampler.streams(count).push(features, uniforms)
    for own, numbers, symbols in zip(features, uniforms, together, strict=True):
        np.testing.assert_array_equal(symbols, sampler.stream().push(own, numbers))


@pytest.mark.parametrize("tokens", [3, 40])
def test_the_number_of_threads_changes_nothing(sampler: Sampler, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    features = [np.random.default_rng(2).standard_normal((120, FEATURES)).astype(np.float32)]
    pieces = cut(Layout(tokens, 40, 32, 24), 1, slice(0, 120), 120)
    drawn = []
    for threads in (1, 3):
        monkeypatch.setattr(segments.os, "cpu_count", lambda threads=threads: threads)
        drawn.append(np.concatenate(draw_parts(sampler, parts_of(pieces, features))))
    np.testing.assert_array_equal(*drawn)


def test_a_splice_is_put_where_the_two_agree() -> None:
    rng = np.random.default_rng(3)
    tail, wave = (rng.standard_normal(1000).astype(np.float32) for _ in range(2))
    tail[600:700] = wave[600:700]
    joined = crossfade(tail, np.concatenate([wave, [9.0]]).astype(np.float32))
    np.testing.assert_array_equal(joined[:600], tail[:600])
    np.testing.assert_allclose(joined[600:], np.concatenate([wave[600:], [9.0]]), atol=1e-6)


def test_a_splice_makes_no_click() -> None:
    time = np.arange(2000) / 16000
    tail, wave = (np.sin(2 * np.pi * 150 * time + phase).astype(np.float32) for phase in (0.0, 2.0))
    steps = np.abs(np.diff(crossfade(tail, wave))).max()
    assert steps < 1.5 * np.abs(np.diff(wave)).max()


def test_the_joiner_gives_what_it_is_asked_for_and_keeps_the_rest() -> None:
    joiner, ramp = Crossfader(), np.arange(3000, dtype=np.float32)
    parts = [joiner(ramp[0:1200], 1000), joiner(ramp[1000:2200], 1000), joiner(ramp[2000:3000], 1000)]
    np.testing.assert_allclose(np.concatenate(parts), ramp, atol=1e-3)
