"""Who speaks, heard in a recording: told by the wave alone, and learnt together with the codes."""

import dataclasses

import pytest
import torch
from conftest import VOCODED
from torch import Tensor

from vqaudio.errors import ConfigError, DataError
from vqaudio.models.config import SpeakerEncoderConfig
from vqaudio.models.speaker_encoder import SpeakerEncoder, SpeakerTable
from vqaudio.models.vocoder_vqvae import VocoderVQVAE

VOICES = dataclasses.replace(
    VOCODED, speakers=("ann", "bob"), speaker_encoder=SpeakerEncoderConfig(12, (1, 2)), units=7, prior=None
)
FRAMES = 256


def batch(units: bool = True) -> dict[str, Tensor]:
    torch.manual_seed(0)
    found = {
        "wave": 0.1 * torch.randn(2, FRAMES * 64),
        "speaker": torch.tensor([1, 0]),
        "bands": torch.randn(2, 20, FRAMES) - 8,
        "f0": torch.full((2, FRAMES), 120.0),
    }
    return found | ({"units": torch.randint(-1, 7, (2, FRAMES))} if units else {})


def test_an_embedding_has_unit_scale_and_tells_the_wave() -> None:
    torch.manual_seed(0)
    encoder = SpeakerEncoder(SpeakerEncoderConfig(12, (1,)), 16, 16000).eval()
    time = torch.arange(16000) / 16000
    low, high = (sum(torch.sin(2 * torch.pi * f * k * time) / k for k in range(1, 9))[None] for f in (100.0, 220.0))
    one, again, other = encoder(0.1 * low), encoder(0.1 * low[:, :12000]), encoder(0.1 * high)
    torch.testing.assert_close(one.mean(1), torch.zeros(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(one.var(1, unbiased=False), torch.ones(1), atol=1e-3, rtol=0)
    assert (one - again).norm() < 0.5 * (one - other).norm()


def test_the_table_follows_recordings() -> None:
    table, voice = SpeakerTable(3, 4), torch.arange(4.0)
    for _ in range(60):
        table.follow(torch.tensor([2]), voice[None])
    torch.testing.assert_close(table(torch.tensor([2]))[0], voice, atol=0.01, rtol=0)
    assert not table.weight[:2].any()


def test_the_voice_is_heard_in_training_and_its_speaker_follows() -> None:
    torch.manual_seed(0)
    model = VocoderVQVAE(VOICES).train()
    assert isinstance(model.speakers, SpeakerTable)
    assert model.speaker_encoder is not None
    loss = model.loss(batch())
    assert {"bands", "pitch", "units", "adversarial"} <= set(loss.metrics)
    loss.total.backward()
    assert model.speaker_encoder.out.weight.grad is not None
    assert model.speaker_encoder.out.weight.grad.abs().sum() > 0
    voice = model.speaker_encoder(batch()["wave"])
    torch.testing.assert_close(model.speakers.weight[[1, 0]], 0.1 * voice.detach(), atol=1e-5, rtol=1e-4)
    before = model.speakers.weight.clone()
    model.eval().probe(batch())
    assert torch.equal(model.speakers.weight, before)


def test_units_beyond_the_end_do_not_count() -> None:
    torch.manual_seed(0)
    model = VocoderVQVAE(VOICES).eval()
    model.set_objective({"units": 1.0})
    whole = batch()
    found = model.loss(whole).metrics["units"]
    kept = whole["units"] >= 0
    features = model.features(model.encode(whole["wave"]), model.speaker_encoder(whole["wave"]))  # type: ignore[misc]
    logits = model.unit_head(features).float()  # type: ignore[misc]
    nats = -logits.log_softmax(1).gather(1, whole["units"].clamp(min=0)[:, None])[:, 0][kept].mean()
    torch.testing.assert_close(found, nats)


def test_what_is_missing_is_told() -> None:
    model = VocoderVQVAE(VOICES).train()
    with pytest.raises(DataError, match=r"units\.py"):
        model.loss(batch(units=False))
    with pytest.raises(ConfigError, match="units above 0"):
        VocoderVQVAE(VOCODED).set_objective({"units": 1.0})
    with pytest.raises(ConfigError, match="give speakers, too"):
        dataclasses.replace(VOCODED, speaker_encoder=SpeakerEncoderConfig())
    with pytest.raises(ConfigError, match="units"):
        dataclasses.replace(VOCODED, units=-1)
