"""Source and filter: taken apart and put together again, pitch heard where it was planted, pulses where they lie."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import HEARING, PRIOR, TINY

from vqaudio.codecs.speech import Codec
from vqaudio.codecs.vocoder import DecoderInputs, SourceParameters, SymbolSynthesizer, decoder_inputs
from vqaudio.dsp import all_pole, emphasis, mel, mulaw, pitch, pitch_phase
from vqaudio.errors import ConfigError
from vqaudio.kernels.source_filter import Crossover, Synthesis
from vqaudio.models import checkpoint
from vqaudio.models.config import MelConfig
from vqaudio.models.speech_vqvae import AudioVQVAE

RATE, HOP, PHASES = 16000, 64, 33
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


def tract_of(wave: torch.Tensor, pre_emphasis: float) -> all_pole.Filter:
    return all_pole.Envelope(RATE, *MEL, pre_emphasis)(mel.log_mel(wave, RATE, MEL[0], HOP, MEL[1]))


@pytest.mark.parametrize("pre_emphasis", [0.0, 0.85])
def test_the_filter_whitens_and_its_inverse_restores(pre_emphasis: float) -> None:
    noise = torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    coloured = emphasis.pre_emphasis(torch.cumsum(noise, 1) * 0.01, 0.95) + 0.02 * noise  # sloped as a vowel
    wave = emphasis.pre_emphasis(coloured, pre_emphasis)
    tract = tract_of(coloured, pre_emphasis)
    driven = all_pole.excitation(wave, tract)
    assert 0.8 < float(driven[:, 2000:-2000].std()) < 1.2
    spectrum = torch.fft.rfft(driven[0, 2000:-2000]).abs().square()
    bands = torch.stack([band.mean() for band in spectrum[100:].chunk(20)])
    assert bands.max() < 2 * bands.min()
    synthesis, half = Synthesis(all_pole.ORDER), RATE // 2 // HOP
    coefficients, gain = tract.coefficients[0].numpy(), tract.gain[0].numpy()
    parts = [
        synthesis(driven[0, : half * HOP].numpy(), coefficients[:half], gain[:half]),
        synthesis(driven[0, half * HOP :].numpy(), coefficients[half:], gain[half:]),
    ]
    np.testing.assert_allclose(np.concatenate(parts), wave[0], atol=1e-5)


@pytest.mark.parametrize("hz", [70.0, 110.0, 180.0, 350.0])
def test_the_pitch_of_a_buzz_is_heard(hz: float) -> None:
    wave, _ = pulses(hz)
    target = pitch.pitch_target(wave, RATE, HOP)
    assert torch.allclose(target.sum(1), torch.ones(1, RATE // HOP))
    heard = pitch.read_pitch((target + 1e-9).log())
    inside = slice(12, -12)
    assert bool(heard.voiced[:, inside].all())
    assert torch.allclose(heard.hz[:, inside], torch.tensor(hz), rtol=0.02)


def test_noise_and_silence_have_no_pitch() -> None:
    noise = torch.randn(2, RATE, generator=torch.Generator().manual_seed(1))
    noise[1] = 0.0
    voiced = pitch.read_pitch((pitch.pitch_target(noise, RATE, HOP) + 1e-9).log()).voiced
    assert voiced.float().mean() < 0.1


@pytest.mark.parametrize("hz", [90.0, 215.0])
def test_periods_begin_with_the_pulses(hz: float) -> None:
    wave, places = pulses(hz)
    tract = tract_of(wave, 0.0)
    driven = all_pole.excitation(wave, tract) / all_pole.RANGE
    off = 1.003 * hz  # the pitch is never quite right
    passed = pitch_phase.locked(pitch_phase.periods(torch.full((1, RATE // HOP), off), RATE, HOP), driven, HOP)[0]
    inner = places[(places > 1000) & (places < RATE - 1000)]
    away = (passed[torch.from_numpy(inner)] + 0.5).remainder(1.0) - 0.5
    assert away.abs().max() < 0.08


def test_marks_count_the_shares_of_a_period() -> None:
    passed, voiced = torch.arange(0, 2, 1 / 16, dtype=torch.float64)[None], torch.tensor([[True, False]])
    phases = pitch_phase.phase_index(passed, voiced, 9)[0].tolist()
    assert phases == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7] + [8] * 16


# ------------------------------------------------------------------------------------------------------- in a model

CONFIG = dataclasses.replace(
    TINY, mels=(MelConfig(400, 40),), excitation=True, decoder=dataclasses.replace(TINY.decoder, phases=PHASES)
)


@pytest.fixture(scope="module")
def codec() -> Codec:
    torch.manual_seed(3)
    return Codec(checkpoint.build(CONFIG), bytes(32))


def test_decoding_by_hand_gives_the_same(codec: Codec) -> None:
    from vqaudio.codecs.sampler import Sampler

    wave, _ = pulses(120.0, 0.5)
    stream = codec.encode(wave[0].numpy(), RATE)
    drawn_by = decoder_inputs(codec.model, stream.tokens[0], None)
    assert drawn_by.parameters is not None
    uniforms = np.random.default_rng([3, 0]).random(stream.header.tokens * HOP)
    draw = Sampler(codec.model.decoder, mulaw.SILENCE_LEVEL, 0.9).stream()
    symbols = draw.push(drawn_by.features, uniforms, drawn_by.phase_index(CONFIG.decoder, 0.0))
    driven = all_pole.RANGE * mulaw.mu_law_decode(torch.from_numpy(symbols)).numpy()
    taps, gain = drawn_by.parameters.coefficients, drawn_by.parameters.gain
    expected = emphasis.DeEmphasis(0.85)(Synthesis(all_pole.ORDER)(driven, taps, gain))
    decoded = codec.decode(stream, seed=3, exact=True)[0]
    np.testing.assert_array_equal(decoded, (expected[: len(decoded)] * stream.header.levels[0]).astype(np.float32))


def test_pulses_go_on_from_block_to_block(codec: Codec) -> None:
    """The phases of a sound decoded block by block are those of the whole: no pulse comes early or late."""
    codes = np.random.default_rng(0).integers(0, 100, 700).astype(np.int32)
    whole = decoder_inputs(codec.model, codes, None)
    begun, parts = 0.0, []
    for frames in (slice(0, 256), slice(256, 512), slice(512, 700)):
        own = whole.part(frames)
        parts.append(own.phase_index(CONFIG.decoder, begun))
        begun += own.periods(HOP)
    together = whole.phase_index(CONFIG.decoder, 0.0)
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
    for part in (model.pitch_head, model.mel_head, model.decoder.phase_embedding, model.encoder.out):
        assert part is not None
        assert part.weight.grad is not None
        assert part.weight.grad.abs().sum() > 0
    with pytest.raises(ConfigError, match="excitation = true"):
        checkpoint.build(TINY).set_objective({"pitch": 1.0})


@pytest.mark.parametrize(("excitation", "phases"), [(True, 0), (True, 8), (False, 129)])
def test_marks_go_with_the_excitation(excitation: bool, phases: int) -> None:
    with pytest.raises(ConfigError, match=r"decoder\.phases"):
        dataclasses.replace(TINY, excitation=excitation, decoder=dataclasses.replace(TINY.decoder, phases=phases))


@pytest.mark.parametrize(("stages", "phases"), [(1, 4), (4, 0), (4, 2)])
def test_a_prior_has_a_mark_for_each_stage(stages: int, phases: int) -> None:
    prior = dataclasses.replace(PRIOR, phases=phases)
    with pytest.raises(ConfigError, match=r"prior\.phases"):
        dataclasses.replace(
            HEARING, prior=prior, quantizer=dataclasses.replace(HEARING.quantizer, num_quantizers=stages)
        )


# ------------------------------------------------------------------------------------------------- pulses below, alone


@pytest.mark.parametrize("hz", [80.0, 150.0, 300.0])
def test_a_buzz_is_most_periodic_at_its_pitch(hz: float) -> None:
    wave, _ = pulses(hz)
    heard = pitch.periodicity(wave, RATE, HOP)
    assert heard.shape == (1, pitch.PITCHES, RATE // HOP)
    scale, inside = pitch.pitch_scale(wave.device), heard[0, :, 12:-12]
    own = int((scale - hz).abs().argmin())
    assert inside[own].min() > 0.8
    assert not pitch.periodicity(torch.zeros(1, 4096), RATE, HOP).any()


def low_part(wave: np.ndarray) -> np.ndarray:
    """What of ``wave`` lies below 1 kHz."""
    return np.fft.irfft(np.fft.rfft(wave)[: len(wave) // 16], len(wave))


def voiced_score(model: AudioVQVAE, hz: float, frames: int) -> DecoderInputs:
    """Any features, a flat filter, and a voice of one pitch in all but the first frames."""
    voiced = np.arange(frames) >= 20
    coefficients = np.zeros((frames, all_pole.ORDER), np.float32)
    parameters = SourceParameters(np.full(frames, hz / RATE), voiced, coefficients, np.ones(frames, np.float32))
    return DecoderInputs(np.zeros((frames, model.config.decoder.features), np.float32), parameters)


def test_below_the_crossover_a_voice_is_its_pulses() -> None:
    model = checkpoint.build(dataclasses.replace(CONFIG, pre_emphasis=0.0, pulses_hz=3000.0))
    assert isinstance(model, AudioVQVAE)
    drawn_by, rng = voiced_score(model, 125.0, 300), np.random.default_rng(0)
    one, other = (SymbolSynthesizer(model)(rng.integers(64, 192, 300 * HOP), drawn_by, 0.25) for _ in range(2))
    voiced = slice(40 * HOP, 40 * HOP + 128 * 125)  # whole periods of 128 samples
    assert np.square(low_part(one[voiced] - other[voiced])).sum() < 0.05 * np.square(low_part(one[voiced])).sum()
    harmonics = np.abs(np.fft.rfft(one[voiced]))[125 : 8 * 125]
    assert np.square(harmonics[::125]).sum() > 0.9 * np.square(harmonics).sum()
    unvoiced = slice(0, 20 * HOP)
    assert np.abs(one[unvoiced] - other[unvoiced]).max() > 0.1  # all of it is drawn


def test_pulses_are_the_same_block_by_block() -> None:
    model = checkpoint.build(dataclasses.replace(CONFIG, pulses_hz=3000.0))
    assert isinstance(model, AudioVQVAE)
    drawn_by, symbols = voiced_score(model, 131.0, 60), np.random.default_rng(1).integers(64, 192, 60 * HOP)
    whole = SymbolSynthesizer(model)(symbols, drawn_by, 0.4)
    restore, begun, parts = SymbolSynthesizer(model), 0.4, []
    for first, last in ((0, 1), (1, 37), (37, 37), (37, 60)):
        own = drawn_by.part(slice(first, last))
        parts.append(restore(symbols[first * HOP : last * HOP], own, begun))
        begun += own.periods(HOP)
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)


def test_the_crossover_is_that_of_scipy() -> None:
    from scipy.signal import butter, sosfilt

    rng = np.random.default_rng(0)
    pulses_, drawn = rng.standard_normal((2, 600))
    voiced = np.arange(6) % 3 > 0
    cross = Crossover(0.3)
    parts = [
        cross(pulses_[part], drawn[part], voiced[low : low + 3])
        for part, low in ((slice(300), 0), (slice(300, 600), 3))
    ]
    low, high = (
        sosfilt(butter(2, 0.3, kind, output="sos"), x) for kind, x in (("lowpass", pulses_), ("highpass", drawn))
    )
    expected = np.where(np.repeat(voiced, 100), low + high, drawn)
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-9)


def test_a_rate_whose_periods_do_not_fit_the_window_is_refused() -> None:
    with pytest.raises(ConfigError, match="sample_rate_hz"):
        dataclasses.replace(HEARING, sample_rate_hz=96000)


@pytest.mark.parametrize(("n_fft", "n_mels"), [(400, 80), (400, 1), (64, 40)])
def test_a_spectrum_too_fine_for_its_window_gives_no_filter(n_fft: int, n_mels: int) -> None:
    with pytest.raises(ConfigError, match="mels"):
        dataclasses.replace(CONFIG, mels=(MelConfig(1024, 80), MelConfig(n_fft, n_mels)))


@pytest.mark.parametrize(("excitation", "pulses_hz"), [(False, 100.0), (True, -1.0), (True, 8000.0)])
def test_pulses_need_an_excitation_and_a_band(excitation: bool, pulses_hz: float) -> None:
    with pytest.raises(ConfigError, match="pulses_hz"):
        dataclasses.replace(CONFIG if excitation else TINY, pulses_hz=pulses_hz)
