"""Decoded sound is an array that knows its sample rate and can be saved."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import vqaudio
from vqaudio.codecs.speech import Codec
from vqaudio.errors import OutputError, SoundError

RATE = 22050


@pytest.fixture
def samples() -> vqaudio.Samples:
    return vqaudio.Samples(0.1 * np.sin(np.arange(2 * RATE, dtype=np.float32) / 20).reshape(2, -1), RATE)


def test_decoding_gives_the_rate_of_the_original(tiny_codec: Codec) -> None:
    stream = tiny_codec.encode(0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32), RATE)
    decoded = tiny_codec.decode(stream)
    assert (decoded.sample_rate_hz, decoded.shape, decoded.dtype) == (RATE, (1, RATE), np.float32)
    assert decoded.duration_s == 1
    assert tiny_codec.decode(stream, sample_rate_hz=8000).sample_rate_hz == 8000
    assert tiny_codec.decode(stream, sample_rate_hz=8000).duration_s == pytest.approx(1, abs=1e-3)


def test_it_is_an_array(samples: vqaudio.Samples) -> None:
    assert samples[0, :100].sample_rate_hz == RATE
    assert (2 * samples).sample_rate_hz == RATE
    assert np.array_equal(np.concatenate([samples, samples])[:2], samples)
    assert torch.equal(torch.from_numpy(samples), torch.from_numpy(np.array(samples)))
    assert samples.sum() == pytest.approx(float(np.array(samples).sum()))


def test_nothing_is_copied() -> None:
    wave = np.zeros((1, 10), np.float32)
    vqaudio.Samples(wave, RATE)[0, 3] = 1
    assert wave[0, 3] == 1


def test_the_rate_travels(samples: vqaudio.Samples) -> None:
    copy = pickle.loads(pickle.dumps(samples))
    assert copy.sample_rate_hz == samples.copy().sample_rate_hz == RATE
    assert np.array_equal(copy, samples)


def test_saved_as_the_suffix_says(samples: vqaudio.Samples, tmp_path: Path) -> None:
    for name in ("a.wav", "a.flac"):
        samples.save(tmp_path / name)
        read, rate_hz = soundfile.read(tmp_path / name)
        assert rate_hz == RATE
        assert np.allclose(read.T, samples, atol=1e-4)


def test_what_is_there_stays(samples: vqaudio.Samples, tmp_path: Path) -> None:
    samples.save(tmp_path / "a.wav")
    before = (tmp_path / "a.wav").read_bytes()
    with pytest.raises(OutputError, match="exists"):
        (2 * samples).save(tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == before
    (2 * samples).save(tmp_path / "a.wav", overwrite=True)
    assert (tmp_path / "a.wav").read_bytes() != before


@pytest.mark.parametrize(("name", "told"), [("a.txt", "a.txt: format 'txt' is not known"), ("a", "no suffix")])
def test_a_name_without_a_format_is_refused(samples: vqaudio.Samples, tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(SoundError, match=told):
        samples.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_one_axis_is_no_sound_of_channels(samples: vqaudio.Samples, tmp_path: Path) -> None:
    with pytest.raises(SoundError, match=r"give \[channels, T\]"):
        samples[0].save(tmp_path / "a.wav")
