"""Figures of the report: a millimetre has one length on the page, whatever the voxels."""

import base64
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image as mpl_image

from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import write_image, write_label_map
from vcmaug.data.volume import Volume
from vcmaug.report.figures import montage

SCHEME = LabelScheme.from_mapping({"ball": 1})
RADIUS_MM = 12.0


def write_ball(folder: Path, spacing_mm: tuple[float, float, float]) -> tuple[Path, Path]:
    """Write a bright ball of 12 mm on a grid of 48 mm along each axis."""
    shape = [round(48 / spacing) for spacing in spacing_mm]
    places = [(np.arange(n) + 0.5) * s - 24 for n, s in zip(shape, spacing_mm, strict=True)]
    x, y, z = np.meshgrid(*places, indexing="ij")
    ball = np.sqrt(x**2 + y**2 + z**2) < RADIUS_MM
    affine = np.diag([*spacing_mm, 1.0])
    write_image(folder / "image.nii.gz", Volume(ball.astype(np.float32), affine))
    write_label_map(folder / "label.nii.gz", Volume(ball.astype(np.uint16), affine))
    return folder / "image.nii.gz", folder / "label.nii.gz"


def extents(panel: np.ndarray) -> tuple[int, int]:
    """Return height and width in pixels of what is bright in a panel [rows, columns, RGBA]."""
    rows, columns = np.nonzero(panel[..., :3].min(axis=-1) > 0.9)
    return int(np.ptp(rows)), int(np.ptp(columns))


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (1.0, 1.0, 4.0), (3.0, 1.0, 1.0)])
def test_a_ball_is_round_in_every_plane(
    tmp_path: Path, spacing_mm: tuple[float, float, float]
) -> None:
    png = montage([("", *write_ball(tmp_path, spacing_mm))], SCHEME)
    picture = mpl_image.imread(BytesIO(base64.b64decode(png)))
    for panel in np.array_split(picture, 3, axis=0):
        height, width = extents(panel)
        assert width > 20
        assert height / width == pytest.approx(1.0, abs=0.2)
