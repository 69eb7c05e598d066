"""Where draws start: at what the condition lets one expect, and at strength 0 without it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from numpy.typing import NDArray

from vcmaug.control.base import Control
from vcmaug.control.methods.vcm import VCM
from vcmaug.errors import CohortError
from vcmaug.generate.draw import Model, draw_images, load_model, read_asked
from vcmaug.generate.plan import requests_of_micro_batch
from vcmaug.generate.samplers import timesteps_of


@pytest.fixture
def plain(world: Path) -> Model:
    """Return the tiny model, its prior with a mean latent."""
    model = load_model(tiny.tiny_plan(world), device="cpu")
    return replace(
        model, prior=replace(model.prior, mean=torch.zeros(model.prior.spec.latent_shape))
    )


@pytest.fixture
def laid_out(plain: Model) -> Model:
    """Return the same with a new control that has a layout."""
    settings = VCM.model_validate({**plain.control.card["settings"], "layout": True})
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = settings.network(plain.prior.spec, num_structures=2)
    return replace(plain, control=Control(network, plain.control.card))


def drawn(model: Model, world: Path, *, strength: float, start: float = 1.0) -> NDArray[np.float32]:
    """Return the first micro-batch of a plan at some strength."""
    plan = tiny.tiny_plan(world)
    sampler = plan.settings.sampler.model_copy(update={"start": start})
    settings = plan.settings.model_copy(update={"strength": strength, "sampler": sampler})
    timesteps = timesteps_of(sampler, num_timesteps=model.prior.schedule.num_timesteps)
    plan = plan.model_copy(update={"settings": settings, "timesteps": timesteps})
    asked = [read_asked(one, plan=plan, model=model) for one in requests_of_micro_batch(plan, 0)]
    return draw_images(asked, plan=plan, model=model, device="cpu")


def test_at_strength_0_the_layout_has_no_part(plain: Model, laid_out: Model, world: Path) -> None:
    assert np.array_equal(drawn(plain, world, strength=0.0), drawn(laid_out, world, strength=0.0))


def test_a_draw_starts_at_the_latents_that_its_map_lets_one_expect(
    plain: Model, laid_out: Model, world: Path
) -> None:
    """A new control changes no prediction, so what differs comes from the start alone."""
    without = drawn(plain, world, strength=0.0)
    with_layout = drawn(laid_out, world, strength=1.0)
    assert not np.allclose(with_layout, without, atol=1e-4)


def test_a_prior_without_a_mean_starts_there_too_below_the_top_of_the_schedule(
    plain: Model, laid_out: Model, world: Path
) -> None:
    """Such is an imported one; zero stands for its mean."""
    zero, none = laid_out, replace(laid_out, prior=replace(laid_out.prior, mean=None))
    for strength in (0.0, 1.0):
        low = [drawn(model, world, strength=strength, start=0.6) for model in (zero, none)]
        assert np.array_equal(*low)
    without = replace(plain, prior=none.prior)
    assert np.array_equal(  # at the top it is noise, with a layout and without
        drawn(none, world, strength=1.0), drawn(without, world, strength=0.0)
    )


def test_a_start_below_the_top_wants_a_mean_or_a_layout(world: Path) -> None:
    with pytest.raises(CohortError, match=r"draws start at 0\.6 .* neither the prior has a mean"):
        tiny.tiny_plan(world, start=0.6)


def test_without_a_layout_nothing_is_expected(plain: Model, laid_out: Model) -> None:
    maps = torch.ones(1, 2, *plain.prior.spec.grid.shape)
    assert plain.control.expected(plain.control.encode(maps)) is None
    expected = laid_out.control.expected(laid_out.control.encode(maps))
    assert expected is not None
    assert expected.shape == (1, *plain.prior.spec.latent_shape)


def test_what_is_shown_nothing_is_the_priors_own(
    plain: Model, laid_out: Model, world: Path
) -> None:
    plan = tiny.tiny_plan(world)
    for model in (plain, laid_out):
        asked = [
            read_asked(one, plan=plan, model=model) for one in requests_of_micro_batch(plan, 0)
        ]
        asked[0] = replace(asked[0], presence={"label_map": False})
        found = draw_images(asked, plan=plan, model=model, device="cpu")
        bare, steered = (drawn(model, world, strength=strength) for strength in (0.0, 1.0))
        assert not np.array_equal(bare[0], steered[0])
        assert np.array_equal(found[0], bare[0])
        assert np.array_equal(found[1:], steered[1:])
