from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from vcmaug.cli.prepare import _FORMATS, _format
from vcmaug.config import parse_settings
from vcmaug.data.case import Case
from vcmaug.data.nifti import write_image
from vcmaug.data.prepare import find_cases
from vcmaug.data.reader import Reader, images_of
from vcmaug.data.readers.auto import Auto
from vcmaug.data.readers.folder import Folder
from vcmaug.data.source import DataSettings
from vcmaug.data.volume import Volume
from vcmaug.errors import RecipeError


class Flat(Reader):
    """A layout of a test: every file of a folder is an image."""

    name: Literal["flat"] = "flat"
    ending: str = ".nii.gz"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return (path / "FLAT").exists()

    def cases(self, path: Path, faults: list[str]) -> list[Case]:
        return [
            Case(one.name.removesuffix(self.ending), one.name[0], images_of(one))
            for one in sorted(path.glob(f"*{self.ending}"))
        ]


def _settings(source: Path, **more: object) -> DataSettings:
    content = {"source": str(source), "scheme": {"a": 1}, "grid": {"shape": (8, 8, 8)}, **more}
    return parse_settings(DataSettings, content, source="a recipe")


def test_a_new_reader_is_found_by_its_name_and_recognises_its_layout(tmp_path: Path) -> None:
    write_image(
        tmp_path / "k0.nii.gz", Volume(np.random.default_rng(0).random((4, 4, 4)), np.eye(4))
    )
    for layout in ("flat", {"name": "flat", "ending": ".gz"}):
        settings = _settings(tmp_path, format=layout)
        assert [case.subject_id for case in find_cases(settings, [])] == ["k"]
    assert _settings(tmp_path).reader == Folder()
    (tmp_path / "FLAT").touch()
    assert _settings(tmp_path).reader == Flat()
    assert Flat().files(tmp_path) == [tmp_path / "k0.nii.gz"]


def test_the_command_line_names_every_reader_of_the_package() -> None:
    own = {name for name, part in Reader.parts().items() if part.__module__.startswith("vcmaug.")}
    assert set(_FORMATS) == own
    assert _FORMATS[0] == Auto().name


def test_patterns_on_the_command_line_are_those_of_a_plain_folder() -> None:
    plain = {"name": "folder", "images": "t1/{case}.nii.gz"}
    assert _format("auto", images="t1/{case}.nii.gz", labels=None) == plain
    assert _format("auto", images=None, labels=None) == {"name": "auto"}
    assert _format("bids", images=None, labels="x") == {"name": "bids", "labels": "x"}


def test_a_misspelt_reader_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="format: unknown reader 'foldr'; did you mean 'folder'"):
        _settings(tmp_path, format="foldr")
    with pytest.raises(RecipeError, match="did you mean 'images'"):
        _settings(tmp_path, format={"name": "folder", "image": "x"})


@pytest.mark.parametrize(
    ("old", "told"),
    [
        ({"images": "t1/{case}.nii.gz"}, r"format: {name: folder, images: t1/{case}\.nii\.gz}"),
        ({"table": "p.csv", "table_key": "id"}, "table, table_key: .*{name: folder, table: p.csv}"),
        ({"label_suffix": "seg"}, "{name: bids, label_suffix: seg}"),
    ],
)
def test_old_keys_are_told_their_new_place(tmp_path: Path, old: dict[str, str], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        _settings(tmp_path, **old)


def test_files_of_a_reader_are_all_that_it_reads(tmp_path: Path) -> None:
    for name in ("images/a.nii.gz", "labels/a.nii.gz", "p.csv", "other.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "p.csv").write_text("case_id,age\na,1\n")
    found = Folder(table="p.csv").files(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [
        "p.csv", "images/a.nii.gz", "labels/a.nii.gz",
    ]  # fmt: skip


def test_the_paths_of_a_table_may_start_elsewhere(tmp_path: Path) -> None:
    """A table beside a recipe, the files of several data sets in a folder of the user's."""
    image = np.random.default_rng(0).random((4, 4, 4))
    write_image(tmp_path / "data" / "one" / "k0.nii.gz", Volume(image, np.eye(4)))
    table = tmp_path / "recipe" / "cases.csv"
    table.parent.mkdir()
    table.write_text("case_id,image,group\nk0,one/k0.nii.gz,A\n")
    reader = {"name": "table", "root": str(tmp_path / "data")}
    (case,) = find_cases(_settings(table, format=reader), [])
    assert case.image == tmp_path / "data" / "one" / "k0.nii.gz"
    assert case.columns["group"] == "A"
    (lost,) = find_cases(_settings(table, format="table"), [])
    assert not lost.image.exists()
