"""Another voice by statistics: what it takes on, what it leaves, and that frames do not see each other."""

import numpy as np
import pytest

from vqaudio.dsp.speech_parameters import SpeechParameters
from vqaudio.dsp.voice_change import VoiceChange, VoiceStatistics

BANDS, RATE = 40, 16000


def speech(seed: int, pitch_hz: float, tilt: float, wobble: float, frames: int = 600) -> SpeechParameters:
    """Bands and pitch of somebody: envelopes about a tilt, and a pitch that wanders about its median."""
    rng = np.random.default_rng(seed)
    words = np.repeat(rng.standard_normal((frames // 10, 4)), 10, axis=0)
    shapes = words @ np.cos(np.pi * np.outer(np.arange(1, 5), np.arange(BANDS) + 0.5) / BANDS)
    loudness = 4 * np.abs(np.sin(np.arange(frames) / 40))[:, None] - 8
    bands = loudness + tilt * np.linspace(2, -2, BANDS) + wobble * shapes
    f0_hz = np.where(np.arange(frames) % 50 < 35, pitch_hz * np.exp(0.1 * rng.standard_normal(frames)), 0)
    return SpeechParameters(bands.astype(np.float32), f0_hz.astype(np.float32))


def statistics(said: SpeechParameters) -> VoiceStatistics:
    found = VoiceStatistics.of(said)
    assert found is not None
    return found


MAN, WOMAN = speech(0, 110, 1.5, 0.8), speech(1, 210, 0.8, 1.1)


def test_it_takes_on_mean_spread_and_pitch() -> None:
    source, target = statistics(MAN), statistics(WOMAN)
    changed = statistics(VoiceChange(source, target, RATE)(MAN))
    far = np.abs(source.mean - target.mean).mean()
    assert np.abs(changed.mean - target.mean).mean() < 0.7 * far
    inner = slice(4, -4)
    assert np.abs(changed.spread - target.spread)[inner].mean() < np.abs(source.spread - target.spread)[inner].mean()
    assert changed.log_pitch == pytest.approx(target.log_pitch, abs=0.01)
    assert changed.pitch_spread == pytest.approx(target.pitch_spread, rel=0.05)


def test_loudness_and_where_there_is_voice_stay() -> None:
    changed = VoiceChange(statistics(MAN), statistics(WOMAN), RATE)(MAN)
    np.testing.assert_allclose(changed.bands.mean(axis=1), MAN.bands.mean(axis=1), atol=1e-4)
    np.testing.assert_array_equal(changed.f0_hz > 0, MAN.f0_hz > 0)


def test_to_its_own_voice_nothing_changes() -> None:
    own = statistics(MAN)
    again = VoiceChange(own, own, RATE)(MAN)
    np.testing.assert_allclose(again.bands, MAN.bands, atol=1e-4)
    np.testing.assert_allclose(again.f0_hz, MAN.f0_hz, rtol=1e-5)


def test_frames_do_not_see_each_other() -> None:
    change = VoiceChange(statistics(MAN), statistics(WOMAN), RATE)
    whole = change(MAN)
    parts = [change(SpeechParameters(MAN.bands[cut], MAN.f0_hz[cut])) for cut in (slice(0, 7), slice(7, None))]
    np.testing.assert_array_equal(np.concatenate([part.bands for part in parts]), whole.bands)
    np.testing.assert_array_equal(np.concatenate([part.f0_hz for part in parts]), whole.f0_hz)


def test_a_vector_holds_all_of_it() -> None:
    own = statistics(MAN)
    vector = own.vector()
    assert vector.shape == (2 * BANDS + 2,)
    again = VoiceStatistics.from_vector(vector)
    for one, other in zip(own, again, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_without_voice_there_are_none() -> None:
    assert VoiceStatistics.of(MAN._replace(f0_hz=np.zeros_like(MAN.f0_hz))) is None


@pytest.mark.parametrize("factor", [0.0, 1e-9, 1e6])
def test_no_statistics_make_what_is_not_finite(factor: float) -> None:
    source = statistics(MAN)._replace(spread=np.full(BANDS, factor), pitch_spread=factor)
    for pair in ((source, statistics(WOMAN)), (statistics(WOMAN), source)):
        changed = VoiceChange(*pair, RATE)(MAN)
        assert np.isfinite(changed.bands).all()
        assert np.isfinite(changed.f0_hz).all()
        assert changed.f0_hz.max() <= 600
