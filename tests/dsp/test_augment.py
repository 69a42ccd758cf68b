"""A disguised voice: pitch and formants moved apart, timing kept, some rows left alone."""

import numpy as np
import pytest
import torch
from torch import Tensor

from vqaudio.dsp.augment import Equaliser, augment_voice, change_voice

RATE = 16000


def vowel(pitch_hz: float, formant_hz: float, samples: int = 16000) -> Tensor:
    """Harmonics of ``pitch_hz`` under one resonance at ``formant_hz``."""
    time = torch.arange(samples) / RATE
    harmonics = torch.arange(1, int(5000 / pitch_hz)) * pitch_hz
    weights = 1 / (1 + ((harmonics - formant_hz) / 200) ** 2)
    return 0.1 * (weights[:, None] * torch.sin(2 * torch.pi * harmonics[:, None] * time)).sum(0)[None]


def pitch_of(wave: Tensor) -> float:
    """By the autocorrelation of the middle of ``wave[1, T]``."""
    part = wave[0, 4000:12000].numpy()
    correlation = np.correlate(part, part, "full")[len(part) - 1 :]
    lags = np.arange(RATE // 400, RATE // 70)
    return RATE / int(lags[correlation[lags].argmax()])


def formant_of(wave: Tensor) -> float:
    """The centre of gravity of the power between 400 and 3,000 Hz."""
    power = torch.fft.rfft(wave[0, 4000:12000]).abs().square()
    hz = torch.arange(len(power)) * RATE / 8000
    band = (hz > 400) & (hz < 3000)
    return float((power * hz)[band].sum() / power[band].sum())


@pytest.mark.parametrize("pitch", [0.75, 1.0, 1.4])
@pytest.mark.parametrize("formants", [0.9, 1.0, 1.15])
def test_pitch_and_formants_move_apart(pitch: float, formants: float) -> None:
    wave = vowel(120, 1200)
    changed = change_voice(wave, RATE, pitch, formants)
    assert changed.shape == wave.shape
    assert pitch_of(changed) == pytest.approx(120 * pitch, rel=0.03)
    assert formant_of(changed) == pytest.approx(1200 * formants, rel=0.06)


def test_timing_is_kept() -> None:
    wave = torch.cat([torch.zeros(1, 8000), vowel(120, 1200, 8000)], dim=1)
    changed = change_voice(wave, RATE, 1.3, 1.0)
    assert changed[:, :7000].square().mean() < 1e-3 * changed[:, 9000:].square().mean()


def test_a_quarter_of_the_rows_stays_and_the_others_differ() -> None:
    torch.manual_seed(0)
    wave = vowel(150, 1000, 4096).repeat(8, 1)
    disguised = augment_voice(wave, RATE, 6.0, 2.5)
    assert torch.equal(disguised[:2], wave[:2])
    groups = disguised[::2]
    assert all(not torch.allclose(a, b, atol=1e-3) for i, a in enumerate(groups) for b in groups[:i])


def test_no_row_stays_where_none_may() -> None:
    torch.manual_seed(0)
    wave = vowel(150, 1000, 4096).repeat(8, 1)
    changed = augment_voice(wave, RATE, 6.0, 2.5, own_voice=False)
    assert not any(torch.allclose(own, was, atol=1e-3) for own, was in zip(changed, wave, strict=True))


def test_an_equaliser_does_what_it_says() -> None:
    torch.manual_seed(0)
    wave = 0.1 * torch.randn(3, 160000)
    equaliser = Equaliser(3, 6.0, RATE, torch.device("cpu"))
    window = torch.hann_window(1024)
    before, after = (
        torch.stft(sound, 1024, 256, window=window, return_complex=True).abs().square().mean(2)
        for sound in (wave, equaliser(wave))
    )
    hz = torch.linspace(0, RATE / 2, 513)
    assert torch.allclose((after / before).log()[:, 4:-4], equaliser.response(hz)[:, 4:-4], atol=0.05)


def test_equalisers_deviate_by_what_was_asked() -> None:
    torch.manual_seed(0)
    response = Equaliser(500, 6.0, RATE, torch.device("cpu")).response(torch.linspace(0, RATE / 2, 50))
    assert 10 / np.log(10) * float(response.std()) == pytest.approx(6.0, rel=0.2)


def test_an_equaliser_does_not_delay() -> None:
    torch.manual_seed(1)
    click = torch.zeros(1, 4096)
    click[0, 2000] = 1.0
    assert int(Equaliser(1, 3.0, RATE, torch.device("cpu"))(click).abs().argmax()) == 2000


def test_the_draw_is_the_seeds() -> None:
    wave = vowel(150, 1000, 4096).repeat(4, 1)
    first, second = ((torch.manual_seed(3), augment_voice(wave, RATE, 6.0, 2.5))[1] for _ in range(2))
    assert torch.equal(first, second)
