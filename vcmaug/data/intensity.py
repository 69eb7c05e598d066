"""Intensity normalisation, one volume at a time: a window of grey values becomes 0 to 1.

The window is given by two percentiles of the image, or is fixed, as for CT; beyond it values are
clipped. `prepare` applies it once per image, and keeps the window for the way back.

Notes:
    Percentiles are never taken over a data set: MSD Task04 holds scales from 255 to 1.7 million.

References:
    nnU-Net and TorchIO's RescaleIntensity(percentiles=...) do the same.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from vcmaug.config import Settings
from vcmaug.errors import DataError

__all__ = ["IntensitySettings", "scaled", "window_of"]


class IntensitySettings(Settings):
    """Which grey values become 0 and 1: two percentiles, or a fixed window."""

    lower_percentile: float = Field(0.5, ge=0, lt=50)
    upper_percentile: float = Field(99.5, gt=50, le=100)
    over: Literal["all", "nonzero"] = Field(
        "all", description="nonzero: percentiles of voxels above 0, and 0 stays 0 (skull-stripped)"
    )
    window: tuple[float, float] | None = Field(
        None, description="fixed grey values, e.g. [-160, 240] for CT, instead of percentiles"
    )

    @field_validator("window")
    @classmethod
    def _is_wide(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        """Refuse a window without width."""
        if value is not None and value[1] <= value[0]:
            raise ValueError("expected two grey values, the lower one first")
        return value


def window_of(array: NDArray[Any], settings: IntensitySettings) -> tuple[float, float]:
    """Return the grey values of an image that become 0 and 1.

    Args:
        array: Intensities in any unit, [X, Y, Z].
        settings: With `over="nonzero"` the lower one is 0 itself, so that the background stays.

    Raises:
        DataError: The percentiles coincide: there is no contrast.
    """
    if settings.window is not None:
        return settings.window
    nonzero = settings.over == "nonzero"
    values = array[array > 0] if nonzero else array
    if values.size == 0:
        raise DataError("no voxel is above 0, expected an image; leave the case out")
    low = 0.0 if nonzero else float(np.percentile(values, settings.lower_percentile))
    high = float(np.percentile(values, settings.upper_percentile))
    if high <= low:
        raise DataError(
            f"percentiles {settings.lower_percentile:g} and {settings.upper_percentile:g} are both "
            f"{low:g}: no contrast, expected an image; take other percentiles or a fixed window, "
            "or leave the case out"
        )
    return low, high


def scaled(array: NDArray[Any], window: tuple[float, float]) -> NDArray[np.float32]:
    """Return an image with a window of grey values at 0 and 1, clipped, float32 [X, Y, Z].

    Examples:
        >>> scaled(np.array([-200, 40, 240]), (-160, 240)).tolist()
        [0.0, 0.5, 1.0]
    """
    low, high = window
    shares = (array.astype(np.float64) - low) / (high - low)
    return np.clip(shares, 0.0, 1.0).astype(np.float32)
