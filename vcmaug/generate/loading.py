"""What a worker loads: the models of a plan once, and each request's condition.

Whatever a plan names is held against the hashes that it was made with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from vcmaug.cohort.layout import CohortLayout
from vcmaug.conditions.conditions import Conditions, StoredCondition
from vcmaug.control.base import Control, load_control
from vcmaug.control.shown import ALONE
from vcmaug.data.volume import Volume, other_voxels
from vcmaug.errors import CohortError, DataError, list_faults
from vcmaug.files import sha256_of_file
from vcmaug.generate.acceptance import Measure, load_measure
from vcmaug.generate.drawer import Drawer
from vcmaug.generate.plan import GenerateSettings, Plan, Request
from vcmaug.ldm.prior import Prior, load_prior

__all__ = ["LoadedPlan", "Shard", "drawer_of", "load_plan"]


@dataclass(frozen=True)
class LoadedPlan:
    """A plan with its models, which a worker keeps between shards.

    Attributes:
        plan: How to draw.
        control: That steers the prior.
        drawer: Draws with both.
        conditions: Those of the plan.
        measure: Measures drawn images for acceptance, or None.
    """

    plan: Plan
    control: Control
    drawer: Drawer
    conditions: Conditions
    measure: Measure | None = None

    def condition_of(self, request: Request) -> StoredCondition:
        """Return the condition of a request; its map and the channels that are shown are read.

        Raises:
            CohortError: The map is missing, changed after the conditions were built, or does not
                fit the prior's grid or the control's scheme; or a scalar is out of range.
            DataError: The map or a channel cannot be read.
        """
        condition = self.conditions[request.condition]
        try:
            label_map = condition.label_map
            condition.values_of(self.drawer.prior.spec.scalars)  # some may be refused
        except DataError as fault:
            raise CohortError(f"request {request.request_id}, {fault}") from None
        channels = {} if self.control.shows.names == ALONE else condition.channels
        if faults := self._misfits(label_map, channels):
            raise CohortError(
                list_faults(
                    f"request {request.request_id}, condition {condition.condition_id}", faults
                )
            )
        return condition

    def _misfits(self, label_map: Volume, channels: Mapping[str, Volume]) -> list[str]:
        """Return why prior and control cannot draw for a map with its channels."""
        grid, scheme = self.drawer.prior.spec.grid, self.control.card.scheme
        faults = [
            f"{name} is not on the prior's grid: {differs}"
            for name, volume in {"the map": label_map, **channels}.items()
            if (differs := other_voxels(volume, than=grid))
        ]
        if unknown := scheme.unknown_values(label_map.array):
            known = dict(zip(scheme.names, scheme.values, strict=True))
            faults.append(f"label values {unknown} are not in the control's scheme {known}")
        return faults


def load_plan(plan: Plan, *, device: str) -> LoadedPlan:
    """Return a plan with its models from disk.

    Raises:
        CohortError: Prior, control or conditions are no longer those of the plan.
    """
    prior = load_prior(Path(plan.prior_folder), device=device)
    control = load_control(Path(plan.control_folder), prior=prior, device=device)
    if faults := _changed(plan, prior, control):
        raise CohortError(
            list_faults(
                "loading what a plan needs",
                faults,
                advice="Restore it, or move the cohort's folder away and draw it again.",
            )
        )
    return LoadedPlan(
        plan,
        control,
        drawer_of(plan.settings, prior=prior, control=control),
        Conditions(Path(plan.conditions_folder)),
        load_measure(plan.measure) if plan.measure is not None else None,
    )


@lru_cache(maxsize=1)
def _kept(plan: Plan, device: str) -> LoadedPlan:
    """Return a plan with its models, loaded once per process."""
    return load_plan(plan, device=device)


@dataclass(frozen=True)
class Shard:
    """A shard that a worker has in hand.

    Attributes:
        plan: Of the cohort.
        layout: Of the cohort's folder.
        number: Which.
        device: A torch device.
    """

    plan: Plan
    layout: CohortLayout
    number: int
    device: str

    @property
    def loaded(self) -> LoadedPlan:
        """The plan with its models, loaded when the first shard needs them."""
        return _kept(self.plan, self.device)


def drawer_of(settings: GenerateSettings, *, prior: Prior, control: Control) -> Drawer:
    """Return what draws a cohort of these settings."""
    return Drawer(
        prior,
        control,
        sampler=settings.sampler,
        strength=settings.strength,
        guidance=settings.guidance,
        interval=settings.interval,
        precision=settings.precision,
    )


def _changed(plan: Plan, prior: Prior, control: Control) -> list[str]:
    """Return what is not as it was when the plan was made."""
    table = Path(plan.conditions_folder) / "conditions.parquet"
    conditions_sha256 = sha256_of_file(table) if table.exists() else "no file"
    found = [
        (plan.prior_folder, prior.card.weights_sha256, plan.prior_sha256),
        (plan.control_folder, control.card.weights_sha256, plan.control_sha256),
        (table, conditions_sha256, plan.conditions_sha256),
    ]
    return [
        f"{place}: found {is_now[:12]}, the plan was made with {planned[:12]}"
        for place, is_now, planned in found
        if is_now != planned
    ]
