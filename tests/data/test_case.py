from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from vcmaug.data.case import Case, Measured
from vcmaug.data.case_table import read_table_of_cases, write_table_of_cases
from vcmaug.data.geometry import Grid
from vcmaug.data.volume import Volume
from vcmaug.data.way_back import WayBack
from vcmaug.errors import FaultyDataSet
from vcmaug.files import sha256_of_file


def _case(folder: Path, number: int = 0, **more: object) -> Case:
    paths = {name: folder / f"{name}{number}" for name in ("image", "t2", "label")}
    for name, path in paths.items():
        path.write_text(name + str(number))
    label = paths.pop("label")
    case = Case(f"k{number}", "s", paths, label, measured=Measured({"a": 2.0}, 0.1))
    return replace(case, **more)  # type: ignore[arg-type]


def test_a_pseudo_labelled_case_cannot_carry_measured_facts(tmp_path: Path) -> None:
    case = _case(tmp_path, source={"age": 40})
    pseudo = case.with_pseudo_label(tmp_path / "guess", sha256="abc")
    assert case.columns == {"age": 40, "volume_a_mm3": 2.0, "label_share_outside_grid": 0.1}
    assert (pseudo.columns, pseudo.measured) == ({"age": 40}, None)
    assert pseudo.hash_of("label") == "abc"
    kept = {field.name for field in fields(Case)} - {"label", "measured", "sha256"}
    assert all(getattr(pseudo, name) == getattr(case, name) for name in kept)


def test_known_hashes_are_not_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = _case(tmp_path)
    by_reading = case.hashes
    assert by_reading == {
        "image": sha256_of_file(tmp_path / "image0"),
        "label": sha256_of_file(tmp_path / "label0"),
        "t2": sha256_of_file(tmp_path / "t20"),
    }
    known = replace(case, sha256=case.hashes)
    monkeypatch.setattr("vcmaug.data.case.sha256_of_file", lambda path: 1 / 0)
    assert known.hashes == by_reading


def test_a_table_gives_back_what_was_written(tmp_path: Path) -> None:
    sources = [{"age": 40, "site": "A"}, {"age": None, "site": None}]
    cases = [_case(tmp_path, k, source=source) for k, source in enumerate(sources)]
    write_table_of_cases(tmp_path, cases)
    first, second = read_table_of_cases(tmp_path)
    assert first.source == {"age": 40.0, "site": "A"}  # one type per column, as CSV has it
    assert second.source == {"age": None, "site": None}
    for found, case in zip((first, second), cases, strict=True):
        assert replace(found, source=case.source, sha256={}) == case
        assert found.sha256 == case.hashes


def test_cases_with_a_way_back_are_equal_by_value(tmp_path: Path) -> None:
    native = Volume(np.zeros((4, 5, 6)), np.diag([1.0, 2.0, 3.0, 1.0]))
    ways = [WayBack.of(native, Grid(shape=(4, 4, 4)), windows={"image": (0, 1)}) for _ in "ab"]
    first, second = (_case(tmp_path, way_back=way) for way in ways)
    assert first == second
    write_table_of_cases(tmp_path, [first])
    assert read_table_of_cases(tmp_path)[0].way_back == ways[0]


def test_missing_files_and_repeated_ids_are_all_named(tmp_path: Path) -> None:
    case = _case(tmp_path)
    write_table_of_cases(tmp_path, [case, case])
    (tmp_path / "t20").unlink()
    with pytest.raises(FaultyDataSet) as caught:
        read_table_of_cases(tmp_path)
    assert list(caught.value.faults) == [
        f"case k0, {tmp_path / 't20'}: no such file",
        "case k0: the id appears twice",
        f"case k0, {tmp_path / 't20'}: no such file",
    ]
