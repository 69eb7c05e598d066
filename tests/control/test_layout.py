"""The layout: a shift of epsilon that leads to the expected latents, and what learns them."""

import pytest
import torch

from vcmaug.control.networks.vcm import Layout
from vcmaug.ldm.noise_schedule import NoiseSchedule
from vcmaug.ldm.schedule import Schedule
from vcmaug.ldm.schedules.epsilon import EpsilonSchedule
from vcmaug.ldm.schedules.flow import FlowSchedule

SHAPE = (2, 4, 5, 3)


EPSILON = EpsilonSchedule()


def layout(kind: NoiseSchedule = EPSILON) -> Layout:
    torch.manual_seed(0)
    return Layout(in_channels=3, latent_shape=SHAPE, hidden_channels=8, schedule=kind)


@pytest.mark.parametrize("kind", [EPSILON, FlowSchedule(), FlowSchedule(shift=1.4)])
def test_the_whole_shift_leads_to_the_expected_latents(kind: NoiseSchedule) -> None:
    """By the schedule's own formula for z_0, at timesteps where the shift is not cut."""
    schedule, generator = Schedule(kind), torch.Generator().manual_seed(0)
    z_t, frozen, expected = (torch.randn(3, *SHAPE, generator=generator) for _ in range(3))
    t = torch.tensor([300, 500, 900])
    head = layout(kind)
    away = head.away(z_t, frozen, t, expected)
    torch.testing.assert_close(away, schedule.predict_z_0(z_t, frozen, t) - expected)
    shifted = frozen + head.as_shift(away, t)
    torch.testing.assert_close(
        schedule.predict_z_0(z_t, shifted, t), expected, rtol=1e-3, atol=1e-3
    )


def test_near_the_end_the_shift_is_cut() -> None:
    away = torch.ones(1, *SHAPE)
    assert float(layout().as_shift(away, torch.tensor([0])).max()) == 3.0
    assert float(layout(FlowSchedule()).as_shift(away, torch.tensor([0])).min()) == -4.0


def test_it_learns_latents_that_hang_on_the_map_and_on_the_place() -> None:
    head = layout()
    features = torch.randn(4, 3, *SHAPE[1:], generator=torch.Generator().manual_seed(1))
    ramp = torch.linspace(0, 1, SHAPE[3]).expand(4, 1, *SHAPE[1:])
    target = torch.cat([features[:, :1] + ramp, -features[:, 1:2]], dim=1)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.01)
    errors = []
    for _ in range(150):
        error = ((head(features) - target) ** 2).mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append(error.item())
    assert errors[-1] < 0.1 * errors[0]


def test_it_starts_about_the_mean_and_keeps_it_with_its_weights() -> None:
    head = layout()
    head.mean.copy_(torch.full((1, *SHAPE), 3.0))
    found = head(torch.zeros(1, 3, *SHAPE[1:])).detach()
    assert float(found.mean()) == pytest.approx(3.0, abs=0.5)
    assert set(head.state_dict()) >= {"mean"}
    assert not {"places", "signal", "noise"} & set(head.state_dict())
