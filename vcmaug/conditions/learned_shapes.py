"""A statistical shape model of label maps: learned, kept as a small file, and drawn from.

Signed distances of rigidly aligned maps as a mean and modes of variation. The builder
`shape_model` learns it once per folder of conditions.

Notes:
    The background is a class like any other: a voxel belongs to the class inside of which it lies
    deepest, so that no gap opens between neighbours.

References:
    Leventon, Grimson and Faugeras 2000, CVPR (principal components of signed distances).
    Cootes et al. 1995 (limits in standard deviations).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vcmaug.affine import inverse
from vcmaug.conditions.base import SourceMap
from vcmaug.conditions.topology import counts_of, parts_of
from vcmaug.data.distance import signed_distance_mm
from vcmaug.data.labels import LabelScheme
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.files import atomic_path

__all__ = ["LearnedShapes", "learn_shapes"]

_FEWEST = 3
_CLIP_MM = 8.0  # distances beyond it say nothing about the outline
_ALIGNED_WITHIN_MM = 20.0  # of an outline, where alignment looks
_UPRIGHT = np.eye(4)


@dataclass(frozen=True)
class LearnedShapes:
    """Signed distances in mm, negative inside, of background and structures, in one pose.

    Attributes:
        mean: float32 [K + 1, X, Y, Z], the background first.
        modes: Unit vectors times the deviation along them, float32 [M, K + 1, X, Y, Z].
        case_ids: Of whose maps it was learned.
        subject_ids: Their subjects.
        topology: The most parts and cavities that a structure has among them, int64 [K, 2].
        poses: Rigid matrices [N, 4, 4] from voxels of the model to those of each map.
        centres: Of the structures in each map, voxels [N, 3].
    """

    mean: NDArray[np.float32]
    modes: NDArray[np.float32]
    case_ids: tuple[str, ...]
    subject_ids: tuple[str, ...]
    topology: NDArray[np.int64]
    poses: NDArray[np.float64]
    centres: NDArray[np.float64]

    def write(self, path: Path) -> None:
        """Write the model atomically, in half precision."""
        halves = {name: getattr(self, name).astype(np.float16) for name in ("mean", "modes")}
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **{**vars(self), **halves})

    @classmethod
    def read(cls, path: Path) -> "LearnedShapes":
        """Return the model of a file."""
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        for name in ("mean", "modes"):
            arrays[name] = arrays[name].astype(np.float32)
        ids = {name: tuple(arrays.pop(name).tolist()) for name in ("case_ids", "subject_ids")}
        return cls(**ids, **arrays)  # type: ignore[arg-type]

    def shape_of(
        self, coefficients: NDArray[np.float64], pose: NDArray[np.float64] = _UPRIGHT
    ) -> NDArray[np.uint8]:
        """Return channel indices [X, Y, Z] for coefficients [M] in standard deviations.

        Args:
            coefficients: One per mode.
            pose: From voxels of the model to those of the result, [4, 4].
        """
        distances = self.mean + np.tensordot(coefficients, self.modes, axes=1)
        indices: NDArray[np.uint8] = _looked_up(distances, inverse(pose)).argmin(axis=0)
        return indices.astype(np.uint8)

    def pose_in(self, case_id: str, indices: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the pose [4, 4] of a map's structures, which may have been moved since.

        Args:
            case_id: The map was made from this case, one of those learned of.
            indices: Channel numbers of the map as it is now.
        """
        number = self.case_ids.index(case_id)
        pose: NDArray[np.float64] = self.poses[number].copy()
        pose[:3, 3] += _centre_of(indices) - self.centres[number]
        return pose


