"""Where draws start: at what the condition lets one expect, and at strength 0 without it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from numpy.typing import NDArray

from vcmaug.conditions.conditions import StoredCondition
from vcmaug.control.base import Control
from vcmaug.errors import CohortError
from vcmaug.generate.drawer import Drawer
from vcmaug.generate.loading import load_plan
from vcmaug.generate.noise import Noise


@pytest.fixture
def plain(world: Path) -> Drawer:
    """Return the tiny drawer, its prior with a mean latent."""
    drawer = load_plan(tiny.tiny_plan(world), device="cpu").drawer
    mean = torch.zeros(drawer.prior.spec.latent_shape)
    return replace(drawer, prior=replace(drawer.prior, mean=mean))


@pytest.fixture
def laid_out(plain: Drawer) -> Drawer:
    """Return the same with a new control that has a layout."""
    settings = plain.control.card.settings.model_copy(update={"layout": True})
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = settings.network(plain.prior.spec, num_structures=2)
    return replace(plain, control=Control(network, plain.control.card))


IDS = ("r000000", "r000001")


def conditions(world: Path) -> list[StoredCondition]:
    """Return the conditions of the first micro-batch of a plan."""
    loaded = load_plan(tiny.tiny_plan(world), device="cpu")
    requests = loaded.plan.requests_of_micro_batch(0)
    assert tuple(request.request_id for request in requests) == IDS
    return [loaded.condition_of(request) for request in requests]


def drawn(
    drawer: Drawer, world: Path, *, strength: float, start: float = 1.0
) -> NDArray[np.float32]:
    """Return that micro-batch drawn at some strength."""
    sampler = drawer.sampler.model_copy(update={"start": start})
    drawer = replace(drawer, strength=strength, sampler=sampler)
    return drawer(conditions(world), Noise(7, IDS))


def test_at_strength_0_the_layout_has_no_part(plain: Drawer, laid_out: Drawer, world: Path) -> None:
    assert np.array_equal(drawn(plain, world, strength=0.0), drawn(laid_out, world, strength=0.0))


def test_a_draw_starts_at_the_latents_that_its_map_lets_one_expect(
    plain: Drawer, laid_out: Drawer, world: Path
) -> None:
    """A new control changes no prediction, so what differs comes from the start alone."""
    without = drawn(plain, world, strength=0.0)
    with_layout = drawn(laid_out, world, strength=1.0)
    assert not np.allclose(with_layout, without, atol=1e-4)


def test_a_prior_without_a_mean_starts_there_too_below_the_top_of_the_schedule(
    plain: Drawer, laid_out: Drawer, world: Path
) -> None:
    """Such is an imported one; zero stands for its mean."""
    zero, none = laid_out, replace(laid_out, prior=replace(laid_out.prior, mean=None))
    for strength in (0.0, 1.0):
        low = [drawn(drawer, world, strength=strength, start=0.6) for drawer in (zero, none)]
        assert np.array_equal(*low)
    without = replace(plain, prior=none.prior)
    assert np.array_equal(  # at the top it is noise, with a layout and without
        drawn(none, world, strength=1.0), drawn(without, world, strength=0.0)
    )


def test_a_start_below_the_top_wants_a_mean_or_a_layout(world: Path) -> None:
    with pytest.raises(CohortError, match=r"draws start at 0\.6 .* neither the prior has a mean"):
        tiny.tiny_plan(world, start=0.6)


def test_without_a_layout_nothing_is_expected(plain: Drawer, laid_out: Drawer) -> None:
    maps = torch.ones(1, 2, *plain.prior.spec.grid.shape)
    assert plain.control.encode(maps).expected is None
    expected = laid_out.control.encode(maps).expected
    assert expected is not None
    assert expected.shape == (1, *plain.prior.spec.latent_shape)


def test_what_is_shown_nothing_is_the_priors_own(
    plain: Drawer, laid_out: Drawer, world: Path
) -> None:
    targets = conditions(world)
    hidden = replace(targets[0].row, presence={"label_map": False})
    targets[0] = replace(targets[0], row=hidden)
    for drawer in (plain, laid_out):
        found = replace(drawer, strength=1.0)(targets, Noise(7, IDS))
        bare, steered = (drawn(drawer, world, strength=strength) for strength in (0.0, 1.0))
        assert not np.array_equal(bare[0], steered[0])
        assert np.array_equal(found[0], bare[0])
        assert np.array_equal(found[1:], steered[1:])
