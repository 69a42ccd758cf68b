"""The filter bank gives back what it takes apart, in batches and in a stream."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqaudio.dsp.filterbank import analyse, synthesise
from vqaudio.kernels.filterbank import BANDS, DELAY, TAPS, Synthesis, analysis_filters

EDGE = TAPS  # samples at either end that lack context


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def snr_db(wave: torch.Tensor, given_back: torch.Tensor) -> float:
    inner = slice(EDGE, -EDGE)
    error = (given_back - wave)[..., inner].square().mean()
    return float(10 * torch.log10(wave[..., inner].square().mean() / error))


def test_noise_comes_back_to_over_60_db() -> None:
    wave = noise(2, 8000)
    assert snr_db(wave, synthesise(analyse(wave))) > 60


@pytest.mark.parametrize("hz", [50, 1000, 1990, 2000, 2010, 4000, 6000, 7900])
def test_a_tone_comes_back_to_over_55_db_also_between_bands(hz: int) -> None:
    wave = torch.sin(2 * torch.pi * hz / 16000 * torch.arange(8000, dtype=torch.float64) + 0.3)[None]
    assert snr_db(wave, synthesise(analyse(wave))) > 55


def test_white_noise_of_variance_one_gives_white_bands_of_variance_one() -> None:
    bands = analyse(noise(1, 80000))[0]
    covariance = torch.cov(bands.T)
    torch.testing.assert_close(covariance, torch.eye(BANDS, dtype=torch.float64), rtol=0, atol=0.06)


@pytest.mark.parametrize("band", range(BANDS))
def test_a_tone_in_the_middle_of_a_band_is_in_that_band(band: int) -> None:
    wave = torch.sin(2 * torch.pi * (1000 + 2000 * band) / 16000 * torch.arange(8000, dtype=torch.float64))
    power = analyse(wave[None])[0, 20:-20].square().mean(0)
    assert power[band] / power.sum() > 1 - 1e-6


def test_analysis_is_the_filters_correlation_with_the_wave() -> None:
    wave = noise(1, 400)
    bands, filters = analyse(wave)[0].numpy(), analysis_filters()
    for n in (0, 1, 50, 99):
        padded = np.pad(wave[0].numpy(), (DELAY, TAPS))
        around = padded[BANDS * n : BANDS * n + TAPS]  # samples BANDS * n - DELAY to BANDS * n + DELAY
        np.testing.assert_allclose(bands[n], filters[:, ::-1] @ around, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any))
def test_a_stream_cut_anywhere_equals_the_whole(parts: list[int]) -> None:
    steps = sum(parts)
    bands = noise(steps, BANDS).numpy()
    whole = synthesise(torch.from_numpy(bands)[None])[0].numpy()
    synthesis, start, waves = Synthesis(), 0, []
    for part in parts:
        waves.append(synthesis(bands[start : start + part]))
        start += part
    waves.append(synthesis(np.zeros((DELAY // BANDS + 1, BANDS))))
    late = np.concatenate(waves)
    np.testing.assert_allclose(late[DELAY : DELAY + len(whole)], whole, atol=1e-6)


def test_synthesis_leaves_what_it_is_given_alone_and_keeps_no_state_elsewhere() -> None:
    bands = noise(50, BANDS).numpy()
    kept = bands.copy()
    first, second = Synthesis(), Synthesis()
    first(bands)
    np.testing.assert_array_equal(bands, kept)
    np.testing.assert_array_equal(second(bands), Synthesis()(bands))
