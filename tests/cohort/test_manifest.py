"""The manifest: parts in any order, the last row counts, nothing unfinished is read."""

from dataclasses import fields

import pandas as pd
import pytest

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import (
    RUN_COLUMNS,
    ManifestRow,
    merge_parts,
    read_cohort_card,
    read_manifest,
)
from vcmaug.errors import CohortError
from vcmaug.files import append_lines

COLUMNS = [field.name for field in fields(ManifestRow)]


def row(request_id: str, **values):
    """Return a row as it stands in a part; columns not named are empty."""
    return dict.fromkeys(COLUMNS, "") | {"request_id": request_id, "attempt": 1} | values


def test_parts_merge_in_the_order_of_the_plan(tmp_path):
    layout = CohortLayout(tmp_path)
    append_lines(layout.part(1), [row("r2")])
    append_lines(layout.part(0), [row("r1"), row("r0", status="failed")])
    append_lines(layout.part(0), [row("r0", status="done", attempt=2)])
    table = merge_parts(layout, ["r0", "r1", "r2"])
    assert list(table["request_id"]) == ["r0", "r1", "r2"]
    assert (table["status"][0], table["attempt"][0]) == ("done", 2)
    assert list(table.columns) == COLUMNS
    assert set(RUN_COLUMNS) < set(COLUMNS)
    pd.testing.assert_frame_equal(read_manifest(tmp_path), table)


def test_missing_rows_are_counted(tmp_path):
    append_lines(CohortLayout(tmp_path).part(0), [row("r0")])
    with pytest.raises(CohortError, match="2 of 3 requests have no row yet, r1 first"):
        merge_parts(CohortLayout(tmp_path), ["r0", "r1", "r2"])
    assert not CohortLayout(tmp_path).manifest.exists()


def test_a_cut_line_is_no_row(tmp_path):
    part = CohortLayout(tmp_path).part(0)
    append_lines(part, [row("r0"), row("r1")])
    part.write_bytes(part.read_bytes()[:-5])
    with pytest.raises(CohortError, match="1 of 2"):
        merge_parts(CohortLayout(tmp_path), ["r0", "r1"])


def test_an_unfinished_cohort_is_refused(tmp_path):
    with pytest.raises(CohortError, match=r"no manifest\.parquet, so it is not finished"):
        read_manifest(tmp_path)
    with pytest.raises(CohortError, match=r"no cohort\.json"):
        read_cohort_card(tmp_path)
