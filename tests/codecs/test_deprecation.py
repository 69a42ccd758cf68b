"""Forms of calls of the version before: they still work, and say what to write instead."""

from pathlib import Path

import numpy as np
import pytest
from pictures import save_model

from vqaudio.codecs.generation import generate, generate_pictures
from vqaudio.codecs.image import load_images
from vqaudio.codecs.speech import Codec


def test_options_by_position(tiny_codec: Codec) -> None:
    wave = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    with pytest.warns(DeprecationWarning, match=r"Codec\.encode: give coder by name"):
        stream = tiny_codec.encode(wave, 16000, "packed")
    with pytest.warns(DeprecationWarning, match=r"Codec\.decode: give seed, temperature by name"):
        decoded = tiny_codec.decode(stream, 3, 0.5)
    assert np.array_equal(decoded, tiny_codec.decode(stream, seed=3, temperature=0.5))


def test_more_than_there_are_options(tiny_codec: Codec) -> None:
    with pytest.raises(TypeError):
        tiny_codec.encode(np.zeros(100, np.float32), 16000, "packed", "packed")  # type: ignore[misc]


def test_codes_in_the_order_of_the_file(hearing_codec: Codec) -> None:
    tokens = np.arange(24, dtype=np.int32).reshape(2, 12)
    with pytest.warns(DeprecationWarning, match="num_quantizers"):
        stream = hearing_codec.stream_of(tokens)
    assert np.array_equal(stream.tokens, tokens)


def test_functions_that_sample_is_now(talking_codec: Codec, tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match=r"codec\.sample"):
        (stream,) = generate(talking_codec, 0.2, 1, 5, temperature=0.8)
    (same,) = talking_codec.sample(seconds=0.2, seed=5, temperature=0.8)
    assert np.array_equal(stream.tokens, same.tokens)
    pictures = load_images(save_model(tmp_path / "tiny"), "cpu")
    with pytest.warns(DeprecationWarning, match=r"codec\.sample"):
        sheet = generate_pictures(pictures, 4, 3)
    assert np.array_equal(sheet.tokens, pictures.side_by_side(pictures.sample(4, seed=3)).tokens)
