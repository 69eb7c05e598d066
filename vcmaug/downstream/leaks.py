"""The leak law: every way in which a held-out subject could have reached an arm, refused.

It is asked before any training of the study, and refuses; it never warns.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vcmaug.cohort.card import CohortCard, SeenByCohort
from vcmaug.cohort.cohort import Cohort
from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.row import ManifestRow
from vcmaug.data.cases import Case, cases_of
from vcmaug.data.labels import LabelScheme
from vcmaug.data.seen import Seen
from vcmaug.data.splits import Splits, labelled_subset
from vcmaug.downstream.results import PriorLabels
from vcmaug.downstream.training_data import TrainingData
from vcmaug.errors import DataError, LeakError, list_faults

__all__ = [
    "labels_of_priors",
    "labels_of_starts",
    "refuse_leaks",
    "refuse_real_leaks",
    "refuse_unlabelled",
]


def refuse_real_leaks(labelled_subjects: Iterable[str], splits: Splits) -> None:
    """Refuse real training cases of held-out subjects.

    Raises:
        LeakError: Names every subject of test or validation among the labelled ones.
    """
    faults = [
        f"subject {subject} of {splits.roles[subject]} is among the real training cases"
        for subject in sorted({*labelled_subjects} & {*splits.validation, *splits.test})
    ]
    if faults:
        advice = "Give every subject one role in the splits."
        raise LeakError(list_faults("choosing the real training cases", faults, advice=advice))


def refuse_leaks(
    cohort: Cohort,
    *,
    labelled_subjects: Sequence[str],
    splits: Splits,
    cases: Sequence[Case],
    scheme: LabelScheme,
    unlabelled: bool = False,
) -> None:
    """Refuse a cohort that a replicate of the study cannot use.

    Args:
        cohort: A finished one.
        labelled_subjects: The n subjects of the replicate. Control and conditions may have seen the
            labels of these alone, of a pretraining that the cohort names and that shares no
            subject with the study, and lesions of donors outside the study.
        splits: Of the study.
        cases: Of the study.
        scheme: Of the study.
        unlabelled: Whether other training subjects may be in it by pseudo-labels, which a
            segmenter of exactly the n labelled subjects gave them.

    Raises:
        LeakError: Prior, control, or conditions have seen a held-out subject, or labels beyond
            the replicate's own; every such subject is named, with the file that says so.
        DataError: The cohort speaks another scheme.
    """
    layout, rows = CohortLayout(cohort.folder), cohort.rows
    _refuse_scheme(cohort.scheme, scheme, layout.card)
    seen = _said(cohort.card.seen, layout.card)
    control = seen["control"]
    labelled, held_out = {*labelled_subjects}, {*splits.test, *splits.validation}
    study = {*splits.train, *held_out}
    pseudo, faults = _pseudo_labelled(control, labelled=labelled, splits=splits, allowed=unlabelled)
    for role in sorted(seen):
        what = f"of test or validation was seen by the {role} ({layout.card.name})"
        faults += _each(held_out.intersection(seen[role].subjects), what)
    sources, faults_of_rows = _sources(rows, cases)
    faults += faults_of_rows
    faults += _each(
        sources & held_out,
        "of test or validation was seen by the conditions: it is a source of a synthetic case "
        f"({layout.manifest.name})",
    )
    outside = _donors(rows) - study - {case.subject_id for case in cases}
    faults += _each(
        (sources | {*seen["conditions"].subjects}) - labelled - held_out - pseudo - outside,
        f"is a source of conditions and not one of the {len(labelled)} labelled",
    )
    faults += _control_faults(
        cohort.card, control, labelled=labelled, held_out=held_out | pseudo, study=study - pseudo
    )
    if not control.images and any(row.drawn and row.drawn.control_sha256 for row in rows):
        faults.append(f"{layout.manifest.name} names a control, {layout.card.name} nobody it saw")
    if faults:
        advice = "Train the control and build the conditions on the replicate's own cases."
        raise LeakError(
            list_faults(f"using cohort {cohort.folder} in a study", faults, advice=advice)
        )


def labels_of_starts(arms: Mapping[str, TrainingData]) -> list[str]:
    """Return, a sentence each, which arms have labels by what their controls started from."""
    found = []
    for arm, data in arms.items():
        cards = [CohortCard.read(folder) for folder in (data.cohorts or {}).values()]
        starts = [card.seen.control.before for card in cards if card.seen.control]
        labels = {label for start in starts if start for label in start.labels}
        names = sorted({card.control_pretrained_on or "another" for card in cards})
        if labels:
            found.append(
                f"The control behind {arm} started from {', '.join(names)}, which has seen the "
                f"label maps of {len(labels)} other subjects: the arm has these labels too."
            )
    return found


def labels_of_priors(arms: Mapping[str, TrainingData], splits: Splits) -> list[PriorLabels]:
    """Return the labels that arms have by the scalars of the priors of their cohorts.

    They are not refused, as those of held-out subjects are: the study says so.
    """
    found = []
    for arm, data in arms.items():
        scalars: dict[str, None] = {}
        beyond: set[str] = set()
        for (num_labelled, seed), folder in (data.cohorts or {}).items():
            card = CohortCard.read(folder)
            labelled = labelled_subset(splits, num_labelled=num_labelled, seed=seed)
            scalars |= dict.fromkeys(card.measured_scalars)
            beyond |= {*card.seen.labels_of_prior} - {*labelled}
        if scalars or beyond:
            of_study = beyond & {*splits.train}
            found.append(PriorLabels(arm, tuple(scalars), len(beyond), len(of_study)))
    return found


def _each(subjects: Iterable[str], what: str) -> list[str]:
    """Return the same fault of several subjects."""
    return [f"subject {subject} {what}" for subject in sorted(subjects)]


def _said(seen: SeenByCohort, path: Path) -> dict[str, Seen]:
    """Return who was seen, by what has seen them; refuse a card that does not say."""
    said = {role: one for role, one in seen.roles.items() if one is not None}
    if len(said) < len(seen.roles):
        raise LeakError(
            f"using a cohort in a study: {path} does not list the subjects seen by "
            f"{', '.join(seen.roles)} (under `seen`; an empty list where there is none), so a leak "
            "cannot be ruled out."
        )
    return said


def _pseudo_labelled(
    control: Seen, *, labelled: set[str], splits: Splits, allowed: bool
) -> tuple[set[str], list[str]]:
    """Return the pseudo-labelled subjects that a cohort may use, and what is wrong with others."""
    named, unlabelled = {*control.pseudo_labels}, {*splits.train} - labelled
    if not named:
        return set(), []
    if not allowed:
        return set(), [
            f"it uses {len(named)} pseudo-labelled subjects, and this arm has no unlabelled set"
        ]
    what = "is not an unlabelled training subject of this replicate"
    faults = [f"pseudo-labelled {fault}" for fault in _each(named - unlabelled, what)]
    if {*control.teachers} != labelled:
        faults.append("its pseudo-labels are not those of a segmenter of the labelled subjects")
    return named & unlabelled, faults


def _refuse_scheme(found: LabelScheme, expected: LabelScheme, path: Path) -> None:
    """Refuse a cohort whose structures have other names or values."""
    ours, theirs = (dict(zip(s.names, s.values, strict=True)) for s in (expected, found))
    if theirs != ours:
        raise DataError(
            f"using a cohort in a study: {path} has structures {theirs}, the study has {ours}. "
            "Draw the cohort with a control of the study's scheme."
        )


def _sources(rows: Sequence[ManifestRow], cases: Sequence[Case]) -> tuple[set[str], list[str]]:
    """Return the subjects that rows come from, by subject or case, and a fault per row of none."""
    subject_of = {case.case_id: case.subject_id for case in cases}
    sources: set[str] = set()
    faults = []
    for number, row in enumerate(rows):
        by_case = {subject_of[name] for name in row.source_case_ids if name in subject_of}
        named = by_case.union(row.source_subject_ids)
        sources |= named
        if not named:
            faults.append(
                f"row {number} ({row.case_id}) of the manifest names no source subject, so a leak "
                "cannot be ruled out"
            )
    return sources, faults


def _donors(rows: Sequence[ManifestRow]) -> set[str]:
    """Return the subjects that gave to the condition of another, and are host of none.

    The first source of a row is its host. Donors of a lesion atlas are mostly people outside the
    study, of whom nothing but the outline of a lesion came in.
    """
    listed = [row.source_subject_ids for row in rows]
    hosts = {names[0] for names in listed if names}
    return {name for names in listed for name in names[1:]} - hosts


def _control_faults(
    card: CohortCard, control: Seen, *, labelled: set[str], held_out: set[str], study: set[str]
) -> list[str]:
    """Return what is wrong with the subjects whose labels a cohort's control has seen."""
    seen, trained = {*control.whose_images}, {*control.labels}
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
    faults += _each(
        beyond & study, "of this study, not labelled in this replicate, was seen by the control"
    )
    if beyond - study and not card.control_pretrained_on:
        faults.append(
            f"its control has seen {len(beyond - study)} other subjects and names no source "
            "(control_pretrained_on)"
        )
    return faults


def refuse_unlabelled(cases: Sequence[Case], subjects: Iterable[str], *, role: str) -> None:
    """Refuse subjects without a case, and those none of whose cases has a label map.

    Raises:
        DataError: Names all of them.
    """
    wanted = set(subjects)
    found = cases_of(cases, wanted)
    labelled = {case.subject_id for case in found if case.label is not None}
    bare = [case.case_id for case in found if case.subject_id not in labelled]
    faults = [f"case {case_id}: no label map" for case_id in bare]
    faults += _each(wanted - {case.subject_id for case in found}, "has no case")
    if faults:
        raise DataError(list_faults(f"collecting the {role} cases of a study", faults))
