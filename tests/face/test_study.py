"""Studies by the face: what an arm is given, what is read again, and what is refused."""

from pathlib import Path

import pytest
import tiny
from pydantic import TypeAdapter

import vcmaug as va
from vcmaug.arms.base import Arm
from vcmaug.conditions.conditions import Conditions
from vcmaug.errors import CohortError, DataError, LeakError, RecipeError, WorkFolderError

STUDY = {
    "fit": {"updates": 1, "batch_size": 2},
    "segmenter": {"name": "unet", "channels": (8, 16), "num_res_units": 0},
    "augment": {"versions": 1},
}


@pytest.fixture(scope="module")
def few(split) -> va.Cases:
    return split.train.labelled(2, seed=0)


@pytest.fixture(scope="module")
def drawer(prior: va.Prior, control: va.Control) -> va.Drawer:
    return va.Drawer(prior, control, sampler=va.DDIM(steps=2, start=0.65))


@pytest.fixture(scope="module")
def cohort(drawer: va.Drawer, asked: Conditions, tmp_path_factory) -> va.Cohort:
    return va.generate(drawer, asked, out=tmp_path_factory.mktemp("cohort"), n=3)


def test_an_arm_is_given_what_it_trains_on_and_nothing_else(cohort, asked: Conditions) -> None:
    arm = va.Synthetic(cohort)
    assert arm.given is cohort
    assert arm.model_dump() == {"name": "real+synthetic"} == va.Synthetic().model_dump()
    assert va.Deformed(asked).given is asked
    with pytest.raises(TypeError, match="is given nothing, found a Cohort"):
        va.Real(cohort)
    with pytest.raises(TypeError, match="is given a Conditions, found a Cohort"):
        va.Deformed(cohort)
    with pytest.raises(TypeError, match="is given a Cohort, found a Conditions"):
        va.Synthetic(asked)


def test_arms_of_recipes_are_parsed_as_before(cohort) -> None:
    family = TypeAdapter(Arm)
    assert family.validate_python("real+synthetic").given is None
    assert family.validate_python({"name": "real+copy-paste", "margin_mm": [2, 3]}).given is None
    arm = va.Synthetic(cohort)
    assert family.validate_python(arm) is arm


def test_a_study_in_a_folder_is_read_again(few, split, asked: Conditions, tmp_path: Path) -> None:
    arms = [va.Real(), va.CopyPaste(), va.Deformed(asked)]
    first = va.study(few, test=split.test, arms=arms, seeds=1, folder=tmp_path, n=3, **STUDY)
    files = {
        path: path.stat().st_mtime_ns for path in tmp_path.glob("**/*.json") if "runs" in str(path)
    }
    again = va.study(few, test=split.test, arms=arms, seeds=1, folder=tmp_path, n=3, **STUDY)
    assert len(files) == 3
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert first.means.equals(again.means)
    assert set(first.scores["arm"]) == {"real", "real+copy-paste", "real+deformed"}
    assert set(first.scores["subject_id"]) == set(split.test.subjects)


def test_what_a_study_cannot_do_is_said_at_once(few, split) -> None:
    with pytest.raises(DataError, match=r"Synthetic\(cohort\)"):
        va.study(few, test=split.test, arms=[va.Real(), va.Synthetic()], **STUDY)
    with pytest.raises(DataError, match="all-real: it trains on every label"):
        va.study(few, test=split.test, arms=["real", "all-real"], **STUDY)
    with pytest.raises(RecipeError, match="did you mean 'real'"):
        va.study(few, test=split.test, arms=["reel"], **STUDY)


def test_leaks_are_refused(few, split, cohort) -> None:
    with pytest.raises(LeakError, match="is among the real training cases"):
        va.study(split.test, test=split.test, arms=[va.Real()], **STUDY)
    other = split.train.labelled(3, seed=0)
    with pytest.raises(LeakError, match="not exactly the 3 labelled"):
        va.study(other, test=split.test, arms=[va.Real(), va.Synthetic(cohort)], **STUDY)


def test_what_arms_are_given_is_not_written_over(few, split, cohort, asked: Conditions) -> None:
    for given in (va.Synthetic(cohort), va.Deformed(asked)):
        folder = given.given.folder
        before = set(folder.rglob("*"))
        with pytest.raises(WorkFolderError, match=r"running a study: the output .*, which is read"):
            va.study(few, test=split.test, arms=[va.Real(), given], folder=folder, **STUDY)
        assert set(folder.rglob("*")) == before


def test_who_is_held_out_stays_so_although_others_are_scored(few, split) -> None:
    with pytest.raises(LeakError, match="is among the real training cases"):
        va.study(split.validation, test=split.test, arms=[va.Real()], **STUDY)
    scored = va.study(
        few,
        test=split.test,
        validation=split.validation,
        scored_on="validation",
        arms=[va.Real()],
        seeds=[4],
        **STUDY,
    )
    assert set(scored.scores["subject_id"]) == set(split.validation.subjects)
    assert set(scored.scores["seed"]) == {4}


def test_a_cohort_is_gone_on_with_and_holds_its_control(
    drawer: va.Drawer, prior: va.Prior, asked: Conditions, tmp_path: Path
) -> None:
    va.generate(drawer, asked, out=tmp_path, n=3)
    before = tiny.bytes_of(tmp_path)
    lost = sorted(tmp_path.glob("images/*"))[1]
    lost.unlink()
    cohort = va.generate(drawer, asked, out=tmp_path, n=3)
    assert tiny.bytes_of(tmp_path) == before
    assert cohort.roles == asked.spec.roles
    (kept,) = (tmp_path / ".models").iterdir()
    assert va.load_control(kept, prior=prior).card == drawer.control.card


def test_a_prior_alone_draws_no_cohort(prior: va.Prior, asked: Conditions, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="has no control"):
        va.generate(va.Drawer(prior), asked, out=tmp_path)


def test_a_misspelt_setting_of_generate_is_answered(drawer, asked, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'micro_batch_size'"):
        va.generate(drawer, asked, out=tmp_path, micro_batch_sizes=3)


def test_a_cohort_is_exported_unless_it_leaks(cohort: va.Cohort, tmp_path: Path) -> None:
    assert va.export(cohort, "monai-datalist", tmp_path / "list.json").exists()
    from dataclasses import replace

    roles = {**cohort.roles, cohort.rows[0].source_subject_ids[0]: "test"}
    with pytest.raises(LeakError, match="is of test"):
        va.export(replace(cohort, roles=roles), "monai-datalist", tmp_path / "leak.json")
