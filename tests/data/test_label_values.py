from pathlib import Path

import pytest

from vcmaug.data.label_values import read_label_values
from vcmaug.data.source import DataSettings
from vcmaug.errors import DataError, FaultyDataSet

COLOURS = """
#No. Label Name:                            R   G   B   A

0   Unknown                                 0   0   0   0
17  Left-Hippocampus                        220 216 20  0
53  Right-Hippocampus                       220 216 20  0
80  non-WM-hypointensities                  164 108 226 0
"""


@pytest.mark.parametrize(
    "text",
    [
        "value,structure\n17,left\n53,right\n",
        "Value,Structure\n17,left\n53,right\n",
        "value;structure\r\n17;left\r\n53;right\r\n",
        "value\tstructure\n17\tleft\n\n53.0\tright\n",
        "structure,value,note\nleft,17,x\nright,53,\n",
        "\ufeffvalue,structure\n17,left\n53,right\n",
    ],
)
def test_a_table_says_what_values_mean(tmp_path: Path, text: str) -> None:
    (tmp_path / "v.csv").write_text(text)
    assert read_label_values(tmp_path / "v.csv", ["left", "right"]) == {17: "left", 53: "right"}


def test_a_colour_table_of_freesurfer_names_the_structures_of_the_scheme(tmp_path: Path) -> None:
    (tmp_path / "lut.txt").write_text(COLOURS)
    names = ["Right-Hippocampus", "Left-Hippocampus"]
    found = read_label_values(tmp_path / "lut.txt", names)
    assert found == {17: "Left-Hippocampus", 53: "Right-Hippocampus"}
    settings = DataSettings.model_validate(
        {
            "source": "x",
            "scheme": dict.fromkeys(names, 1),
            "label_values_file": tmp_path / "lut.txt",
            "grid": {"shape": (8, 8, 8)},
        }
    )
    assert settings.number_of_value() == {17: 2, 53: 1}
    with pytest.raises(FaultyDataSet, match=r"no line names a structure of the scheme \(liver\)"):
        read_label_values(tmp_path / "lut.txt", ["liver"])


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("17,right", "line 3: value 17 stands twice"),
        ("17,left", "line 3: value 17 stands twice"),
        ("17.5,left", "line 3: value '17.5', expected a whole number from 0 to 65535"),
        ("x,left", "line 3: value 'x', expected a whole number"),
        ("-1,left", "line 3: value '-1', expected a whole number"),
        ("70000,left", "line 3: value '70000', expected a whole number"),
        ("NA,left", "line 3: value 'NA', expected a whole number"),
        (",left", "line 3: value '', expected a whole number"),
        ("53,NA", r"line 3: structure 'NA' is not in the scheme \(left, right\)"),
        ("53,Left", "line 3: structure 'Left' is not in the scheme"),
        ("0,left", "line 3: value 0 is the background and no structure"),
        ("53", "line 3: 1 cells, expected 2"),
    ],
)
def test_a_line_that_cannot_be_used_is_a_fault(tmp_path: Path, line: str, named: str) -> None:
    (tmp_path / "v.csv").write_text(f"value,structure\n17,left\n{line}\n")
    with pytest.raises(FaultyDataSet, match=named):
        read_label_values(tmp_path / "v.csv", ["left", "right"])


def test_values_of_a_recipe_are_held_to_the_same(tmp_path: Path) -> None:
    content = {"source": "x", "scheme": {"left": 1, "right": 2}, "grid": {"shape": (8, 8, 8)}}
    values = {0: "left", -1: "right", 70000: "left", 3: "right"}
    with pytest.raises(DataError) as caught:
        DataSettings.model_validate(content | {"label_values": values}).number_of_value()
    assert str(caught.value).splitlines()[1:] == [
        "  1. value 0 is the background and no structure",
        "  2. value -1, expected a whole number from 0 to 65535",
        "  3. value 70000, expected a whole number from 0 to 65535",
    ]
    kept = {0: "background", 3: "right", 4: ""}
    settings = DataSettings.model_validate(content | {"label_values": kept})
    assert settings.number_of_value() == {0: 0, 3: 2, 4: 0}


def test_all_faults_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    path.write_text("value,structure\n17,left\n17,right\n2.5,left\n53,NA\n9,\n0,background\n")
    with pytest.raises(FaultyDataSet) as caught:
        read_label_values(path, ["left", "right"])
    assert [fault.split(":")[0] for fault in caught.value.faults] == [
        f"{path}, line 3", f"{path}, line 4", f"{path}, line 5",
    ]  # fmt: skip
    path.write_text("label,name\n1,a\n")
    with pytest.raises(FaultyDataSet, match="no column 'value', no column 'structure'"):
        read_label_values(path, ["left", "right"])
    (tmp_path / "lut.txt").write_text(COLOURS + "x y\n")
    with pytest.raises(FaultyDataSet, match="line 8: expected value, name and colour"):
        read_label_values(tmp_path / "lut.txt", ["Left-Hippocampus"])