def learn_shapes(
    sources: Sequence[SourceMap],
    scheme: LabelScheme,
    *,
    variance_kept: float = 0.98,
    max_modes: int = 24,
) -> LearnedShapes:
    """Return the shape model of label maps on one grid.

    Args:
        sources: Labelled cases.
        scheme: The structures to learn; other values count as background.
        variance_kept: Share of the variance that the modes explain, at least.
        max_modes: The most modes, whatever they explain.

    Raises:
        DataError: There are fewer than three maps, they differ in shape, or one lacks a structure.
    """
    if len(sources) < _FEWEST:
        raise DataError(
            f"learning a shape model from {len(sources)} label maps: expected {_FEWEST} or more. "
            "Use the builder perturb, or label more cases."
        )
    shapes = {source.label_map.shape for source in sources}
    if len(shapes) > 1:
        raise DataError(f"learning a shape model: the maps have shapes {sorted(shapes)}, not one.")
    channels = [scheme.channels(source.label_map.array) for source in sources]
    for source, indices in zip(sources, channels, strict=True):
        missing = [name for k, name in enumerate(scheme.names, start=1) if not (indices == k).any()]
        if missing:
            raise DataError(
                f"learning a shape model: case {source.case_id} has no {', '.join(missing)}. Leave "
                "the case out, or use the builder perturb."
            )
    num, first = scheme.num_structures, sources[0].label_map
    poses = _aligned([Volume(one, first.affine) for one in channels], num)
    distances = np.stack(
        [
            _looked_up(_distances(one, num, first.spacing_mm), pose)
            for one, pose in zip(channels, poses, strict=True)
        ]
    )  # [N, K + 1, X, Y, Z]
    mean = distances.mean(axis=0)
    return LearnedShapes(
        mean=mean,
        modes=_modes(distances - mean, variance_kept=variance_kept, max_modes=max_modes),
        case_ids=tuple(source.case_id for source in sources),
        subject_ids=tuple(sorted({source.subject_id for source in sources})),
        topology=np.max([counts_of(parts_of(one, num)) for one in channels], axis=0),
        poses=poses,
        centres=np.stack([_centre_of(one) for one in channels]),
    )


def _modes(
    centred: NDArray[np.float32], *, variance_kept: float, max_modes: int
) -> NDArray[np.float32]:
    """Return the main modes [M, ...] of centred rows [N, ...], each one deviation long."""
    rows = centred.reshape(len(centred), -1).astype(np.float64)  # [N, D]
    left, sizes, _ = np.linalg.svd(rows @ rows.T / (len(rows) - 1))  # of the small Gram matrix
    shares = np.cumsum(sizes) / sizes.sum() if sizes.sum() > 0 else np.ones_like(sizes)
    enough = int(np.searchsorted(shares, variance_kept)) + 1
    count = min(enough, max_modes, len(rows) - 1)
    modes = left[:, :count].T @ rows / np.sqrt(len(rows) - 1)  # [M, D], of length sqrt(size)
    shaped: NDArray[np.float32] = modes.reshape(count, *centred.shape[1:]).astype(np.float32)
    return shaped


def _distances(
    indices: NDArray[np.uint8], num_structures: int, spacing_mm: Sequence[float]
) -> NDArray[np.float32]:
    """Return signed distances in mm, clipped, of background and structures, [K + 1, X, Y, Z]."""
    away_mm = [signed_distance_mm(indices == k, spacing_mm) for k in range(num_structures + 1)]
    return np.clip(np.stack(away_mm), -_CLIP_MM, _CLIP_MM).astype(np.float32)


def _aligned(maps: Sequence[Volume], num_structures: int) -> NDArray[np.float64]:
    """Return rigid matrices [N, 4, 4] from voxels of the middle of the first grid to each map's.

    The first map is the reference of turns and, moved so that its structures lie about the centre
    of the grid, of places.
    """
    from vcmaug.data.registration import rigid_between

    affine = maps[0].affine
    centres = [_centre_of(one.array) for one in maps]
    centres_mm = [affine[:3, :3] @ centre + affine[:3, 3] for centre in centres]
    fields = [Volume(_outlines(one, num_structures), affine) for one in maps]
    shift = np.eye(4)
    shift[:3, 3] = centres[0] - (np.asarray(maps[0].shape) - 1) / 2
    poses = [shift]
    for field, centre_mm in zip(fields[1:], centres_mm[1:], strict=True):
        rigid = rigid_between(fields[0], field, centres_mm=(centres_mm[0], centre_mm))
        poses.append(np.linalg.inv(affine) @ rigid @ affine @ shift)
    return np.stack(poses)


def _outlines(indices: Volume, num_structures: int) -> NDArray[np.float32]:
    """Return the mean distance in mm to the structures' outlines, by which maps are aligned."""
    away_mm = [
        signed_distance_mm(indices.array == k, indices.spacing_mm)
        for k in range(1, num_structures + 1)
    ]
    mean: NDArray[np.float32] = np.minimum(away_mm, _ALIGNED_WITHIN_MM).mean(axis=0)
    return mean.astype(np.float32)


def _looked_up(distances: NDArray[np.float32], pose: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return distances [K + 1, X, Y, Z] at the voxels that a pose [4, 4] sends each voxel to."""
    if np.array_equal(pose, _UPRIGHT):
        return distances
    return np.stack(
        [ndimage.affine_transform(one, pose, order=1, mode="nearest") for one in distances]
    )


def _centre_of(indices: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the centre of all structures, voxels [3]."""
    centre: NDArray[np.float64] = np.argwhere(indices > 0).mean(axis=0)
    return centre
