"""The gate of the prior: are its samples real, and do they have the requested volumes?"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vcmaug.data.case import Case
from vcmaug.data.labels import LabelScheme, volumes_mm3
from vcmaug.data.scalars import ScalarSpec, raw_value
from vcmaug.gates.base import GateGround, GateResult, Limit, reconstructed
from vcmaug.seeding import numpy_generator

if TYPE_CHECKING:
    from vcmaug.ldm.prior import Prior

__all__ = ["measure_prior"]

_MOST_AUC = 0.8
_LEAST_R = 0.8
_DRAWN_TOGETHER = 8

Images = NDArray[np.float32]
Reads = Callable[[Images], NDArray[Any]]
"""Images [N, X, Y, Z] -> label maps [N, X, Y, Z]."""


def measure_prior(ground: GateGround, prior: "Prior", *, reads: Reads | None) -> GateResult:
    """Return how well samples, and reconstructions, are told from real images.

    Args:
        ground: Cases and settings.
        prior: Whose samples they are.
        reads: The independent evaluator, which measures volumes in them; None: there is none.
    """
    from vcmaug.quality.realism import tell_apart

    settings = ground.settings
    everybody = (*ground.splits.train, *ground.splits.validation)
    cases, real = ground.cases_of(everybody), ground.read(everybody)
    drawn = _unconditional(ground, prior, cases)
    response = _scalar_response(ground.cases.scheme, prior, cases, drawn, reads=reads)
    order = numpy_generator(settings.seed, "halves").permutation(len(real.names))
    half = len(order) // 2
    images, again = real.images, reconstructed(prior, real)
    told_by = partial(
        tell_apart, settings=settings.realism, seed=settings.seed, report=ground.report
    )
    told = {
        "samples": told_by(images, drawn, what="samples"),
        "reconstructions": told_by(images[order[:half]], again[order[half:]]),
        "other real images": told_by(images[order[:half]], images[order[half:]]),
    }
    losses = prior.card.figures  # an imported prior has none
    figures = {
        "told_from_real": {name: asdict(one) for name, one in told.items()},
        "steps": settings.sampler.steps,
        "losses": {name: loss for name, loss in losses.items() if name.startswith("diffusion")},
        "scalar_response": response,
    }
    limits = [Limit("AUC of samples", told["samples"].auc, "at most", _MOST_AUC)]
    limits += [
        Limit("r of asked against measured volumes", float(row["r"]), "at least", _LEAST_R)
        for row in response
    ]
    return GateResult(figures, limits, samples=drawn)


def _unconditional(ground: GateGround, prior: "Prior", cases: Sequence[Case]) -> Images:
    """Return images drawn without a control; scalars are those of cases in turn."""
    from vcmaug.conditions.target import Target
    from vcmaug.generate.drawer import Drawer
    from vcmaug.generate.noise import Noise

    settings = ground.settings
    drawer = Drawer(prior, None, sampler=settings.sampler)
    parts = []
    for first in range(0, settings.num_samples, _DRAWN_TOGETHER):
        numbers = range(first, min(first + _DRAWN_TOGETHER, settings.num_samples))
        rows = [cases[k % len(cases)].columns for k in numbers]
        targets = [
            Target(scalars={spec.name: raw_value(spec, row) for spec in prior.spec.scalars})
            for row in rows
        ]
        noise = Noise(settings.seed, [f"unconditional-{k}" for k in numbers])
        parts.append(drawer(targets, noise))
    return np.concatenate(parts)


def _scalar_response(
    scheme: LabelScheme,
    prior: "Prior",
    cases: Sequence[Case],
    drawn: Images,
    *,
    reads: Reads | None,
) -> list[dict[str, Any]]:
    """Return, per volume that the prior can be asked for, asked against measured in its samples."""
    volumes = [spec for spec in prior.spec.scalars if set(spec.structures) & {*scheme.names}]
    if not volumes:
        return []
    if reads is None:
        why = "no independent evaluator"
        return [{"scalar": spec.name, "r": float("nan"), "why": why} for spec in volumes]
    found = [volumes_mm3(one, scheme, prior.spec.grid.spacing_mm) for one in reads(drawn)]
    return [_response(spec, cases, found) for spec in volumes]


def _response(
    spec: ScalarSpec, cases: Sequence[Case], found: Sequence[dict[str, float]]
) -> dict[str, Any]:
    """Return correlation and slope of one volume."""
    asked = [raw_value(spec, cases[k % len(cases)].columns) or 0.0 for k in range(len(found))]
    measured = [sum(one[name] for name in spec.structures) for one in found]
    varies = bool(np.std(asked) > 0 and np.std(measured) > 0)
    r = float(np.corrcoef(asked, measured)[0, 1]) if varies else 0.0
    slope = float(np.polyfit(asked, measured, 1)[0]) if varies else 0.0
    return {"scalar": spec.name, "r": r, "slope": slope, "num": len(found)}
