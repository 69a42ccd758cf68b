"""New speech from the prior, and streams that the prior codes."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import torch

import vqaudio
from vqaudio.bitstream.header import Coder
from vqaudio.bitstream.stream import Stream
from vqaudio.codecs.sampler import Conditioner, export
from vqaudio.codecs.speech import Codec
from vqaudio.errors import ConfigError, ContainerError, ModelError
from vqaudio.kernels import wavenet_reference as reference

RATE = 16000


def test_tokens_are_ancestral_draws_from_the_prior(talking_codec: Codec) -> None:
    prior = talking_codec.model.prior
    assert prior is not None
    streams = talking_codec.sample(3, seconds=0.3, seed=5, temperature=0.8, top_p=0.9)
    tokens = streams[0].tokens.shape[1]
    assert tokens == round(0.3 * RATE / 64)
    conditions = Conditioner(prior.wavenet)(np.zeros((tokens, 0), np.float32))
    for index, stream in enumerate(streams):
        uniforms = np.random.default_rng([5, index]).random(tokens)
        alone = reference.Kernel(export(prior.wavenet), 100)
        np.testing.assert_array_equal(
            stream.tokens[0], alone.generate(conditions, 1, uniforms, reference.Draw(0.8, 0.9))
        )


def test_new_streams_decode_like_others(talking_codec: Codec) -> None:
    (stream,) = talking_codec.sample(seconds=0.2)
    wave = talking_codec.decode(stream)
    assert wave.shape == (1, stream.header.shape[0]) == (1, 50 * 64)
    assert np.isfinite(wave).all()


def test_a_prompt_is_gone_on_from(talking_codec: Codec) -> None:
    noise = np.random.default_rng(0).standard_normal(8000).astype(np.float32) * 0.1
    prompt = talking_codec.encode(noise, RATE)
    (stream,) = talking_codec.sample(seconds=0.1, prompt=prompt)
    spoken = prompt.tokens.shape[1]
    np.testing.assert_array_equal(stream.tokens[:, :spoken], prompt.tokens)
    assert stream.header.levels == prompt.header.levels
    prior = talking_codec.model.prior
    assert prior is not None
    codes = torch.from_numpy(stream.tokens.astype(np.int64))
    with torch.no_grad():  # the first new token is drawn from the distribution after the whole prompt
        logits = prior.logits(codes)[0, :, spoken].numpy()
    uniform = np.random.default_rng([0, 0]).random()
    assert stream.tokens[0, spoken] == reference.draw(logits, reference.Draw(), uniform)


def test_a_prior_over_vectors_of_several_tokens_goes_on_with_the_right_one(hearing_codec: Codec) -> None:
    prior = hearing_codec.model.prior
    assert prior is not None
    prompt = hearing_codec.encode(np.random.default_rng(0).standard_normal(3000).astype(np.float32), RATE)
    (stream,) = hearing_codec.sample(seconds=0.5, prompt=prompt)
    spoken, new = prompt.tokens.shape[1], stream.tokens.shape[1] - prompt.tokens.shape[1]
    assert (spoken % 4, new) == (0, 124)
    uniforms = np.random.default_rng([0, 0]).random(new)
    with torch.no_grad():
        logits = prior.logits(torch.from_numpy(stream.tokens.astype(np.int64)))[0].numpy()
    drawn = [reference.draw(logits[:, spoken + t], reference.Draw(), uniforms[t]) for t in range(new)]
    assert np.mean(stream.tokens[0, spoken:] == drawn) > 0.98  # but for rounding
    assert hearing_codec.decode(stream).shape == (1, stream.header.shape[0])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"seconds": 0.0}, "seconds"),
        ({"seconds": float("nan")}, "seconds"),
        ({"count": 0}, "count"),
        ({"temperature": 0.0}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"count": "2"}, "count"),
        ({"seconds": "1"}, "seconds"),
        ({"temperature": None}, "temperature"),
    ],
)
def test_bad_numbers_are_named(talking_codec: Codec, arguments: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        talking_codec.sample(**{"seconds": 0.1, **arguments})  # type: ignore[arg-type]


def test_without_a_prior_there_is_no_new_speech(tiny_codec: Codec) -> None:
    with pytest.raises(ModelError, match="no prior"):
        tiny_codec.sample(seconds=0.1)
    with pytest.raises(ConfigError, match="packed"):
        tiny_codec.encode(np.zeros(100, np.float32), RATE, Coder.PRIOR)


def test_the_prior_codes_by_default_and_reads_back(talking_codec: Codec) -> None:
    wave = np.random.default_rng(1).standard_normal((2, 9000)).astype(np.float32) * 0.1
    stream = talking_codec.encode(wave, RATE)
    assert stream.header.coder is Coder.PRIOR
    file = io.BytesIO()
    stream.write(file, talking_codec.block_coder(Coder.PRIOR))
    file.seek(0)
    again = talking_codec.read(file)
    np.testing.assert_array_equal(again.tokens, stream.tokens)
    packed = talking_codec.encode(wave, RATE, Coder.PACKED)
    np.testing.assert_array_equal(packed.tokens, stream.tokens)


def test_damage_to_a_prior_coded_stream_costs_one_block(talking_codec: Codec) -> None:
    wave = np.random.default_rng(2).standard_normal(3 * 2048 * 64).astype(np.float32) * 0.1
    stream = talking_codec.encode(wave, RATE)
    file = io.BytesIO()
    stream.write(file, talking_codec.block_coder(Coder.PRIOR))
    data = bytearray(file.getvalue())
    data[len(data) // 2] ^= 4  # in the second of three blocks
    damaged = talking_codec.read(io.BytesIO(data))
    (damage,) = damaged.damage
    assert (damage.first_token, damage.last_token) == (2048, 4095)
    np.testing.assert_array_equal(damaged.tokens[:, :2048], stream.tokens[:, :2048])
    np.testing.assert_array_equal(damaged.tokens[:, 4096:], stream.tokens[:, 4096:])


def test_a_stream_saves_by_itself_and_loads_with_the_coder_of_its_codec(talking_codec: Codec, tmp_path: Path) -> None:
    stream = talking_codec.encode(np.zeros(2000, np.float32), RATE)
    stream.save(tmp_path / "a.vqa")
    loaded = vqaudio.Stream.load(tmp_path / "a.vqa", talking_codec.block_coder(Coder.PRIOR))
    np.testing.assert_array_equal(loaded.tokens, stream.tokens)
    loaded.save(tmp_path / "again.vqa")
    assert (tmp_path / "again.vqa").read_bytes() == (tmp_path / "a.vqa").read_bytes()


def test_a_stream_under_a_prior_needs_its_model(talking_codec: Codec) -> None:
    file = io.BytesIO()
    stream = talking_codec.encode(np.zeros(2000, np.float32), RATE)
    foreign = dataclasses.replace(stream.header, model_sha256=bytes(32))
    Stream(foreign, stream.tokens).write(file, talking_codec.block_coder(Coder.PRIOR))
    file.seek(0)
    with pytest.raises(ContainerError, match="needs that model"):
        Stream.read(file)
