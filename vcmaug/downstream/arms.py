"""Arms of the study, and the refusal of leaks.

What it is: which data an arm trains on, and every way a held-out subject could have reached it.
In the flow: before any training of the study.
Sources: none.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import read_cohort_card, read_manifest
from vcmaug.data.cases import Case, cases_of
from vcmaug.data.labels import LabelScheme
from vcmaug.data.splits import Splits
from vcmaug.errors import DataError, LeakError, list_faults

__all__ = ["ARMS", "ArmName", "labelled_cases", "refuse_leaks", "refuse_real_leaks", "uses_cohort"]

ArmName = Literal["real", "real+synthetic", "real+warped"]
ARMS: tuple[ArmName, ...] = ("real", "real+synthetic")

_ROLES = ("prior", "control", "conditions")


def uses_cohort(arm: ArmName) -> bool:
    """Return whether an arm trains on a cohort too."""
    return arm != "real"


def refuse_real_leaks(labelled_subjects: Iterable[str], splits: Splits) -> None:
    """Refuse real training cases of held-out subjects.

    Raises:
        LeakError: Names every subject of test or validation among the labelled ones.
    """
    held_out = dict.fromkeys(splits.validation, "validation")
    held_out |= dict.fromkeys(splits.test, "test")
    faults = [
        f"subject {subject} of {held_out[subject]} is among the real training cases"
        for subject in sorted(set(labelled_subjects) & set(held_out))
    ]
    if faults:
        advice = "Give every subject one role in the splits."
        raise LeakError(list_faults("choosing the real training cases", faults, advice=advice))


def refuse_leaks(
    cohort: Path,
    *,
    labelled_subjects: Sequence[str],
    splits: Splits,
    cases: Sequence[Case],
    scheme: LabelScheme,
) -> None:
    """Refuse a cohort that a replicate of the study cannot use.

    Args:
        cohort: A finished cohort.
        labelled_subjects: The n subjects of the replicate. Control and conditions may have seen the
            labels of these alone, and of a pretraining that the cohort names and that shares no
            subject with the study.
        splits: Of the study.
        cases: Of the study.
        scheme: Of the study.

    Raises:
        LeakError: Prior, control, or conditions have seen a held-out subject, or labels beyond
            the replicate's own; every such subject is named, with the file that says so.
        DataError: The cohort speaks another scheme.
    """
    layout = CohortLayout(cohort)
    card = read_cohort_card(cohort)
    _refuse_scheme(card, scheme, layout.card)
    subjects = card.get("subjects")
    if not isinstance(subjects, dict) or not all(role in subjects for role in _ROLES):
        raise LeakError(
            f"using cohort {cohort} in a study: {layout.card} does not list the subjects seen by "
            f"{', '.join(_ROLES)} (under `subjects`; an empty list where there is none), so a leak "
            "cannot be ruled out."
        )
    labelled = set(labelled_subjects)
    held_out = {*splits.test, *splits.validation}
    faults = [
        f"subject {subject} of test or validation was seen by the {role} ({layout.card.name})"
        for role in sorted(subjects)
        for subject in sorted(set(subjects[role]) & held_out)
    ]
    sources = _sources(read_manifest(cohort), cases)
    faults += [
        f"subject {subject} of test or validation was seen by the conditions: it is a source of a "
        f"synthetic case ({layout.manifest.name})"
        for subject in sorted(sources & held_out)
    ]
    faults += [
        f"subject {subject} is a source of conditions and not one of the {len(labelled)} labelled"
        for subject in sorted((sources | set(subjects["conditions"])) - labelled - held_out)
    ]
    study = {*splits.train, *held_out}
    faults += _control_faults(card, labelled=labelled, held_out=held_out, study=study)
    if faults:
        raise LeakError(
            list_faults(
                f"using cohort {cohort} in a study",
                faults,
                advice="Train the control and build the conditions on the replicate's own cases.",
            )
        )


def _refuse_scheme(card: Mapping[str, Any], scheme: LabelScheme, path: Path) -> None:
    """Refuse a cohort whose structures have other names or values."""
    found = {str(structure["name"]): int(structure["value"]) for structure in card["scheme"]}
    expected = dict(zip(scheme.names, scheme.values, strict=True))
    if found != expected:
        raise DataError(
            f"using a cohort in a study: {path} has structures {found}, the study has {expected}. "
            "Draw the cohort with a control of the study's scheme."
        )


def _sources(manifest: pd.DataFrame, cases: Sequence[Case]) -> set[str]:
    """Return the subjects that any row of a manifest comes from, by subject or by case."""
    listed = {s for text in manifest["source_subject_ids"].unique() for s in json.loads(text)}
    if "source_case_ids" in manifest:
        ids = {c for text in manifest["source_case_ids"].unique() for c in json.loads(text)}
        listed |= {case.subject_id for case in cases if case.case_id in ids}
    return listed


def _control_faults(
    card: Mapping[str, Any], *, labelled: set[str], held_out: set[str], study: set[str]
) -> list[str]:
    """Return what is wrong with the subjects whose labels a cohort's control has seen."""
    seen = set(card["subjects"]["control"])
    trained = set(card.get("labelled_subjects", seen))
    if not seen and not trained:
        return []  # no control: a cohort made without one
    faults = []
    if trained != labelled:
        faults.append(
            f"its control was trained on {len(trained)} subjects that are not exactly the "
            f"{len(labelled)} labelled ones of this replicate"
        )
    beyond = seen - labelled - held_out
    faults += [
        f"subject {subject} of this study, not labelled in this replicate, was seen by the control"
        for subject in sorted(beyond & study)
    ]
    if beyond - study and not card.get("control_pretrained_on"):
        faults.append(
            f"its control has seen {len(beyond - study)} further subjects and names no source "
            "(control_pretrained_on)"
        )
    return faults


def labelled_cases(cases: Sequence[Case], subjects: Iterable[str], *, role: str) -> list[Case]:
    """Return the cases of some subjects, all of which have a label map.

    Raises:
        DataError: A subject has no case, or a case no label map; all are named.
    """
    wanted = set(subjects)
    found = cases_of(cases, wanted)
    faults = [f"case {case.case_id}: no label map" for case in found if case.label is None]
    absent = sorted(wanted - {case.subject_id for case in found})
    faults += [f"subject {subject}: no case" for subject in absent]
    if faults:
        raise DataError(list_faults(f"collecting the {role} cases of a study", faults))
    return list(found)
