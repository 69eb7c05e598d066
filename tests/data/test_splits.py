from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcmaug.data.case import Case
from vcmaug.data.scalars import ScalarSpec, median_fill, raw_value, scalar_faults, scalar_vector
from vcmaug.data.splits import (
    SplitSettings,
    labelled_subset,
    make_splits,
    read_splits,
    splits_from,
    unfit,
    write_splits,
)
from vcmaug.errors import DataError, FaultyDataSet
from vcmaug.files import read_json, write_json

SUBJECTS = [f"s{number}" for number in range(20)]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 100), st.randoms())
def test_splits_part_all_subjects_whatever_their_order(
    num_test: int, num_validation: int, seed: int, random: object
) -> None:
    wanted = SplitSettings(num_test=num_test, num_validation=num_validation, seed=seed)
    splits = make_splits(SUBJECTS, wanted)
    shuffled = list(SUBJECTS) * 2
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert make_splits(shuffled, wanted) == splits
    parts = (splits.train, splits.validation, splits.test)
    assert sorted(s for part in parts for s in part) == sorted(SUBJECTS)
    assert (len(splits.test), len(splits.validation)) == (num_test, num_validation)


def test_labelled_subsets_of_one_seed_are_nested_and_from_training() -> None:
    splits = make_splits(SUBJECTS, SplitSettings(num_test=5))
    subsets = [set(labelled_subset(splits, num_labelled=n, seed=3)) for n in (2, 5, 10)]
    assert subsets[0] < subsets[1] < subsets[2] < set(splits.train)
    assert set(labelled_subset(splits, num_labelled=5, seed=4)) != subsets[1]
    with pytest.raises(DataError, match="there are 15 training subjects"):
        labelled_subset(splits, num_labelled=16, seed=0)


def test_unlabelled_subjects_are_for_training_and_in_no_labelled_subset(tmp_path: Path) -> None:
    bare = SUBJECTS[:12]
    wanted = SplitSettings(num_test=3, num_validation=2)
    splits = make_splits(SUBJECTS, wanted, unlabelled=bare)
    assert splits.unlabelled == tuple(sorted(bare))
    assert set(splits.train) == {*bare, *splits.labelled}
    assert len(splits.labelled) == 3
    assert make_splits(SUBJECTS[12:], wanted).test == splits.test
    assert labelled_subset(splits, num_labelled=3, seed=0) == splits.labelled
    with pytest.raises(DataError, match="there are 3 training subjects with a label map"):
        labelled_subset(splits, num_labelled=4, seed=0)
    with pytest.raises(DataError, match="splitting 20 subjects, 5 with a label map"):
        make_splits(SUBJECTS, wanted, unlabelled=SUBJECTS[:15])
    write_splits(tmp_path / "s.json", splits)
    assert read_splits(tmp_path / "s.json", SUBJECTS, unlabelled=bare) == splits
    with pytest.raises(FaultyDataSet, match=f"{splits.test[1]}: in test, and none of its cases"):
        read_splits(tmp_path / "s.json", SUBJECTS, unlabelled=[*bare, splits.test[1]])


def test_images_alone_are_split_as_ever() -> None:
    wanted = SplitSettings(num_test=3)
    alone = make_splits(SUBJECTS, wanted, unlabelled=SUBJECTS)
    assert alone.roles == make_splits(SUBJECTS, wanted).roles
    assert (alone.labelled, alone.unlabelled) == ((), alone.train)


def test_splits_come_back_from_their_file_cut_to_who_is_there(tmp_path: Path) -> None:
    splits = make_splits(SUBJECTS, SplitSettings(num_test=5, num_validation=5))
    write_splits(tmp_path / "s.json", splits)
    assert read_splits(tmp_path / "s.json", SUBJECTS) == splits
    some = [*splits.train[:4], *splits.test[:2]]
    assert read_splits(tmp_path / "s.json", some).validation == ()


def test_left_out_subjects_have_no_role(tmp_path: Path) -> None:
    content = {"train": ["a"], "validation": [], "test": ["b"], "left_out": ["c"]}
    write_json(tmp_path / "s.json", content)
    splits = read_splits(tmp_path / "s.json", ["a", "b", "c"])
    assert (splits.train, splits.validation, splits.test) == (("a",), (), ("b",))
    write_splits(tmp_path / "again.json", splits)
    assert read_splits(tmp_path / "again.json", ["a", "b", "c"]) == splits
    write_json(tmp_path / "s.json", content | {"left_out": ["b", "c"]})
    with pytest.raises(FaultyDataSet, match="subject b: in test and in left_out"):
        read_splits(tmp_path / "s.json", ["a", "b", "c"])


