"""Sound of speech parameters: by hand, in windows, deterministic, and tame whatever is coded."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from vqaudio.codecs.sampling import Sampling
from vqaudio.codecs.speech import Codec, load
from vqaudio.codecs.synthesis import ParameterVocoder, Synthesizer, filter_of, prepare
from vqaudio.codecs.tokens import TokenRange, code_windows
from vqaudio.errors import ConfigError

RATE = 16000
Wave = npt.NDArray[np.float32]


@pytest.fixture(scope="session")
def codec(vocoded_model: Path) -> Codec:
    return load(vocoded_model, "cpu")


def sounds() -> dict[str, Wave]:
    time, rng = np.arange(RATE) / RATE, np.random.default_rng(0)
    return {
        "noise": (0.1 * rng.standard_normal(RATE)).astype(np.float32),
        "tone": (0.3 * np.sin(2 * np.pi * 997 * time)).astype(np.float32),
        "clipped": np.sign(np.sin(2 * np.pi * 220 * time)).astype(np.float32),
        "chord": sum(0.1 * np.sin(2 * np.pi * hz * time) for hz in (220, 277, 330, 1760)).astype(np.float32),
        "silence": np.zeros(RATE, np.float32),
        "a click": np.eye(1, RATE, RATE // 2, dtype=np.float32)[0],
    }


@pytest.mark.parametrize("name", sounds())
def test_any_sound_comes_back_with_its_length_and_without_infinities(codec: Codec, name: str) -> None:
    wave = sounds()[name]
    decoded = codec.decode(codec.encode(wave, RATE), seed=1)
    assert decoded.shape == (1, RATE)
    assert np.isfinite(decoded).all()


def test_decoding_by_hand_gives_the_same(codec: Codec) -> None:
    model = codec.model
    stream = codec.encode(sounds()["noise"], RATE)
    filters, codes = filter_of(model.config), stream.tokens[0]
    whole = prepare(model, filters, codes, slice(0, len(codes)), Sampling(5, codec.config.temperature))
    wave = Synthesizer(model.config, np.random.default_rng([5, 0]))(whole)
    decoded = codec.decode(stream, seed=5)[0]
    np.testing.assert_allclose(decoded, wave[:RATE] * stream.header.levels[0], atol=1e-5 * np.abs(wave).max())


def test_windows_and_pieces_do_not_matter(codec: Codec) -> None:
    codes = np.random.default_rng(0).integers(0, 100, (2, 5000)).astype(np.int32)
    codes = codes[:, : 5000 // codec.model.num_quantizers * codec.model.num_quantizers]

    def said(size: int) -> npt.NDArray[np.float32]:
        vocoder = ParameterVocoder(codec.model, Sampling(3, codec.config.temperature), 2)
        windows = code_windows([TokenRange(codes, codes < 0)], codes.shape[1], size, vocoder.reach)
        return np.concatenate([vocoder(window) for window in windows], axis=1)

    once = said(5000)
    assert (once == said(5000)).all()
    np.testing.assert_allclose(said(1024), once, atol=2e-3 * np.abs(once).max())


def test_seeds_differ_in_noise_alone(codec: Codec) -> None:
    stream = codec.encode(sounds()["noise"], RATE)
    assert not np.array_equal(codec.decode(stream, seed=0), codec.decode(stream, seed=1))
    assert np.array_equal(codec.decode(stream, seed=1), codec.decode(stream, seed=1))


def test_a_temperature_is_refused(codec: Codec) -> None:
    stream = codec.encode(sounds()["tone"], RATE)
    with pytest.raises(ConfigError, match="temperature does not apply"):
        codec.decode(stream, temperature=0.5)


def test_threads_do_not_matter(codec: Codec) -> None:
    stream = codec.encode(np.tile(sounds()["noise"], 8), RATE)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        two = codec.decode(stream)
        torch.set_num_threads(1)
        assert np.array_equal(codec.decode(stream), two)
    finally:
        torch.set_num_threads(threads)
