"""Arms: one that forgets something is refused where it is defined; old names are answered."""

from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from vcmaug.arms.base import Arm, Need
from vcmaug.config import Settings, parse_settings
from vcmaug.data.work_layout import Replicate
from vcmaug.errors import RecipeError

REPLICATE = Replicate(Path("n5-s1"), 5, 1)
GOOD: dict[str, Any] = {"colour": "#000000", "needs": frozenset(), "folder": None}


class Study(Settings):
    """Settings with arms."""

    arms: tuple[Arm, ...]


def _define(name: str, facts: dict[str, Any], *, makes: bool = False) -> type[Arm]:
    body: dict[str, Any] = {
        "__module__": __name__,
        "__annotations__": {"name": Literal[name], **dict.fromkeys(facts, ClassVar[Any])},  # type: ignore[valid-type]
        "name": name,
        **facts,
    }
    if makes:
        body["make"] = lambda self, sources, *, out, report=None: None
    return type(name, (Arm,), body)


@pytest.mark.parametrize("forgotten", sorted(GOOD))
def test_an_arm_that_forgets_something_is_no_class(forgotten: str) -> None:
    facts = {key: value for key, value in GOOD.items() if key != forgotten}
    with pytest.raises(TypeError, match=f"arm forgetful: it states no {forgotten}"):
        _define("forgetful", facts)


@pytest.mark.parametrize(
    ("needs", "folder", "makes", "said"),
    [
        ((), "cohort", False, "trains on 'cohort', which nothing that it needs makes"),
        ((), "mine", False, "trains on 'mine', which nothing that it needs makes"),
        ((Need.CONDITIONS,), "cohort", False, "which nothing that it needs makes"),
        ((Need.COHORT,), None, False, "makes the cohort 'cohort', and its folder is None"),
        ((Need.COHORT, Need.POOL), "cohort", False, "'pool/cohort', and its folder is 'cohort'"),
        ((), None, True, "it makes a cohort and states no folder"),
        ((), "cohort", True, "which is the folder of a stage"),
        ((), "pool/cohort", True, "which is the folder of a stage"),
        ((), "copy-paste", True, r"which is the folder of real\+copy-paste"),
    ],
)
def test_an_arm_cannot_train_on_what_it_did_not_ask_for(
    needs: tuple[Need, ...], folder: str | None, makes: bool, said: str
) -> None:
    Arm.parts()
    facts = {**GOOD, "needs": frozenset(needs), "folder": folder}
    with pytest.raises(TypeError, match=said):
        _define("astray", facts, makes=makes)
    assert "astray" not in Arm.parts()


def test_every_arm_has_its_own_cohort_or_none() -> None:
    folders = {name: arm().cohort_folder(REPLICATE) for name, arm in Arm.parts().items()}
    assert folders["real"] is folders["all-real"] is None
    assert folders["real+synthetic"] == REPLICATE.cohort
    assert folders["real+synthetic+pool"] == REPLICATE.with_pool.cohort
    assert folders["self-training"] == REPLICATE.pseudo == REPLICATE.with_pool.pseudo
    given = [folder for folder in folders.values() if folder is not None]
    assert len(set(given)) == len(given)


def test_what_the_study_is_told_follows_from_the_arm() -> None:
    told = {
        name: arm().training_data({(5, 1): REPLICATE})
        for name, arm in Arm.parts().items()
        if arm.__module__.startswith("vcmaug.")
    }
    alone = {name for name, data in told.items() if data.cohorts is None}
    assert alone == {"real", "real-again", "real-any", "all-real", "threshold", "fusion"}
    ruled = {name for name, data in told.items() if data.rule is not None}
    assert ruled == {"threshold", "fusion"}
    assert {name for name, data in told.items() if data.of_all_labels} == {"real-any"}
    assert [name for name, data in told.items() if data.has_other_batches] == ["real-again"]
    assert {name for name, data in told.items() if data.sees_unlabelled} == {
        "real+synthetic+pool",
        "self-training",
    }
    assert {name for name, data in told.items() if data.is_baseline} == {"real", "self-training"}
    assert {name for name, data in told.items() if data.is_floor} == {"real"}
    assert {name for name, data in told.items() if data.is_ceiling} == {"all-real"}
    assert told["real+deformed"].cohort_of(5, 1) == (REPLICATE.folder / "deformed").resolve()


def test_an_old_name_is_answered_with_the_new_one_and_older_results_are_known() -> None:
    with pytest.raises(RecipeError, match=r"'real\+warped'; it is called 'real\+deformed' now"):
        parse_settings(Study, {"arms": ["real+warped"]}, source="a recipe")
    known = Arm.of_result("real+warped")
    assert known is not None
    assert known is Arm.named("real+deformed")
    assert Arm.of_result("nobody's") is None


def test_no_arm_has_the_colour_of_another() -> None:
    colours = [arm.colour for arm in Arm.parts().values() if arm.__module__.startswith("vcmaug.")]
    assert len(set(colours)) == len(colours)
