"""The plain excitation: power one, pulses a period apart, and the same in whatever pieces it is asked for."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vqaudio.arrays import Doubles, Floats
from vqaudio.kernels.pulse_noise import PulseNoise

RATE, HOP, CUT_HZ = 16000, 68, 4500.0
FRAMES = 60


def excitation(f0: Floats, pieces: list[int], seed: int = 0) -> Doubles:
    stream, parts, first = PulseNoise(RATE, HOP, CUT_HZ, np.random.default_rng(seed)), [], 0
    for piece in pieces:
        parts.append(stream.push(f0[first : first + piece + 2]))
        first += piece
    return np.concatenate(parts)


def speech_like(seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    f0 = 60 + 340 * rng.random(FRAMES + 2)
    return np.where(rng.random(FRAMES + 2) < 0.3, 0, f0).astype(np.float32)


@settings(max_examples=30)
@given(st.integers(0, 99), st.lists(st.integers(1, FRAMES), max_size=8))
def test_pieces_do_not_matter(seed: int, pieces: list[int]) -> None:
    f0, left, cut = speech_like(seed), FRAMES, []
    for piece in pieces:
        cut.append(min(piece, left))
        left -= cut[-1]
    pieces = [piece for piece in [*cut, left] if piece]
    assert (excitation(f0, [FRAMES]) == excitation(f0, pieces)).all()


def test_unvoiced_frames_are_the_noise_that_was_drawn() -> None:
    drawn = excitation(np.zeros(FRAMES + 2, np.float32), [FRAMES])
    np.testing.assert_allclose(drawn, np.random.default_rng(0).standard_normal(len(drawn)))


def test_a_voice_has_power_one_and_pulses_a_period_apart() -> None:
    wave = excitation(np.full(402, 125.0, np.float32), [400])[HOP:]
    assert abs(np.mean(wave**2) - 1) < 0.1
    low = np.fft.irfft(np.fft.rfft(wave)[: int(len(wave) * 4000 / RATE)], len(wave))
    period = RATE / 125
    aligned = low[: int(len(low) // period * period)].reshape(-1, int(period))
    shape = aligned.mean(0)
    assert np.mean(shape**2) > 0.95 * np.mean(aligned**2)  # below the cut every period is like the others
    assert (shape > 0.5 * shape.max()).sum() <= 4  # and is one pulse


def test_pulses_lie_between_samples() -> None:
    f0 = np.full(402, 16000 / 100.25, np.float32)
    wave = excitation(f0, [400])[2 * HOP :]
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) ** 2
    hz = np.arange(len(spectrum)) * RATE / len(wave)
    harmonic = np.abs(hz / f0[0] - np.round(hz / f0[0])) * f0[0] < 3
    low = (hz > 100) & (hz < 4000)
    assert spectrum[low & harmonic].sum() > 0.99 * spectrum[low].sum()
