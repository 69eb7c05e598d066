"""Left and right by name: the spellings of atlases and public data sets, and what is refused."""

import csv
from pathlib import Path

import pytest

from vcmaug.data.sides import other_side, refuse_unknown_sides, side_faults
from vcmaug.errors import DataError

TABLE = Path(__file__).with_name("sides.csv").read_text(encoding="utf-8")
ROWS = list(csv.DictReader(TABLE.splitlines()))
SETS = sorted({row["set"] for row in ROWS})


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['set']}-{row['name']}")
def test_a_known_name_has_its_other_side_or_is_its_own(row: dict[str, str]) -> None:
    name, other = row["name"], row["other"] or row["name"]
    assert row["source"]
    assert (other_side(name), other_side(other)) == (other, name)


@pytest.mark.parametrize("chosen", SETS)
def test_a_known_set_may_be_mirrored(chosen: str) -> None:
    rows = [row for row in ROWS if row["set"] == chosen]
    names = {name for row in rows for name in (row["name"], row["other"]) if name}
    assert side_faults(sorted(names)) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("LV", "RV"),  # chambers of the heart: MM-WHS
        ("LA", "RA"),
        ("kidneyl", "kidneyr"),
        ("xltx", "xrtx"),
        ("Xleftx", "Xrightx"),
        ("IPL", "ipr"),
        ("lll", "rll"),
        ("Eye_Lz", "Eye_Rz"),
        ("Musc_Digastric_LA", "Musc_Digastric_RA"),
        ("Parotide_G", "Parotide_D"),
        ("rein gauche", "rein droit"),
        ("Niere links", "Niere rechts"),
        ("rene sx", "rene dx"),
    ],
)
def test_names_that_differ_by_their_side_alone_and_are_no_pair_are_refused(
    one: str, other: str
) -> None:
    said = f"'{one}' and '{other}' differ by their side alone"
    for names in ((one, "liver", other), (other, one)):
        (fault,) = side_faults(names)
        assert fault.startswith(said)
        with pytest.raises(DataError, match=r"mirroring(.|\n)*Switch flips off, or name both"):
            refuse_unknown_sides(names, doing="mirroring label maps")


@pytest.mark.parametrize(
    ("names", "lone"),
    [
        (("left atrium",), "'left atrium' has no 'right atrium'"),  # Decathlon, heart
        (("Heschl_L_79", "Heschl_R_80"), "'Heschl_L_79' has no 'Heschl_R_79'"),
        (("kidney_left", "kidney_Right"), "'kidney_left' has no 'kidney_right'"),
        (("lung_middle_lobe_right", "liver"), "has no 'lung_middle_lobe_left'"),
        (("atrial_appendage_left", "heart"), "has no 'atrial_appendage_right'"),
        (("Right-lOg", "Right-mOg", "Left-mOg"), "'Right-lOg' has no 'Left-lOg'"),  # of FreeSurfer
        (("R-C-S", "Cornea"), "'R-C-S' has no 'L-C-S'"),  # retina, choroid and sclera of both eyes
    ],
)
def test_a_side_without_its_other_is_refused(names: tuple[str, ...], lone: str) -> None:
    assert lone in side_faults(names)[0]


def test_names_alike_but_for_letters_within_them_are_no_sides() -> None:
    assert (
        side_faults(("colon", "aorta", "liver", "RV", "MLV", "LVC", "region_d", "region_e")) == []
    )
