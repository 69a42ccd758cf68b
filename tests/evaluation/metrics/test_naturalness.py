"""Predicted opinions fall as a sound gets worse, and are those of the authors' own programs."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqaudio.evaluation.metrics.naturalness import distillmos, dnsmos

SAMPLES = Path(__file__).resolve().parents[3] / "data" / "samples"
RATE = 16000
METRICS = (distillmos, dnsmos)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return soundfile.read(SAMPLES / "harbour.flac", dtype="float32")[0]


@pytest.mark.parametrize("metric", METRICS)
def test_noise_costs(metric, speech: np.ndarray) -> None:
    noise = np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    clean, noisy = (metric(speech + np.float32(amount) * noise, RATE) for amount in (0, 0.2))
    assert 1 <= noisy < clean - 0.5 < 4.5


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("wave", [np.zeros(0), np.zeros(RATE), np.ones(100)], ids=["empty", "silent", "short"])
def test_what_is_no_sound_has_none(metric, wave: np.ndarray) -> None:
    assert math.isnan(metric(wave.astype(np.float32), RATE))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seconds", [0.5, 9.5, 12.0])
def test_any_length_and_rate_has_one(metric, speech: np.ndarray, seconds: float) -> None:
    wave = np.resize(speech, round(seconds * RATE))
    opinion = metric(wave, RATE)
    assert 1 <= opinion <= 5
    assert metric(wave, RATE) == opinion
    assert metric(np.repeat(wave, 3), 3 * RATE) == pytest.approx(opinion, abs=0.7)


def test_dnsmos_is_the_one_of_its_package(speech: np.ndarray) -> None:
    from speechmos import dnsmos as package

    for seconds in (3.0, 11.5):
        wave = np.resize(speech, round(seconds * RATE))
        assert dnsmos(wave, RATE) == pytest.approx(package.run(wave, RATE)["ovrl_mos"], abs=1e-4)


def test_distillmos_is_the_one_of_its_package(speech: np.ndarray) -> None:
    import torch
    from distillmos import ConvTransformerSQAModel

    network = ConvTransformerSQAModel().eval()
    with torch.no_grad():
        theirs = float(network(torch.from_numpy(speech)[None]))
    assert distillmos(speech, RATE) == pytest.approx(theirs, abs=1e-5)
