"""The models in the package: whole, small, and heard by their own codes."""

import io

import numpy as np
import pytest
import soundfile
import torch
from pictures import gradient

from vqaudio.bitstream.header import Coder
from vqaudio.codecs.bundled import PRETRAINED, bundled
from vqaudio.codecs.image import ImageCodec, load_images
from vqaudio.codecs.image_generation import generate_pictures
from vqaudio.codecs.loading import facts_of
from vqaudio.codecs.sampler import Conditioner, Sampler, export
from vqaudio.codecs.speech import Codec, load
from vqaudio.codecs.vocoder import decoder_inputs
from vqaudio.dsp.mulaw import SILENCE_LEVEL
from vqaudio.evaluation.image import likelihood as image_likelihood
from vqaudio.evaluation.metrics import similarity, speaker_embedding
from vqaudio.evaluation.speech import likelihood
from vqaudio.kernels import wavenet as cpu
from vqaudio.kernels.int16_weights import BOUND

RATE = 16000
BITS = ("bits_per_sample", "bits_per_sample_shuffled")


@pytest.fixture(scope="module")
def speech() -> Codec:
    return load("speech", "cpu")


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    wave, rate_hz = soundfile.read(PRETRAINED / "demo.flac", dtype="float32")
    assert rate_hz == RATE
    return wave


def test_each_has_a_card_and_all_are_small() -> None:
    assert "speech" in bundled()
    for name in bundled():
        assert (PRETRAINED / name / "CARD.md").read_text(encoding="utf-8").startswith("# ")
    assert sum(facts_of(PRETRAINED / name).size_bytes for name in bundled()) <= 25e6


def test_streams_have_the_advertised_size(speech: Codec, clip: np.ndarray) -> None:
    sizes = {}
    for coder in Coder:
        file = io.BytesIO()
        stream = speech.encode(clip, RATE, coder)
        stream.write(file, speech.block_coder(coder))
        sizes[coder] = len(file.getvalue())
    tokens = -(-len(clip) // 544) * 8
    assert sizes[Coder.PACKED] == 70 + 12 + -(-tokens * 9 // 8)
    assert sizes[Coder.PRIOR] < 0.92 * sizes[Coder.PACKED]


def test_the_codes_carry_the_sound(speech: Codec, clip: np.ndarray) -> None:
    codes = speech.encode(clip, RATE).codes[0]
    assert len(np.unique(codes)) > 150
    bits = likelihood(speech, clip, codes, np.roll(codes, len(codes) // 16 * 8))
    assert bits["bits_per_sample_shuffled"] > bits["bits_per_sample"] + 0.5


def test_narrow_weights_change_next_to_nothing(speech: Codec, clip: np.ndarray) -> None:
    drawn_by = decoder_inputs(speech.model, speech.encode(clip[:RATE], RATE).codes[0][:48], None)
    features, marks = drawn_by.features, drawn_by.marks(speech.model.config.decoder, 0.0)
    told = None if marks is None else torch.from_numpy(marks)[None]
    decoder, sampler = speech.model.decoder, Sampler(speech.model.decoder, SILENCE_LEVEL)
    symbols = sampler.stream().push(features, np.random.default_rng(0).random(48 * speech.model.hop_length), marks)
    past = torch.from_numpy(np.concatenate([[SILENCE_LEVEL], symbols[:-1]]))[None]
    with torch.no_grad():
        expected = decoder(past, torch.from_numpy(features.T)[None], told)[0].T
    conditions = Conditioner(decoder)(features)
    kernel = cpu.Kernel(cpu.prepared(export(decoder)), SILENCE_LEVEL)
    logits = torch.from_numpy(kernel.score(conditions, decoder.config.hop_length, symbols, marks))
    assert (logits - expected).abs().max() < BOUND / 3 * (expected.max() - expected.min())
    shares, wanted = (x.double().softmax(1) for x in (logits, expected))
    assert ((shares - wanted).abs().sum(1) / 2).max() < 0.005  # the share of draws that come out otherwise
    assert (wanted * (wanted / shares).log()).sum(1).mean() < 1e-6  # nats a sample


def test_what_comes_back_is_as_loud_where_it_should_be(speech: Codec, clip: np.ndarray) -> None:
    decoded = speech.decode(speech.encode(clip[: 3 * RATE], RATE))[0]
    frames = [np.log(np.square(wave[: 3 * RATE].reshape(-1, 400)).mean(1) + 1e-6) for wave in (clip, decoded)]
    assert np.corrcoef(*frames)[0, 1] > 0.8


@pytest.fixture(scope="module")
def images() -> ImageCodec:
    return load_images("images", "cpu")


def test_pictures_come_back_alike(images: ImageCodec) -> None:
    picture = gradient(70, 50)
    stream = images.encode(picture)
    decoded = images.decode(stream)
    assert decoded.shape == picture.shape
    assert 10 * np.log10(255**2 / np.square(decoded.astype(float) - picture).mean()) > 24
    codes = stream.codes.reshape(-1, *images.config.grid)
    true, false = (image_likelihood(images, picture, used)["reconstruction"] for used in (codes, codes[::-1]))
    assert false > true + 0.5


def test_the_prior_makes_pictures_small(images: ImageCodec) -> None:
    picture = images.decode(generate_pictures(images, 4))  # which the prior finds likely
    stream = images.encode(picture)
    sizes = {}
    for coder in Coder:
        file = io.BytesIO()
        images.encode(picture, coder).write(file, images.block_coder(coder))
        sizes[coder] = len(file.getvalue())
        assert np.array_equal(images.read(io.BytesIO(file.getvalue())).codes, stream.codes)
    assert sizes[Coder.PRIOR] < 0.7 * sizes[Coder.PACKED]
    assert images.config.grid == (8, 8, 10)


@pytest.fixture(scope="module")
def voices() -> Codec:
    return load("voices", "cpu")


def test_the_codes_carry_words_without_a_voice(voices: Codec, clip: np.ndarray) -> None:
    codes = voices.encode(clip, RATE).codes[0]
    assert len(codes) == -(-len(clip) // 256)
    speaker = voices.check_speaker("1970")
    true, false = (likelihood(voices, clip, codes, np.roll(codes, len(codes) // 2), speaker)[name] for name in BITS)
    assert false > true + 0.5


def test_speakers_sound_apart(voices: Codec, clip: np.ndarray) -> None:
    stream = voices.encode(clip[: 4 * RATE], RATE)
    man, again, woman = (
        speaker_embedding(voices.decode(stream, seed, speaker=name)[0], RATE)
        for seed, name in ((0, "460"), (1, "460"), (0, "1970"))
    )
    assert similarity(man, again) > similarity(man, woman) + 0.1


def test_speakers_are_known_by_their_minutes() -> None:
    facts = facts_of(PRETRAINED / "voices").training
    assert sum(one["minutes"] > 1 for one in facts["speakers"]) == 24
    assert {one["gender"] for one in facts["speakers"]} == {"F", "M"}
    assert "LibriSpeech" in facts["licence"]
