"""A statistical shape model of label maps: learned, kept as a small file, and drawn from.

What it is: signed distances of aligned maps as a mean and modes of variation.
In the flow: learned once per folder of conditions, read by the workers; see `shape_builder`.
Sources: Leventon, Grimson and Faugeras 2000, CVPR (principal components of signed distances);
Cootes et al. 1995 (limits in standard deviations).

Notes:
    The background is a class like any other: a voxel belongs to the class inside of which it lies
    deepest, so that no gap opens between neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vcmaug.conditions.base import SourceMap
from vcmaug.conditions.topology import counts_of, parts_of
from vcmaug.data.distance import signed_distance_mm
from vcmaug.data.labels import LabelScheme, index_map
from vcmaug.errors import DataError
from vcmaug.files import write_bytes

__all__ = ["ShapeModel", "centre_of", "learn_shape_model", "moved"]

_FEWEST = 3
_CLIP_MM = 8.0  # distances beyond it say nothing about the outline


@dataclass(frozen=True)
class ShapeModel:
    """Signed distances in mm, negative inside, of background and structures, about their centre.

    Attributes:
        mean: float32 [K + 1, X, Y, Z], the background first.
        modes: Unit vectors times the deviation along them, float32 [M, K + 1, X, Y, Z].
        case_ids: Of whose maps it was learned.
        subject_ids: Their subjects.
        topology: The most parts and cavities that a structure has among them, int64 [K, 2].
    """

    mean: NDArray[np.float32]
    modes: NDArray[np.float32]
    case_ids: tuple[str, ...]
    subject_ids: tuple[str, ...]
    topology: NDArray[np.int64]

    def write(self, path: Path) -> None:
        """Write the model atomically, in half precision."""
        stream = BytesIO()
        np.savez_compressed(
            stream,
            mean=self.mean.astype(np.float16),
            modes=self.modes.astype(np.float16),
            case_ids=np.array(self.case_ids),
            subject_ids=np.array(self.subject_ids),
            topology=self.topology,
        )
        write_bytes(path, stream.getvalue())

    @classmethod
    def read(cls, path: Path) -> "ShapeModel":
        """Return the model of a file."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(
                mean=stored["mean"].astype(np.float32),
                modes=stored["modes"].astype(np.float32),
                case_ids=tuple(str(name) for name in stored["case_ids"]),
                subject_ids=tuple(str(name) for name in stored["subject_ids"]),
                topology=stored["topology"],
            )

    def shape_of(self, coefficients: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return channel indices [X, Y, Z] for coefficients [M] in standard deviations."""
        distances = self.mean + np.tensordot(coefficients, self.modes, axes=1)
        indices: NDArray[np.uint8] = np.argmin(distances, axis=0).astype(np.uint8)
        return indices


def learn_shape_model(
    sources: Sequence[SourceMap],
    scheme: LabelScheme,
    *,
    variance_kept: float = 0.98,
    max_modes: int = 24,
) -> ShapeModel:
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
    channels = [index_map(source.label_map.array, scheme) for source in sources]
    for source, indices in zip(sources, channels, strict=True):
        _refuse_missing(source, indices, scheme)
    spacing_mm = sources[0].label_map.spacing_mm
    distances = np.stack(
        [_distances(_centred(i), scheme.num_structures, spacing_mm) for i in channels]
    )  # [N, K + 1, X, Y, Z]
    mean = distances.mean(axis=0)
    return ShapeModel(
        mean=mean,
        modes=_modes(distances - mean, variance_kept=variance_kept, max_modes=max_modes),
        case_ids=tuple(source.case_id for source in sources),
        subject_ids=tuple(sorted({source.subject_id for source in sources})),
        topology=np.max([counts_of(parts_of(i, scheme.num_structures)) for i in channels], axis=0),
    )


def _refuse_missing(source: SourceMap, indices: NDArray[np.uint8], scheme: LabelScheme) -> None:
    """Refuse a map that lacks a structure."""
    missing = [name for k, name in enumerate(scheme.names, start=1) if not (indices == k).any()]
    if missing:
        raise DataError(
            f"learning a shape model: case {source.case_id} has no {', '.join(missing)}. Leave the "
            "case out, or use the builder perturb."
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
    signed = []
    for channel in range(num_structures + 1):
        away_mm = signed_distance_mm(indices == channel, spacing_mm)
        signed.append(np.clip(away_mm, -_CLIP_MM, _CLIP_MM))
    return np.stack(signed).astype(np.float32)


def centre_of(indices: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how far the centre of all structures lies from the grid's, in whole voxels [3]."""
    middle = (np.asarray(indices.shape) - 1) / 2
    offset: NDArray[np.int64] = np.rint(np.argwhere(indices > 0).mean(axis=0) - middle).astype(int)
    return offset


def _centred(indices: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a map moved by whole voxels so that its structures lie about the centre."""
    return moved(indices, -centre_of(indices))


def moved(indices: NDArray[np.uint8], by: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return a map moved by whole voxels; background comes in at the border."""
    shifted: NDArray[np.uint8] = ndimage.shift(indices, by, order=0, mode="constant", cval=0)
    return shifted
