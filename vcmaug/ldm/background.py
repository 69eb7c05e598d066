"""The background of masked images, such as heads without skull: exactly 0, and so in draws too.

A decoder and its texture leave small values where every training image is 0. After the training of
an autoencoder a grey value is measured that tells what is shown from what is not; draws are then
set to 0 outside of it. Images that fill their grid have no such value and stay as they are.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

__all__ = ["measure_foreground", "without_background"]

_LEAST_ZERO = 0.05
"""Share of each training image that must be exactly 0; percentiles alone leave a tenth of it."""
_LOSS = 1e-4
"""Share of its grey values that a training image may lose."""
_LADDER = (0.25, 0.2, 0.15, 0.12, 0.1, 0.08, 0.06, 0.05, 0.04, 0.03, 0.02, 0.01)
_MOST_IMAGES = 40


def measure_foreground(images: Tensor, decoded: Tensor) -> float | None:
    """Return the grey value of decoded images above which a voxel is foreground.

    It is the highest of a ladder that costs no training image more than a ten thousandth of its
    grey values, while the foreground leaves out at least half of the voxels that are 0.

    Args:
        images: Training images [N, C, X, Y, Z] in [0, 1].
        decoded: What the autoencoder makes of them, likewise.

    Returns:
        None where the images have no background of exact zeros, or no value tells it apart.
    """
    zeros = (images == 0).all(dim=1).flatten(start_dim=1).float().mean(dim=1)  # [N]
    if float(zeros.min()) < _LEAST_ZERO:
        return None
    some = list(zip(images[:_MOST_IMAGES], decoded[:_MOST_IMAGES], zeros.tolist(), strict=False))
    for above in _LADDER:
        if all(_tells_apart(image, drawn, above, zero=zero) for image, drawn, zero in some):
            return above
    return None


def _tells_apart(image: Tensor, decoded: Tensor, above: float, *, zero: float) -> bool:
    """Return whether a grey value serves for one image [C, X, Y, Z], of which a share is 0."""
    outside = ~torch.from_numpy(_foreground(decoded, above))
    lost = float(image[:, outside].sum() / image.sum())
    return lost <= _LOSS and float(outside.float().mean()) >= zero / 2


def _foreground(decoded: Tensor, above: float) -> NDArray[np.bool_]:
    """Return the foreground [X, Y, Z] of a decoded image [C, X, Y, Z].

    It is the largest connected part above a grey value, filled, and a voxel more for its edge.
    """
    parts, count = ndimage.label((decoded > above).any(dim=0).cpu().numpy())
    if count == 0:
        return np.zeros(parts.shape, dtype=bool)
    largest = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    found: NDArray[np.bool_] = ndimage.binary_dilation(ndimage.binary_fill_holes(largest))
    return found


def without_background(images: Tensor, decoded: Tensor, *, above: float) -> Tensor:
    """Return images [B, C, X, Y, Z] that are 0 outside of what they show.

    Args:
        images: With their texture.
        decoded: The same without it, from which the foreground is taken.
        above: See `measure_foreground`. An image that nowhere exceeds it, or that is not finite,
            stays as it is: it is for the checks of drawn images.
    """
    cleared = images.clone()
    for image, drawn in zip(cleared, decoded, strict=True):
        inside = torch.from_numpy(_foreground(drawn, above)).to(image.device)
        if inside.any() and bool(drawn.isfinite().all()):
            image[:, ~inside] = 0.0
    return cleared
