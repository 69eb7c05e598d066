"""The independent reader of adherence: trained once per work folder, kept, and reloaded.

What it is: a segmenter on training subjects whose labels no replicate uses.
In the flow: `quality` is given it as a plain function.
Sources: none.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmaug.data.cases import Case, cases_of
from vcmaug.data.prepare import Prepared
from vcmaug.data.splits import Splits, labelled_subset
from vcmaug.downstream.fit import train_reader
from vcmaug.files import read_json, write_json
from vcmaug.ldm.weights import write_weights
from vcmaug.pipeline.pool import load_segmenter
from vcmaug.pipeline.work import Work
from vcmaug.progress import Report, silent

__all__ = ["independent_reader", "reader_subjects"]

Read = Callable[[NDArray[np.float32]], NDArray[np.uint16]]

_FEWEST_SUBJECTS = 3


def reader_subjects(work: Work, splits: Splits) -> tuple[str, ...]:
    """Return the subjects of the reader whose labels no replicate of study or gates uses.

    Where the splits name none for it, all training subjects are meant.
    """
    used: set[str] = set()
    gates = work.recipe.gates
    many = [work.replicate(gates.num_labelled, gates.seed)] if gates.num_labelled else []
    for replicate in [*work.replicates, *many]:
        used |= set(
            labelled_subset(splits, num_labelled=replicate.num_labelled, seed=replicate.seed)
        )
    return tuple(one for one in splits.reader or splits.train if one not in used)


def independent_reader(
    work: Work, prepared: Prepared, splits: Splits, *, report: Report = silent
) -> tuple[Read | None, dict[str, Any]]:
    """Return the reader and what it was trained on; None where too few subjects are left.

    Args:
        work: The work folder; the reader is kept in it.
        prepared: Cases and scheme.
        splits: Who may be seen.
        report: Told while it is trained.
    """
    cases = _labelled(cases_of(prepared.cases, reader_subjects(work, splits)))
    if len({case.subject_id for case in cases}) < _FEWEST_SUBJECTS:
        return None, {"subjects": 0, "why": "too few training subjects outside all replicates"}
    about = {
        "subjects": len({case.subject_id for case in cases}),
        "cases": [case.case_id for case in cases],
        "settings": work.recipe.reader.model_dump(mode="json"),
        "segmenter": work.recipe.study.segmenter.model_dump(mode="json"),
        "augment": work.recipe.study.augment.model_dump(mode="json"),
        "seed": work.recipe.seed,
    }
    weights, card = work.reader / "reader.safetensors", work.reader / "card.json"
    if card.exists() and read_json(card) == about:
        return load_segmenter(work, prepared, weights), about
    reader = train_reader(
        cases,
        scheme=prepared.scheme,
        segmenter=work.recipe.study.segmenter,
        augment=work.recipe.study.augment,
        settings=work.recipe.reader,
        seed=work.recipe.seed,
        report=report,
    )
    write_weights(weights, reader.network.state_dict())
    write_json(card, about)
    return reader, about


def _labelled(cases: tuple[Case, ...]) -> tuple[Case, ...]:
    """Return the cases that have a label map."""
    return tuple(case for case in cases if case.label is not None)
