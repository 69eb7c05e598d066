"""The independent evaluator of adherence: trained once per work folder, kept, and reloaded.

It learns from training subjects whose labels no replicate uses.
"""

from collections.abc import Iterable
from typing import Any

from vcmaug.data.cases import Case, Cases, cases_of
from vcmaug.data.splits import Splits, labelled_subset
from vcmaug.downstream.evaluator import Evaluator, train_evaluator
from vcmaug.files import read_json, write_json
from vcmaug.ldm.weights import write_weights
from vcmaug.pipeline.pool import load_evaluator
from vcmaug.pipeline.work import Work
from vcmaug.progress import Report, silent

__all__ = ["evaluator_subjects", "independent_evaluator"]

_FEWEST_SUBJECTS = 3


def evaluator_subjects(work: Work, splits: Splits) -> tuple[str, ...]:
    """Return the subjects of the evaluator whose labels no replicate of study or gates uses.

    Where the splits name none for it, all training subjects are meant.
    """
    used: set[str] = set()
    gates = work.recipe.gates
    many = [work.replicate(gates.num_labelled, gates.seed)] if gates.num_labelled else []
    for replicate in [*work.replicates, *many]:
        used |= set(
            labelled_subset(splits, num_labelled=replicate.num_labelled, seed=replicate.seed)
        )
    return tuple(one for one in splits.evaluator or splits.train if one not in used)


def independent_evaluator(
    work: Work, prepared: Cases, splits: Splits, *, report: Report = silent
) -> tuple[Evaluator | None, dict[str, Any]]:
    """Return the evaluator and what it was trained on; None where too few subjects are left.

    Args:
        work: The work folder; the evaluator is kept in it.
        prepared: Cases and scheme.
        splits: Who may be seen.
        report: Told while it is trained.
    """
    cases = _labelled(cases_of(prepared.cases, evaluator_subjects(work, splits)))
    subjects = {case.subject_id for case in cases}
    if len(subjects) < _FEWEST_SUBJECTS:
        return None, {"subjects": 0, "why": "too few training subjects outside all replicates"}
    study, settings = work.recipe.study, work.recipe.evaluator
    about = {
        "subjects": len(subjects),
        "cases": [case.case_id for case in cases],
        "settings": settings.model_dump(mode="json"),
        "task": study.task.model_dump(mode="json"),
        "segmenter": study.segmenter.model_dump(mode="json"),
        "augment": study.augment.model_dump(mode="json"),
        "seed": work.recipe.seed,
    }
    weights, card = work.evaluator / "evaluator.safetensors", work.evaluator / "card.json"
    if card.exists() and read_json(card) == about:
        return load_evaluator(work, prepared, weights), about
    evaluator = train_evaluator(
        cases,
        task=study.task,
        ground=study.ground(prepared.scheme),
        augment=study.augment,
        settings=settings,
        seed=work.recipe.seed,
        report=report,
    )
    write_weights(weights, evaluator.network.state_dict())
    write_json(card, about)
    return evaluator, about


def _labelled(cases: Iterable[Case]) -> tuple[Case, ...]:
    """Return the cases that have a label map."""
    return tuple(case for case in cases if case.label is not None)
