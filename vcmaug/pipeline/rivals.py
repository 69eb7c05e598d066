"""The cohorts of the rivals, one stage per arm.

What it is: which rival belongs to which arm, and what it is made from.
In the flow: after the conditions of a replicate, before the study.
Sources: none.
"""

from collections.abc import Callable, Mapping
from typing import Any

from vcmaug.conditions.chain import chain_of, images_can_follow
from vcmaug.data.cases import hashes_of_files
from vcmaug.downstream.arms import ArmName
from vcmaug.files import sha256_of_file
from vcmaug.pipeline.pool import labelled_of
from vcmaug.pipeline.work import Replicate, Work, stage
from vcmaug.progress import Report, silent
from vcmaug.rivals.copy_paste import copy_paste_cohort
from vcmaug.rivals.label_to_image import label_to_image_cohort
from vcmaug.rivals.warp import warp_cohort

__all__ = ["FOR_CONDITIONS", "RIVALS", "rival_stage"]


def _warped(work: Work, replicate: Replicate, report: Report) -> None:
    """Warp the labelled cases as the conditions' maps were."""
    prepared, _, cases = labelled_of(work, replicate)
    warp_cohort(
        replicate.conditions,
        cases,
        scheme=prepared.scheme,
        n=_num_warps(work),
        out=replicate.cohort_of("real+warped"),
        report=report,
    )


def _num_warps(work: Work) -> int:
    """Return how many of the conditions an image can follow, at most as many as are drawn."""
    recipe = work.recipe.conditions
    turns = [chain_of(recipe, index)[0] for index in range(recipe.n)]
    return min(
        work.recipe.generate.n, sum(images_can_follow(recipe.chains[number]) for number in turns)
    )


def _pasted(work: Work, replicate: Replicate, report: Report) -> None:
    """Paste structures of the labelled cases into each other."""
    prepared, _, cases = labelled_of(work, replicate)
    copy_paste_cohort(
        cases,
        settings=work.recipe.rivals.copy_paste,
        scheme=prepared.scheme,
        n=work.recipe.generate.n,
        seed=replicate.seed,
        out=replicate.cohort_of("real+copy-paste"),
        report=report,
    )


def _painted(work: Work, replicate: Replicate, report: Report) -> None:
    """Paint the conditions' maps."""
    prepared, _, cases = labelled_of(work, replicate)
    label_to_image_cohort(
        replicate.conditions,
        cases,
        settings=work.recipe.rivals.label_to_image,
        scheme=prepared.scheme,
        n=work.recipe.generate.n,
        seed=replicate.seed,
        out=replicate.cohort_of("real+label-to-image"),
        report=report,
    )


RIVALS: Mapping[ArmName, Callable[[Work, Replicate, Report], None]] = {
    "real+warped": _warped,
    "real+copy-paste": _pasted,
    "real+label-to-image": _painted,
}
FOR_CONDITIONS: tuple[ArmName, ...] = ("real+warped", "real+label-to-image")
"""Rivals that make images for the conditions of the control's cohort."""


def rival_stage(work: Work, replicate: Replicate, arm: ArmName, *, report: Report = silent) -> bool:
    """Make the cohort of a rival's arm; return whether it was made."""
    _, _, cases = labelled_of(work, replicate)
    table = replicate.conditions / "conditions.parquet"
    rivals: dict[str, Any] = work.recipe.rivals.model_dump(mode="json")
    inputs = [
        rivals.get(arm.removeprefix("real+").replace("-", "_")),
        work.recipe.generate.n,
        sha256_of_file(table) if arm in FOR_CONDITIONS else None,
        hashes_of_files(cases),
        replicate.seed,
    ]
    out = replicate.cohort_of(arm)

    def action() -> None:
        RIVALS[arm](work, replicate, report)

    return stage(work, f"{out.name}-{replicate.name}", inputs=inputs, outputs=out, action=action)
