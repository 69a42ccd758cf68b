"""image_autoencoder.py, image_config.py: shapes, the coded path, loss terms, and configurations that are refused."""

import dataclasses

import numpy as np
import pytest
import torch
from pictures import CLASSY, PLAIN, TINY, gradient

from vqaudio.errors import ConfigError
from vqaudio.io.image import to_tiles
from vqaudio.models import checkpoint
from vqaudio.models import logistic_mixture as logistic
from vqaudio.models.config import model_from_mapping, model_to_mapping
from vqaudio.models.image_config import ImageNetworkConfig, ImageVAEConfig, ImageVQVAEConfig, PixelCNNConfig
from vqaudio.models.image_vqvae import ImageVAE, ImageVQVAE, compare

VAE = ImageVAEConfig(tile=8, latent_dim=3, network=TINY.network)


def batch(count: int = 6) -> dict[str, torch.Tensor]:
    tiles = np.concatenate([to_tiles(gradient(8, 8, seed), 8) for seed in range(count)])
    return {"image": torch.from_numpy(tiles), "label": torch.arange(count) % 2}


@pytest.mark.parametrize("latents", [1, 3])
def test_the_coded_path(latents: int) -> None:
    torch.manual_seed(0)
    model = ImageVQVAE(dataclasses.replace(PLAIN, latents=latents)).eval()
    codes = model.encode(batch()["image"])
    assert codes.shape == (6, 2, 2, latents)
    assert model.parameters_of(codes).shape == (6, logistic.parameter_count(2), 8, 8)
    assert torch.equal(codes[2:3], model.encode(batch()["image"][2:3]))  # a tile's codes are its own


def test_a_cells_codes_reach_the_decoder_each() -> None:
    torch.manual_seed(0)
    model = ImageVQVAE(PLAIN).eval()
    codes = torch.zeros(1, 2, 2, 2, dtype=torch.long)
    for latent in range(2):
        other = codes.clone()
        other[0, 1, 1, latent] = 5
        changed = (model.parameters_of(codes) != model.parameters_of(other)).any(1)[0]
        assert changed[-1, -1]
        assert changed.any()


@pytest.mark.parametrize("config", [TINY, CLASSY, PLAIN])
def test_the_terms_and_what_they_teach(config: ImageVQVAEConfig) -> None:
    torch.manual_seed(0)
    model = ImageVQVAE(config)
    loss = model.loss(batch())
    assert loss.total.isfinite()
    assert {"nll", "codebook", "bits_per_dim", "perplexity"} <= set(loss.metrics)
    assert ("prior" in loss.metrics) == (config.prior is not None)
    model.set_objective({"prior": 1.0} if config.prior else {"nll": 1.0})
    model.loss(batch()).total.backward()
    learning = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert learning == ({"prior"} if config.prior else {"encoder", "decoder"})


def test_a_few_steps_learn_and_the_codes_count() -> None:
    torch.manual_seed(0)
    model = ImageVQVAE(PLAIN)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    rng = np.random.default_rng(0)
    flat = np.broadcast_to(rng.integers(0, 256, (16, 3, 1, 1)), (16, 3, 8, 8)).astype(np.uint8)  # a colour a tile
    data = {"image": torch.from_numpy(flat.copy()), "label": torch.zeros(16, dtype=torch.long)}
    for _ in range(150):
        optimizer.zero_grad()
        model.loss(data).total.backward()
        optimizer.step()
    metrics = model.eval().probe(data).metrics
    assert float(metrics["bits_per_dim"]) < 6.5
    assert float(metrics["bits_per_dim_shuffled"]) > float(metrics["bits_per_dim"]) + 0.5


def test_probing_one_tile_alone() -> None:
    torch.manual_seed(0)
    probe = ImageVQVAE(TINY).eval().probe(batch(1))
    assert all(value.isfinite() for value in probe.metrics.values())
    assert probe.codes is not None
    assert probe.codes.shape == (1, 2, 2, 2)


@pytest.mark.parametrize("objective", [{"mel": 1.0}, {"prior": 1.0}])
def test_objectives_that_make_no_sense(objective: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"objective\.\w+"):
        ImageVQVAE(PLAIN).set_objective(objective)


def test_the_vae_bounds_the_likelihood() -> None:
    torch.manual_seed(0)
    model = ImageVAE(VAE)
    nll, kl = model.terms(batch()["image"])
    assert nll.shape == kl.shape == (6,)
    assert (kl >= 0).all()
    loss = model.loss(batch())
    assert float(loss.metrics["bound_bits_per_dim"]) > 0
    loss.total.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.probe(batch()).codes is None
    with pytest.raises(ConfigError, match="objective"):
        model.set_objective({"codebook": 1.0})


def test_the_kl_is_that_of_gaussians() -> None:
    torch.manual_seed(0)
    model = ImageVAE(VAE)
    mean, log_variance = model.encoder(batch()["image"]).chunk(2, dim=1)
    normal, unit = torch.distributions.Normal(mean, (log_variance / 2).exp()), torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(normal, unit).flatten(1).sum(1) / (3 * 8 * 8)
    assert torch.allclose(model.terms(batch()["image"])[1], expected, atol=1e-5)


def test_comparing_shows_both_rows() -> None:
    torch.manual_seed(0)
    data = batch(3)["image"]
    picture = compare(ImageVQVAE(PLAIN).eval(), data)
    assert picture.shape == (16, 24, 3)
    assert np.array_equal(picture[:8, 8:16], data[1].permute(1, 2, 0).numpy())


# ------------------------------------------------------------------------------------------------------ configuration


@pytest.mark.parametrize("config", [TINY, CLASSY, PLAIN, VAE, ImageVQVAEConfig(), ImageVQVAEConfig(latents=1)])
def test_configurations_go_through_tables(config: ImageVQVAEConfig | ImageVAEConfig) -> None:
    assert model_from_mapping(model_to_mapping(config)) == config


def test_the_defaults_are_the_papers_setting() -> None:
    config = ImageVQVAEConfig()
    assert config.grid == (8, 8, 10)
    assert config.quantizer.codebook_size == 512
    assert config.network.channels == (256, 256)
    assert isinstance(checkpoint.build(config), ImageVQVAE)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ImageNetworkConfig(channels=()),
        lambda: ImageNetworkConfig(channels=(8, 0)),
        lambda: ImageNetworkConfig(mixtures=0),
        lambda: PixelCNNConfig(kernel_size=4),
        lambda: PixelCNNConfig(levels=1),
        lambda: PixelCNNConfig(layers=0),
        lambda: ImageVQVAEConfig(tile=30),
        lambda: ImageVQVAEConfig(tile=2048),
        lambda: ImageVQVAEConfig(latents=0),
        lambda: ImageVQVAEConfig(tile=1024, latents=10),
        lambda: ImageVQVAEConfig(classes=("a",)),
        lambda: dataclasses.replace(CLASSY, classes=("a", "a")),
        lambda: dataclasses.replace(TINY, prior=PixelCNNConfig(levels=21)),
        lambda: ImageVAEConfig(tile=30),
        lambda: ImageVAEConfig(latent_dim=0),
    ],
)
def test_what_is_refused(make: object) -> None:
    with pytest.raises(ConfigError, match="is not valid"):
        make()  # type: ignore[operator]
