"""Figures of the report: what is drawn is what is in the files."""

import base64
import re
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from made_up_work import SCHEME, make_work, write_pair
from matplotlib import image as mpl_image

from vcmaug.downstream.results import read_summary
from vcmaug.report.figures import difference_plot, mean_plot, montage


def pixels(png: str) -> np.ndarray:
    """Return a base64 PNG as an array [rows, columns, RGBA] of 0 to 1."""
    return mpl_image.imread(BytesIO(base64.b64decode(png)))


def near(picture: np.ndarray, colour: str) -> int:
    """Return how many pixels are close to a colour."""
    wanted = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return int((np.abs(picture[..., :3] - wanted).max(axis=-1) < 0.08).sum())


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    paths = write_pair(folder, "k", side=16, seed=0)
    return folder / paths["image"], folder / paths["label"]


def test_every_structure_is_outlined_in_its_colour(pair: tuple[Path, Path]) -> None:
    picture = pixels(montage([("k", *pair)], SCHEME))
    for structure in SCHEME.structures:
        assert near(picture, structure.colour) > 30


def test_one_column_per_case_and_the_same_bytes_each_time(pair: tuple[Path, Path]) -> None:
    one, three = (montage([("k", *pair)] * n, SCHEME) for n in (1, 3))
    assert pixels(three).shape[1] == pytest.approx(3 * pixels(one).shape[1], abs=3)
    assert montage([("k", *pair)], SCHEME) == one


def test_an_unreadable_case_keeps_its_column(pair: tuple[Path, Path], tmp_path: Path) -> None:
    picture = pixels(montage([("k", *pair), ("gone", tmp_path / "no.nii.gz", pair[1])], SCHEME))
    half = picture.shape[1] // 2
    assert near(picture[:, half:], SCHEME.structures[0].colour) == 0
    assert near(picture[:, :half], SCHEME.structures[0].colour) > 30


def test_plots_are_svg_in_the_colour_of_the_page(tmp_path: Path) -> None:
    folder = make_work(tmp_path, side=8, num_labelled=(2, 5))
    summary = read_summary(folder / "study" / "summary.json")
    for svg in (mean_plot(summary), difference_plot(summary)):
        root = ElementTree.fromstring(svg)
        assert root.tag.endswith("svg")
        assert "width" not in root.attrib
        assert "viewBox" in root.attrib
        assert "currentColor" in svg
        assert "<metadata" not in svg
        assert re.search(r">2</text>", svg)
        assert re.search(r">5</text>", svg)
