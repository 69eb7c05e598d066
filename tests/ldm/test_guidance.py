"""Guidance by scalars: the formula, who can be guided, and what training leaves out."""

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from vcmaug.data.scalars import ScalarSpec
from vcmaug.ldm.denoiser import Context
from vcmaug.ldm.guidance import GuidedDenoiser, partly_left_out
from vcmaug.ldm.spec import PriorSpec

SHAPE = (2, 1, 2, 2, 2)
GRID = {"shape": [16, 16, 16], "spacing_mm": [2, 2, 2], "orientation": "RAS"}
AGE = ScalarSpec(name="age", low=20, high=80, column="age")
T = torch.tensor([5, 5])


def frozen(z_t: Tensor, t: Tensor, context: Context) -> Tensor:
    """Predict z_t plus the scalar, or z_t plus 10 where it is left out."""
    scalar = torch.zeros(len(z_t), 1) if context.scalars is None else context.scalars
    return z_t + torch.where(scalar < -0.5, 10.0, scalar)[:, :, None, None, None]


def steered(z_t: Tensor, t: Tensor, context: Context) -> Tensor:
    """Predict 100 more, and never meet a sample without scalars."""
    assert context.scalars is None or bool((context.scalars >= 0).all())
    return frozen(z_t, t, context) + 100.0


@pytest.mark.parametrize(("scale", "expected"), [(0.0, 10.0), (1.0, 0.5), (3.0, -18.5)])
def test_a_guided_prediction_goes_along_the_difference(scale: float, expected: float) -> None:
    context = Context(torch.full((2, 1), 0.5))
    found = GuidedDenoiser(frozen, frozen, scale)(torch.zeros(SHAPE), T, context)
    torch.testing.assert_close(found, torch.full(SHAPE, expected))


def test_a_control_adds_what_it_adds_unguided_and_always_sees_the_scalars() -> None:
    context = Context(torch.full((2, 1), 0.5))
    found = GuidedDenoiser(steered, frozen, 3.0)(torch.zeros(SHAPE), T, context)
    torch.testing.assert_close(found, torch.full(SHAPE, 100.0 - 18.5))


def test_without_scalars_there_is_nothing_to_guide() -> None:
    z_t = torch.zeros(SHAPE)
    assert torch.equal(GuidedDenoiser(frozen, frozen, 4.0)(z_t, T, Context()), z_t)


@pytest.mark.parametrize(
    ("scalars", "dropped", "scale", "expected"),
    [
        ((AGE,), 0.1, 3.0, ""),
        ((AGE,), 0.0, 1.0, ""),
        ((), 0.0, 1.0, ""),
        ((AGE,), 0.0, 3.0, "always saw its scalars"),
        ((), 0.0, 3.0, "has no scalars"),
    ],
)
def test_only_a_prior_that_trained_without_scalars_is_guided(
    scalars: tuple[ScalarSpec, ...], dropped: float, scale: float, expected: str
) -> None:
    spec = PriorSpec(name="p", grid=GRID, scalars=scalars, drop_scalars=dropped)
    fault = spec.guidance_fault(scale)
    assert expected in fault
    assert bool(fault) == bool(expected)


def test_scalars_that_are_not_there_cannot_be_left_out() -> None:
    with pytest.raises(ValidationError, match="and there are none"):
        PriorSpec(name="p", grid=GRID, drop_scalars=0.1)


def test_about_the_share_of_the_samples_trains_without_all_of_its_scalars() -> None:
    scalars = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0))
    found = partly_left_out(scalars, 0.2, torch.Generator().manual_seed(1))
    left_out = (found == -1).all(dim=1)
    assert float(left_out.float().mean()) == pytest.approx(0.2, abs=0.02)
    assert torch.equal(found[~left_out], scalars[~left_out])
    assert torch.equal(partly_left_out(scalars, 0.0, torch.Generator().manual_seed(1)), scalars)
