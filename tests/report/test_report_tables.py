"""Tables of the report: numbers as text, and verdicts that follow from intervals and replicates."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_work import make_work

from vcmaug.downstream.results import GapClosed, Summary
from vcmaug.files import read_json, write_json
from vcmaug.report.document import flow_of, write_report
from vcmaug.report.found import find
from vcmaug.report.study import headline_of, study_tables
from vcmaug.report.tables import table_of


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_work(tmp_path_factory.mktemp("work"), num_labelled=(2,))


@pytest.mark.parametrize(
    ("value", "text", "is_number"),
    [
        (0.71234, "0.7123", True),
        (12.3456, "12.35", True),
        (-0.00001, "0.0000", True),
        (-0.00006, "-0.0001", True),
        (123456.7, "123,457", True),
        (np.float64(0.5), "0.5000", True),
        (1234, "1,234", True),
        (True, "True", False),
        (None, "missing", False),
        (float("nan"), "missing", False),
        ("n", "n", False),
    ],
)
def test_cells(value: Any, text: str, is_number: bool) -> None:
    cell = table_of("", [{"a": value}], {"a": "A"}).rows[0][0]
    assert (cell.text, cell.is_number) == (text, is_number)


def test_differences_carry_a_sign_and_absent_columns_are_missing() -> None:
    table = table_of("c", [{"a": 0.5}, {"a": -0.5}], {"a": "A", "b": "B"}, signed=("a",))
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["+0.5000", "missing"],
        ["-0.5000", "missing"],
    ]
    assert table.columns == ("A", "B")
    (row,) = table_of("c", [{"a": -0.00001}], {"a": "A"}, signed=("a",)).rows
    assert row[0].text == "+0.0000"


@pytest.mark.parametrize(
    ("low", "high", "replicates", "verdict"),
    [
        (0.001, 0.04, 3, ": the interval lies above zero: a gain is shown."),
        (-0.04, -0.001, 3, ": the interval lies below zero: a harm is shown."),
        (-0.01, 0.04, 5, ": the interval holds zero, so neither gain nor harm is shown."),
        (0.0, 0.04, 3, ": the interval holds zero, so neither gain nor harm is shown."),
        (0.001, 0.04, 2, ": two replicates, so no verdict."),
        (-0.04, -0.001, 1, ": one replicate, so no verdict."),
    ],
)
def test_the_verdict_follows_from_the_interval_and_the_replicates(
    tmp_path: Path, low: float, high: float, replicates: int, verdict: str
) -> None:
    folder = make_work(tmp_path, side=8)
    summary = read_json(folder / "study" / "summary.json")
    summary["num_replicates"] = replicates
    for row in summary["differences"]:
        row |= {"low": low, "high": high}
    write_json(folder / "study" / "summary.json", summary)
    assert headline_of(find(folder).summary)[-1].endswith(verdict)


def test_the_flow_counts_what_is_there(work: Path) -> None:
    flow = {step: (count, detail) for step, count, detail in flow_of(find(work))}
    assert list(flow) == ["cases", "split", "prior", "control", "conditions", "cohort", "study"]
    assert flow["cases"] == ("6", "of 6 subjects")
    assert flow["split"] == ("3", "train; 1 validation, 2 test")
    assert flow["cohort"] == ("3", "synthetic cases; 1 failed")
    assert flow["study"][0] == "2"


def test_replicates_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = make_work(tmp_path, side=8, num_labelled=(10, 2))
    assert [replicate.name for replicate in find(folder).replicates] == ["n2-s0", "n10-s0"]


def test_where_lower_is_better_gain_and_harm_change_sides(tmp_path: Path) -> None:
    folder = make_work(tmp_path, side=8)
    content = read_json(folder / "study" / "summary.json") | {"num_replicates": 3}
    write_json(folder / "study" / "summary.json", content)
    summary = found_summary(folder)
    row = next(row for row in summary.differences if row.metric == "hd95_mm")
    for low, high, word in ((-1.0, -0.1, "below zero: a gain"), (0.1, 1.0, "above zero: a harm")):
        assert word in summary.verdict(replace(row, low=low, high=high))


def test_figures_have_the_decimals_that_their_interval_carries(work: Path) -> None:
    tables = study_tables(found_summary(work), None)
    dice = [cell.text for cell in tables[0].rows[0]]
    assert dice[4:7] == ["+0.020", "+0.005", "+0.040"]  # an interval of 0.018 each way
    assert dice[-1] == "one replicate, so no verdict"
    assert (
        "changed by +0.020 (95 % interval +0.005 to +0.040" in headline_of(found_summary(work))[1]
    )
    assert "Each had 1 thread." in tables[0].caption


def test_shares_and_means_per_structure_are_rounded_too(work: Path) -> None:
    summary = found_summary(work)
    place = {"metric": "dice", "arm": "real+synthetic", "num_labelled": 2}
    shares = (
        GapClosed(share=0.41234, low=0.1, high=0.72, **place),
        GapClosed(share=0.41234, low=None, high=None, **place),
        GapClosed(share=-0.04, low=-0.3, high=0.3, **place),
    )
    tables = study_tables(replace(summary, gap_closed=shares), find(work).scores)
    assert [[cell.text for cell in row[3:]] for row in tables[1].rows] == [
        ["0.4", "0.1", "0.7"],
        ["0.4", "missing", "missing"],
        ["0.0", "-0.3", "0.3"],
    ]
    per_structure = tables[-1].rows[0]
    assert per_structure[3].text == "0.700"  # a mean has an interval of 0.018 each way
    assert per_structure[4].text == "5.00"  # of 0.15


def test_labels_that_a_prior_has_seen_stand_in_tables_and_limits(tmp_path: Path) -> None:
    folder = make_work(tmp_path, side=8)
    assert "labels by the prior" not in study_tables(found_summary(folder), None)[0].columns
    labels = {"arm": "real+synthetic", "scalars": ["brain"], "num_subjects": 98, "num_of_study": 48}
    content = read_json(folder / "study" / "summary.json") | {"prior_labels": [labels]}
    write_json(folder / "study" / "summary.json", content)
    for table in study_tables(found_summary(folder), None):
        column = table.columns.index("labels by the prior")
        arms = {row[1].text: row[column].text for row in table.rows}
        assert arms.pop("real+synthetic") == "98"
        assert set(arms.values()) <= {"0"}
    assert "measured on label maps of 98 subjects" in write_report(folder).read_text()


def found_summary(work: Path) -> Summary:
    summary = find(work).summary
    assert summary is not None
    return summary
