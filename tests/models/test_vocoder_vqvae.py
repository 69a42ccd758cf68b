"""The model of speech parameters: losses, look-ahead as stated, and a discriminator that moves only its own side."""

import dataclasses

import pytest
import torch
from conftest import VOCODED
from torch import Tensor

from vqaudio.dsp import pitch
from vqaudio.dsp.augment import Equaliser
from vqaudio.dsp.mel_envelope import band_centres
from vqaudio.errors import ConfigError, DataError
from vqaudio.models.config import AugmentConfig, EncoderConfig, VocoderConfig
from vqaudio.models.vocoder_vqvae import VocoderVQVAE, pitch_classes

VECTOR, FRAME = 512, 64


def batch_of(vectors: int = 16, rows: int = 2) -> dict[str, Tensor]:
    frames = vectors * VECTOR // FRAME
    return {
        "wave": 0.1 * torch.randn(rows, vectors * VECTOR),
        "bands": torch.randn(rows, 20, frames) * 3 - 8,
        "f0": torch.where(torch.rand(rows, frames) < 0.5, 60 + 300 * torch.rand(rows, frames), 0.0),
        "speaker": torch.zeros(rows, dtype=torch.int64),
    }


@pytest.fixture
def model() -> VocoderVQVAE:
    torch.manual_seed(0)
    return VocoderVQVAE(VOCODED)


def test_every_term_teaches_its_parts(model: VocoderVQVAE) -> None:
    loss = model.loss(batch_of())
    loss.total.backward()
    assert {"bands", "pitch", "codebook", "adversarial", "prior", "perplexity", "bits_per_token"} <= set(loss.metrics)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_predictor_and_discriminator_do_not_help_each_other(model: VocoderVQVAE) -> None:
    predicted, real = torch.randn(2, 20, 96, requires_grad=True), torch.randn(2, 20, 96)
    found = model.discriminator.adversary(predicted, real)
    found.critic.backward(retain_graph=True)
    assert predicted.grad is None
    model.discriminator.zero_grad()
    (found.score + found.matching).backward()
    assert predicted.grad is not None
    assert predicted.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in model.discriminator.parameters())


def test_a_likely_prediction_has_the_lower_score(model: VocoderVQVAE) -> None:
    real = torch.randn(4, 20, 96)
    optimizer = torch.optim.Adam(model.discriminator.parameters(), lr=3e-3)
    for _ in range(30):
        optimizer.zero_grad()
        model.discriminator.adversary(torch.zeros_like(real), real).critic.backward()
        optimizer.step()
    smooth, likely = (model.discriminator.adversary(of, real) for of in (torch.zeros_like(real), real.flip(0)))
    assert likely.score < smooth.score


def test_soft_errors_weigh_less(model: VocoderVQVAE) -> None:
    target = torch.cat([torch.full((1, 10, 40), -16.0), torch.full((1, 10, 40), -3.0)], dim=1)
    soft, loud = target.clone(), target.clone()
    soft[:, :10] += 1
    loud[:, 10:] += 1
    quiet = VOCODED.vocoder.quiet_weight
    assert float(model._bands_loss(soft, target) / model._bands_loss(loud, target)) == pytest.approx(quiet)


def test_another_microphone_changes_wave_and_bands_alike(model: VocoderVQVAE) -> None:
    config = dataclasses.replace(VOCODED, augment=AugmentConfig(0.0, 0.0, channel_db=6.0))
    learner, batch = VocoderVQVAE(config), batch_of()
    torch.manual_seed(5)
    heard = learner.train()._recorded(batch)
    torch.manual_seed(5)
    channel = Equaliser(2, 6.0, 16000, torch.device("cpu"))
    assert torch.equal(heard["wave"], channel(batch["wave"]))
    response = channel.response(torch.from_numpy(band_centres(20, 16000)).float())
    assert float(response.std()) > 0.3
    assert torch.allclose(heard["bands"] - batch["bands"], response[..., None].expand_as(batch["bands"]), atol=1e-4)
    assert torch.equal(learner.eval()._recorded(batch)["wave"], batch["wave"])


def test_pitch_classes_say_the_pitch() -> None:
    f0 = torch.tensor([[0.0, 60.5, 120.0, 399.0, 1000.0]])
    classes = pitch_classes(f0)
    assert torch.allclose(classes.sum(1), torch.ones(1, 5))
    read = pitch.read_pitch((classes + 1e-9).log())
    assert read.voiced[0].tolist() == [False, True, True, True, True]
    assert torch.allclose(read.hz[0, 1:], torch.tensor([61.0, 120.0, 394.0, 394.0]), rtol=0.01)


def changed_frames(model: VocoderVQVAE, sample: int, samples: int) -> Tensor:
    """The frames whose parameters depend on the wave from ``sample`` on, by gradients."""
    wave = (0.1 * torch.randn(1, samples)).requires_grad_()
    with torch.enable_grad():
        bands = model.bands_head(model.conditioning(model.encoder(model.emphasise(wave))))
        changed = []
        for frame in range(0, bands.shape[2]):
            (gradient,) = torch.autograd.grad(bands[0, :, frame].sum(), wave, retain_graph=True)
            changed.append(bool(gradient[0, sample:].any()))
    return torch.tensor(changed)


def test_the_delay_is_what_the_model_states(model: VocoderVQVAE) -> None:
    for parameter in model.parameters():  # zeros at which blocks begin would hide what they see
        torch.nn.init.normal_(parameter, std=0.1)
    first = 24 * VECTOR
    reached = int(changed_frames(model, first, 40 * VECTOR).nonzero()[0]) * FRAME
    vocoder = 2 * FRAME  # frames that the vocoder looks ahead
    assert first - reached <= model.delay_s * VOCODED.sample_rate_hz - vocoder
    assert first - reached > model.delay_s * VOCODED.sample_rate_hz - vocoder - 2 * VECTOR  # nor is it stated too long


def test_a_model_without_its_discriminator_loads_and_nothing_else_may_lack(model: VocoderVQVAE) -> None:
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("discriminator.")}
    model.load_state_dict(dict(state))
    del state["bands_head.bias"]
    with pytest.raises(RuntimeError, match=r"bands_head\.bias"):
        model.load_state_dict(state)


def test_batches_without_parameters_are_refused(model: VocoderVQVAE) -> None:
    batch = batch_of()
    del batch["bands"]
    with pytest.raises(DataError, match=r"no speech parameters of 20 bands: prepare .* --bands 20"):
        model.loss(batch)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocoder": VocoderConfig(bands=20, cut_hz=8000.0)}, r"vocoder.cut_hz = 8000.0"),
        ({"encoder": EncoderConfig(channels=(8,) * 9)}, r"encoder.spectrum = None"),
    ],
)
def test_bad_configurations_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(VOCODED, **changes)
