"""The way back: prepared or drawn volumes on the native grid of their case, in its own units.

`prepare` records it with each case. It is exact where a case was only turned, cropped or padded;
where it was resampled, images are interpolated linearly and label maps structure by structure.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vcmaug.affine import spacing_of
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
from vcmaug.shapes import Shape3, as_shape3

__all__ = ["WayBack", "Window"]


@dataclass(frozen=True)
class Window:
    """The grey values of an image of a case, by its name, that became 0 and 1."""

    name: str
    low: float
    high: float


@dataclass(frozen=True)
class WayBack:
    """What `prepare` did to a case, so that it can be undone.

    Attributes:
        affine: Of the native grid, four rows of four numbers.
        shape: Of the native grid.
        orientation: Of the native grid, such as LPI.
        resampled_shape: Of the case turned and resampled, before it was cropped or padded.
        start: Voxel [3] of that one where the prepared grid begins; negative where it was padded.
        windows: Of each image; a mask has none.
    """

    affine: tuple[tuple[float, ...], ...]
    shape: Shape3
    orientation: str
    resampled_shape: Shape3
    start: Shape3
    windows: tuple[Window, ...]

    @classmethod
    def of(
        cls,
        native: Volume,
        grid: Grid,
        *,
        windows: Mapping[str, tuple[float, float]],
        start: Shape3 | None = None,
    ) -> "WayBack":
        """Return how a volume comes back from a grid.

        Args:
            native: Before it is brought to the grid.
            grid: The grid.
            windows: The grey values that became 0 and 1 of each image that was normalised.
            start: Where the grid begins; None: both have the same centre.
        """
        order = turned(native.orientation, grid.orientation)
        shape = as_shape3([native.shape[axis] for axis in order])
        spacing = [native.spacing_mm[axis] for axis in order]
        between = resampled_shape(shape, spacing, grid.spacing_mm)
        return cls(
            affine=tuple(map(tuple, native.affine.tolist())),
            shape=native.shape,
            orientation=native.orientation,
            resampled_shape=between,
            start=start or crop_start(between, grid.shape),
            windows=tuple(Window(name, *window) for name, window in windows.items()),
        )

    def undo(self, volume: Volume, *, is_label: bool) -> Volume:
        """Return a volume of the prepared grid on the native grid; values stay.

        Args:
            volume: On the prepared grid.
            is_label: Whether it is a label map, or a mask.

        Returns:
            What lies outside the prepared grid is 0.
        """
        affine = np.array(self.affine, dtype=np.float64)
        whole = uncropped(volume, self.resampled_shape, start=self.start)
        order = turned(self.orientation, volume.orientation)
        shape = as_shape3([self.shape[axis] for axis in order])
        spacing = [spacing_of(affine)[axis] for axis in order]
        back = reorient(resampled_to(whole, shape, spacing, is_label=is_label), self.orientation)
        return Volume(back.array, affine)

    def image(self, volume: Volume, *, name: str) -> Volume:
        """Return an image on the native grid, in the grey values of the case.

        Args:
            volume: Values in [0, 1], on the prepared grid.
            name: Which image of the case; a mask keeps its values.

        Returns:
            float32; what lies outside the prepared grid has the grey value that became 0.
        """
        window = next((one for one in self.windows if one.name == name), None)
        back = self.undo(volume, is_label=window is None)
        low, high = (window.low, window.high) if window else (0.0, 1.0)
        array = low + back.array.astype(np.float64) * (high - low)
        return Volume(array.astype(np.float32), back.affine)

    def label(self, volume: Volume, *, scheme: LabelScheme) -> Volume:
        """Return a label map on the native grid, in the user's own values, uint16."""
        back = self.undo(volume, is_label=True)
        return Volume(scheme.in_source_values(back.array), back.affine)
