"""Robust intensity normalisation, one volume at a time.

What it is: two percentiles to 0 and 1, the rest clipped.
In the flow: `prepare`, once per image, before anything else looks at intensities.
Sources: common practice in nnU-Net and TorchIO's RescaleIntensity(percentiles=...).

Notes:
    Never over a data set: MSD Task04 holds scales from 255 to 1.7 million.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vcmaug.config import Settings
from vcmaug.errors import DataError

__all__ = ["IntensitySettings", "normalise"]


class IntensitySettings(Settings):
    """Which percentiles become 0 and 1."""

    lower_percentile: float = Field(0.5, ge=0, lt=50)
    upper_percentile: float = Field(99.5, gt=50, le=100)
    over: Literal["all", "nonzero"] = Field(
        "all", description="nonzero: percentiles of voxels above 0, and 0 stays 0 (skull-stripped)"
    )


def normalise(array: NDArray[Any], settings: IntensitySettings) -> NDArray[np.float32]:
    """Return the image with its percentiles at 0 and 1, clipped, float32 [X, Y, Z].

    Args:
        array: Intensities in any unit, [X, Y, Z].
        settings: With `over="nonzero"` the lower bound is 0 itself, so that the background stays.

    Raises:
        DataError: The percentiles coincide: there is no contrast.
    """
    nonzero = settings.over == "nonzero"
    values = array[array > 0] if nonzero else array
    if values.size == 0:
        raise DataError("no voxel is above 0, expected an image")
    low = 0.0 if nonzero else float(np.percentile(values, settings.lower_percentile))
    high = float(np.percentile(values, settings.upper_percentile))
    if high <= low:
        raise DataError(
            f"percentiles {settings.lower_percentile:g} and {settings.upper_percentile:g} are both "
            f"{low:g}: no contrast"
        )
    scaled = (array.astype(np.float64) - low) / (high - low)
    return np.clip(scaled, 0.0, 1.0).astype(np.float32)
