"""Tables as Excel, R, pandas, spreadsheets of other languages and people leave them."""

import codecs
import csv
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vcmaug.data.text_table import read_rows, typed

NEEDS = ("case_id", "image")


def _read(path: Path, content: str | bytes, *, encoding: str = "utf-8") -> list[dict[str, str]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    faults: list[str] = []
    rows = read_rows(path, needs=NEEDS, knows=("subject_id", "label"), faults=faults)
    assert faults == []
    return [dict(row.cells) for row in rows]


def _faults(path: Path, content: str | bytes) -> list[str]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    faults: list[str] = []
    read_rows(path, needs=NEEDS, faults=faults)
    return faults


@pytest.mark.parametrize("name", ["t.csv", "t.CSV", "t.tsv", "t.TSV", "t.txt"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_and_line_ends_are_found_out(
    tmp_path: Path, name: str, separator: str, end: str
) -> None:
    lines = [["case_id", "image", "age"], ["007", "i/a b.nii.gz", "1"], ["NA", "i/c.nii.gz", ""]]
    text = end.join(separator.join(line) for line in lines) + end
    assert _read(tmp_path / name, text) == [
        {"case_id": "007", "image": "i/a b.nii.gz", "age": "1"},
        {"case_id": "NA", "image": "i/c.nii.gz", "age": ""},
    ]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
def test_encodings_are_found_out(tmp_path: Path, encoding: str) -> None:
    text = "case_id,image\nMüller-é,i/Müller.nii.gz\n"
    assert _read(tmp_path / "t.csv", text, encoding=encoding) == [
        {"case_id": "Müller-é", "image": "i/Müller.nii.gz"}
    ]


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\ncase_id;image\na;b\n",
        "\n\ncase_id,image\n\n , \na,b\n,,\n\n",
        'case_id,image\n"a","b"\n',
        '"case_id", "image"\n"a", "b"\n',
        "Case_ID,IMAGE\na,b\n",
        " case_id , image \n a , b \n",
        "\ufeffcase_id,image\na,b",
        ",case_id,image\n0,a,b\n",  # with the index of pandas
        "case_id,image,,\na,b,,\n",
        "case_id,image\na,b,\n",
    ],
)
def test_what_programs_add_is_left_out(tmp_path: Path, text: str) -> None:
    assert _read(tmp_path / "t.csv", text) == [{"case_id": "a", "image": "b"}]


def test_quoted_cells_hold_separators_quotes_and_line_ends(tmp_path: Path) -> None:
    text = 'case_id,image,note\na,b,"x, ""y""\nz"\nc,d,5" coil\n'
    assert [row["note"] for row in _read(tmp_path / "t.csv", text)] == ['x, "y"\nz', '5" coil']
    assert _faults(tmp_path / "t.csv", text + "e\n")[0].startswith(f"{tmp_path / 't.csv'}, line 5:")


@pytest.mark.parametrize("word", ["NA", "null", "None", "nan", "N/A", "-1.#IND", "007", "1e5", "0"])
def test_ids_are_text_whatever_they_look_like(tmp_path: Path, word: str) -> None:
    text = f"case_id,image,subject_id\n{word},b,{word}\n"
    assert _read(tmp_path / "t.csv", text) == [{"case_id": word, "image": "b", "subject_id": word}]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", ": the file is empty, expected a line with case_id, image"),
        (" \n\n", ": the file is empty"),
        ("case,image\na,b\n", ": no column 'case_id'; found 'case', 'image'"),
        ("a,i/a.nii.gz\n", ": no column 'case_id', no column 'image'; found 'a'"),
        ("case_id image\na b\n", "separated by comma, semicolon or tab"),
        ("case_id,image,age,age\na,b,1,2\n", ": column 'age' stands 2 times"),
        ("case_id,image,Case_ID\na,b,1\n", ": column 'case_id' stands 2 times"),
        ("case_id,image\na,b,c\n", ", line 2: 3 cells, expected 2"),
        ("case_id,image,x\n\na,b\n", ", line 3: 2 cells, expected 3"),
        (
            'case_id,image\na,b\nc,"d\ne,f\n',
            ", line 3: unexpected end of data, expected a quoted cell",
        ),
        (b"PK\x03\x04\x14\x00", ": not a text file, expected a table; export a spreadsheet as CSV"),
        (b"\x1f\x8b\x08\x08abc", ": not a text file"),
        (codecs.BOM_UTF16_LE + b"c\x00a", ": not a text file"),
    ],
)
def test_each_fault_has_file_and_line(tmp_path: Path, text: str | bytes, named: str) -> None:
    path = tmp_path / "t.csv"
    (fault,) = _faults(path, text)
    assert fault.startswith(str(path))
    assert named in fault


def test_every_bad_line_is_named_and_the_good_ones_are_read(tmp_path: Path) -> None:
    path, faults = tmp_path / "t.csv", list[str]()
    path.write_text("case_id,image\na,b\nc\nd,e\nf,g,h\n")
    rows = read_rows(path, needs=NEEDS, faults=faults)
    assert [row.place for row in rows] == [f"{path}, line 2", f"{path}, line 4"]
    assert [fault.split(":")[0] for fault in faults] == [f"{path}, line 3", f"{path}, line 5"]


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "no.csv", "No such file"), (tmp_path, "Is a directory")):
        faults: list[str] = []
        assert read_rows(path, needs=NEEDS, faults=faults) == []
        assert faults == [fault for fault in faults if fault.startswith(f"{path}: {why}")]


def test_a_column_has_one_type() -> None:
    assert typed([1, "2", None]) == [1, 2, None]
    assert typed([1, 2.5, float("nan"), "n/a"]) == [1.0, 2.5, None, None]
    assert typed(["1", "x"]) == ["1", "x"]
    assert typed(["01", "2"]) == ["01", "2"]
    assert typed(["0", "0.5", "-3e2"]) == [0.0, 0.5, -300.0]
    assert typed(["", None]) == [None, None]
    assert typed(["NA", "null"]) == ["NA", "null"]
    assert typed(["9" * 30]) == [float("9" * 30)]
    assert typed(["40,5"]) == ["40,5"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.integers(-(10**17), 10**17), st.floats(allow_nan=False)), min_size=1))
def test_numbers_come_back(column: list[float]) -> None:
    found = typed(repr(cell) if isinstance(cell, float) else cell for cell in column)
    if not any(cell in (float("inf"), float("-inf")) for cell in column):
        assert found == [type(found[0])(cell) for cell in column]  # type: ignore[call-overload]


CELLS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=5),
    st.sampled_from(",;\t|"),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_a_csv_writer_wrote_comes_back(
    tmp_path: Path, rows: list[tuple[str, str, str]], separator: str, quoting: int, encoding: str
) -> None:
    stream = StringIO(newline="")
    writer = csv.writer(stream, delimiter=separator, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([("case_id", "image", "note"), *rows])
    found = _read(tmp_path / "t.csv", stream.getvalue(), encoding=encoding)
    cells = [[cell.strip().strip("\ufeff") for cell in row] for row in rows]
    assert [list(row.values()) for row in found] == [row for row in cells if any(row)]
