"""The leak law: every way in which a held-out subject could have reached an arm, refused.

It is asked before any training of the study, and refuses; it never warns.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import read_cohort_card, read_manifest
from vcmaug.data.cases import Case, cases_of
from vcmaug.data.labels import LabelScheme
from vcmaug.data.splits import Splits
from vcmaug.errors import DataError, LeakError, list_faults

__all__ = ["labelled_cases", "refuse_leaks", "refuse_real_leaks"]

_ROLES = ("prior", "control", "conditions")


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
    unlabelled: bool = False,
) -> None:
    """Refuse a cohort that a replicate of the study cannot use.

    Args:
        cohort: A finished cohort.
        labelled_subjects: The n subjects of the replicate. Control and conditions may have seen the
            labels of these alone, of a pretraining that the cohort names and that shares no
            subject with the study, and lesions of donors outside the study.
        splits: Of the study.
        cases: Of the study.
        scheme: Of the study.
        unlabelled: Whether further training subjects may be in it by pseudo-labels, which a
            segmenter of exactly the n labelled subjects gave them.

    Raises:
        LeakError: Prior, control, or conditions have seen a held-out subject, or labels beyond
            the replicate's own; every such subject is named, with the file that says so.
        DataError: The cohort speaks another scheme.
    """
    layout = CohortLayout(cohort)
    card, manifest = read_cohort_card(cohort), read_manifest(cohort)
    _refuse_scheme(card, scheme, layout.card)
    subjects = _seen(card, layout.card)
    labelled = set(labelled_subjects)
    held_out = {*splits.test, *splits.validation}
    pseudo, faults_of_pseudo = _pseudo_labelled(
        card, labelled=labelled, splits=splits, allowed=unlabelled
    )
    faults = faults_of_pseudo + [
        f"subject {subject} of test or validation was seen by the {role} ({layout.card.name})"
        for role in sorted(subjects)
        for subject in sorted(set(subjects[role]) & held_out)
    ]
    sources, faults_of_rows = _sources(manifest, cases)
    faults += faults_of_rows
    study = {*splits.train, *held_out}
    outside = _donors(manifest) - study - {case.subject_id for case in cases}
    faults += [
        f"subject {subject} of test or validation was seen by the conditions: it is a source of a "
        f"synthetic case ({layout.manifest.name})"
        for subject in sorted(sources & held_out)
    ]
    faults += [
        f"subject {subject} is a source of conditions and not one of the {len(labelled)} labelled"
        for subject in sorted(
            (sources | set(subjects["conditions"])) - labelled - held_out - pseudo - outside
        )
    ]
    faults += _control_faults(
        card, labelled=labelled, held_out=held_out | pseudo, study=study - pseudo
    )
    if not subjects["control"] and _drawn_with_control(manifest):
        faults.append(f"{layout.manifest.name} names a control, {layout.card.name} nobody it saw")
    if faults:
        raise LeakError(
            list_faults(
                f"using cohort {cohort} in a study",
                faults,
                advice="Train the control and build the conditions on the replicate's own cases.",
            )
        )


def _seen(card: Mapping[str, Any], path: Path) -> dict[str, list[str]]:
    """Return the subjects seen, by role; refuse a card that does not say."""
    subjects = card.get("subjects")
    if not isinstance(subjects, dict) or not all(role in subjects for role in _ROLES):
        raise LeakError(
            f"using a cohort in a study: {path} does not list the subjects seen by "
            f"{', '.join(_ROLES)} (under `subjects`; an empty list where there is none), so a leak "
            "cannot be ruled out."
        )
    return subjects


def _pseudo_labelled(
    card: Mapping[str, Any], *, labelled: set[str], splits: Splits, allowed: bool
) -> tuple[set[str], list[str]]:
    """Return the pseudo-labelled subjects that a cohort may use, and what is wrong with others."""
    named = set(card.get("pseudo_labelled_subjects") or ())
    if not named:
        return set(), []
    if not allowed:
        return set(), [
            f"it uses {len(named)} pseudo-labelled subjects, and this arm has no unlabelled set"
        ]
    pool = set(splits.train) - labelled
    faults = [
        f"pseudo-labelled subject {subject} is no unlabelled training subject of this replicate"
        for subject in sorted(named - pool)
    ]
    if set(card.get("teacher_subjects") or ()) != labelled:
        faults.append("its pseudo-labels are not those of a segmenter of the labelled subjects")
    return named & pool, faults


def _refuse_scheme(card: Mapping[str, Any], scheme: LabelScheme, path: Path) -> None:
    """Refuse a cohort whose structures have other names or values."""
    structures = card.get("scheme", ())
    found = {str(structure["name"]): int(structure["value"]) for structure in structures}
    expected = dict(zip(scheme.names, scheme.values, strict=True))
    if found != expected:
        raise DataError(
            f"using a cohort in a study: {path} has structures {found}, the study has {expected}. "
            "Draw the cohort with a control of the study's scheme."
        )


def _sources(manifest: pd.DataFrame, cases: Sequence[Case]) -> tuple[set[str], list[str]]:
    """Return the subjects that rows come from, by subject or case, and a fault per row of none."""
    subject_of = {case.case_id: case.subject_id for case in cases}
    listed: set[str] = set()
    faults = []
    for number, row in enumerate(manifest.to_dict("records")):
        named = {*_ids(row.get("source_subject_ids"))} | {
            subject_of[case_id]
            for case_id in _ids(row.get("source_case_ids"))
            if case_id in subject_of
        }
        listed |= named
        if not named:
            name = f"row {number} ({row.get('case_id')}) of the manifest"
            faults.append(f"{name} names no source subject, so a leak cannot be ruled out")
    return listed, faults


def _donors(manifest: pd.DataFrame) -> set[str]:
    """Return the subjects that gave to the condition of another, and are host of none.

    The first source of a row is its host. Donors of a lesion atlas are mostly people outside the
    study, of whom nothing but the outline of a lesion came in.
    """
    rows = [_ids(text) for text in manifest.get("source_subject_ids", ())]
    hosts = {row[0] for row in rows if row}
    return {name for row in rows for name in row[1:]} - hosts


def _ids(text: Any) -> list[str]:
    """Return the ids in a JSON list; none where the text is no such list."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        return []
    return [str(name) for name in found] if isinstance(found, list) else []


def _drawn_with_control(manifest: pd.DataFrame) -> bool:
    """Return whether a row says that a control drew it."""
    return "control_sha256" in manifest and bool(manifest["control_sha256"].fillna("").any())


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
    if seen and not trained <= seen:
        faults.append(
            f"its control is said to be trained on {len(trained)} subjects and to have seen "
            f"{len(trained & seen)} of them; cohort.json contradicts itself"
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
