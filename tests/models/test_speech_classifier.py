"""The classifier of speech, and codes spoken with another voice: each side learns from its own loss alone."""

import dataclasses

import pytest
import torch
from conftest import VOCODED
from torch import Tensor

from vqaudio.errors import ConfigError
from vqaudio.models.config import SpeakerEncoderConfig
from vqaudio.models.speech_classifier import POOLED, SpeechClassifier
from vqaudio.models.vocoder_vqvae import VocoderVQVAE

BANDS, SPEAKERS, UNITS, FRAMES = 20, 3, 5, 128
CONVERTER = dataclasses.replace(
    VOCODED,
    speakers=("ada", "bob", "cy"),
    speaker_encoder=SpeakerEncoderConfig(channels=8, dilations=(1,)),
    units=UNITS,
)


def envelopes(rows: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Bands in which a speaker is a tilt and a unit a peak; the speakers; the units."""
    speaker = torch.arange(rows) % SPEAKERS
    units = torch.randint(UNITS, (rows, FRAMES // 16)).repeat_interleave(16, 1)
    tilt = (speaker - 1.0)[:, None, None] * torch.linspace(-2, 2, BANDS)[:, None]
    peaks = 4 * torch.nn.functional.one_hot(units * (BANDS // UNITS), BANDS).transpose(1, 2)
    return tilt + peaks - 8, speaker, units


@pytest.fixture
def trained() -> SpeechClassifier:
    torch.manual_seed(0)
    classifier = SpeechClassifier(BANDS, SPEAKERS, UNITS)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        classifier.loss(*envelopes()).backward()
        optimizer.step()
    return classifier


def test_it_learns_who_speaks_and_what_is_said(trained: SpeechClassifier) -> None:
    bands, speaker, units = envelopes()
    found = trained(bands)
    assert torch.equal(found.speaker.argmax(1), speaker)
    heard = found.units.argmax(1)
    assert heard.shape[1] == FRAMES // POOLED
    assert float((heard == units[:, POOLED // 2 :: POOLED]).float().mean()) > 0.75  # of five; chance is 0.2
    assert trained.loss(bands, speaker.roll(1, 0), units) > trained.loss(bands, speaker, units) + 1
    assert trained.loss(bands, speaker, units.flip(1)) > trained.loss(bands, speaker, units) + 1


def test_unknown_units_do_not_count(trained: SpeechClassifier) -> None:
    bands, speaker, units = envelopes()
    none = trained.loss(bands, speaker, torch.full_like(units, -1))
    assert none == torch.nn.functional.cross_entropy(trained(bands).speaker, speaker)


def test_a_fixed_classifier_teaches_and_does_not_learn(trained: SpeechClassifier) -> None:
    bands, speaker, units = envelopes()
    bands.requires_grad_()
    trained.zero_grad()
    loss = trained.fixed_loss(bands, speaker, units)
    assert torch.allclose(loss, trained.loss(bands, speaker, units))
    trained.zero_grad()
    loss.backward()
    assert bands.grad is not None
    assert bands.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in trained.parameters())


def batch_of(rows: int = 3) -> dict[str, Tensor]:
    vectors = 16
    frames = vectors * CONVERTER.conditioning.frames_per_vector
    return {
        "wave": 0.1 * torch.randn(rows, vectors * CONVERTER.encoder.hop_length),
        "reference": 0.1 * torch.randn(rows, vectors * CONVERTER.encoder.hop_length),
        "bands": torch.randn(rows, BANDS, frames) * 3 - 8,
        "f0": torch.zeros(rows, frames),
        "units": torch.randint(UNITS, (rows, frames)),
        "speaker": torch.arange(rows),
    }


def test_conversion_teaches_codes_decoder_and_speaker_encoder() -> None:
    torch.manual_seed(0)
    model, batch = VocoderVQVAE(CONVERTER).train(), batch_of()
    model.set_objective({"conversion": 1.0})
    model.loss(batch).total.backward()
    for part in (model.classifier, model.conditioning, model.speaker_encoder, model.encoder):
        assert part is not None
        assert any(parameter.grad is not None and parameter.grad.any() for parameter in part.parameters())
    assert 0 <= float(model.eval().probe(batch).metrics["nearer"]) <= 1


def test_the_voice_is_heard_in_the_reference() -> None:
    torch.manual_seed(0)
    model, batch = VocoderVQVAE(CONVERTER).eval(), batch_of()
    assert model.speaker_encoder is not None
    heard = model._heard_voice(batch)
    assert heard is not None
    assert torch.equal(heard, model.speaker_encoder(batch["reference"]))
    batch.pop("reference")
    assert torch.equal(model._heard_voice(batch), model.speaker_encoder(batch["wave"]))  # type: ignore[arg-type]


def test_a_model_without_units_has_no_conversion_to_learn() -> None:
    model = VocoderVQVAE(dataclasses.replace(CONVERTER, units=0))
    assert model.classifier is None
    with pytest.raises(ConfigError, match=r"objective\.conversion"):
        model.set_objective({"conversion": 1.0})


def test_a_model_without_its_classifier_loads() -> None:
    model = VocoderVQVAE(CONVERTER)
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("classifier.")}
    VocoderVQVAE(CONVERTER).load_state_dict(state)
    with pytest.raises(RuntimeError, match="bands_head"):
        model.load_state_dict({name: tensor for name, tensor in state.items() if not name.startswith("bands_head")})
