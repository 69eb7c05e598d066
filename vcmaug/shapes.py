"""The axis legend of the whole toolkit, and the few checks on shapes.

    B        batch
    C        image channels
    K        condition channels (one per structure; the background has none)
    S        scalars
    L        latent channels
    X Y Z    voxel axes, X towards the patient's right in RAS
    x y z    axes of the latent grid

Arrays on disk and in `Volume` are [X, Y, Z]; images for networks [B, C, X, Y, Z]; label maps for
networks are one-hot [B, K, X, Y, Z]; latents [B, L, x, y, z]; scalars [B, S].
"""

from collections.abc import Sequence

__all__ = ["Box", "Shape3", "as_shape3", "box_within", "latent_shape", "padded_box"]

Shape3 = tuple[int, int, int]
Box = tuple[slice, slice, slice]
"""Part of a grid, one slice per axis."""


def as_shape3(sizes: Sequence[int]) -> Shape3:
    """Return three sizes as a tuple of that length.

    Raises:
        ValueError: There are not exactly three.

    Examples:
        >>> as_shape3([4, 5, 6])
        (4, 5, 6)
    """
    first, second, third = (int(size) for size in sizes)
    return first, second, third


def latent_shape(grid_shape: Shape3, factor: int) -> Shape3:
    """Return the latent grid [x, y, z] of an image grid [X, Y, Z].

    Raises:
        ValueError: A size is no multiple of the factor.

    Examples:
        >>> latent_shape((40, 48, 40), 4)
        (10, 12, 10)
    """
    if any(size % factor for size in grid_shape):
        raise ValueError(f"grid {grid_shape} is not a multiple of the latent factor {factor}")
    return as_shape3([size // factor for size in grid_shape])


def padded_box(box: Sequence[slice], shape: Sequence[int], *, by: int) -> Box:
    """Return a box grown by so many voxels on each side, cut at the border of the grid.

    Examples:
        >>> padded_box((slice(1, 3),) * 3, (4, 4, 4), by=2)[0]
        slice(0, 4, None)
    """
    first, second, third = (
        slice(max(0, part.start - by), min(size, part.stop + by))
        for part, size in zip(box, shape, strict=True)
    )
    return first, second, third


def box_within(box: Sequence[slice], around: Sequence[slice]) -> Box:
    """Return a box in coordinates of a larger one that holds it.

    Examples:
        >>> box_within((slice(3, 5),) * 3, (slice(2, 9),) * 3)[0]
        slice(1, 3, None)
    """
    first, second, third = (
        slice(part.start - outer.start, part.stop - outer.start)
        for part, outer in zip(box, around, strict=True)
    )
    return first, second, third
