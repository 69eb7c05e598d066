"""Noise schedules: the known values of each kind, MONAI's, and the ways there and back."""

import pytest
import torch
from monai.networks.schedulers import DDPMScheduler, RFlowScheduler
from pydantic import ValidationError

from vcmaug.ldm.noise_schedule import NoiseSchedule
from vcmaug.ldm.schedule import Schedule
from vcmaug.ldm.schedules.epsilon import EpsilonSchedule
from vcmaug.ldm.schedules.flow import FlowSchedule
from vcmaug.ldm.spec import PriorSpec

KINDS = [
    EpsilonSchedule(),
    EpsilonSchedule(kind="linear"),
    FlowSchedule(),
    FlowSchedule(shift=1.4),
    FlowSchedule(shift=0.3),
]
GRID = {"shape": [32, 48, 32], "spacing_mm": [1, 1, 1], "orientation": "RAS"}


def test_alpha_bar_equals_monais_for_the_schedule_of_brainldm() -> None:
    theirs = DDPMScheduler(
        num_train_timesteps=1000, schedule="scaled_linear_beta", beta_start=0.0015, beta_end=0.0205
    )
    ours = Schedule(EpsilonSchedule()).signal ** 2
    torch.testing.assert_close(ours.float(), theirs.alphas_cumprod, rtol=1e-4, atol=0)


def test_alpha_bar_has_the_known_values_of_brainldm() -> None:
    alpha_bar = Schedule(EpsilonSchedule()).signal ** 2
    assert alpha_bar[0] == pytest.approx(0.9985, abs=1e-4)
    assert alpha_bar[500] == pytest.approx(0.1077, abs=1e-3)
    assert alpha_bar[999] == pytest.approx(9.69e-5, rel=0.01)


@pytest.mark.parametrize(
    ("schedule", "start"),
    [
        (EpsilonSchedule(), 0.65),  # where it was measured
        (FlowSchedule(), 0.96),
        (FlowSchedule(shift=3), 0.89),
        (EpsilonSchedule(num_timesteps=10), 1.0),  # its signal is never that weak
    ],
)
def test_draws_start_where_so_much_signal_is_left(schedule: NoiseSchedule, start: float) -> None:
    assert schedule.start == start


def test_noise_keeps_unit_variance_where_it_is_preserved() -> None:
    schedule = Schedule(EpsilonSchedule())
    signal, noise = schedule.scales(torch.arange(1000), like=torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(signal**2 + noise**2, torch.ones_like(signal))


def test_noise_and_velocity_of_a_flow_are_monais() -> None:
    """Timestep k here is k + 1 there, where 0 is the image."""
    theirs, ours = RFlowScheduler(num_train_timesteps=1000), Schedule(FlowSchedule())
    z_0, epsilon = torch.randn((2, 3, 2, 4, 2, 2), generator=torch.Generator().manual_seed(0))
    t = torch.tensor([3, 400, 999])
    z_t = ours.add_noise(z_0, epsilon, t)
    torch.testing.assert_close(z_t, theirs.add_noise(z_0, epsilon, t + 1), rtol=1e-5, atol=1e-6)
    velocity = ours.target(z_0, epsilon)
    torch.testing.assert_close(velocity, z_0 - epsilon)
    theirs.set_timesteps(10)
    for place, timestep in enumerate(t):
        _, image = theirs.step(velocity[place], int(timestep) + 1, z_t[place])
        found = ours.predict_z_0(z_t[place][None], velocity[place][None], timestep[None])[0]
        torch.testing.assert_close(found, image, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 12, 8), (32, 32, 32), (64, 64, 48)])
def test_the_shift_by_resolution_is_monais(shape: tuple[int, int, int]) -> None:
    from monai.networks.schedulers.rectified_flow import timestep_transform

    cells = shape[0] * shape[1] * shape[2]
    t = torch.arange(1, 1001).double()
    theirs = timestep_transform(t, torch.tensor(float(cells)).double()) / 1000
    _, noise = FlowSchedule(shift="by-grid").on_grid(shape).scales()
    torch.testing.assert_close(torch.from_numpy(noise), theirs, rtol=1e-5, atol=1e-6)


def test_a_prior_knows_the_shift_of_its_latent_grid_and_a_schedule_alone_does_not() -> None:
    spec = PriorSpec(name="p", grid=GRID, schedule={"name": "flow", "shift": "by-grid"})
    assert spec.latent_shape[1:] == (8, 12, 8)
    assert spec.schedule == FlowSchedule(shift=round((768 / 32**3) ** (1 / 3), 6))
    assert PriorSpec.model_validate(spec.model_dump(mode="json")) == spec
    with pytest.raises(ValueError, match="call on_grid first"):
        FlowSchedule(shift="by-grid").scales()


@pytest.mark.parametrize("shift", [0, -1.0, float("nan"), float("inf"), "by-size"])
def test_a_shift_that_is_no_positive_number_is_refused(shift: object) -> None:
    with pytest.raises(ValidationError, match="expected a number above 0, or by-grid"):
        FlowSchedule(shift=shift)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_z_0_epsilon_and_the_prediction_are_inverse(kind: NoiseSchedule) -> None:
    schedule = Schedule(kind)
    generator = torch.Generator().manual_seed(0)
    z_0, epsilon = torch.randn((2, 3, 2, 4, 2, 2), generator=generator, dtype=torch.float64)
    t = torch.tensor([3, 400, 900])
    z_t, target = schedule.add_noise(z_0, epsilon, t), schedule.target(z_0, epsilon)
    torch.testing.assert_close(schedule.predict_z_0(z_t, target, t), z_0)
    torch.testing.assert_close(schedule.predict_epsilon(z_0, target), epsilon)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_an_error_of_the_prediction_moves_z_0_as_far_as_is_said(kind: NoiseSchedule) -> None:
    schedule, t = Schedule(kind), torch.tensor([10, 500, 990])
    z_t, prediction = torch.randn(2, 3, 1, 1, 1, 1, dtype=torch.float64)
    moved = schedule.predict_z_0(z_t, prediction + 1, t) - schedule.predict_z_0(z_t, prediction, t)
    torch.testing.assert_close(moved.abs().flatten(), schedule.errors_of_z_0[t])


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_noise_grows_and_signal_falls(kind: NoiseSchedule) -> None:
    signal, noise = kind.scales()
    assert (noise[1:] > noise[:-1]).all()
    assert (signal[1:] < signal[:-1]).all()
    assert signal[0] > 0.95
    assert noise[-1] > 0.95


def test_a_kind_is_one_value_by_name_by_settings_and_by_class() -> None:
    for given in ("flow", {"name": "flow"}, FlowSchedule(), {"name": "flow", "shift": 1.0}):
        assert PriorSpec(name="p", grid=GRID, schedule=given).schedule == FlowSchedule()
    for given in ({}, {"beta_start": 0.0015}, "epsilon"):  # as on cards of before there were kinds
        assert PriorSpec(name="p", grid=GRID, schedule=given).schedule == EpsilonSchedule()
    with pytest.raises(ValidationError, match=r"unknown schedule 'flwo'; did you mean 'flow'"):
        PriorSpec(name="p", grid=GRID, schedule="flwo")
