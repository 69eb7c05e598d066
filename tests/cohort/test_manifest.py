"""The manifest: parts in any order, the last row counts, nothing unfinished is read."""

from dataclasses import fields

import pandas as pd
import pyarrow.parquet as pq
import pytest
import tiny

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import (
    RUN_COLUMNS,
    ManifestRow,
    read_cohort_card,
    read_manifest,
)
from vcmaug.cohort.merge import merge_parts
from vcmaug.errors import CohortError
from vcmaug.files import append_lines

COLUMNS = [field.name for field in fields(ManifestRow)]


def row(request_id: str, **values):
    """Return a row as it stands in a part; columns not named are empty."""
    named = {"request_id": request_id, "status": "done", "attempt": 1}
    return tiny.manifest_row(**(named | {"source_subject_ids": '["s0"]'} | values))


def test_parts_merge_in_the_order_of_the_plan(tmp_path):
    layout = CohortLayout(tmp_path)
    append_lines(layout.part(1), [row("r2")])
    append_lines(layout.part(0), [row("r1"), row("r0", status="failed")])
    append_lines(layout.part(0), [row("r0", status="done", attempt=2)])
    merged = merge_parts(layout, [["r0", "r1"], ["r2"]])
    table = read_manifest(tmp_path)
    assert list(table["request_id"]) == ["r0", "r1", "r2"]
    assert (table["status"][0], table["attempt"][0]) == ("done", 2)
    assert list(table.columns) == COLUMNS
    assert set(RUN_COLUMNS) < set(COLUMNS)
    assert (merged.counts, merged.redrawn, merged.subjects) == ({"done": 3}, 0, {"s0"})
    assert len(pd.read_csv(layout.manifest_csv)) == 3
    assert not layout.rejects.exists()


def test_redrawn_draws_are_kept_apart(tmp_path):
    layout = CohortLayout(tmp_path)
    redrawn = row("r0", status="redrawn", tries=1, reason="too dark", phases='{"sample":2.0}')
    done = row("r0", tries=2, phases='{"sample":2.0,"write":0.5}')
    append_lines(layout.part(0), [redrawn, done])
    append_lines(layout.part(0), [redrawn, done])  # drawn again after its files were lost
    merged = merge_parts(layout, [["r0"]])
    assert (merged.counts, merged.redrawn) == ({"done": 1}, 1)
    assert merged.seconds == {"sample": 2.0, "write": 0.5}
    assert list(read_manifest(tmp_path)["tries"]) == [2]
    assert list(pd.read_parquet(layout.rejects)["reason"]) == ["too dark"]
    assert list(pd.read_csv(layout.rejects_csv)["tries"]) == [1]


def test_many_rows_merge_in_several_groups(tmp_path):
    layout = CohortLayout(tmp_path)
    shards = [[f"r{shard:02d}{k:03d}" for k in range(500)] for shard in range(10)]
    for shard, names in enumerate(shards):
        append_lines(layout.part(shard), [row(name) for name in names])
    merge_parts(layout, shards)
    assert pq.ParquetFile(layout.manifest).num_row_groups == 3
    table = read_manifest(tmp_path)
    assert list(table["request_id"]) == [name for names in shards for name in names]
    assert list(pd.read_csv(layout.manifest_csv)["request_id"]) == list(table["request_id"])


def test_missing_rows_are_counted(tmp_path):
    append_lines(CohortLayout(tmp_path).part(0), [row("r0")])
    with pytest.raises(CohortError, match="2 of 3 requests have no row yet, r1 first"):
        merge_parts(CohortLayout(tmp_path), [["r0", "r1"], ["r2"]])
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]


def test_a_cut_line_is_no_row(tmp_path):
    part = CohortLayout(tmp_path).part(0)
    append_lines(part, [row("r0"), row("r1")])
    part.write_bytes(part.read_bytes()[:-5])
    with pytest.raises(CohortError, match="1 of 2"):
        merge_parts(CohortLayout(tmp_path), [["r0", "r1"]])


def test_an_unfinished_cohort_is_refused(tmp_path):
    with pytest.raises(CohortError, match=r"no manifest\.parquet, so it is not finished"):
        read_manifest(tmp_path)
    with pytest.raises(CohortError, match=r"no cohort\.json"):
        read_cohort_card(tmp_path)
