"""Live sound: however it is cut, the codes and the sound are those of the whole, and come when they are promised."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import cut, noise

import vqaudio
from vqaudio.codecs.speech import Codec, load
from vqaudio.codecs.streaming import StreamDecoder, StreamEncoder, faintest_codes
from vqaudio.errors import ConfigError, ContainerError, ModelError, SoundError

RATE, VECTOR = 16000, 512
Wave = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int32]


@pytest.fixture(scope="session")
def codec(vocoded_model: Path) -> Codec:
    return load(vocoded_model, "cpu")


def pushed(encoder: StreamEncoder, wave: Wave, sizes: list[int]) -> Codes:
    return np.concatenate([*(encoder.push(block) for block in cut(wave[None], sizes)), encoder.flush()], axis=1)


def said(decoder: StreamDecoder, codes: Codes, sizes: list[int]) -> Wave:
    return np.concatenate([*(decoder.push(block) for block in cut(codes, sizes)), decoder.flush()])


SIZES = st.lists(st.integers(1, 3000), min_size=1, max_size=5)


@given(SIZES, st.integers(0, 12_000), st.sampled_from([None, 1.0, 3.7]), st.sampled_from([16000, 48000, 11025]))
@settings(max_examples=25)
def test_codes_do_not_depend_on_the_cut(
    codec: Codec, sizes: list[int], frames: int, gain: float | None, rate: int
) -> None:
    wave = noise(1, frames, 0.05, seed=frames)[0]
    whole = pushed(codec.stream_encoder(rate, gain=gain), wave, [max(1, frames)])
    assert np.array_equal(pushed(codec.stream_encoder(rate, gain=gain), wave, sizes), whole)


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("hop", [1, 2, 8])
@pytest.mark.parametrize("frames", [0, 1, 511, 512, 513, 20_000])
def test_codes_are_those_of_the_whole_file(codec: Codec, rate: int, hop: int, frames: int) -> None:
    wave = noise(1, frames, 0.05, seed=3)[0]
    stream = codec.encode(wave, rate)
    encoder = codec.stream_encoder(rate, gain=1 / stream.header.levels[0], hop=hop)
    assert np.array_equal(pushed(encoder, wave, [777]), stream.codes[0])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 40), st.integers(0, 99))
@settings(max_examples=25)
def test_sound_does_not_depend_on_the_cut_and_is_that_of_the_whole_file(
    codec: Codec, sizes: list[int], vectors: int, seed: int
) -> None:
    codes = np.random.default_rng(seed).integers(0, 100, (8, vectors)).astype(np.int32)
    live = said(codec.stream_decoder(seed=seed, level=0.7), codes, sizes)
    whole = codec.decode(codec.stream_of(codes[None], 0.7), seed=seed, exact=True)[0]
    assert live.dtype == np.float32
    assert np.array_equal(live, whole)


def test_strict_order_and_pieces_side_by_side_differ_by_rounding_alone(codec: Codec) -> None:
    stream = codec.encode(noise(1, 30_000)[0], RATE)
    exact, plain = codec.decode(stream, exact=True), codec.decode(stream)
    np.testing.assert_allclose(exact, plain, atol=2e-3 * np.abs(plain).max())


@pytest.mark.parametrize(("rate", "gain"), [(16000, 1.0), (16000, None), (48000, 1.0), (22050, None)])
@pytest.mark.parametrize("hop", [1, 3])
def test_nothing_comes_after_the_promised_delay(codec: Codec, rate: int, gain: float | None, hop: int) -> None:
    """A click, pushed in blocks of 1 ms, is heard at most so late; and the promise is not much too long."""
    encoder = codec.stream_encoder(rate, gain=gain, hop=hop)
    decoder = codec.stream_decoder(sample_rate_hz=rate, hop=hop)
    block, made, latest = rate // 1000, 0, 0.0
    wave = np.zeros(rate, np.float32)
    wave[rate // 2] = 0.9
    for first in range(0, rate, block):
        wave_now = decoder.push(encoder.push(wave[first : first + block]))
        if len(wave_now):
            # the earliest sample among these stood this long
            latest = max(latest, (first + block - made) / rate)
            made += len(wave_now)
    promised = encoder.delay_s + decoder.delay_s
    assert latest <= promised + 0.001  # the block's own
    assert latest > promised - (hop * VECTOR + 300) / RATE
    assert made >= rate - (promised + 0.001) * rate


def test_delay_is_the_models_own_and_less_than_a_vector(codec: Codec) -> None:
    encoder, decoder = codec.stream_encoder(hop=1), codec.stream_decoder(hop=1)
    assert 0 <= encoder.delay_s + decoder.delay_s - codec.model.delay_s < VECTOR / RATE


def test_what_lies_before_the_delay_is_final(codec: Codec) -> None:
    """Sounds that part at one sample have the same codes as long as the delay says, and no longer."""
    one, other = noise(1, RATE)[0], noise(1, RATE)[0]
    other[8000:] = 0
    left, right = (pushed(codec.stream_encoder(gain=1.0, hop=1), wave, [RATE]) for wave in (one, other))
    first = int((left != right).any(axis=0).argmax())
    assert 8000 - first * VECTOR <= codec.stream_encoder(hop=1).delay_s * RATE


def test_a_copy_goes_its_own_way_and_a_reset_begins_again(codec: Codec) -> None:
    wave = noise(1, 9000)[0]
    encoder, decoder = codec.stream_encoder(48000, gain=None), codec.stream_decoder(seed=4)
    decoder.push(encoder.push(wave[:5000]))
    ears, mouth = encoder.copy(), decoder.copy()
    codes = np.concatenate([encoder.push(wave[5000:]), encoder.flush()], axis=1)
    sound = np.concatenate([decoder.push(codes), decoder.flush()])
    again = np.concatenate([ears.push(wave[5000:]), ears.flush()], axis=1)
    assert np.array_equal(again, codes)
    assert np.array_equal(np.concatenate([mouth.push(again), mouth.flush()]), sound)
    ears.reset()
    mouth.reset()
    fresh = codec.stream_encoder(48000, gain=None), codec.stream_decoder(seed=4)
    codes = pushed(fresh[0], wave, [9000])
    assert np.array_equal(pushed(ears, wave, [9000]), codes)
    assert np.array_equal(said(mouth, codes, [3]), said(fresh[1], codes, [3]))
    assert ears._model is codec.model


def test_state_stays_small(codec: Codec) -> None:
    encoder, decoder = codec.stream_encoder(), codec.stream_decoder()
    for _ in range(40):
        decoder.push(encoder.push(noise(1, 2000)[0]))
    assert len(encoder._held) < encoder._before + 8 * VECTOR
    assert len(decoder._codes) < 60


def test_a_loss_is_held_then_fades_and_ends_within_5_ms(codec: Codec) -> None:
    codes = np.random.default_rng(0).integers(0, 100, (8, 10)).astype(np.int32)
    decoder = codec.stream_decoder()
    parts = [decoder.push(codes), decoder.lost(12), decoder.push(codes), decoder.flush()]
    held = np.concatenate([codes, np.repeat(codes[:, -1:], 12, axis=1), codes], axis=1)
    plain = said(codec.stream_decoder(), held, [5])
    live = np.concatenate(parts)
    lost, back = slice(11 * VECTOR, 16 * VECTOR), 22 * VECTOR
    assert len(live) == len(plain)
    assert np.array_equal(live[: 11 * VECTOR], plain[: 11 * VECTOR])
    assert (np.abs(live[lost]) <= np.abs(plain[lost]) + 1e-9).all()
    assert not live[16 * VECTOR : back].any()
    assert np.array_equal(live[back + RATE // 200 :], plain[back + RATE // 200 :])


def test_a_loss_before_the_first_vector_is_silent(codec: Codec) -> None:
    decoder = codec.stream_decoder()
    assert not np.concatenate([decoder.lost(9), decoder.flush()]).any()


def test_codes_that_did_not_arrive_add_as_little_as_there_is(codec: Codec) -> None:
    codes = np.random.default_rng(0).integers(0, 100, (8, 10)).astype(np.int32)
    codes[3:] = -1
    filled = codes.copy()
    filled[3:] = np.array(faintest_codes(codec.model))[3:, None]
    for codebook, code in zip(codec.model.codebooks(), faintest_codes(codec.model), strict=True):
        lengths = np.linalg.norm(codebook, axis=1)
        assert lengths[code] == lengths.min()
    assert np.array_equal(said(codec.stream_decoder(), codes, [3]), said(codec.stream_decoder(), filled, [10]))


def test_the_gain_brings_soft_and_loud_talkers_to_one_level(codec: Codec) -> None:
    from vqaudio.dsp.automatic_gain import AutomaticGain
    from vqaudio.dsp.loudness import TARGET_RMS

    for amplitude in (0.003, 0.03, 0.5):
        follow, wave = AutomaticGain(0.01), noise(1, RATE * 2, amplitude)[0].clip(-1, 1)
        loud = np.concatenate([follow(wave[first : first + 160]) for first in range(0, len(wave), 160)])
        assert np.abs(loud).max() <= 1
        assert 0.7 < np.sqrt(np.mean(loud[RATE:] ** 2)) / TARGET_RMS < 1.1
    assert not AutomaticGain(0.01)(np.zeros(160, np.float32)).any()


@pytest.mark.parametrize(
    ("block", "match"),
    [
        (np.zeros(9, np.int16), "holds int16"),
        (np.zeros((2, 9), np.float32), "2 channels"),
        (np.full(9, np.nan, np.float32), "NaN"),
        (np.zeros((1, 2, 3), np.float32), "shape"),
    ],
)
def test_bad_blocks_are_refused_and_change_nothing(codec: Codec, block: object, match: str) -> None:
    encoder, wave = codec.stream_encoder(), noise(1, 4000)[0]
    with pytest.raises(SoundError, match=match):
        encoder.push(block)
    assert np.array_equal(pushed(encoder, wave, [4000]), pushed(codec.stream_encoder(), wave, [4000]))


@pytest.mark.parametrize("codes", [np.zeros((7, 3), int), np.zeros(8, int), np.zeros((8, 3)), np.full((8, 1), 100)])
def test_bad_codes_are_refused(codec: Codec, codes: npt.NDArray[np.int64]) -> None:
    with pytest.raises(ContainerError, match=r"give integers|allowed are"):
        codec.stream_decoder().push(codes)


def test_wrong_use_is_refused(codec: Codec, tiny_codec: Codec) -> None:
    for hop in (0, 9, 1.5):
        with pytest.raises(ConfigError, match="hop"):
            codec.stream_encoder(hop=hop)
        with pytest.raises(ConfigError, match="hop"):
            codec.stream_decoder(hop=hop)
    for gain in (0.0, -1.0, np.inf, np.nan, "1"):
        with pytest.raises(ConfigError, match="gain"):
            codec.stream_encoder(gain=gain)
    with pytest.raises(ConfigError, match="level"):
        codec.stream_decoder(level=-1.0)
    for rate in (0, -1, 999_999, 44_100.5):
        with pytest.raises(SoundError, match="Hz"):
            codec.stream_encoder(rate)
    for rate in (0, -1, 999_999):
        with pytest.raises(SoundError, match="Hz"):
            codec.stream_decoder(sample_rate_hz=rate)
    with pytest.raises(ModelError, match="does not decode live"):
        tiny_codec.stream_decoder()
    with pytest.raises(ContainerError, match="cannot be concealed"):
        codec.stream_decoder().lost(10_000)
    encoder, decoder = codec.stream_encoder(), codec.stream_decoder()
    encoder.flush()
    decoder.flush()
    with pytest.raises(SoundError, match="has ended"):
        encoder.push(np.zeros(3, np.float32))
    with pytest.raises(ContainerError, match="has ended"):
        decoder.lost(1)


def test_the_bundled_model_codes_live_what_it_codes_from_a_file() -> None:
    """But for rounding, which may break a tie."""
    speech = load("speech", "cpu")
    wave, rate = soundfile.read(Path(vqaudio.__file__).parent / "pretrained" / "demo.flac", dtype="float32")
    stream = speech.encode(wave[: 2 * rate], rate)
    codes = pushed(speech.stream_encoder(rate, gain=1 / stream.header.levels[0]), wave[: 2 * rate], [1000])
    assert (codes != stream.codes[0]).any(axis=0).mean() <= 0.02
    live, whole = said(speech.stream_decoder(), stream.codes[0], [1]), speech.decode(speech.stream_of(stream.codes))[0]
    assert np.sqrt(np.mean((live - whole) ** 2)) < 2e-3 * np.sqrt(np.mean(whole**2))
