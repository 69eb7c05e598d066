import pytest
import torch
from monai.networks.schedulers import DDPMScheduler

from vcmaug.ldm.schedule import Schedule
from vcmaug.ldm.spec import ScheduleSettings


def test_alpha_bar_equals_monais_for_the_schedule_of_brainldm() -> None:
    theirs = DDPMScheduler(
        num_train_timesteps=1000, schedule="scaled_linear_beta", beta_start=0.0015, beta_end=0.0205
    )
    ours = Schedule(ScheduleSettings())
    torch.testing.assert_close(
        ours.alphas_cumprod.float(), theirs.alphas_cumprod, rtol=1e-4, atol=0
    )


def test_alpha_bar_has_the_known_values_of_brainldm() -> None:
    alpha_bar = Schedule(ScheduleSettings()).alphas_cumprod
    assert alpha_bar[0] == pytest.approx(0.9985, abs=1e-4)
    assert alpha_bar[500] == pytest.approx(0.1077, abs=1e-3)
    assert alpha_bar[999] == pytest.approx(9.69e-5, rel=0.01)


@pytest.mark.parametrize("kind", ["scaled_linear", "linear"])
def test_epsilon_z_0_and_v_are_inverse_pairs(kind: str) -> None:
    schedule = Schedule(ScheduleSettings(kind=kind))
    generator = torch.Generator().manual_seed(0)
    z_0, epsilon = torch.randn((2, 3, 2, 4, 2, 2), generator=generator, dtype=torch.float64)
    t = torch.tensor([3, 400, 900])
    z_t = schedule.add_noise(z_0, epsilon, t)
    torch.testing.assert_close(schedule.predict_z_0(z_t, epsilon, t), z_0)
    torch.testing.assert_close(schedule.predict_epsilon(z_t, z_0, t), epsilon)
    velocity = schedule.velocity(z_0, epsilon, t)
    torch.testing.assert_close(schedule.epsilon_from_velocity(z_t, velocity, t), epsilon)


def test_noise_keeps_unit_variance() -> None:
    schedule = Schedule(ScheduleSettings())
    signal, noise = schedule.scales(torch.arange(1000), like=torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(signal**2 + noise**2, torch.ones_like(signal))
