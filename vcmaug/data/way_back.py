"""The way back: prepared or drawn volumes on the native grid of their case, in its own units.

`prepare` records it with each case. It is exact where a case was only turned, cropped or padded;
where it was resampled, images are interpolated linearly and label maps structure by structure.
"""

from collections.abc import Mapping

import numpy as np

from vcmaug.data.case import IMAGE, Case, WayBack
from vcmaug.data.geometry import (
    Grid,
    crop_start,
    reorient,
    resampled_shape,
    resampled_to,
    turned,
    uncropped,
)
from vcmaug.data.labels import LabelScheme
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.shapes import as_shape3

__all__ = ["Window", "native_image", "native_label", "native_of", "undo", "way_back_of"]

Window = tuple[float, float]
"""The grey values that became 0 and 1."""


def way_back_of(native: Volume, grid: Grid, *, windows: Mapping[str, Window]) -> WayBack:
    """Return how a volume comes back from a grid.

    Args:
        native: Before it is brought to the grid.
        grid: The grid.
        windows: Of each image of the case that was normalised, by name.
    """
    order = turned(native.orientation, grid.orientation)
    shape = as_shape3([native.shape[axis] for axis in order])
    spacing = [native.spacing_mm[axis] for axis in order]
    between = resampled_shape(shape, spacing, grid.spacing_mm)
    return WayBack(
        rows=tuple(map(tuple, native.affine.tolist())),
        shape=native.shape,
        orientation=native.orientation,
        resampled_shape=between,
        start=crop_start(between, grid.shape),
        windows=dict(windows),
    )


def undo(volume: Volume, way_back: WayBack, *, is_label: bool) -> Volume:
    """Return a volume of the prepared grid on the native grid of its case; values stay.

    Args:
        volume: On the prepared grid.
        way_back: Of its case.
        is_label: Whether it is a label map, or a mask.

    Returns:
        What lies outside the prepared grid is 0.
    """
    whole = uncropped(volume, way_back.resampled_shape, start=way_back.start)
    order = turned(way_back.orientation, volume.orientation)
    shape = as_shape3([way_back.shape[axis] for axis in order])
    native = Volume(np.empty(0), way_back.affine)
    spacing = [native.spacing_mm[axis] for axis in order]
    back = reorient(resampled_to(whole, shape, spacing, is_label=is_label), way_back.orientation)
    return Volume(back.array, way_back.affine)


def native_image(volume: Volume, way_back: WayBack, *, name: str = IMAGE) -> Volume:
    """Return an image on the native grid of its case, in grey values of that case.

    Args:
        volume: Values in [0, 1], on the prepared grid.
        way_back: Of its case.
        name: Which image of the case; a mask keeps its values.

    Returns:
        float32; what lies outside the prepared grid has the grey value that became 0.
    """
    window = way_back.windows.get(name)
    back = undo(volume, way_back, is_label=window is None)
    low, high = window or (0.0, 1.0)
    array = low + back.array.astype(np.float64) * (high - low)
    return Volume(array.astype(np.float32), back.affine)


def native_label(volume: Volume, way_back: WayBack, *, scheme: LabelScheme) -> Volume:
    """Return a label map on the native grid of its case, in the user's own values, uint16."""
    back = undo(volume, way_back, is_label=True)
    return Volume(scheme.in_source_values(back.array), back.affine)


def native_of(
    case: Case, drawn_image: Volume, drawn_label: Volume, *, scheme: LabelScheme
) -> tuple[Volume, Volume]:
    """Return a drawn image and label map on the native grid of their parent, in its units.

    Args:
        case: The labelled case that the drawn one descends from.
        drawn_image: Values in [0, 1], on the prepared grid.
        drawn_label: On the same grid, in numbers of the scheme.
        scheme: Of the label map; it knows the user's own values.

    Raises:
        DataError: The case has no way back: it is not a prepared one.
    """
    if case.way_back is None:
        raise DataError(
            f"case {case.case_id}: its native grid is not known. Prepare it with `vcmaug prepare`."
        )
    image = native_image(drawn_image, case.way_back)
    return image, native_label(drawn_label, case.way_back, scheme=scheme)
