"""`vcmaug.conditions` and `vcmaug.chains`: what images are drawn for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vcmaug.compute import resolve_compute
from vcmaug.conditions.build import build_conditions
from vcmaug.conditions.builder import Builder
from vcmaug.conditions.chain import Chain, ConditionSettings
from vcmaug.conditions.conditions import Conditions
from vcmaug.config import parse_settings
from vcmaug.data.cases import Cases
from vcmaug.face.folders import folder_for
from vcmaug.ldm.prior import Prior
from vcmaug.progress import Report, silent

__all__ = ["chains", "conditions"]


def chains(*several: Sequence[Builder | str] | Chain, **settings: Any) -> ConditionSettings:
    """Return chains of builders that take turns.

    Args:
        *several: Lists of builders, each applied one after the other, or chains with a weight.
        **settings: Further settings of `ConditionSettings`: `inherit` and `scalars`.

    Examples:
        >>> len(chains(["perturb"], ["shape_model", "perturb"]).chains)
        2
    """
    return parse_settings(
        ConditionSettings, {"chains": several, **settings}, source="the arguments of chains"
    )


def conditions(
    cases: Cases,
    settings: ConditionSettings | Builder | str,
    *,
    n: int,
    seed: int = 0,
    prior: Prior | None = None,
    folder: Path | str | None = None,
    lazy: bool = False,
    workers: int | None = None,
    report: Report = silent,
) -> Conditions:
    """Build conditions from labelled cases: label maps, scalars and further channels.

    Args:
        cases: Labelled training cases; their roles are those of the split that they come from.
        settings: Of `chains`, or one builder.
        n: How many; chains take turns, and each goes round the cases.
        seed: With the number of a condition it decides everything about it.
        prior: Whose ranges the scalars are kept in; None: those of the prior that draws.
        folder: Where they are kept and can be gone on with; None: a temporary folder that lasts as
            long as this process.
        lazy: Write the table alone; maps are made again when they are needed.
        workers: Processes; None or 0: this one.
        report: Told as they are made.

    Raises:
        LeakError: A subject of test or validation is among the cases or an atlas' donors.
        DataError: A case has no label map, or builders do not fit the structures or each other.
        WorkFolderError: The folder holds other conditions.
    """
    chosen = parse_settings(ConditionSettings, settings, source="the arguments of conditions")
    place = folder_for(folder, name="conditions")
    build_conditions(
        chosen,
        cases.cases,
        folder=place,
        scheme=cases.scheme,
        n=n,
        seed=seed,
        roles=cases.roles,
        scalars=prior.spec.scalars if prior is not None else (),
        lazy=lazy,
        compute=resolve_compute(workers=workers),
        report=report,
    )
    return Conditions(place)
