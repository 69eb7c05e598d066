"""Who may be seen in a replicate: its n labelled cases, and the unlabelled set with pseudo-labels.

Control, conditions and study ask here for their cases.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from vcmaug.arms.real import Real
from vcmaug.arms.self_training import pseudo_cases, pseudo_label
from vcmaug.compute import Compute
from vcmaug.data.case import IMAGE
from vcmaug.data.cases import Case, Cases, cases_of
from vcmaug.data.splits import (
    Splits,
    labelled_subset,
    read_splits,
    splits_from,
    unfit,
    write_splits,
)
from vcmaug.downstream.evaluator import Evaluator
from vcmaug.downstream.study import StudyInputs, run_arm, run_arms
from vcmaug.downstream.training_data import TrainingData
from vcmaug.errors import FaultyDataSet, WorkFolderError
from vcmaug.files import sha256_of_file
from vcmaug.ldm.weights import fill_module, read_weights, write_weights
from vcmaug.pipeline.work import Replicate, Work, stage
from vcmaug.progress import Report, silent

__all__ = [
    "labelled_of",
    "load_evaluator",
    "make_splits_of",
    "own_segmenter",
    "pool_of",
    "pseudo_stage",
    "splits_of",
    "study_inputs",
    "teachers_stage",
]

_TEACHER = Real()
"""Its networks of a replicate give the pseudo-labels, and check drawn images."""


def make_splits_of(work: Work) -> None:
    """Write the splits of a work folder unless they are there, and check them against its recipe.

    Raises:
        WorkFolderError: The splits that are there are not those of the recipe or of these cases.
    """
    settings, subjects = work.recipe.splits, Cases.open(work.cases).subjects
    if not work.splits.exists():
        write_splits(work.splits, splits_from(settings, subjects))
    try:
        faults = unfit(read_splits(work.splits, subjects), settings, subjects)
    except FaultyDataSet as fault:
        raise WorkFolderError(
            f"{fault}\nIt was written for other cases: move the file away and run again to split "
            "anew."
        ) from None
    if faults:
        raise WorkFolderError(
            f"using {work.splits}: {'; '.join(faults)}. Set splits in the recipe to what the file "
            "holds, or move the file away and run again to split anew."
        )


def splits_of(work: Work, prepared: Cases) -> Splits:
    """Return the splits of a work folder, which the stage of its cases wrote.

    Raises:
        WorkFolderError: They are not there.
    """
    if not work.splits.exists():
        raise WorkFolderError(
            f"reading {work.splits}: there is no such file. Run `vcmaug prepare RECIPE --out "
            f"{work.cases}` first."
        )
    return read_splits(work.splits, prepared.subjects)


def labelled_of(work: Work, replicate: Replicate) -> tuple[Cases, Splits, tuple[Case, ...]]:
    """Return prepared cases, splits, and the n labelled cases of a replicate."""
    prepared = Cases.open(work.cases)
    splits = splits_of(work, prepared)
    subjects = labelled_subset(splits, num_labelled=replicate.num_labelled, seed=replicate.seed)
    return prepared, splits, cases_of(prepared.cases, subjects)


def _unlabelled(work: Work, replicate: Replicate) -> tuple[Case, ...]:
    """Return the training cases of which a replicate may see images alone."""
    prepared, splits, labelled = labelled_of(work, replicate)
    known = {case.subject_id for case in labelled}
    return cases_of(prepared.cases, set(splits.train) - known)


def pool_of(work: Work, replicate: Replicate, *, report: Report = silent) -> tuple[Case, ...]:
    """Return the unlabelled set of a replicate with its pseudo-labels, made if need be."""
    pseudo_stage(work, replicate, report=report)
    return pseudo_cases(replicate.pseudo, _unlabelled(work, replicate))


def teachers_stage(work: Work, *, compute: Compute | None = None, report: Report = silent) -> None:
    """Train the arm `real` of every (n, seed), whose networks give pseudo-labels."""
    run_arms(
        _TEACHER.name,
        settings=work.recipe.study,
        inputs=_teacher_inputs(work),
        out=work.study,
        compute=compute,
        report=report,
    )


def own_segmenter(work: Work, replicate: Replicate, *, report: Report = silent) -> Path:
    """Return the weights of a replicate's own segmenter: the arm `real` of the same n and seed.

    It is trained now if it is not there, and kept for the study.
    """
    result = run_arm(
        _TEACHER.name,
        num_labelled=replicate.num_labelled,
        seed=replicate.seed,
        settings=work.recipe.study,
        inputs=_teacher_inputs(work),
        out=work.study,
        report=report,
    )
    return result.with_suffix(".safetensors")


def pseudo_stage(work: Work, replicate: Replicate, *, report: Report = silent) -> bool:
    """Let the replicate's own segmenter label its unlabelled set; return whether it was done."""
    prepared, _, labelled = labelled_of(work, replicate)
    pool = _unlabelled(work, replicate)
    weights = own_segmenter(work, replicate, report=report)

    def action() -> None:
        pseudo_label(
            pool,
            load_evaluator(work, prepared, weights),
            teacher_subjects=[case.subject_id for case in labelled],
            scheme=prepared.scheme,
            out=replicate.pseudo,
            report=report,
        )

    inputs = [sha256_of_file(weights), [case.hash_of(IMAGE) for case in pool]]
    name = f"pseudo-n{replicate.num_labelled}-s{replicate.seed}"  # one for both variants
    return stage(work, name, inputs=inputs, outputs=replicate.pseudo, action=action)


def load_evaluator(work: Work, prepared: Cases, weights: Path) -> Evaluator:
    """Return a network of the study's task from its weights."""
    study = work.recipe.study
    ground = study.ground(prepared.scheme)
    network = study.task.network(ground)
    fill_module(network, read_weights(weights), source=weights)
    return Evaluator(network.eval(), task=study.task, ground=ground)


def study_inputs(work: Work, splits: Splits, arms: Mapping[str, TrainingData]) -> StudyInputs:
    """Return what the study of a work folder works on, by value.

    Args:
        work: The work folder.
        splits: Who may be seen.
        arms: What each arm trains on, by its name.
    """
    prepared = Cases.open(work.cases)
    return StudyInputs(prepared.cases, splits, prepared.scheme, arms, keep=_keep)


def _teacher_inputs(work: Work) -> StudyInputs:
    """Return what the teachers are trained on: labelled cases alone."""
    arms: dict[str, TrainingData] = {_TEACHER.name: _TEACHER.training_data({})}
    return study_inputs(work, splits_of(work, Cases.open(work.cases)), arms)


def _keep(network: nn.Module, path: Path) -> None:
    """Write a network's weights."""
    write_weights(path, network.state_dict())
