"""Regions of an image, and where a control's error counts."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vcmaug.data.volume import Volume
from vcmaug.ldm.schedule import Schedule, ScheduleSettings
from vcmaug.training.control_objective import near_weights, timestep_weights
from vcmaug.training.regions import RegionSettings, drawn_regions

SIZE = 24


def ball(radius: float) -> NDArray[np.bool_]:
    places = np.indices((SIZE,) * 3) - (SIZE - 1) / 2
    inside: NDArray[np.bool_] = (places**2).sum(axis=0) < radius**2
    return inside


def regions(seed: int, *, num_structures: int = 2, **settings: object) -> NDArray[np.uint8]:
    image = np.where(ball(7), 0.8, 0.2).astype(np.float32)
    return drawn_regions(
        Volume(image, np.eye(4)),
        num_structures=num_structures,
        settings=RegionSettings(radius_mm=(16, 20), smooth_mm=0.0, **settings),
        generator=np.random.default_rng(seed),
    )


def test_a_region_stops_where_grey_values_change() -> None:
    """A ball of one grey value in another: whatever the seed, one of the two is cut along it."""
    for seed in range(12):
        found = regions(seed) > 0
        inside = found & ball(7)
        assert found.any()
        assert not inside.any() or not (found & ~ball(8)).any() or inside.sum() > 1000


def test_a_seed_in_the_ball_finds_the_ball() -> None:
    hits = [found for seed in range(30) if (found := regions(seed) > 0)[12, 12, 12]]
    whole = [found for found in hits if found.sum() < 2000]  # around it, holes are filled too
    assert whole
    for found in whole:
        assert (found ^ ball(7)).sum() < 0.1 * ball(7).sum()


@pytest.mark.parametrize("num_structures", [1, 2, 4])
def test_a_region_has_as_many_parts_as_there_are_structures(num_structures: int) -> None:
    found = regions(3, num_structures=num_structures)
    assert set(np.unique(found)) == set(range(num_structures + 1))


def test_one_generator_one_region() -> None:
    assert np.array_equal(regions(5), regions(5))
    assert not np.array_equal(regions(5), regions(6))


def test_weights_of_timesteps_are_one_on_average_and_rise_with_the_noise() -> None:
    alphas = Schedule(ScheduleSettings()).alphas_cumprod
    weights = timestep_weights(alphas, "image")
    assert float(weights.mean()) == pytest.approx(1.0, abs=1e-5)
    assert (torch.diff(weights) >= 0).all()
    assert float(weights.max() / weights.min()) == pytest.approx(50.0, rel=1e-4)
    assert torch.equal(timestep_weights(alphas, "epsilon"), torch.ones(len(alphas)))


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
