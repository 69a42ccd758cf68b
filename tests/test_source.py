"""Source and filter: taken apart and put together again, pitch heard where it was planted, pulses where they lie."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import PRIOR, TINY

from vqaudio import audio, checkpoint, source
from vqaudio.codec import Codec
from vqaudio.errors import ConfigError
from vqaudio.kernels.synthesis import Synthesis
from vqaudio.speaking import score

RATE, HOP, MARKS = 16000, 64, 33
MEL = (400, 40)


def pulses(hz: float, seconds: float = 1.0, first: int = 37) -> tuple[torch.Tensor, np.ndarray]:
    """A buzz through two formants, and the samples on which its pulses lie."""
    places = np.round(np.arange(first, seconds * RATE, RATE / hz)).astype(int)
    wave = np.zeros(round(seconds * RATE))
    wave[places] = 1.0
    for formant_hz, radius in ((600, 0.97), (1800, 0.95)):
        turn = 2 * radius * np.cos(2 * np.pi * formant_hz / RATE)
        for t in range(2, len(wave)):
            wave[t] += turn * wave[t - 1] - radius**2 * wave[t - 2]
    return torch.from_numpy(0.1 * wave / wave.std()).float()[None], places


def tract_of(wave: torch.Tensor, pre_emphasis: float) -> source.Filter:
    return source.Envelope(RATE, *MEL, pre_emphasis)(audio.log_mel(wave, RATE, MEL[0], HOP, MEL[1]))


@pytest.mark.parametrize("pre_emphasis", [0.0, 0.85])
def test_the_filter_whitens_and_its_inverse_restores(pre_emphasis: float) -> None:
    noise = torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    coloured = audio.pre_emphasis(torch.cumsum(noise, 1) * 0.01, 0.95) + 0.02 * noise  # about that of a vowel's slope
    wave = audio.pre_emphasis(coloured, pre_emphasis)
    tract = tract_of(coloured, pre_emphasis)
    driven = source.excitation(wave, tract)
    assert 0.8 < float(driven[:, 2000:-2000].std()) < 1.2
    spectrum = torch.fft.rfft(driven[0, 2000:-2000]).abs().square()
    bands = torch.stack([band.mean() for band in spectrum[100:].chunk(20)])
    assert bands.max() < 2 * bands.min()
    synthesis, half = Synthesis(source.ORDER), RATE // 2 // HOP
    coefficients, gain = tract.coefficients[0].numpy(), tract.gain[0].numpy()
    parts = [
        synthesis(driven[0, : half * HOP].numpy(), coefficients[:half], gain[:half]),
        synthesis(driven[0, half * HOP :].numpy(), coefficients[half:], gain[half:]),
    ]
    np.testing.assert_allclose(np.concatenate(parts), wave[0], atol=1e-5)


@pytest.mark.parametrize("hz", [70.0, 110.0, 180.0, 350.0])
def test_the_pitch_of_a_buzz_is_heard(hz: float) -> None:
    wave, _ = pulses(hz)
    target = source.pitch_target(wave, RATE, HOP)
    assert torch.allclose(target.sum(1), torch.ones(1, RATE // HOP))
    heard = source.read_pitch((target + 1e-9).log())
    inside = slice(12, -12)
    assert bool(heard.voiced[:, inside].all())
    assert torch.allclose(heard.hz[:, inside], torch.tensor(hz), rtol=0.02)


def test_noise_and_silence_have_no_pitch() -> None:
    noise = torch.randn(2, RATE, generator=torch.Generator().manual_seed(1))
    noise[1] = 0.0
    voiced = source.read_pitch((source.pitch_target(noise, RATE, HOP) + 1e-9).log()).voiced
    assert voiced.float().mean() < 0.1


@pytest.mark.parametrize("hz", [90.0, 215.0])
def test_periods_begin_with_the_pulses(hz: float) -> None:
    wave, places = pulses(hz)
    tract = tract_of(wave, 0.0)
    driven = source.excitation(wave, tract) / source.RANGE
    off = 1.003 * hz  # the pitch is never quite right
    passed = source.locked(source.periods(torch.full((1, RATE // HOP), off), RATE, HOP), driven, HOP)[0]
    inner = places[(places > 1000) & (places < RATE - 1000)]
    away = (passed[torch.from_numpy(inner)] + 0.5).remainder(1.0) - 0.5
    assert away.abs().max() < 0.08


def test_marks_count_the_shares_of_a_period() -> None:
    passed, voiced = torch.arange(0, 2, 1 / 16, dtype=torch.float64)[None], torch.tensor([[True, False]])
    marks = source.marks(passed, voiced, 9)[0].tolist()
    assert marks == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7] + [8] * 16


# ------------------------------------------------------------------------------------------------------- in a model

CONFIG = dataclasses.replace(TINY, excitation=True, decoder=dataclasses.replace(TINY.decoder, marks=MARKS))


@pytest.fixture(scope="module")
def codec() -> Codec:
    torch.manual_seed(3)
    return Codec(checkpoint.build(CONFIG), bytes(32))


def test_decoding_by_hand_gives_the_same(codec: Codec) -> None:
    from vqaudio.sample import Sampler

    wave, _ = pulses(120.0, 0.5)
    stream = codec.encode(wave[0].numpy(), RATE)
    drawn_by = score(codec.model, stream.codes[0], None)
    assert drawn_by.voicing is not None
    uniforms = np.random.default_rng([3, 0]).random(stream.header.tokens * HOP)
    draw = Sampler(codec.model.decoder, audio.SILENCE_LEVEL, 0.9).stream()
    symbols = draw.push(drawn_by.features, uniforms, drawn_by.marks(CONFIG.decoder, 0.0))
    driven = source.RANGE * audio.mu_law_decode(torch.from_numpy(symbols)).numpy()
    taps, gain = drawn_by.voicing.coefficients, drawn_by.voicing.gain
    expected = audio.DeEmphasis(0.85)(Synthesis(source.ORDER)(driven, taps, gain))
    decoded = codec.decode(stream, seed=3, exact=True)[0]
    np.testing.assert_array_equal(decoded, (expected[: len(decoded)] * stream.header.levels[0]).astype(np.float32))


def test_pulses_go_on_from_block_to_block(codec: Codec) -> None:
    """The marks of a sound decoded block by block are those of the whole: no pulse comes early or late."""
    codes = np.random.default_rng(0).integers(0, 100, 700).astype(np.int32)
    whole = score(codec.model, codes, None)
    begun, parts = 0.0, []
    for frames in (slice(0, 256), slice(256, 512), slice(512, 700)):
        own = whole.part(frames)
        parts.append(own.marks(CONFIG.decoder, begun))
        begun += own.periods(HOP)
    together = whole.marks(CONFIG.decoder, 0.0)
    assert together is not None
    assert (np.concatenate(parts) != together).mean() < 1e-3  # where rounding falls on an edge


@pytest.mark.parametrize("seconds", [0.0, 0.3, 2.5])
def test_every_length_comes_back(codec: Codec, seconds: float) -> None:
    wave = pulses(150.0, seconds)[0][0].numpy() if seconds else np.zeros(0, np.float32)
    stream = codec.encode(wave, RATE)
    decoded = codec.decode(stream, seed=1)
    assert decoded.shape == (1, len(wave))
    assert np.isfinite(decoded).all()
    np.testing.assert_array_equal(codec.decode(stream, seed=1), decoded)


def test_the_likelihood_is_that_of_the_wave(codec: Codec) -> None:
    """Ten times louder, all else equal, each 16-bit value is log2(10) bits less likely: the excitation is the same."""
    model = codec.model
    wave = 0.05 * torch.randn(1, 4096, generator=torch.Generator().manual_seed(2))
    features = model.features(model.encode(wave))
    with torch.no_grad():
        soft = model.decoder_nll(features, wave, 4096)
        model.mel_head.bias += np.log(10)
        loud = model.decoder_nll(features, 10 * wave, 4096)
        model.mel_head.bias -= np.log(10)
    assert float(loud - soft) == pytest.approx(np.log(10), abs=0.02)


def test_all_terms_learn_and_the_pitch_needs_an_excitation() -> None:
    model = checkpoint.build(CONFIG)
    model.train()
    batch = {"wave": pulses(100.0, 0.256)[0], "speaker": torch.zeros(1, dtype=torch.int64)}
    loss = model.loss(batch)
    loss.total.backward()
    assert {"pitch", "mel", "nll"} <= set(loss.metrics)
    for part in (model.pitch_head, model.mel_head, model.decoder.marks, model.encoder.out):
        assert part is not None
        assert part.weight.grad is not None
        assert part.weight.grad.abs().sum() > 0
    with pytest.raises(ConfigError, match="excitation = true"):
        checkpoint.build(TINY).set_objective({"pitch": 1.0})


@pytest.mark.parametrize(("excitation", "marks"), [(True, 0), (True, 8), (False, 129)])
def test_marks_go_with_the_excitation(excitation: bool, marks: int) -> None:
    with pytest.raises(ConfigError, match=r"decoder\.marks"):
        dataclasses.replace(TINY, excitation=excitation, decoder=dataclasses.replace(TINY.decoder, marks=marks))


def test_a_prior_has_no_marks() -> None:
    with pytest.raises(ConfigError, match=r"prior\.marks"):
        dataclasses.replace(TINY, prior=dataclasses.replace(PRIOR, marks=4))
