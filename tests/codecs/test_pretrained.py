"""The models in the package: whole, small, and heard by their own codes."""

import io

import numpy as np
import pytest
import soundfile
import torch
from pictures import gradient

from vqaudio.bitstream.header import Coder
from vqaudio.codecs.bundled import PRETRAINED, bundled
from vqaudio.codecs.facts import facts_of
from vqaudio.codecs.image import ImageCodec, load_images
from vqaudio.codecs.sampler import Conditioner, Sampler, export
from vqaudio.codecs.speech import Codec, load
from vqaudio.codecs.vocoder import decoder_inputs
from vqaudio.dsp.loudness import measure_level
from vqaudio.dsp.mulaw import SILENCE_LEVEL
from vqaudio.dsp.world import analyse
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
def voices() -> Codec:
    return load("voices", "cpu")


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
        stream = speech.encode(clip, RATE, coder=coder)
        stream.write(file, speech.block_coder(coder))
        sizes[coder] = len(file.getvalue())
    tokens = -(-len(clip) // 544) * 8
    assert sizes[Coder.PACKED] == 70 + 12 + -(-tokens * 9 // 8)
    assert sizes[Coder.PRIOR] < 0.92 * sizes[Coder.PACKED]


def test_the_codes_carry_the_sound(speech: Codec, clip: np.ndarray) -> None:
    codes = speech.encode(clip, RATE).tokens[0]
    assert len(np.unique(codes)) > 150
    own, others = (
        speech.model.speak(of.astype(np.int64), None).bands.T for of in (codes, np.roll(codes, len(codes) // 16 * 8))
    )
    (level,) = measure_level([clip[None]], RATE, 1)
    config = speech.model.config
    bands = analyse(clip * np.float32(level.gain), RATE, config.frame_length, config.vocoder.bands).bands.T
    loud = bands > -14
    error, shuffled = (np.abs(found[:, : bands.shape[1]] - bands)[loud].mean() for found in (own, others))
    assert error < 1.0
    assert shuffled > 2 * error


def test_its_delay_is_short_enough_to_talk(speech: Codec) -> None:
    assert speech.model.delay_s <= 0.25


ODD = {
    "a tone": lambda t, r: 0.3 * np.sin(2 * np.pi * 440 * t),
    "music": lambda t, r: sum(0.1 * np.sin(2 * np.pi * hz * t) * np.exp(-3 * (t % 0.5)) for hz in (262, 330, 392, 523)),
    "a whisper": lambda t, r: 0.05 * r.standard_normal(len(t)) * (1 + np.sin(2 * np.pi * 3 * t)),
    "clipped": lambda t, r: np.sign(np.sin(2 * np.pi * 150 * t)) * 0.99,
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_sounds_make_no_bursts(speech: Codec, kind: str) -> None:
    time_s = np.arange(2 * RATE) / RATE
    wave = ODD[kind](time_s, np.random.default_rng(0)).astype(np.float32)
    decoded = speech.decode(speech.encode(wave, RATE))[0]
    assert np.abs(decoded).max() < 5 * np.abs(wave).max()  # pulses peak above a square wave of their power
    loudest = [np.square(sound.reshape(-1, 800)).mean(1).max() for sound in (wave, decoded[: len(wave)])]
    assert loudest[1] < 5 * loudest[0]


def test_silence_stays_silent(speech: Codec, clip: np.ndarray) -> None:
    assert np.abs(speech.decode(speech.encode(np.zeros(RATE, np.float32), RATE))).max() < 1e-3
    gap = clip[: 3 * RATE].copy()
    gap[RATE : 2 * RATE] = 0
    decoded = speech.decode(speech.encode(gap, RATE))[0]
    inner = slice(RATE + 4000, 2 * RATE - 4000)
    assert np.square(decoded[inner]).mean() < 1e-3 * np.square(decoded[:RATE]).mean()


def test_what_comes_back_is_as_loud_where_it_should_be(speech: Codec, clip: np.ndarray) -> None:
    decoded = speech.decode(speech.encode(clip[: 3 * RATE], RATE))[0]
    frames = [np.log(np.square(wave[: 3 * RATE].reshape(-1, 400)).mean(1) + 1e-6) for wave in (clip, decoded)]
    assert np.corrcoef(*frames)[0, 1] > 0.9


def test_narrow_weights_change_next_to_nothing(voices: Codec, clip: np.ndarray) -> None:
    model = voices.model
    stream = voices.encode(clip[:RATE], RATE)
    drawn_by = decoder_inputs(model, stream.tokens[0][:48], voices.check_speaker("1970"))
    features, phases = drawn_by.features, drawn_by.phase_index(model.config.decoder, 0.0)
    told = None if phases is None else torch.from_numpy(phases)[None]
    decoder, sampler = model.decoder, Sampler(model.decoder, SILENCE_LEVEL)
    symbols = sampler.stream().push(features, np.random.default_rng(0).random(48 * model.samples_per_token), phases)
    past = torch.from_numpy(np.concatenate([[SILENCE_LEVEL], symbols[:-1]]))[None]
    with torch.no_grad():
        expected = decoder(past, torch.from_numpy(features.T)[None], told)[0].T
    conditions = Conditioner(decoder)(features)
    kernel = cpu.Kernel(cpu.prepared(export(decoder)), SILENCE_LEVEL)
    logits = torch.from_numpy(kernel.forced_logits(conditions, decoder.config.hop_length, symbols, phases))
    assert (logits - expected).abs().max() < BOUND / 3 * (expected.max() - expected.min())
    shares, wanted = (x.double().softmax(1) for x in (logits, expected))
    assert ((shares - wanted).abs().sum(1) / 2).max() < 0.005  # the share of draws that come out otherwise
    assert (wanted * (wanted / shares).log()).sum(1).mean() < 1e-6  # nats a sample


@pytest.fixture(scope="module")
def images() -> ImageCodec:
    return load_images("images", "cpu")


def test_pictures_come_back_alike(images: ImageCodec) -> None:
    picture = gradient(70, 50)
    stream = images.encode(picture)
    decoded = images.decode(stream)
    assert decoded.shape == picture.shape
    assert 10 * np.log10(255**2 / np.square(decoded.astype(float) - picture).mean()) > 24
    codes = stream.tokens.reshape(-1, *images.config.grid)
    true, false = (image_likelihood(images, picture, used)["reconstruction"] for used in (codes, codes[::-1]))
    assert false > true + 0.5


def test_the_prior_makes_pictures_small(images: ImageCodec) -> None:
    picture = images.decode(images.side_by_side(images.sample(4)))  # which the prior finds likely
    stream = images.encode(picture)
    sizes = {}
    for coder in Coder:
        file = io.BytesIO()
        images.encode(picture, coder).write(file, images.block_coder(coder))
        sizes[coder] = len(file.getvalue())
        assert np.array_equal(images.read(io.BytesIO(file.getvalue())).tokens, stream.tokens)
    assert sizes[Coder.PRIOR] < 0.7 * sizes[Coder.PACKED]
    assert images.config.grid == (8, 8, 10)


def test_the_codes_carry_words_without_a_voice(voices: Codec, clip: np.ndarray) -> None:
    codes = voices.encode(clip, RATE).tokens[0]
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
