"""The codec: exact lengths whatever comes in, one path for arrays and files, refusals, damage."""

import copy
import io
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from vqaudio.bitstream.entropy import bits_per_code
from vqaudio.bitstream.header import Coder
from vqaudio.bitstream.stream import Stream
from vqaudio.codecs import bundled
from vqaudio.codecs import speech as codec
from vqaudio.codecs.encoding import BLOCK_TOKENS, WaveSound, first_pass
from vqaudio.codecs.facts import facts_of
from vqaudio.codecs.files import OpenStream, stream_facts
from vqaudio.codecs.sampler import Sampler
from vqaudio.codecs.sampling import DecodeOptions
from vqaudio.codecs.speech import Codec
from vqaudio.codecs.tokens import MUTE_RAMP_S, TokenRange, code_windows
from vqaudio.codecs.vocoder import decoder_inputs
from vqaudio.dsp import emphasis, mulaw
from vqaudio.errors import ConfigError, ContainerError, ModelError, SoundError
from vqaudio.io.sound import SoundReader
from vqaudio.io.sound_writer import SoundWriter

HOP, RATE = 64, 16000
Wave = npt.NDArray[np.float32]


def noise(seconds: float, sample_rate_hz: int = RATE, channels: int = 1, level: float = 0.1) -> Wave:
    samples = round(seconds * sample_rate_hz)
    loudness = 0.2 + np.abs(np.sin(np.arange(samples) / sample_rate_hz * 7))  # so that codes differ along the way
    white = np.random.default_rng(1).standard_normal((channels, samples))
    return (level * loudness * white).astype(np.float32)


def encoded(tiny_codec: Codec, wave: Wave, sample_rate_hz: int = RATE) -> bytes:
    file = io.BytesIO()
    tiny_codec.encode(wave, sample_rate_hz).write(file)
    return file.getvalue()


def decoded_file(tiny_codec: Codec, data: bytes, path: Path, **options: Any) -> tuple[Wave, tuple[str, ...]]:
    stream = OpenStream(io.BytesIO(data))
    done = tiny_codec.decode_file(stream, lambda hz, n: SoundWriter(path, hz, n), DecodeOptions(**options))
    with SoundReader(path) as reader:
        return np.concatenate(list(reader.blocks(4096)), axis=1), tuple(done.damage_lines())


# ------------------------------------------------------------------------------------------------------ round trips


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("sample_rate_hz", [8000, 16000, 44100])
def test_length_channels_and_rate_come_back(tiny_codec: Codec, sample_rate_hz: int, channels: int) -> None:
    wave = noise(0.3137, sample_rate_hz, channels)
    stream = tiny_codec.encode(wave, sample_rate_hz)
    assert stream.header.tokens == math.ceil(math.ceil(wave.shape[1] * RATE / sample_rate_hz) / HOP)
    assert stream.tokens.shape == (channels, stream.header.tokens)
    decoded = tiny_codec.decode(stream)
    assert decoded.shape == wave.shape
    assert decoded.dtype == np.float32
    assert np.isfinite(decoded).all()


@pytest.mark.parametrize("samples", [0, 1, 63, 64, 65])
@pytest.mark.parametrize("sample_rate_hz", [8000, 16000, 44100])
def test_short_sounds(tiny_codec: Codec, samples: int, sample_rate_hz: int) -> None:
    stream = tiny_codec.encode(np.full(samples, 0.5, np.float32), sample_rate_hz)
    assert tiny_codec.decode(stream).shape == (1, samples)
    assert (stream.header.tokens == 0) == (samples == 0)


@pytest.mark.parametrize(
    "wave",
    [
        np.zeros(3000),
        np.full(3000, 0.7),
        np.random.default_rng(0).uniform(-1, 1, 3000),
        np.random.default_rng(0).standard_normal(3000) * 1e-30,
        np.random.default_rng(0).standard_normal(3000) * 1e30,
        np.full(3000, np.finfo(np.float32).max),
    ],
    ids=["silence", "DC", "full-scale noise", "tiny", "huge", "float32's largest"],
)
def test_odd_sounds(tiny_codec: Codec, wave: npt.NDArray[np.float64]) -> None:
    decoded = tiny_codec.decode(tiny_codec.encode(wave, RATE))
    assert decoded.shape == (1, 3000)
    assert np.isfinite(decoded).all()


