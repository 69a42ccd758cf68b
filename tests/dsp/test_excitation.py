"""The excitation gives the wave back through the minimum-phase filter; pulses lie where a recording's do."""

import numpy as np
import torch
from excitations import pulses_at

from vqaudio.dsp.excitation import excitation, filter_frames, log_magnitude, minimum_phase, training_targets
from vqaudio.dsp.mel_envelope import TAPS, MinimumPhase
from vqaudio.kernels.varying_filter import VaryingFilter

RATE_HZ, HOP_LENGTH = 16000, 68
FRAMES, BANDS = 200, 80


def smooth_bands(frames: int = FRAMES, seed: int = 0) -> torch.Tensor:
    """Bands ``[1, 80, frames]`` of an envelope with formants that move slowly."""
    rng = np.random.default_rng(seed)
    knots = rng.normal(0, 1.5, (8, frames // 40 + 2))
    grown = torch.nn.functional.interpolate(
        torch.from_numpy(knots)[None, None], (BANDS, frames), mode="bicubic", align_corners=True
    )[0]
    return grown.float() - 6


def responses_of(bands: torch.Tensor) -> torch.Tensor:
    return minimum_phase(log_magnitude(bands.transpose(1, 2), RATE_HZ))


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


def test_a_flat_spectrum_filters_nothing() -> None:
    response = minimum_phase(torch.zeros(513))
    torch.testing.assert_close(response, torch.eye(1, TAPS)[0], rtol=0, atol=1e-6)


def test_responses_have_the_spectrum_and_no_less_delay_is_possible() -> None:
    amplitudes = log_magnitude(smooth_bands().transpose(1, 2), RATE_HZ)[0, 50].double()
    response = minimum_phase(amplitudes)
    spectrum = torch.fft.rfft(response, n=1024)
    torch.testing.assert_close(spectrum.abs().log(), amplitudes, rtol=0, atol=2e-3)
    energy = response.square().cumsum(0)
    turned = torch.fft.irfft(spectrum.abs(), n=1024).roll(512)[:TAPS].square().cumsum(0)  # zero phase, delayed
    assert (energy >= turned).all()


def test_frames_that_are_alike_filter_as_one_filter_does() -> None:
    bands = smooth_bands()[..., :1].expand(-1, -1, 30)
    wave = noise(1, 30 * HOP_LENGTH)
    response = responses_of(bands)[0, 0]
    expected = np.convolve(wave[0].numpy(), response.numpy())[: wave.shape[1]]
    filtered = filter_frames(wave, responses_of(bands))[0].numpy()
    inner = slice(HOP_LENGTH, -HOP_LENGTH)  # the ends fade
    np.testing.assert_allclose(filtered[inner], expected[inner], atol=1e-5 * np.abs(expected).max())


def test_the_excitation_drives_the_filter_to_the_wave() -> None:
    bands = smooth_bands()
    driven = noise(1, FRAMES * HOP_LENGTH)
    wave = filter_frames(driven, responses_of(bands))
    found = excitation(wave, bands, RATE_HZ)
    again = filter_frames(found, responses_of(bands))
    inner = slice(600, -600)
    for expected, actual, least_db in ((driven, found, 15), (wave, again, 15)):
        error = (actual - expected)[:, inner].square().mean()
        assert 10 * torch.log10(expected[:, inner].square().mean() / error) > least_db
    assert 0.9 < found[:, inner].square().mean() < 1.1


def test_batches_filter_as_the_stream_s_kernel_does() -> None:
    """The last frame aside, beyond which the kernel is told of one more."""
    bands, driven = smooth_bands(), noise(1, FRAMES * HOP_LENGTH)
    responses = MinimumPhase(BANDS, RATE_HZ).responses(bands[0].T.numpy())
    np.testing.assert_allclose(responses_of(bands)[0].numpy(), responses, atol=1e-4 * np.abs(responses).max())
    count = (FRAMES - 1) * HOP_LENGTH
    wave = VaryingFilter(HOP_LENGTH, TAPS).push(driven[0, :count].numpy(), responses)
    filtered = filter_frames(driven, responses_of(bands))[0, :count].numpy()
    np.testing.assert_allclose(filtered, wave, atol=1e-4 * np.abs(wave).max())


def test_silence_has_a_finite_excitation() -> None:
    bands = torch.full((1, BANDS, 20), -27.6)
    assert excitation(torch.zeros(1, 20 * HOP_LENGTH), bands, RATE_HZ).abs().max() == 0
    loud = excitation(noise(1, 20 * HOP_LENGTH), bands, RATE_HZ)
    assert loud.isfinite().all()


def test_targets_have_their_pulses_where_the_excitation_has_them_and_upwards() -> None:
    samples = FRAMES * HOP_LENGTH
    times = np.arange(11.7, samples, RATE_HZ / 150)
    bands = smooth_bands()
    driven = -torch.from_numpy(pulses_at(times, samples)).float()[None]
    wave = filter_frames(driven, responses_of(bands))
    found = training_targets(wave, bands, torch.full((1, FRAMES), 150.0))
    assert found.excitation.shape == found.pulses.shape == (1, samples // 4, 4)
    inner = slice(200, -200)
    for band in range(3):
        both = torch.stack([found.excitation[0, inner, band], found.pulses[0, inner, band]])
        assert torch.corrcoef(both)[0, 1] > 0.8


def test_unvoiced_frames_have_no_pulses() -> None:
    f0 = torch.cat([torch.zeros(50), torch.full((50,), 200.0), torch.zeros(100)])[None]
    wave = noise(1, FRAMES * HOP_LENGTH)
    pulses = training_targets(wave, smooth_bands(), f0).pulses[0]
    assert (pulses[: 49 * 17] == 0).all()
    assert (pulses[102 * 17 :] == 0).all()
    assert 0.7 < pulses[55 * 17 : 95 * 17].square().mean() < 1.3