def test_the_subjects_of_the_evaluator_are_labelled_last(tmp_path: Path) -> None:
    without = make_splits(SUBJECTS, SplitSettings(num_test=5))
    write_splits(tmp_path / "s.json", without)
    assert "evaluator" not in read_json(tmp_path / "s.json")
    first = labelled_subset(without, num_labelled=2, seed=3)
    evaluator = tuple(sorted(set(without.train) - set(first))[:6])
    splits = replace(without, evaluator=evaluator)
    write_splits(tmp_path / "s.json", splits)
    assert read_splits(tmp_path / "s.json", SUBJECTS) == splits
    assert labelled_subset(splits, num_labelled=2, seed=3) == first
    others = set(splits.train) - set(evaluator)
    for seed in range(5):
        assert set(labelled_subset(splits, num_labelled=9, seed=seed)) == others
    assert set(labelled_subset(splits, num_labelled=15, seed=0)) == set(splits.train)
    write_json(
        tmp_path / "s.json", read_json(tmp_path / "s.json") | {"evaluator": [splits.test[0]]}
    )
    with pytest.raises(FaultyDataSet, match=f"{splits.test[0]}: in evaluator and not in train"):
        read_splits(tmp_path / "s.json", SUBJECTS)


def test_labelled_subsets_are_drawn_from_candidates_where_there_are_some(tmp_path: Path) -> None:
    without = make_splits(SUBJECTS, SplitSettings(num_test=5))
    assert without.drawn_from == without.labelled
    splits = replace(without, candidates=without.train[:4])
    write_splits(tmp_path / "s.json", splits)
    assert read_splits(tmp_path / "s.json", SUBJECTS) == splits
    for seed in range(5):
        assert set(labelled_subset(splits, num_labelled=4, seed=seed)) == set(splits.candidates)
    drawn = {
        name
        for seed in range(5)
        for name in labelled_subset(splits, num_labelled=4, seed=seed, of_all=True)
    }
    assert drawn > set(splits.candidates)
    with pytest.raises(DataError, match="choosing 5 labelled subjects: there are 4"):
        labelled_subset(splits, num_labelled=5, seed=0)
    content = read_json(tmp_path / "s.json")
    write_json(tmp_path / "s.json", content | {"candidates": [splits.test[0]]})
    with pytest.raises(FaultyDataSet, match=f"{splits.test[0]}: in candidates and not in train"):
        read_splits(tmp_path / "s.json", SUBJECTS)
    write_json(tmp_path / "s.json", content)
    with pytest.raises(FaultyDataSet, match="in candidates, and none of its cases has a label map"):
        read_splits(tmp_path / "s.json", SUBJECTS, unlabelled=splits.candidates[:1])


def test_an_older_split_file_is_told_the_new_word(tmp_path: Path) -> None:
    content = {"train": ["a"], "validation": [], "test": ["b"], "reader": ["a"]}
    write_json(tmp_path / "s.json", content)
    with pytest.raises(FaultyDataSet, match="the list 'reader' is called 'evaluator' now"):
        read_splits(tmp_path / "s.json", ["a", "b"])


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ([["a"], [], ["b"]], "no list 'train'"),
        ({"train": ["a"], "validation": [], "test": {"b": 1}}, "no list 'test'"),
        ({"train": ["a"], "validation": [], "test": ["b"], "seed": "x"}, "the seed is 'x'"),
        ({"train": ["a"], "validation": [], "test": ["b"], "seed": None}, "the seed is None"),
    ],
)
def test_a_split_file_of_another_form_is_a_fault(
    tmp_path: Path, content: object, named: str
) -> None:
    write_json(tmp_path / "s.json", content)
    with pytest.raises(FaultyDataSet, match=named):
        read_splits(tmp_path / "s.json", ["a", "b"])


def test_ids_that_are_numbers_are_found_in_a_split_file(tmp_path: Path) -> None:
    write_json(tmp_path / "s.json", {"train": [1, 2], "validation": [], "test": [0]})
    assert read_splits(tmp_path / "s.json", ["0", "1", "2"]).test == ("0",)


def test_all_faults_of_a_split_file_are_named(tmp_path: Path) -> None:
    content = {"train": ["a", "b"], "validation": ["b"], "test": ["a"], "seed": 0}
    write_json(tmp_path / "s.json", content)
    with pytest.raises(FaultyDataSet) as caught:
        read_splits(tmp_path / "s.json", ["a", "b", "z"])
    assert set(caught.value.faults) == {
        "subject b: in train and in validation",
        "subject a: in train and in test",
        "subject z: in no split",
    }


def test_splits_that_a_recipe_does_not_ask_for_are_named(tmp_path: Path) -> None:
    asked = SplitSettings(num_test=5, num_validation=2, seed=1)
    assert unfit(splits_from(asked, SUBJECTS), asked, SUBJECTS) == []
    other = make_splits(SUBJECTS, SplitSettings(num_test=5, seed=1))
    assert unfit(other, asked, SUBJECTS) == [
        "splits.num_validation is 2 in the recipe and 0 in the file"
    ]
    write_splits(tmp_path / "s.json", other)
    of_file = asked.model_copy(update={"file": tmp_path / "s.json"})
    assert splits_from(of_file, SUBJECTS) == other
    assert unfit(other, of_file, SUBJECTS) == []
    assert unfit(splits_from(asked, SUBJECTS), of_file, SUBJECTS) != []