def test_level_is_restored(tiny_codec: Codec) -> None:
    soft, loud = (tiny_codec.encode(noise(0.3, level=level), RATE) for level in (0.001, 0.1))
    assert np.array_equal(soft.tokens, loud.tokens)
    assert np.allclose(100 * tiny_codec.decode(soft), tiny_codec.decode(loud), rtol=1e-3, atol=1e-6)


def test_decoding_at_another_rate(tiny_codec: Codec) -> None:
    stream = tiny_codec.encode(noise(0.25, 44100), 44100)
    assert tiny_codec.decode(stream, sample_rate_hz=16000).shape == (1, -(-11025 * 16000 // 44100))
    assert tiny_codec.decode(stream, sample_rate_hz=48000).shape == (1, 12000)


def test_seeds_and_temperature(tiny_codec: Codec) -> None:
    stream = tiny_codec.encode(noise(0.2, channels=2), RATE)
    first, again, other = (tiny_codec.decode(stream, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(first, tiny_codec.decode(stream, seed=5, temperature=tiny_codec.config.temperature))
    assert not np.array_equal(first, tiny_codec.decode(stream, seed=5, temperature=0.5))
    tiny_codec.decode(stream, seed=2**63 - 1)


def test_channels_draw_other_numbers(tiny_codec: Codec) -> None:
    decoded = tiny_codec.decode(tiny_codec.encode(np.repeat(noise(0.2), 2, axis=0), RATE))
    assert not np.array_equal(decoded[0], decoded[1])


# ---------------------------------------------------------------------------------------------- blocks are not heard


def test_codes_are_those_of_the_whole_sound_at_once(tiny_codec: Codec) -> None:
    model, wave = tiny_codec.model, noise(2.3 * BLOCK_TOKENS * HOP / RATE)
    stream = tiny_codec.encode(wave, RATE)
    gain, context = first_pass(WaveSound(wave, RATE)).gains[0], model.encoder_reach.before
    end = -wave.shape[1] % HOP + context * HOP
    padded = np.pad(wave * np.float32(gain), ((0, 0), (context * HOP, end)))
    with torch.inference_mode():
        whole = model.encode(torch.from_numpy(padded)).numpy()[:, context:-context]
    assert len(np.unique(whole)) > 10
    assert np.mean(stream.tokens == whole) > 0.9995  # sums of other shapes round otherwise, and ties are rare


def test_codes_of_vectors_are_those_of_the_whole_sound_at_once(hearing_codec: Codec) -> None:
    model, wave = hearing_codec.model, noise(1.3 * BLOCK_TOKENS * HOP / RATE)
    stream = hearing_codec.encode(wave, RATE)
    gain, context = first_pass(WaveSound(wave, RATE)).gains[0], model.encoder_reach.before
    end = -wave.shape[1] % (4 * HOP) + context * HOP
    padded = np.pad(wave * np.float32(gain), ((0, 0), (context * HOP, end)))
    with torch.inference_mode():
        whole = model.encode(torch.from_numpy(padded)).numpy()[:, context:-context]
    assert stream.tokens.shape == whole.shape
    assert len(np.unique(whole)) > 10
    assert np.mean(stream.tokens == whole) > 0.999


def test_facts_of_a_model_with_a_filter(hearing_model: Path) -> None:
    facts = facts_of(hearing_model)
    assert (facts.tokens_per_second, facts.bits_per_token) == (250, 7)


@pytest.mark.parametrize("samples", [0, 1, 255, 256, 257, 20000, 60000])
@pytest.mark.parametrize("coder", [Coder.PACKED, Coder.PRIOR])
def test_vectors_of_several_tokens_come_back(hearing_codec: Codec, samples: int, coder: Coder) -> None:
    wave = noise(samples / RATE)[:, :samples]
    stream = hearing_codec.encode(wave, RATE, coder)
    assert stream.header.tokens == -(-samples // 256) * 4
    file = io.BytesIO()
    stream.write(file, hearing_codec.block_coder(coder))
    file.seek(0)
    again = hearing_codec.read(file)
    np.testing.assert_array_equal(again.tokens, stream.tokens)
    for exact in (False, True):
        decoded = hearing_codec.decode(again, exact=exact)
        assert decoded.shape == wave.shape
        assert np.isfinite(decoded).all()


def test_a_channel_has_the_codes_that_it_has_alone(tiny_codec: Codec) -> None:
    wave = noise(0.5, channels=3)
    together = tiny_codec.encode(wave, RATE).tokens
    assert np.array_equal(together, np.concatenate([tiny_codec.encode(channel, RATE).tokens for channel in wave]))


def test_features_are_those_of_all_codes_at_once(tiny_codec: Codec) -> None:
    model = tiny_codec.model
    codes = np.random.default_rng(0).integers(0, 100, (1, 700)).astype(np.int32)
    pieces = [TokenRange(part, part < 0) for part in np.split(codes, [1, 250, 260, 600], axis=1)]
    windows = list(code_windows(pieces, 700, 256, model.conditioning_reach))
    assert np.array_equal(np.concatenate([w.codes[:, w.inner] for w in windows], axis=1), codes)
    features = np.concatenate([decoder_inputs(model, w.codes[0], None).part(w.inner).features for w in windows])
    assert np.allclose(features, decoder_inputs(model, codes[0], None).features, atol=1e-5)


def test_decoding_by_hand_gives_the_same(tiny_codec: Codec) -> None:
    model = tiny_codec.model
    stream = tiny_codec.encode(noise(0.5), RATE)
    draw = Sampler(model.decoder, mulaw.SILENCE_LEVEL, 0.9).stream()
    uniforms = np.random.default_rng([3, 0]).random(stream.header.tokens * HOP)
    symbols = draw.push(decoder_inputs(model, stream.tokens[0], None).features, uniforms)
    wave = emphasis.DeEmphasis(0.85)(mulaw.mu_law_decode(torch.from_numpy(symbols)).numpy())
    wave = wave[: stream.header.shape[0]] * stream.header.levels[0]
    assert np.array_equal(tiny_codec.decode(stream, seed=3)[0], wave.astype(np.float32))


def test_codes_of_quantizers_and_frames(hearing_codec: Codec) -> None:
    stream = hearing_codec.encode(noise(0.5, channels=2), RATE)
    quantizers = hearing_codec.num_quantizers
    assert stream.codes.shape == (2, quantizers, stream.header.tokens // quantizers) == (2, 4, stream.codes.shape[2])
    for index in range(quantizers):
        assert np.array_equal(stream.codes[:, index], stream.tokens[:, index::quantizers])
    again = hearing_codec.stream_of(stream.codes)
    assert np.array_equal(again.tokens, stream.tokens)
    file = io.BytesIO()
    stream.write(file)
    file.seek(0)
    assert np.array_equal(hearing_codec.read(file).codes, stream.codes)
    with pytest.raises(ContainerError, match=r"give \[channels, 4, frames\]"):
        hearing_codec.stream_of(stream.codes[:, :2])


def test_a_sound_is_passed_over_as_often_as_one_likes(tmp_path: Path) -> None:
    wave = noise(1.0, channels=2)
    with SoundWriter(tmp_path / "a.wav", RATE, 2) as writer:
        writer.write(wave)
    with SoundReader(tmp_path / "a.wav") as reader:
        for sound in (WaveSound(wave, RATE), reader):
            first, second = (np.concatenate(list(sound.blocks(700)), axis=1) for _ in range(2))
            assert np.array_equal(first, second)
            assert first.shape == wave.shape


def test_the_callers_model_is_left_alone(tiny_codec: Codec) -> None:
    model = copy.deepcopy(tiny_codec.model).requires_grad_(True).train()
    made = Codec(model, tiny_codec.fingerprint)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not made.model.training


class Ragged(WaveSound):
    """A sound whose blocks have other lengths than were asked for."""

    def blocks(self, frames: int) -> Iterator[Wave]:
        for block in super().blocks(frames):
            yield from np.array_split(block, [1, 900, 901, 5000], axis=1)


def test_codes_do_not_depend_on_the_pieces_that_a_sound_comes_in(tiny_codec: Codec) -> None:
    wave = noise(1, 44100)
    _, blocks = tiny_codec.encode_blocks(Ragged(wave, 44100))
    pieces = np.concatenate(list(blocks), axis=1)
    assert np.mean(pieces == tiny_codec.encode(wave, 44100).tokens) > 0.999


def test_files_and_arrays_take_the_same_path(tiny_codec: Codec, tmp_path: Path) -> None:
    wave = noise(9, 22050, 2)
    path = tmp_path / "in.wav"
    with SoundWriter(path, 22050, 2) as writer:
        writer.write(wave)
    with SoundReader(path) as reader:
        whole = np.concatenate(list(reader.blocks(1000)), axis=1)
        file = io.BytesIO()
        shares: list[float] = []
        done = tiny_codec.encode_file(reader, file, progress=shares.append)
    stream = tiny_codec.encode(whole, 22050)
    assert file.getvalue() == encoded(tiny_codec, whole, 22050)
    assert done.stream_bytes == len(file.getvalue())
    assert done.duration_s == 9
    assert shares == [BLOCK_TOKENS / stream.header.tokens, 1]
    decoded, damage = decoded_file(tiny_codec, file.getvalue(), tmp_path / "out.wav", seed=4)
    assert not damage
    assert np.allclose(decoded, tiny_codec.decode(stream, seed=4).clip(-1, 1), atol=1 / 32767)


# ------------------------------------------------------------------------------------------------------------ damage


def damaged(data: bytes) -> bytes:
    """One byte changed in the payload of a stream's first block."""
    at = data.index(b"\xb5\x4e") + 40
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def test_a_damaged_block_is_silent_and_told(tiny_codec: Codec, tmp_path: Path) -> None:
    wave = noise(1.2 * BLOCK_TOKENS * HOP / RATE)
    data = encoded(tiny_codec, wave)
    stream = Stream.read(io.BytesIO(damaged(data)))
    decoded = tiny_codec.decode(stream)
    assert decoded.shape == wave.shape
    lost = BLOCK_TOKENS * HOP
    assert not decoded[:, :lost].any()
    assert np.abs(decoded[:, lost + round(MUTE_RAMP_S * RATE) :]).mean() > 0
    from_file, lines = decoded_file(tiny_codec, damaged(data), tmp_path / "out.wav")
    assert lines == (f"channel 1 is damaged and silent from 0.00 s to {lost / RATE:.2f} s",)
    assert np.allclose(from_file, decoded.clip(-1, 1), atol=1 / 32767)


def test_damage_fades(tiny_codec: Codec) -> None:
    stream = tiny_codec.encode(noise(1), RATE)
    lost = np.zeros(stream.tokens.shape, bool)
    lost[:, 100:150] = True
    good, muted = (
        np.concatenate(list(tiny_codec.decode_blocks(stream.header, [TokenRange(stream.tokens, mask)])), axis=1)[0]
        for mask in (np.zeros_like(lost), lost)
    )
    ramp = round(MUTE_RAMP_S * RATE)
    start, end = 100 * HOP, 150 * HOP
    assert np.array_equal(good[:start], muted[:start])
    assert not muted[start + ramp : end].any()
    assert np.array_equal(good[end + ramp :], muted[end + ramp :])
    rising = (np.arange(ramp) + 1) / ramp
    assert np.allclose(muted[end : end + ramp], good[end : end + ramp] * rising, atol=1e-6)
    assert np.allclose(muted[start : start + ramp], good[start : start + ramp] * (1 - rising), atol=1e-6)


def test_a_stream_that_is_cut_short_keeps_its_length(tiny_codec: Codec, tmp_path: Path) -> None:
    wave = noise(0.5, channels=2)
    decoded, lines = decoded_file(tiny_codec, encoded(tiny_codec, wave)[:-100], tmp_path / "out.wav")
    assert decoded.shape == wave.shape
    assert lines == ("channel 2 is damaged and silent from 0.00 s to 0.50 s",)


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("wave", "words"),
    [
        (np.array([0.0, np.nan]), "NaN"),
        (np.array([0.0, 0.0, np.inf]), "sample 2"),
        (np.array([1e300]), "infinity"),
        (np.zeros((0, 10)), "0 channels"),
        (np.zeros((16000, 2)), "16000 channels"),
        (np.zeros((1, 2, 3)), "shape"),
        (np.float32(0.5), "shape"),
        (np.zeros(10, np.int16), "int16"),
    ],
)
def test_what_is_no_wave(tiny_codec: Codec, wave: Wave, words: str) -> None:
    with pytest.raises(SoundError, match=words):
        tiny_codec.encode(wave, RATE)


@pytest.mark.parametrize("sample_rate_hz", [0, -16000, 999, 768001])
def test_bad_rates(tiny_codec: Codec, sample_rate_hz: int) -> None:
    with pytest.raises(SoundError, match="rate"):
        tiny_codec.encode(np.zeros(10, np.float32), sample_rate_hz)
    with pytest.raises(SoundError, match="rate"):
        tiny_codec.decode(tiny_codec.encode(np.zeros(10, np.float32), RATE), sample_rate_hz=sample_rate_hz)


def test_rates_that_are_no_whole_numbers(tiny_codec: Codec) -> None:
    with pytest.raises(SoundError, match="whole"):
        tiny_codec.encode(np.zeros(10, np.float32), 16000.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [{"seed": -1}, {"seed": 2**63}, {"temperature": 0.0}, {"temperature": float("nan")}]
)
def test_bad_options(tiny_codec: Codec, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        tiny_codec.decode(tiny_codec.encode(np.zeros(10, np.float32), RATE), **options)


def test_another_models_stream_is_refused(tiny_codec: Codec, other_model: Path) -> None:
    other = codec.load(other_model, "cpu")
    assert other.fingerprint != tiny_codec.fingerprint
    with pytest.raises(ModelError) as caught:
        other.decode(tiny_codec.encode(np.zeros(10, np.float32), RATE))
    for fingerprint in (other.fingerprint, tiny_codec.fingerprint):
        assert fingerprint.hex()[:12] in str(caught.value)


def test_headers_that_contradict_themselves(tiny_codec: Codec) -> None:
    header = tiny_codec.encode(noise(0.1), RATE).header
    for change in ({"shape": (10**9,)}, {"codebook_size": 99}, {"sample_rate_hz": 8000}, {"coder": Coder.PRIOR}):
        with pytest.raises(ContainerError):
            tiny_codec.decode_blocks(replace(header, **change), [])


# ------------------------------------------------------------------------------------------------------------ models


def test_unknown_models() -> None:
    with pytest.raises(ModelError, match="no such model here: is no model"):
        codec.load("no such model here")


def test_unknown_names_list_the_known(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "speech").symlink_to(tiny_model)
    monkeypatch.setattr(bundled, "PRETRAINED", tmp_path)
    assert bundled.bundled() == ["speech"]
    assert bundled.model_folder("speech") == tmp_path / "speech"
    with pytest.raises(ModelError, match=r"did you mean speech\?"):
        codec.load("speach")
    assert bundled.find_bundled(codec.load("speech", "cpu").fingerprint) == "speech"
    assert bundled.find_bundled(bytes(32)) is None


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model"):
        codec.load(tmp_path)


def test_devices(tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match="tpu"):
        codec.load(tiny_model, "tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="CUDA"):
            codec.load(tiny_model, "cuda")


def test_model_facts(tiny_model: Path, tiny_codec: Codec) -> None:
    facts = facts_of(tiny_model)
    assert facts.name == "tiny"
    assert facts.tokens_per_second == 250
    assert facts.bits_per_token == bits_per_code(100) == 7
    assert facts.bits_per_second == 1750
    assert facts.parameters == sum(parameter.numel() for parameter in tiny_codec.model.parameters())
    assert facts.sha256 == tiny_codec.fingerprint.hex()
    assert facts.training == {"step": 7}


def test_stream_facts(tiny_codec: Codec) -> None:
    wave = noise(1, channels=2)
    data = encoded(tiny_codec, wave)
    facts = stream_facts(OpenStream(io.BytesIO(data)))
    assert facts.coded.bits_per_second == 8 * len(data)
    assert facts.codes_used == len(np.unique(tiny_codec.encode(wave, RATE).tokens))
    assert 0 < facts.entropy_bits <= np.log2(facts.codes_used)
    assert facts.model is None
    empty = stream_facts(OpenStream(io.BytesIO(encoded(tiny_codec, np.zeros((1, 0), np.float32)))))
    assert (empty.coded.bits_per_second, empty.codes_used, empty.entropy_bits) == (None, 0, 0)


# ----------------------------------------------------------------------------------------- what callers may give it


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_of_any_floats_are_coded(tiny_codec: Codec, kind: torch.dtype) -> None:
    wave = (torch.arange(2000) % 16 / 16 - 0.5).to(kind).requires_grad_()  # exact in each of them
    expected = tiny_codec.encode(wave.detach().float().numpy(), 16000)
    np.testing.assert_array_equal(tiny_codec.encode(wave, 16000).tokens, expected.tokens)


@pytest.mark.parametrize("rate", [None, "16000", float("nan"), float("inf"), 16000.5])
def test_rates_that_are_none_are_refused(tiny_codec: Codec, rate: object) -> None:
    with pytest.raises(SoundError, match="sample rate"):
        tiny_codec.encode(np.zeros(100, np.float32), rate)  # type: ignore[arg-type]


def test_a_turned_array_is_noticed(tiny_codec: Codec) -> None:
    with pytest.raises(SoundError, match="transpose it"):
        tiny_codec.encode(np.zeros((16000, 2), np.float32), 16000)


@pytest.mark.parametrize("given", ["nonsense", 7, b"prior"])
def test_unknown_coders_are_refused_at_once(tiny_codec: Codec, given: object) -> None:
    with pytest.raises(ConfigError, match="give 'prior' or 'packed'"):
        tiny_codec.encode(np.zeros(100, np.float32), 16000, given)  # type: ignore[arg-type]


def test_coders_go_by_name(talking_codec: Codec) -> None:
    wave = np.zeros(1000, np.float32)
    for name in ("prior", "packed"):
        assert talking_codec.encode(wave, 16000, name).header.coder is Coder[name.upper()]


@pytest.mark.parametrize(("seed", "temperature"), [(None, None), (0.5, None), (-1, None), (0, "hot"), (0, 0.0)])
def test_draws_of_no_sense_are_refused(tiny_codec: Codec, seed: object, temperature: object) -> None:
    stream = tiny_codec.encode(np.zeros(100, np.float32), 16000)
    with pytest.raises(ConfigError, match="is not valid"):
        tiny_codec.decode(stream, seed, temperature)  # type: ignore[arg-type]


def test_a_codec_and_a_stream_tell_their_figures(hearing_codec: Codec) -> None:
    stream = hearing_codec.encode(np.zeros(8820, np.float32), 44100)
    assert (hearing_codec.sample_rate, hearing_codec.channels, hearing_codec.num_quantizers) == (16000, 1, 4)
    assert hearing_codec.frame_rate == 16000 / 256
    assert (stream.sample_rate_hz, stream.duration_s) == (44100, 0.2)
    file = io.BytesIO()
    stream.write(file)
    assert stream.bits_per_second == 8 * len(file.getvalue()) / 0.2


def test_bundled_models_go_by_a_path_of_their_name(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    monkeypatch.setattr(bundled, "PRETRAINED", tiny_model.parent)
    assert bundled.model_folder(Path(tiny_model.name)) == tiny_model
