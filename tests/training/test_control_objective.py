"""Where a control's error counts: timesteps, and cells near a structure."""

import pytest
import torch

from vcmaug.ldm.schedule import Schedule
from vcmaug.ldm.schedules.epsilon import EpsilonSchedule
from vcmaug.ldm.schedules.flow import FlowSchedule
from vcmaug.training.control_objective import near_weights, timestep_weights


@pytest.mark.parametrize(("kind", "ratio"), [(EpsilonSchedule(), 50.0), (FlowSchedule(), 10.0)])
def test_weights_of_timesteps_are_one_on_average_and_rise_with_the_noise(kind, ratio) -> None:
    errors = Schedule(kind).errors_of_z_0
    weights = timestep_weights(errors, "image")
    assert float(weights.mean()) == pytest.approx(1.0, abs=1e-5)
    assert (torch.diff(weights) >= 0).all()
    assert float(weights.max() / weights.min()) == pytest.approx(ratio, rel=1e-4)
    assert torch.equal(timestep_weights(errors, "prediction"), torch.ones(len(errors)))


def test_on_a_flow_an_error_counts_as_the_square_of_the_noise() -> None:
    noise = Schedule(FlowSchedule()).noise
    weights = timestep_weights(noise, "image")
    torch.testing.assert_close(weights[400:] / weights[-1], (noise[400:] ** 2).float())
    torch.testing.assert_close(Schedule(FlowSchedule()).errors_of_z_0, noise)


def test_cells_with_a_structure_and_their_neighbours_weigh_more() -> None:
    """Cells of 4 voxels; a structure in one of 6x6x6 cells makes 27 of them near."""
    one_hot = torch.zeros(1, 2, 24, 24, 24)
    one_hot[0, 1, 9, 9, 9] = 1
    weights = near_weights(one_hot, (6, 6, 6), 4.0)
    assert weights.shape == (1, 1, 6, 6, 6)
    assert float(weights.mean()) == pytest.approx(1.0)
    near = weights > 1.0001 * weights.min()
    assert int(near.sum()) == 27
    assert float(weights.max() / weights.min()) == pytest.approx(5.0)
    assert bool(near[0, 0, 1:4, 1:4, 1:4].all())
    assert torch.equal(near_weights(one_hot, (6, 6, 6), 0.0), torch.ones(1, 1, 6, 6, 6))
