"""The door of every exporter: leaks and overwritten sources are refused; a new one is one class."""

from pathlib import Path
from typing import Literal

import pytest
from made_up_study import SPLITS, edit_rows, write_box_cohort

from vcmaug.cohort.cohort import Cohort
from vcmaug.cohort.exporter import Exporter
from vcmaug.config import Settings, parse_settings
from vcmaug.data.splits import write_splits
from vcmaug.errors import CohortError, LeakError, RecipeError, WorkFolderError
from vcmaug.files import locked_file, write_json
from vcmaug.progress import Report


class OneLine(Exporter):
    """A text file with one line per case, as another package may define it."""

    name: Literal["one-line"] = "one-line"
    mark: str = ""

    def write(self, cohort: Cohort, out: Path, *, report: Report) -> Path:
        out.write_text("".join(f"{self.mark}{case.case_id}\n" for case in cohort))
        return out


class Asked(Settings):
    """Settings that name an exporter."""

    to: Exporter


def test_an_exporter_of_another_package_works_by_name(tmp_path: Path) -> None:
    cohort = Cohort.open(write_box_cohort(tmp_path / "c", ("s0",)))
    asked = parse_settings(Asked, {"to": {"name": "one_line", "mark": "- "}}, source="a test")
    assert asked.to == OneLine(mark="- ")
    asked.to.export(cohort, tmp_path / "list.txt", splits=SPLITS)
    assert (tmp_path / "list.txt").read_text().split() == [
        word for k in range(3) for word in ("-", f"synthetic-{k}")
    ]


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'monai_datalist'"):
        parse_settings(Asked, {"to": "monai_datalists"}, source="a test")


@pytest.mark.parametrize("role", ["validation", "test"])
def test_a_case_of_held_out_parents_is_refused_without_splits_too(tmp_path, role: str) -> None:
    folder = write_box_cohort(tmp_path / "c", ("s0",))
    edit_rows(folder, role=role)
    with pytest.raises(LeakError, match=f"synthetic-2: its parents are of {role}"):
        OneLine().export(Cohort.open(folder), tmp_path / "list.txt")
    assert not (tmp_path / "list.txt").exists()


def test_a_held_out_parent_is_refused_by_the_splits(tmp_path: Path) -> None:
    folder = write_box_cohort(tmp_path / "c", ("s0",))
    edit_rows(folder, source_subject_ids=("s0", "s5"))
    with pytest.raises(LeakError, match="synthetic-2: its parent s5 is of test"):
        OneLine().export(Cohort.open(folder), tmp_path / "list.txt", splits=SPLITS)


@pytest.mark.parametrize("what", ["prior", "control", "conditions"])
def test_a_held_out_subject_that_a_model_has_seen_is_refused(tmp_path: Path, what: str) -> None:
    seen = {"prior": ("s0",), "control": ("s0",), "conditions": ("s0",)}
    seen[what] = ("s0", "s4")
    folder = write_box_cohort(tmp_path / "c", ("s0",), subjects=seen)
    with pytest.raises(LeakError, match=f"subject s4 of validation was seen by the {what}"):
        OneLine().export(Cohort.open(folder), tmp_path / "list.txt", splits=SPLITS)


def test_in_a_work_folder_its_splits_are_asked(tmp_path: Path) -> None:
    write_json(tmp_path / "recipe.json", {})
    write_splits(tmp_path / "splits.json", SPLITS)
    folder = write_box_cohort(tmp_path / "replicates" / "n1-s0" / "cohort", ("s0",))
    edit_rows(folder, source_subject_ids=("s6",))
    with pytest.raises(LeakError, match="its parent s6 is of test"):
        OneLine().export(Cohort.open(folder), tmp_path / "list.txt")


def test_nothing_is_written_into_the_cohort_or_over_what_is_read(tmp_path: Path) -> None:
    work = tmp_path / "w"
    write_json(work / "recipe.json", {})
    write_splits(work / "splits.json", SPLITS)
    folder = write_box_cohort(work / "replicates" / "n1-s0" / "cohort", ("s0",))
    inside = (folder / "manifest.parquet", folder / "images" / "list.txt")
    for out in (*inside, folder.parent, tmp_path, work / "splits.json", work / "recipe.json"):
        with pytest.raises(WorkFolderError, match=r"the output .* (is|lies in|holds) .*is read"):
            OneLine().export(Cohort.open(folder), out)
    (tmp_path / "images").symlink_to(folder / "images")
    with pytest.raises(WorkFolderError, match="which is read"):
        OneLine().export(Cohort.open(folder), tmp_path / "images" / "list.txt")


def test_a_second_export_to_a_file_is_refused_while_the_first_writes(tmp_path: Path) -> None:
    cohort, out = Cohort.open(write_box_cohort(tmp_path / "c", ("s0",))), tmp_path / "list.txt"
    with (
        locked_file(out, purpose="exporting to list.txt"),
        pytest.raises(WorkFolderError, match=r"in use by process \d+ \(exporting to list.txt\)"),
    ):
        OneLine().export(cohort, out)
    OneLine().export(cohort, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "list.txt"]


def test_a_cohort_without_cases_is_refused(tmp_path: Path) -> None:
    folder = write_box_cohort(tmp_path / "c", ("s0",), num=1)
    edit_rows(folder, status="failed")
    with pytest.raises(CohortError, match="no case is finished"):
        OneLine().export(Cohort.open(folder), tmp_path / "list.txt")
