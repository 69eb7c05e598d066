"""The manifest: parts in any order, the last row counts, types come back, nothing unfinished."""

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny

from vcmaug.cohort.card import CohortCard
from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import finished, read_manifest, read_rows
from vcmaug.cohort.merge import merge_parts
from vcmaug.cohort.row import COLUMNS, RUN_COLUMNS, ManifestRow, Run, row_of
from vcmaug.data.steps import Step
from vcmaug.errors import CohortError
from vcmaug.files import append_lines

STEPS = (
    Step("perturb", {"max_displacement_mm": 3.0, "mirrored": True, "resize": {}}, {"tries": 2.0}),
    Step("lesions", {"donors": ["d1"], "sizes": [3, 4], "name": "wm"}, {}),
)


def row(request_id: str, *, attempt: int = 1, phases=None, **values) -> ManifestRow:
    run = Run(attempt=attempt, phases=phases or {}, versions={"python": "3.11"})
    return tiny.manifest_row(request_id=request_id, run=run, **values)


def add(layout: CohortLayout, shard: int, *rows: ManifestRow) -> None:
    append_lines(layout.part(shard), [one.cells() for one in rows])


def test_parts_merge_in_the_order_of_the_plan(tmp_path):
    layout = CohortLayout(tmp_path)
    add(layout, 1, row("r2"))
    add(layout, 0, row("r1"), row("r0", status="failed"))
    add(layout, 0, row("r0", status="done", attempt=2))
    merged = merge_parts(layout, [["r0", "r1"], ["r2"]])
    table = read_manifest(tmp_path)
    assert list(table["request_id"]) == ["r0", "r1", "r2"]
    assert (table["status"][0], table["attempt"][0]) == ("done", 2)
    assert list(table.columns) == list(COLUMNS)
    assert set(RUN_COLUMNS) < set(COLUMNS)
    assert (merged.counts, merged.redrawn, merged.subjects) == ({"done": 3}, 0, {"s0"})
    assert len(pd.read_csv(layout.manifest_csv)) == 3
    assert not layout.rejects.exists()


def test_every_type_comes_back(tmp_path):
    layout = CohortLayout(tmp_path)
    drawn = row(
        "r0",
        parameters=STEPS,
        scalars={"age": 40.5, "sex": None},
        checks={"mean": 0.25},
        phases={"sample": 2.0},
        source_subject_ids=("s0", "d1"),
        seed=str(2**64 - 1),
    )
    made = row("r1", drawn=None, parameters=(Step("copy_paste", {"donor": "k1"}),), role="train")
    add(layout, 0, drawn, made)
    merge_parts(layout, [["r0", "r1"]])
    first, second = read_rows(tmp_path)
    assert second == made
    assert first.parameters[1] == STEPS[1]
    assert first.parameters[0].parameters == {"max_displacement_mm": 3.0, "mirrored": True}
    assert first.changed(parameters=STEPS) == drawn  # but for what was empty


def test_pandas_sees_lists_and_dictionaries_and_nothing_where_nothing_was_drawn(tmp_path):
    layout = CohortLayout(tmp_path)
    add(layout, 0, row("r0", scalars={"age": 40.0}, parameters=STEPS), row("r1", drawn=None))
    merge_parts(layout, [["r0", "r1"]])
    table = read_manifest(tmp_path)
    assert list(table["timesteps"][0]) == [9, 5]
    assert list(table["interval"][0]) == [0.0, 1.0]
    assert table["scalars"][0] == {"age": 40.0}
    assert table["versions"][0] == {"python": "3.11"}
    assert table[["sampler", "strength", "timesteps", "checks"]].iloc[1].isna().all()
    schema = pq.read_schema(layout.manifest)
    assert schema.field("source_case_ids").type == pa.list_(pa.string())
    assert schema.field("timesteps").type == pa.list_(pa.int64())
    assert schema.field("phases").type == pa.map_(pa.string(), pa.float64())
    texts = pd.read_csv(layout.manifest_csv)
    assert json.loads(texts["source_subject_ids"][0]) == ["s0"]
    assert json.loads(texts["parameters"][0])[1]["parameters"]["donors"] == ["d1"]


def test_rows_of_a_part_are_the_rows_that_were_written():
    one = row("r0", parameters=STEPS, checks={"mean": 0.5})
    assert row_of(json.loads(json.dumps(one.cells()))) == one


