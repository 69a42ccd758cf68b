"""autoencoder.py: shapes, how far a token sees, the windowed likelihood, the objective, and that all of it learns."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from conftest import HEARING
from torch import Tensor

from vqaudio.dsp import emphasis, mulaw
from vqaudio.errors import ConfigError
from vqaudio.models.config import (
    AudioVQVAEConfig,
    AugmentConfig,
    ConditioningConfig,
    EncoderConfig,
    MelConfig,
    QuantizerConfig,
    WaveNetConfig,
)
from vqaudio.models.speech_vqvae import AudioVQVAE

HOP, RATE_HZ, BITS = 8, 8000, math.log(2)


def tiny(**settings: Any) -> AudioVQVAEConfig:
    defaults = {
        "sample_rate_hz": RATE_HZ,
        "quantizer": QuantizerConfig(codebook_size=32, code_dim=8),
        "encoder": EncoderConfig(channels=(8, 8, 12), residual_dilations=(1, 2)),
        "conditioning": ConditioningConfig(channels=12, residual_dilations=(1, 2), features=10),
        "decoder": WaveNetConfig(residual=16, skip=16, hidden=24, dilations=(1, 2, 4, 8), features=10, hop_length=HOP),
        "mels": (MelConfig(128, 10), MelConfig(64, 6)),
        "decoder_window": 4096,
    }
    return AudioVQVAEConfig(**(defaults | settings))


def build(**settings: Any) -> AudioVQVAE:
    torch.manual_seed(0)
    return AudioVQVAE(tiny(**settings))


def batch_of(wave: Tensor, speakers: list[int] | None = None) -> dict[str, Tensor]:
    return {"wave": wave, "speaker": torch.tensor(speakers or [0] * len(wave))}


def noise(rows: int, samples: int) -> Tensor:
    return 0.1 * torch.randn(rows, samples, generator=torch.Generator().manual_seed(5))


# --- Shapes and reach -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 3, 6])
def test_shapes_follow_the_hop(layers: int) -> None:
    hop = 2**layers
    model = build(
        encoder=EncoderConfig(channels=(4,) * layers),
        decoder=WaveNetConfig(residual=4, skip=4, hidden=4, dilations=(1,), features=10, hop_length=hop),
        decoder_window=hop,
    ).eval()
    wave = noise(2, 5 * hop)
    assert model.samples_per_token == hop
    assert model.encoder(wave).shape == (2, 8, 5)
    codes = model.encode(wave)
    assert codes.shape == (2, 5)
    assert codes.dtype == torch.int64
    assert model.features(codes).shape == (2, 10, 5)


def test_each_vector_keeps_its_scale() -> None:
    z = build().encoder(noise(2, 64 * HOP) * torch.tensor([[1e-3], [5.0]]))
    torch.testing.assert_close(z.mean(1), torch.zeros(2, 64), atol=1e-3, rtol=0)
    torch.testing.assert_close(z.var(1, correction=0), torch.ones(2, 64), atol=0.05, rtol=0)


def crop_of_tokens(
    model: AudioVQVAE, context: int, whole: int = 60, first: int = 25, last: int = 35
) -> tuple[slice, slice]:
    assert context < first
    assert last + context < whole
    return slice(first - context, last + context), slice(context, context + last - first)


def test_context_tokens_suffice_for_the_encoder() -> None:
    model = build().eval()
    wave = noise(1, 60 * HOP)
    cut, middle = crop_of_tokens(model, model.encoder_reach.before)
    part = wave[:, cut.start * HOP : cut.stop * HOP]
    torch.testing.assert_close(model.encoder(part)[:, :, middle], model.encoder(wave)[:, :, 25:35])
    assert torch.equal(model.encode(part)[:, middle], model.encode(wave)[:, 25:35])
    # and it is no guess: with the blocks' reach alone the edges show
    cut, middle = crop_of_tokens(model, 0)
    part = wave[:, cut.start * HOP : cut.stop * HOP]
    assert not torch.allclose(model.encoder(part)[:, :, middle], model.encoder(wave)[:, :, 25:35], atol=1e-3)


def hearing() -> AudioVQVAE:
    torch.manual_seed(0)
    return AudioVQVAE(HEARING)


def test_an_encoder_of_the_spectrum_hears_no_further_than_its_context() -> None:
    model = hearing().eval()
    for name, value in model.encoder.named_parameters():
        if "pointwise" in name:  # which begin at zero
            torch.nn.init.normal_(value, std=0.1)
    vector, context = 4 * 64, model.config.encoder.reach.before
    assert model.encoder_reach.before == 4 * context
    wave = noise(1, 60 * vector)
    part = wave[:, (25 - context) * vector : (35 + context) * vector]
    torch.testing.assert_close(
        model.encoder(part)[:, :, context:-context], model.encoder(wave)[:, :, 25:35], atol=1e-4, rtol=1e-3
    )
    assert model.encode(wave).shape == (1, 240)
    assert model.features(model.encode(wave)).shape == (1, 16, 240)


def test_an_encoder_of_the_spectrum_begins_as_a_linear_map() -> None:
    model = hearing().eval()
    z = torch.randn(3, 8, 20)
    z[2] = 0.3 * z[0] + 0.7 * z[1]
    with torch.no_grad():
        features = model.conditioning(z)
    torch.testing.assert_close(features[2], 0.3 * features[0] + 0.7 * features[1], atol=1e-4, rtol=1e-3)


def test_all_of_a_model_that_hears_a_spectrum_learns() -> None:
    model = hearing().train()
    model.loss(batch_of(noise(2, 40 * 256))).total.backward()
    still = {name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()}
    # behind layers that begin at zero nothing moves in the first step
    assert all("dilated" in name for name in still), still


@pytest.mark.parametrize(
    ("part", "settings", "word"),
    [
        ("encoder", {"strides": (3,)}, "strides"),
        ("encoder", {"strides": (2, 2)}, "strides"),
        ("encoder", {"spectrum_hop": 0}, "spectrum_hop"),
        ("quantizer", {"num_quantizers": 3}, "num_quantizers"),
        ("quantizer", {"num_quantizers": 8}, "conditioning.frames_per_vector"),
    ],
)
def test_bad_layouts_are_named(part: str, settings: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        dataclasses.replace(HEARING, **{part: dataclasses.replace(getattr(HEARING, part), **settings)})


def test_context_tokens_suffice_for_the_conditioning() -> None:
    model = build().eval()
    codes = torch.randint(32, (1, 60))
    whole = model.features(codes)[:, :, 25:35]
    cut, middle = crop_of_tokens(model, model.conditioning_reach.before)
    torch.testing.assert_close(model.features(codes[:, cut])[:, :, middle], whole)
    cut, middle = crop_of_tokens(model, model.conditioning_reach.before - 1)
    assert not torch.allclose(model.features(codes[:, cut])[:, :, middle], whole, atol=1e-5)


# --- The windowed likelihood ------------------------------------------------------------------------------------------


def test_the_windows_likelihood_is_that_of_the_whole_crop() -> None:
    window, length = 16 * HOP, 40 * HOP
    model = build(decoder_window=window).eval()
    wave = noise(2, length)
    features = model.features(model.encode(wave))
    scored: list[Tensor] = []
    nll = model.decoder.nll
    model.decoder.nll = lambda logits, symbols: scored.append(nll(logits, symbols)) or scored[-1]  # type: ignore[method-assign]
    mean = model.decoder_nll(features, wave)
    # the whole crop, sample after sample: each symbol given the one before it, silence before the first
    symbols = mulaw.mu_law_encode(wave)
    past = torch.cat([torch.full((2, 1), mulaw.SILENCE_LEVEL), symbols[:, :-1]], 1)
    logits = model.decoder(past, features)
    naive = -logits.log_softmax(1).gather(1, symbols[:, None])[:, 0]
    first = (length - window) // 2
    seen = model.decoder.config.receptive_field  # the window's first predictions lack what lies before it
    torch.testing.assert_close(scored[0][:, seen:], naive[:, first + seen : first + window])
    torch.testing.assert_close(mean, scored[0].mean())
    assert scored[0].shape == (2, window)


def test_a_short_crop_is_scored_whole() -> None:
    model = build().eval()
    wave = noise(1, 20 * HOP)
    features = model.features(model.encode(wave))
    symbols = mulaw.mu_law_encode(wave)
    past = torch.cat([torch.full((1, 1), mulaw.SILENCE_LEVEL), symbols[:, :-1]], 1)
    naive = torch.nn.functional.cross_entropy(model.decoder(past, features), symbols)
    torch.testing.assert_close(model.decoder_nll(features, wave), naive)


def test_history_noise_disturbs_training_only() -> None:
    model = build(history_noise=8.0)
    wave = noise(1, 20 * HOP)
    features = model.features(model.encode(wave))
    assert model.decoder_nll(features, wave) != model.decoder_nll(features, wave)
    model.eval()
    assert model.decoder_nll(features, wave) == model.decoder_nll(features, wave)


# --- The objective ----------------------------------------------------------------------------------------------------


def test_terms_without_weight_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build()

    def never(*_: object) -> Tensor:
        raise AssertionError("was computed")

    model.set_objective({"mel": 1.0})
    monkeypatch.setattr(model, "decoder_nll", never)
    loss = model.loss(batch_of(noise(2, 20 * HOP)))
    assert "nll" not in loss.metrics
    torch.testing.assert_close(loss.total, loss.metrics["mel"])
    model.probe(batch_of(noise(2, 20 * HOP)))
    monkeypatch.undo()
    model.set_objective({"nll": 2.0, "codebook": 0.5})
    monkeypatch.setattr(model, "mel_loss", never)
    loss = model.loss(batch_of(noise(2, 20 * HOP)))
    torch.testing.assert_close(loss.total, 2 * loss.metrics["nll"] + 0.5 * loss.metrics["codebook"])
    assert loss.metrics["bits_per_sample"] == pytest.approx(float(loss.metrics["nll"]) / BITS)


def test_an_unknown_term_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"objective\.kl is not known: use nll, codebook, mel"):
        build().set_objective({"kl": 1.0})
    with pytest.raises(ConfigError, match=r"objective\.prior .* \[model\.prior\]"):
        build().set_objective({"prior": 1.0})


def test_all_that_is_trained_gets_a_gradient() -> None:
    model = build(speakers=("a", "b"))
    model.loss(batch_of(noise(2, 20 * HOP), [0, 1])).total.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without, without


def test_fresh_logits_are_nearly_uniform() -> None:
    loss = build().loss(batch_of(noise(2, 40 * HOP)))
    assert 7.5 < loss.metrics["bits_per_sample"] < 9


def test_the_prior_learns_from_detached_tokens() -> None:
    prior = WaveNetConfig(levels=32, residual=8, skip=8, hidden=8, dilations=(1, 2), features=0, hop_length=1)
    model = build(prior=prior)
    model.set_objective({"prior": 1.0})
    loss = model.loss(batch_of(noise(2, 20 * HOP)))
    loss.total.backward()
    assert loss.metrics["bits_per_token"] == pytest.approx(5, abs=1)
    assert all(p.grad is None or not p.grad.any() for name, p in model.named_parameters() if "prior" not in name)
    assert model.prior is not None
    assert model.prior.wavenet.logits.weight.grad is not None


# --- Speakers and pre-emphasis ----------------------------------------------------------------------------------------


def test_another_speaker_gives_other_logits() -> None:
    model = build(speakers=("ann", "bob")).eval()
    codes, past = torch.randint(32, (1, 10)), torch.randint(256, (1, 10 * HOP))
    ann, bob = (model.decoder(past, model.features(codes, model.voice(torch.tensor([index])))) for index in (0, 1))
    assert not torch.allclose(ann, bob, atol=1e-4)
    with pytest.raises(AssertionError):
        model.features(codes)


def test_without_speakers_none_matters() -> None:
    model = build()
    codes = torch.randint(32, (1, 10))
    assert torch.equal(model.features(codes), model.features(codes, torch.tensor([7])))


def test_pre_emphasis_is_undone_by_its_inverse() -> None:
    wave = noise(1, 200)
    assert build().emphasise(wave) is wave
    emphasised = build(pre_emphasis=0.85).emphasise(wave)
    torch.testing.assert_close(emphasised[:, 1:], wave[:, 1:] - 0.85 * wave[:, :-1])
    restored = emphasis.DeEmphasis(0.85)(emphasised.numpy())
    torch.testing.assert_close(torch.from_numpy(restored), wave)


# --- Learning ---------------------------------------------------------------------------------------------------------


def steps_of_noise(rows: int, frames: int) -> Tensor:
    """Each frame holds one random level: what its first sample will be, only the code can tell."""
    levels = torch.rand(rows, frames, generator=torch.Generator().manual_seed(1)) - 0.5
    return levels.repeat_interleave(HOP, 1)


def test_a_tiny_model_learns_a_sound_and_uses_its_codes() -> None:
    model = build()
    batch = batch_of(steps_of_noise(4, 76))  # 0.3 s in all
    model.set_objective({"nll": 1.0, "codebook": 1.0, "mel": 0.1})
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    before = float(model.loss(batch).metrics["bits_per_sample"])
    for _ in range(120):
        optimizer.zero_grad()
        model.loss(batch).total.backward()
        optimizer.step()
    figures = model.eval().probe(batch).metrics
    assert figures["bits_per_sample"] < 0.5 * before
    assert figures["bits_per_sample_shuffled"] > figures["bits_per_sample"] + 0.3


def test_a_crop_alone_is_still_shuffled() -> None:
    figures = build().eval().probe(batch_of(steps_of_noise(1, 40))).metrics
    assert figures["bits_per_sample_shuffled"] != figures["bits_per_sample"]


# --- Several frames a token, jitter, perturbed voices ----------------------------------------------------------------

SPREAD = {
    "conditioning": ConditioningConfig(
        channels=12, residual_dilations=(1, 2), features=10, frames_per_vector=4, frame_dilations=(1, 3), voice_dim=6
    ),
    "decoder": WaveNetConfig(residual=8, skip=8, hidden=8, dilations=(1, 2), features=10, hop_length=HOP // 4),
}


def test_a_token_becomes_several_frames() -> None:
    model = build(**SPREAD, speakers=("ann", "bob")).eval()
    codes = torch.randint(32, (2, 9))
    assert model.features(codes, model.voice(torch.tensor([0, 1]))).shape == (2, 10, 36)
    assert model.loss(batch_of(noise(2, 9 * HOP), [0, 1])).total.isfinite()


def test_frames_hear_no_further_than_the_context_says() -> None:
    model = build(**SPREAD).eval()
    context = model.conditioning_reach.before
    codes = torch.randint(32, (1, 60))
    whole = model.features(codes)[:, :, 4 * 25 : 4 * 35]
    part = model.features(codes[:, 25 - context : 35 + context])
    torch.testing.assert_close(part[:, :, 4 * context : -4 * context], whole)


def test_jitter_swaps_neighbours_in_training_only() -> None:
    model = build(time_jitter=0.2)
    z_q = torch.arange(5000.0)[None, None].repeat(1, 3, 1)
    jittered = model._jittered(z_q)
    step = (jittered - z_q)[0]
    assert torch.equal(step[0], step[2])
    assert set(step.unique().tolist()) == {-1.0, 0.0, 1.0}
    assert (step[0] != 0).float().mean() == pytest.approx(0.2, abs=0.03)
    assert torch.equal(model.eval()._jittered(z_q), z_q)


def test_the_encoder_is_disguised_only_while_it_learns() -> None:
    model = build(augment=AugmentConfig())
    wave = noise(4, 4096)
    assert not torch.allclose(model._heard(wave), wave)
    model.encoder.eval()
    assert model._heard(wave) is wave
