"""The stage of an arm that makes its own cohort, and what arms tell a study."""

from collections.abc import Iterable

from vcmaug.arms.base import Arm, Need, Sources
from vcmaug.data.cases import hashes_of_files
from vcmaug.downstream.training_data import TrainingData
from vcmaug.errors import WorkFolderError
from vcmaug.files import sha256_of_file
from vcmaug.pipeline.pool import labelled_of
from vcmaug.pipeline.work import Replicate, Work, stage
from vcmaug.progress import Report, silent

__all__ = ["arm_stage", "training_data_of"]


def arm_stage(work: Work, replicate: Replicate, arm: Arm, *, report: Report = silent) -> bool:
    """Let an arm make its cohort in a replicate; return whether it was made.

    Raises:
        WorkFolderError: The arm makes none.
    """
    out = arm.cohort_folder(replicate)
    if out is None or not arm.makes_data():
        raise WorkFolderError(f"making the data of arm {arm.name}: it makes none of its own.")
    prepared, _, cases = labelled_of(work, replicate)
    conditions = arm.variant(replicate).conditions
    sources = Sources(
        cases=cases,
        scheme=prepared.scheme,
        conditions=conditions,
        n=work.recipe.generate.n,
        seed=replicate.seed,
    )
    table = conditions / "conditions.parquet"
    inputs = [
        arm.model_dump(mode="json"),
        sources.n,
        sha256_of_file(table) if Need.CONDITIONS in arm.needs else None,
        hashes_of_files(cases),
        replicate.seed,
    ]
    folder = out  # the checker knows that it is a path

    def action() -> None:
        arm.make(sources, out=folder, report=report)

    name = f"{out.name}-{replicate.name}"
    return stage(work, name, inputs=inputs, outputs=out, action=action)


def training_data_of(work: Work, arms: Iterable[Arm]) -> dict[str, TrainingData]:
    """Return what each arm of a study trains on, by its name."""
    replicates = {(one.num_labelled, one.seed): one for one in work.replicates}
    return {arm.name: arm.training_data(replicates) for arm in arms}
