from dataclasses import replace
from pathlib import Path

import pytest
from made_up_study import BOX, SPLITS, edit_rows, write_box_cases, write_box_cohort

from vcmaug.cohort.card import CohortCard
from vcmaug.cohort.cohort import Cohort
from vcmaug.data.labels import LabelScheme
from vcmaug.data.seen import Seen
from vcmaug.data.splits import labelled_subset
from vcmaug.downstream.leaks import (
    labels_of_priors,
    labels_of_starts,
    refuse_leaks,
    refuse_real_leaks,
)
from vcmaug.downstream.results import PriorLabels
from vcmaug.downstream.training_data import TrainingData
from vcmaug.errors import DataError, LeakError

LABELLED = ("s0", "s1")


def _refuse(cohort: Path, *, scheme: LabelScheme = BOX) -> None:
    cases = write_box_cases(cohort / "cases")
    opened = Cohort.open(cohort)
    refuse_leaks(opened, labelled_subjects=LABELLED, splits=SPLITS, cases=cases, scheme=scheme)


def _subjects(**roles: tuple[str, ...]) -> dict[str, list[str]]:
    roles = {"prior": SPLITS.train, "control": LABELLED, "conditions": LABELLED} | roles
    return {role: list(subjects) for role, subjects in roles.items()}


def test_a_clean_cohort_passes(tmp_path: Path) -> None:
    _refuse(write_box_cohort(tmp_path, LABELLED))


@pytest.mark.parametrize("role", ["prior", "control", "conditions"])
@pytest.mark.parametrize("subject", ["s4", "s5"])
def test_a_held_out_subject_in_any_role_is_named(tmp_path: Path, role: str, subject: str) -> None:
    subjects = _subjects(**{role: (*LABELLED, subject)})
    cohort = write_box_cohort(tmp_path, LABELLED, subjects=subjects)
    with pytest.raises(LeakError, match=rf"{subject} of test or validation .*{role}.*cohort\.json"):
        _refuse(cohort)


@pytest.mark.parametrize(
    "row", [{"source_subject_ids": ("s6",)}, {"source_case_ids": ("k6",)}], ids=["by id", "case"]
)
@pytest.mark.parametrize("status", ["done", "failed"])
def test_one_synthetic_row_from_a_test_subject_is_enough(
    tmp_path: Path, row: dict[str, tuple[str, ...]], status: str
) -> None:
    cohort = write_box_cohort(tmp_path, LABELLED)
    edit_rows(cohort, status=status, **row)
    with pytest.raises(LeakError, match=r"s6 .* source of a synthetic case .manifest\.parquet"):
        _refuse(cohort)


def test_sources_beyond_the_replicate_are_refused(tmp_path: Path) -> None:
    cohort = write_box_cohort(tmp_path, LABELLED)
    edit_rows(cohort, source_subject_ids=("s3",))
    with pytest.raises(LeakError, match="s3 is a source of conditions"):
        _refuse(cohort)


def test_a_donor_outside_the_study_may_give_a_lesion_but_no_host(tmp_path: Path) -> None:
    """Lesions of an atlas come from other people; they stand behind the host."""
    subjects = _subjects(conditions=(*LABELLED, "patient1"))
    cohort = write_box_cohort(tmp_path, LABELLED, subjects=subjects)
    edit_rows(cohort, source_subject_ids=("s0", "patient1"))
    _refuse(cohort)
    edit_rows(cohort, source_subject_ids=("patient1", "s0"))
    with pytest.raises(LeakError, match="subject patient1 is a source of conditions and not one"):
        _refuse(cohort)


@pytest.mark.parametrize(("donor", "reason"), [("s3", "not one of the"), ("s6", "of test or")])
def test_a_donor_of_the_study_itself_is_refused(tmp_path: Path, donor: str, reason: str) -> None:
    cohort = write_box_cohort(tmp_path, LABELLED)
    edit_rows(cohort, source_subject_ids=("s0", donor))
    with pytest.raises(LeakError, match=f"subject {donor} .*{reason}"):
        _refuse(cohort)


@pytest.mark.parametrize("trained", [("s0",), ("s0", "s2"), ("s0", "s1", "s2")])
def test_a_control_of_other_cases_than_the_n_is_refused(
    tmp_path: Path, trained: tuple[str, ...]
) -> None:
    subjects = _subjects(control=trained)
    cohort = write_box_cohort(
        tmp_path, LABELLED, subjects=subjects, labelled_subjects=list(trained)
    )
    with pytest.raises(LeakError, match="not exactly the 2"):
        _refuse(cohort)


