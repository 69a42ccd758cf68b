"""The sub-band WaveNet: causal, conditioned, and a density."""

import dataclasses
import math

import pytest
import torch

from vqaudio.errors import ConfigError
from vqaudio.models.strict import from_mapping, to_mapping
from vqaudio.models.subband_wavenet import SubbandWaveNet, SubbandWaveNetConfig

CONFIG = SubbandWaveNetConfig(
    components=2,
    residual=8,
    skip=8,
    hidden=8,
    dilations=(1, 2, 4),
    features=3,
    hop_length=5,
    pulses_behind=3,
    pulses_ahead=2,
    pulse_hidden=6,
)
STEPS = 40


@pytest.fixture
def model() -> SubbandWaveNet:
    torch.manual_seed(0)
    return SubbandWaveNet(CONFIG).eval().double()


def inputs(batch: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(1)
    bands, pulses = torch.randn(2, batch, STEPS, 4, generator=drawn, dtype=torch.float64)
    return bands, pulses, torch.randn(batch, 3, STEPS // 5, generator=drawn, dtype=torch.float64)


def changed_steps(model: SubbandWaveNet, changed: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> list[int]:
    """The steps whose parameters differ from those of :func:`inputs`."""
    bands, pulses, features = inputs()
    with torch.no_grad():
        before = model(model.shift(bands), torch.zeros_like(bands), pulses, features)
        after = model(model.shift(changed[0]), torch.zeros_like(bands), changed[1], changed[2])
    return (before != after).any(-1)[0].nonzero()[:, 0].tolist()


def test_a_step_sees_the_samples_before_it_as_far_as_the_receptive_field(model: SubbandWaveNet) -> None:
    bands, pulses, features = inputs()
    bands[0, 10, 3] += 1
    assert changed_steps(model, (bands, pulses, features)) == list(range(11, 11 + CONFIG.receptive_field))


def test_a_step_sees_the_pulses_so_far_ahead_as_the_configuration_says(model: SubbandWaveNet) -> None:
    bands, pulses, features = inputs()
    pulses[0, 10, 0] += 3
    changed = changed_steps(model, (bands, pulses, features))
    assert min(changed) == 10 - CONFIG.pulses_ahead
    assert max(changed) == 10 + CONFIG.pulses_behind + CONFIG.receptive_field - 1


def test_a_frame_conditions_its_own_steps_first(model: SubbandWaveNet) -> None:
    bands, pulses, features = inputs()
    features[0, :, 2] += 1
    assert min(changed_steps(model, (bands, pulses, features))) == 10


def test_each_band_has_a_density_given_the_bands_below_it(model: SubbandWaveNet) -> None:
    """exp(-nll) of each band integrates to one, whatever the bands below it are."""
    parameters = torch.randn(1, 1, CONFIG.outputs, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    grid = torch.linspace(-40, 40, 80001, dtype=torch.float64)
    for band in range(4):
        bands = torch.tensor([0.3, -1.2, 0.8, 0.1], dtype=torch.float64).repeat(len(grid), 1)
        bands[:, band] = grid
        nll = model.nll(parameters.expand(1, len(grid), -1), bands[None])[0, :, band]
        assert math.isclose(torch.trapezoid(torch.exp(-nll), grid), 1, rel_tol=1e-4)


def test_a_band_s_likelihood_depends_on_the_bands_below_it_alone(model: SubbandWaveNet) -> None:
    parameters = torch.randn(1, 1, CONFIG.outputs, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    bands = torch.zeros(1, 1, 4, dtype=torch.float64)
    before = model.nll(parameters, bands)[0, 0]
    for band in range(4):
        moved = bands.clone()
        moved[..., band] = 1.5
        assert (model.nll(parameters, moved)[0, 0] != before).nonzero()[:, 0].tolist() == list(range(band, 4))


def test_scales_do_not_fall_below_their_floor(model: SubbandWaveNet) -> None:
    parameters = torch.zeros(1, 1, CONFIG.outputs, dtype=torch.float64)
    parameters[..., 16:24] = -100
    nll = model.nll(parameters, torch.zeros(1, 1, 4, dtype=torch.float64))
    expected = math.log(CONFIG.scale_floor * math.sqrt(2 * math.pi))
    torch.testing.assert_close(nll, torch.full_like(nll, expected))


def test_at_the_start_noise_of_variance_one_costs_about_its_entropy() -> None:
    torch.manual_seed(3)
    model = SubbandWaveNet(dataclasses.replace(CONFIG, components=4))
    bands, pulses, features = (x.float() for x in inputs(16))
    bits = model.nll(model(model.shift(bands), torch.zeros_like(bands), pulses, features), bands).mean() / math.log(2)
    assert 1.95 < bits < 2.5


def test_it_learns_a_tone_and_its_gradient_reaches_every_weight() -> None:
    torch.manual_seed(4)
    model = SubbandWaveNet(CONFIG)
    _, pulses, features = (x.float() for x in inputs())
    bands = torch.sin(torch.arange(STEPS)[None, :, None] * torch.tensor([0.5, 0.9, 1.3, 1.7]))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(150):
        loss = model.nll(model(model.shift(bands), torch.zeros_like(bands), pulses, features), bands).mean()
        optimizer.zero_grad()
        loss.backward()
        if not losses:
            assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("components", 0),
        ("components", 17),
        ("dilations", ()),
        ("dilations", (1, 0)),
        ("residual", 0),
        ("hop_length", -1),
        ("pulses_ahead", -1),
        ("pulses_behind", 513),
        ("scale_floor", 0.0),
        ("scale_floor", math.nan),
    ],
)
def test_a_bad_value_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field):
        dataclasses.replace(CONFIG, **{field: value})


def test_the_configuration_survives_its_table() -> None:
    assert from_mapping(SubbandWaveNetConfig, to_mapping(CONFIG)) == CONFIG
