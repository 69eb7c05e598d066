"""The table of conditions: what is written is read again, with its types."""

import csv
import json
from pathlib import Path

import pandas as pd
import pytest

from vcmaug.conditions.base import Step
from vcmaug.conditions.table import (
    ConditionRow,
    merge_parts,
    part_of,
    read_conditions,
    write_rows,
)
from vcmaug.errors import DataError, WorkFolderError

PERTURB = Step(
    "perturb",
    {"max_displacement_mm": 2.5, "mirrored": False, "degrees": [0.0, 1.5, -2.0], "field_seed": 7},
    {"min_jacobian": 0.5, "tries": 1.0},
)
RESIZE = Step(
    "perturb",
    PERTURB.parameters | {"resize": {"core": {"change": 0.2, "side": "left"}}},
    {"min_jacobian": 0.4, "change_core": 0.2},
)
LESIONS = Step(
    "lesions",
    {"placement": "sampled", "lesions": [{"lesion": "a/1", "voxels": 9, "scale": 1.1}]},
    {"asked": 1.0, "refused: outside the tissue": 3.0},
)
SHOWN = Step("modalities", {"asked": [], "presence": {"label_map": True, "t2": False}}, {})


def row(index: int, *steps: Step, **more: object) -> ConditionRow:
    """Return a row of steps."""
    return ConditionRow(
        index=index,
        condition_id=f"c{index:06d}",
        builder="+".join(step.builder for step in steps),
        source_case_ids=("k0", "a/1"),
        source_subject_ids=("s0", "a"),
        role="train",
        turn=0,
        seed=2**63 + index,
        steps=steps,
        map=f"maps/c{index:06d}.nii.gz",
        sha256="ab",
        **more,  # type: ignore[arg-type]
    )


ROWS = [
    row(0, PERTURB, columns={"age": 41.0, "sex": "F"}),
    row(1, RESIZE, LESIONS, channels={"channels-lesion": "cd"}, columns={"age": None, "sex": "M"}),
    row(2, SHOWN, presence={"label_map": True, "t2": False}, columns={"age": 3.0, "sex": "M"}),
    row(3, PERTURB, SHOWN, scalars_clipped={"brain": 6000.0}, columns={"age": 1.0, "sex": "M"}),
    row(4, Step("idle", {}, {}), columns={"age": 1.0, "sex": "F"}),
]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_what_is_written_in_parts_is_read_again(tmp_path: Path, size: int) -> None:
    parts = []
    for first in range(0, len(ROWS), size):
        parts.append(part_of(tmp_path, first))
        write_rows(parts[-1], ROWS[first : first + size])
    merge_parts(tmp_path, parts)
    assert read_conditions(tmp_path) == tuple(ROWS)


def test_the_csv_beside_it_holds_nested_values_as_json(tmp_path: Path) -> None:
    write_rows(part_of(tmp_path, 0), ROWS)
    merge_parts(tmp_path, [part_of(tmp_path, 0)])
    with (tmp_path / "conditions.csv").open(encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    assert [line["condition_id"] for line in lines] == [row.condition_id for row in ROWS]
    assert json.loads(lines[1]["source_case_ids"]) == ["k0", "a/1"]
    assert json.loads(lines[1]["steps"])[1]["parameters"]["placement"] == "sampled"
    assert lines[1]["age"] == ""


def test_a_name_with_two_types_is_refused(tmp_path: Path) -> None:
    odd = [row(0, Step("idle", {"size": 1.0}, {})), row(1, Step("idle", {"size": "large"}, {}))]
    with pytest.raises(DataError, match="c000000 to c000001: a builder recorded values of two"):
        write_rows(part_of(tmp_path, 0), odd)


def test_a_table_of_an_older_version_says_what_to_do(tmp_path: Path) -> None:
    old = pd.DataFrame({"condition_id": ["c000000"], "fold": ["train"]})
    old.to_parquet(tmp_path / "conditions.parquet")
    with pytest.raises(WorkFolderError, match=r"older version; it lacks .*role.* Move"):
        read_conditions(tmp_path)