def test_a_pretrained_control_names_its_source_and_shares_no_subject(tmp_path: Path) -> None:
    elsewhere = _subjects(control=(*LABELLED, "other-1"))
    _refuse(
        write_box_cohort(
            tmp_path / "a", LABELLED, subjects=elsewhere, control_pretrained_on="other data"
        )
    )
    with pytest.raises(LeakError, match="control_pretrained_on"):
        _refuse(write_box_cohort(tmp_path / "b", LABELLED, subjects=elsewhere))
    within = _subjects(control=(*LABELLED, "s3"))
    with pytest.raises(LeakError, match="s3 of this study, not labelled"):
        _refuse(
            write_box_cohort(tmp_path / "c", LABELLED, subjects=within, control_pretrained_on="x")
        )


def test_a_cohort_that_does_not_say_what_it_saw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LeakError, match="cannot be ruled out"):
        _refuse(write_box_cohort(tmp_path, LABELLED, subjects={"prior": []}))


def test_a_cohort_without_prior_and_control_can_be_used(tmp_path: Path) -> None:
    subjects = _subjects(prior=(), control=())
    _refuse(write_box_cohort(tmp_path, LABELLED, subjects=subjects, labelled_subjects=[]))


@pytest.mark.parametrize(
    "row",
    [
        {"source_subject_ids": (), "source_case_ids": ()},
        {"source_subject_ids": None, "source_case_ids": None},
        {"source_subject_ids": (), "source_case_ids": ("elsewhere-1",)},
    ],
    ids=["empty", "null", "unknown case"],
)
def test_a_row_without_a_source_is_refused(tmp_path: Path, row: dict[str, tuple[str, ...]]) -> None:
    cohort = write_box_cohort(tmp_path, LABELLED)
    edit_rows(cohort, **row)
    with pytest.raises(
        LeakError, match=r"row 2 .synthetic-2. of the manifest names no source subject"
    ):
        _refuse(cohort)


def test_a_card_that_keeps_quiet_about_its_control_is_refused(tmp_path: Path) -> None:
    quiet = write_box_cohort(tmp_path / "a", LABELLED, subjects=_subjects(control=()))
    _refuse(quiet)  # no row says that a control drew it
    edit_rows(quiet, control_sha256="ab" * 32)
    with pytest.raises(LeakError, match=r"manifest\.parquet names a control"):
        _refuse(quiet)
    part = write_box_cohort(tmp_path / "b", LABELLED, subjects=_subjects(control=("s0",)))
    with pytest.raises(LeakError, match="contradicts itself"):
        _refuse(part)


def test_a_card_without_a_scheme_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has structures \{\}"):
        _refuse(write_box_cohort(tmp_path, LABELLED, scheme=LabelScheme(())))


def test_all_leaks_are_named_at_once(tmp_path: Path) -> None:
    subjects = _subjects(prior=("s5",), control=("s0", "s1", "s4"))
    with pytest.raises(LeakError) as caught:
        _refuse(write_box_cohort(tmp_path, LABELLED, subjects=subjects))
    assert "2 faults" in str(caught.value)


def test_another_scheme_is_refused_and_another_colour_is_not(tmp_path: Path) -> None:
    cohort = write_box_cohort(tmp_path, LABELLED)
    with pytest.raises(DataError, match="box"):
        _refuse(cohort, scheme=LabelScheme.from_mapping({"box": 4}))
    colour = replace(BOX.structures[0], colour="#123456")
    _refuse(cohort, scheme=LabelScheme((colour,)))


def test_a_held_out_subject_among_the_real_cases_is_refused() -> None:
    refuse_real_leaks(LABELLED, SPLITS)
    with pytest.raises(LeakError, match="s5 of test"):
        refuse_real_leaks(("s0", "s5"), SPLITS)


def _pool(tmp_path: Path, pseudo: tuple[str, ...], *, teacher: tuple[str, ...] = LABELLED) -> Path:
    """Write a cohort whose control and conditions also saw pseudo-labelled subjects."""
    seen = (*LABELLED, *pseudo)
    cohort = write_box_cohort(
        tmp_path,
        LABELLED,
        subjects=_subjects(control=seen, conditions=seen),
        pseudo_labelled_subjects=list(pseudo),
        teacher_subjects=list(teacher),
    )
    edit_rows(cohort, source_subject_ids=(pseudo[0],))
    return cohort