def test_parameters_of_one_name_keep_one_type(tmp_path):
    layout = CohortLayout(tmp_path)
    add(layout, 0, row("r0", parameters=(Step("b", {"size": 3}),)))
    add(layout, 1, row("r1", parameters=(Step("b", {"size": 2.5}),)))
    merge_parts(layout, [["r0"], ["r1"]])
    assert [one.parameters[0].parameters["size"] for one in read_rows(tmp_path)] == [3.0, 2.5]
    add(layout, 1, row("r1", parameters=(Step("b", {"size": "big"}),)))
    with pytest.raises(CohortError, match="two types under one name"):
        merge_parts(layout, [["r0"], ["r1"]])


def test_redrawn_draws_are_kept_apart(tmp_path):
    layout = CohortLayout(tmp_path)
    redrawn = row("r0", status="redrawn", tries=1, reason="too dark", phases={"sample": 2.0})
    done = row("r0", tries=2, phases={"sample": 2.0, "write": 0.5})
    add(layout, 0, redrawn, done)
    add(layout, 0, redrawn, done)  # drawn again after its files were lost
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
        add(layout, shard, *(row(name) for name in names))
    merge_parts(layout, shards)
    assert pq.ParquetFile(layout.manifest).num_row_groups == 3
    table = read_manifest(tmp_path)
    assert list(table["request_id"]) == [name for names in shards for name in names]
    assert list(pd.read_csv(layout.manifest_csv)["request_id"]) == list(table["request_id"])


def test_missing_rows_are_counted(tmp_path):
    add(CohortLayout(tmp_path), 0, row("r0"))
    with pytest.raises(CohortError, match="2 of 3 requests have no row yet, r1 first"):
        merge_parts(CohortLayout(tmp_path), [["r0", "r1"], ["r2"]])
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]


def test_a_cut_line_is_no_row(tmp_path):
    layout = CohortLayout(tmp_path)
    add(layout, 0, row("r0"), row("r1"))
    layout.part(0).write_bytes(layout.part(0).read_bytes()[:-5])
    with pytest.raises(CohortError, match="1 of 2"):
        merge_parts(layout, [["r0", "r1"]])


def test_finished_rows_are_those_with_files(tmp_path):
    layout = CohortLayout(tmp_path)
    add(layout, 0, row("r0"), row("r1", status="failed"), row("r2", status="rejected"))
    merge_parts(layout, [["r0", "r1", "r2"]])
    assert list(finished(read_manifest(tmp_path))["request_id"]) == ["r0"]
    assert [one.is_done for one in read_rows(tmp_path)] == [True, False, False]


def test_a_cohort_of_before_there_were_kinds_of_priors_is_read_as_one_of_epsilon(tmp_path):
    layout = CohortLayout(tmp_path)
    add(layout, 0, row("r0"))
    merge_parts(layout, [["r0"]])
    older = pq.read_table(layout.manifest).drop_columns(["prior_kind", "guidance"])
    pq.write_table(older, layout.manifest)
    (found,) = read_rows(tmp_path)
    assert (found.drawn.prior_kind, found.drawn.guidance) == ("epsilon", 1.0)
    table = read_manifest(tmp_path)
    assert list(table["prior_kind"]) == ["epsilon"]
    assert list(table["guidance"]) == [1.0]


def test_an_unfinished_cohort_is_refused(tmp_path):
    with pytest.raises(CohortError, match=r"no manifest\.parquet, so it is not finished"):
        read_manifest(tmp_path)
    with pytest.raises(CohortError, match=r"no cohort\.json"):
        CohortCard.read(tmp_path)


def test_manifest_card_and_part_of_an_older_version_are_refused(tmp_path):
    layout = CohortLayout(tmp_path)
    older = {"request_id": "r0", "status": "done", "source_case_ids": '["k0"]', "fold": "train"}
    for columns in (list(older), ["request_id", "status"]):
        pd.DataFrame([older])[columns].to_parquet(layout.manifest)
        with pytest.raises(CohortError, match=r"manifest\.parquet: it was made by an older ver"):
            read_manifest(tmp_path)
    layout.card.write_text('{"kind": "cohort", "subjects": {"prior": []}}')
    with pytest.raises(CohortError, match=r"cohort\.json was made by an older version .*seen"):
        CohortCard.read(tmp_path)
    append_lines(layout.part(0), [{"request_id": "r0", "status": "done", "fold": "train"}])
    with pytest.raises(CohortError, match=r"made by an older version .'index'"):
        merge_parts(layout, [["r0"]])