def test_too_few_subjects_are_refused() -> None:
    with pytest.raises(DataError, match="leave none for training"):
        make_splits(SUBJECTS[:5], SplitSettings(num_test=3, num_validation=2))


AGE = ScalarSpec(name="age", low=20, high=80, column="age")
SEX = ScalarSpec(name="sex", low=0, high=1, column="sex", codes={"F": 0, "M": 1})
BRAIN = ScalarSpec(name="brain", low=0, high=100, structures=("a", "b"))


def test_scalars_come_from_columns_codes_and_volumes() -> None:
    row = {"age": "50", "sex": "M", "volume_a_mm3": 30.0, "volume_b_mm3": 20.0}
    values = {spec.name: raw_value(spec, row) for spec in (AGE, SEX, BRAIN)}
    assert values == {"age": 50.0, "sex": 1.0, "brain": 50.0}
    assert scalar_vector((AGE, SEX, BRAIN), values, fill={}).tolist() == [0.5, 1.0, 0.5]


def test_a_missing_scalar_takes_the_median_or_the_middle_of_the_range() -> None:
    rows = [{"age": 30}, {"age": float("nan")}, {"age": 40}, {"age": 70}]
    fill = median_fill((AGE, BRAIN), rows)
    assert fill == {"age": 40.0, "brain": 50.0}
    vector = scalar_vector((AGE, BRAIN), {"age": None}, fill=fill)
    assert vector.tolist() == pytest.approx([1 / 3, 0.5])


def test_a_word_without_a_code_is_refused() -> None:
    with pytest.raises(DataError, match="found 'X', expected F, M"):
        raw_value(SEX, {"sex": "X"})


@pytest.mark.parametrize("cell", ["2", 2, 2.0, "2.0", "02"])
def test_codes_match_the_text_of_a_number_too(cell: str | float) -> None:
    for codes in ({"1": 0, "2": 1}, {1: 0, 2: 1}):
        content = {"name": "sex", "low": 0, "high": 1, "column": "sex", "codes": codes}
        sex = ScalarSpec.model_validate(content)
        assert raw_value(sex, {"sex": cell}) == 1.0
        assert raw_value(sex, {"sex": 1}) == 0.0


@pytest.mark.parametrize("cell", [None, "", "n/a", "NA", "NaN", "null", float("nan")])
def test_cells_that_say_nothing_are_missing(cell: str | float | None) -> None:
    assert raw_value(AGE, {"age": cell}) is None
    assert raw_value(SEX, {"sex": cell}) is None
    nothing = SEX.model_copy(update={"codes": {"NA": 1.0, "EU": 0.0}})
    assert raw_value(nothing, {"sex": "NA"}) == 1.0


def test_what_has_no_code_is_refused_for_every_case() -> None:
    rows = {"a": {"sex": "F"}, "b": {"sex": 1}, "c": {"sex": "m", "age": "4O"}, "d": {"sex": ""}}
    cases = [Case(name, name, {}, source=row) for name, row in rows.items()]
    advice = ". Correct the table and prepare it again, or give the value a code"
    assert scalar_faults((AGE, SEX), cases) == [
        f"case b, scalar 'sex', column 'sex': found 1, expected F, M{advice}",
        f"case c, scalar 'age', column 'age': found '4O', expected numbers{advice}",
        f"case c, scalar 'sex', column 'sex': found 'm', expected F, M{advice}",
    ]


def test_a_scalar_needs_one_source() -> None:
    with pytest.raises(ValueError, match="either column or structures"):
        ScalarSpec(name="x", low=0, high=1)


@pytest.mark.parametrize(
    ("source", "is_measured"),
    [
        ({"structures": ("brain",)}, True),
        ({"column": "volume_brain_mm3"}, True),  # the same by the name of its column
        ({"column": "age"}, False),
    ],
)
def test_scalars_measured_on_label_maps_are_known(
    source: dict[str, Any], is_measured: bool
) -> None:
    scalar = ScalarSpec(name="one", low=0, high=1, **source)
    assert scalar.is_measured is is_measured


def test_where_no_count_is_given_a_quarter_is_the_test_and_a_tenth_validates() -> None:
    subjects = [f"p{number:03d}" for number in range(40)]
    splits = make_splits(subjects, SplitSettings(), unlabelled=subjects[20:])
    assert (len(splits.test), len(splits.validation)) == (5, 2)
    assert unfit(splits, SplitSettings(), subjects, unlabelled=subjects[20:]) == []
    assert unfit(splits, SplitSettings(), subjects) == [
        "splits.num_test is 10 in the recipe and 5 in the file",
        "splits.num_validation is 4 in the recipe and 2 in the file",
    ]