def _refuse_pool(cohort: Path, *, pool: bool = True) -> None:
    cases = write_box_cases(cohort / "cases")
    opened = Cohort.open(cohort)
    refuse_leaks(
        opened, labelled_subjects=LABELLED, splits=SPLITS, cases=cases, scheme=BOX, unlabelled=pool
    )


def test_an_arm_with_a_pool_may_use_training_subjects_by_pseudo_labels(tmp_path: Path) -> None:
    _refuse_pool(_pool(tmp_path, ("s2", "s3")))


def test_an_arm_without_a_pool_may_not(tmp_path: Path) -> None:
    with pytest.raises(LeakError, match="uses 2 pseudo-labelled subjects, and this arm has no"):
        _refuse_pool(_pool(tmp_path, ("s2", "s3")), pool=False)


@pytest.mark.parametrize("subject", ["s4", "s5"])
def test_a_held_out_subject_is_no_pool(tmp_path: Path, subject: str) -> None:
    with pytest.raises(LeakError, match=f"{subject} of test or validation") as caught:
        _refuse_pool(_pool(tmp_path, (subject,)))
    assert f"pseudo-labelled subject {subject} is not an unlabelled training" in str(caught.value)


def test_pseudo_labels_of_a_teacher_that_saw_more_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LeakError, match="not those of a segmenter of the labelled subjects"):
        _refuse_pool(_pool(tmp_path, ("s2",), teacher=(*LABELLED, "s2")))


def _prior_saw(cohort: Path, seen: Seen, *scalars: str) -> Path:
    """Let the prior behind a cohort have seen somebody."""
    card = CohortCard.read(cohort)
    known = card.seen.model_copy(update={"prior": seen})
    card.model_copy(update={"seen": known, "measured_scalars": scalars}).write(cohort)
    return cohort


def _labels_of_prior(cohort: Path) -> list[PriorLabels]:
    """Return what a study of one replicate says of the labels of priors."""
    labelled = labelled_subset(SPLITS, num_labelled=2, seed=0)
    arms = {"real": TrainingData(), "real+synthetic": TrainingData({(2, 0): cohort})}
    assert set(labelled) < set(SPLITS.train)
    return labels_of_priors(arms, SPLITS)


def test_a_prior_of_images_alone_brings_no_labels(tmp_path: Path) -> None:
    cohort = write_box_cohort(tmp_path, LABELLED)
    assert _labels_of_prior(_prior_saw(cohort, Seen(images=SPLITS.train))) == []


def test_scalars_measured_on_labels_are_labels_that_the_arm_has(tmp_path: Path) -> None:
    cohort = write_box_cohort(tmp_path, LABELLED)
    seen = Seen(images=SPLITS.train, label_scalars=(*SPLITS.train, "z1", "z2", "z3"))
    (found,) = _labels_of_prior(_prior_saw(cohort, seen, "ventricles", "brain"))
    beyond = len(SPLITS.train) - 2
    assert found == PriorLabels("real+synthetic", ("ventricles", "brain"), beyond + 3, beyond)
    assert "reads ventricles and brain, measured on label maps of" in str(found)
    assert f"{beyond} of them training subjects of this study" in str(found)


def test_an_imported_prior_that_lists_nobody_is_said_too(tmp_path: Path) -> None:
    cohort = write_box_cohort(tmp_path, LABELLED)
    (found,) = _labels_of_prior(_prior_saw(cohort, Seen(note="of UK Biobank"), "brain"))
    assert found.num_subjects == 0
    assert "subjects whom its card does not list" in str(found)


def test_a_held_out_subject_behind_a_scalar_is_refused(tmp_path: Path) -> None:
    seen = Seen(images=SPLITS.train, label_scalars=("s5",))
    cohort = _prior_saw(write_box_cohort(tmp_path, LABELLED), seen, "brain")
    with pytest.raises(LeakError, match="s5 of test or validation was seen by the prior"):
        _refuse(cohort)


def test_labels_of_the_control_that_another_started_from_are_said(tmp_path: Path) -> None:
    cohort = write_box_cohort(tmp_path, LABELLED, control_pretrained_on="zoo/tissue")
    arms = {"real": TrainingData(), "real+synthetic": TrainingData({(2, 0): cohort})}
    assert labels_of_starts(arms) == []
    card = CohortCard.read(cohort)
    control = Seen(images=LABELLED, labels=LABELLED, before=Seen(labels=("z1", "z2")))
    seen = card.seen.model_copy(update={"control": control})
    card.model_copy(update={"seen": seen}).write(cohort)
    (told,) = labels_of_starts(arms)
    assert "started from zoo/tissue, which has seen the label maps of 2 other subjects" in told
