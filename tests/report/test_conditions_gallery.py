"""The gallery of conditions: a picture of the right size, of every chain."""

from pathlib import Path

import matplotlib.image
import tiny

from vcmaug.report.conditions import write_gallery


def test_a_row_per_condition_and_six_planes(tmp_path: Path) -> None:
    folder = tiny.make_tiny_conditions(tmp_path / "conditions", n=3)
    path = write_gallery(folder)
    picture = matplotlib.image.imread(path)
    assert picture.shape[:2] == (430, 1200)
    left, right = picture[:, :600, :3], picture[:, 600:, :3]
    assert left.max() > 0.5
    assert (left != right).any()
