"""What a worker loads: the models of a plan once, and each request with its condition.

Whatever a plan names is held against the hashes that it was made with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vcmaug.conditions.replay import channel_arrays, map_bytes
from vcmaug.conditions.table import ConditionRow, read_conditions
from vcmaug.control.base import Control, load_control
from vcmaug.control.shown import ALONE
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import label_map_in
from vcmaug.data.scalars import ScalarSpec, asked_value
from vcmaug.data.volume import Volume
from vcmaug.errors import CohortError, DataError, list_faults
from vcmaug.files import sha256_of_file
from vcmaug.generate.acceptance import Measure, load_measure
from vcmaug.generate.drawer import Drawer
from vcmaug.generate.plan import GenerateSettings, Plan, Request
from vcmaug.ldm.prior import Prior, load_prior

__all__ = [
    "LoadedPlan",
    "LoadedRequest",
    "UnreadableRequest",
    "drawer_of",
    "load_plan",
    "load_request",
]


@dataclass(frozen=True)
class LoadedPlan:
    """A plan with its models, which a worker keeps between shards.

    Attributes:
        plan: How to draw.
        drawer: Draws.
        scheme: Of the label maps.
        conditions: The table of conditions.
        measure: Measures drawn images for acceptance, or None.
    """

    plan: Plan
    drawer: Drawer
    scheme: LabelScheme
    conditions: Sequence[ConditionRow]
    measure: Measure | None = None


@dataclass(frozen=True)
class LoadedRequest:
    """A request with its condition in memory; a target of the drawer.

    Attributes:
        request: Which.
        condition: Row of its condition.
        label_map: The condition's map, on the prior's grid.
        label_file: The map's file, byte by byte; it becomes the label of the case.
        scalars: Raw values by name; None is missing.
        channels: Further volumes that the control is shown, by name.
        presence: Which channels are shown; empty: the label map and all there are.
    """

    request: Request
    condition: ConditionRow
    label_map: Volume
    label_file: bytes
    scalars: Mapping[str, float | None]
    channels: Mapping[str, Volume]
    presence: Mapping[str, bool]

    @property
    def condition_id(self) -> str:
        """Of its condition."""
        return self.condition.condition_id

    def values_of(self, scalars: Sequence[ScalarSpec]) -> Mapping[str, float | None]:
        """Return the raw values of the prior's scalars by name; None is missing."""
        del scalars
        return self.scalars


@dataclass(frozen=True)
class UnreadableRequest:
    """A request whose condition cannot be used.

    Attributes:
        request: Which.
        condition: Row of its condition.
        reason: Why.
    """

    request: Request
    condition: ConditionRow
    reason: str


def load_plan(plan: Plan, *, device: str) -> LoadedPlan:
    """Return a plan with its models from disk.

    Raises:
        CohortError: Prior, control or conditions are no longer those of the plan.
    """
    prior = load_prior(Path(plan.prior_folder), device=device)
    control = load_control(Path(plan.control_folder), prior=prior, device=device)
    faults = _changed(plan, prior, control)
    if faults:
        raise CohortError(
            list_faults(
                "loading what a plan needs",
                faults,
                advice="Restore it, or move the cohort's folder away and draw it again.",
            )
        )
    return LoadedPlan(
        plan,
        drawer_of(plan.settings, prior=prior, control=control),
        control.card.scheme,
        read_conditions(Path(plan.conditions_folder)),
        load_measure(plan.measure) if plan.measure is not None else None,
    )


def drawer_of(settings: GenerateSettings, *, prior: Prior, control: Control) -> Drawer:
    """Return what draws a cohort of these settings."""
    return Drawer(
        prior,
        control,
        sampler=settings.sampler,
        strength=settings.strength,
        interval=settings.interval,
        precision=settings.precision,
    )


def _changed(plan: Plan, prior: Prior, control: Control) -> list[str]:
    """Return what is not as it was when the plan was made."""
    table = Path(plan.conditions_folder) / "conditions.parquet"
    found = {
        plan.prior_folder: (prior.card.weights_sha256, plan.prior_sha256),
        plan.control_folder: (control.card.weights_sha256, plan.control_sha256),
        str(table): (
            sha256_of_file(table) if table.exists() else "no file",
            plan.conditions_sha256,
        ),
    }
    return [
        f"{place}: found {is_now[:12]}, the plan was made with {planned[:12]}"
        for place, (is_now, planned) in found.items()
        if is_now != planned
    ]


def load_request(request: Request, loaded: LoadedPlan) -> LoadedRequest:
    """Return a request with its condition's map, scalars and channels.

    Raises:
        CohortError: The map is missing, changed after the conditions were built, or does not fit
            the prior's grid or the control's scheme.
        DataError: The map or a channel cannot be read.
    """
    folder, condition = Path(loaded.plan.conditions_folder), loaded.conditions[request.condition]
    try:
        label_file = map_bytes(folder, condition)
    except DataError as fault:
        raise CohortError(f"request {request.request_id}, {fault}") from None
    label_map = label_map_in(label_file)
    faults = _misfits(label_map, loaded)
    if faults:
        raise CohortError(
            list_faults(f"request {request.request_id}, condition {condition.condition_id}", faults)
        )
    prior, control = loaded.drawer.prior, loaded.drawer.control
    alone = control is None or control.shows.names == ALONE
    arrays = {} if alone else channel_arrays(folder, condition)
    return LoadedRequest(
        request=request,
        condition=condition,
        label_map=label_map,
        label_file=label_file,
        scalars={spec.name: asked_value(spec, condition.columns) for spec in prior.spec.scalars},
        channels={name: Volume(array, label_map.affine) for name, array in arrays.items()},
        presence=condition.presence,
    )


def _misfits(label_map: Volume, loaded: LoadedPlan) -> list[str]:
    """Return why prior and control cannot draw for a map."""
    grid, faults = loaded.drawer.prior.spec.grid, []
    if label_map.shape != tuple(grid.shape):
        faults.append(f"the map has shape {label_map.shape}, the prior draws {tuple(grid.shape)}")
    if not np.allclose(label_map.spacing_mm, grid.spacing_mm, atol=1e-3):
        faults.append(
            f"its voxels are {label_map.spacing_mm} mm, the prior's {tuple(grid.spacing_mm)} mm"
        )
    unknown = loaded.scheme.unknown_values(label_map.array)
    if unknown:
        known = dict(zip(loaded.scheme.names, loaded.scheme.values, strict=True))
        faults.append(f"label values {unknown} are not in the control's scheme {known}")
    return faults
