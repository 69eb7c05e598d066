"""`shape_model`: new label maps from the modes of variation of the labelled ones.

What it is: a model of signed distances (mean and modes), and the builder that draws from it.
In the flow: learned once per folder of conditions, kept there as a file, read by the workers.
Sources: Leventon, Grimson and Faugeras 2000, CVPR (principal components of signed distances);
Cootes et al. 1995 (limits in standard deviations).

Notes:
    The background is a class like any other: a voxel belongs to the class inside of which it lies
    deepest, so that no gap opens between neighbours. Where structures are thin, islands come off;
    those beyond the number of parts that a structure has among the sources become background.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from vcmaug.conditions.base import Condition, SourceMap, recomputed
from vcmaug.config import Settings
from vcmaug.data.labels import LabelScheme, from_index_map, index_map
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.files import write_bytes
from vcmaug.seeding import numpy_generator

__all__ = ["ShapeModel", "ShapeModelBuilder", "ShapeModelSettings", "learn_shape_model"]

_FEWEST = 3
_CLIP_MM = 8.0  # distances beyond it say nothing about the outline
_MOST_REMOVED = 0.05  # of a drawn shape, as islands and beyond the grid; more is another draw


class ShapeModelSettings(Settings):
    """How many modes to keep and how far to go along them."""

    max_deviations: float = Field(2.0, gt=0, description="limit of each mode, standard deviations")
    variance_kept: float = Field(0.98, gt=0, le=1)
    max_modes: int = Field(24, ge=1)
    max_tries: int = Field(10, ge=1, description="draws before a condition is given up")


@dataclass(frozen=True)
class ShapeModel:
    """Signed distances in mm, negative inside, of background and structures, about their centre.

    Attributes:
        mean: float32 [K + 1, X, Y, Z], the background first.
        modes: Unit vectors times the deviation along them, float32 [M, K + 1, X, Y, Z].
        case_ids: Of whose maps it was learned.
        subject_ids: Their subjects.
        num_components: The most connected parts that a structure has among them, int [K].
    """

    mean: NDArray[np.float32]
    modes: NDArray[np.float32]
    case_ids: tuple[str, ...]
    subject_ids: tuple[str, ...]
    num_components: NDArray[np.int64]

    def write(self, path: Path) -> None:
        """Write the model atomically, in half precision."""
        stream = BytesIO()
        np.savez_compressed(
            stream,
            mean=self.mean.astype(np.float16),
            modes=self.modes.astype(np.float16),
            case_ids=np.array(self.case_ids),
            subject_ids=np.array(self.subject_ids),
            num_components=self.num_components,
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
                num_components=stored["num_components"],
            )

    def shape_of(self, coefficients: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return channel indices [X, Y, Z] for coefficients [M] in standard deviations."""
        distances = self.mean + np.tensordot(coefficients, self.modes, axes=1)
        indices: NDArray[np.uint8] = np.argmin(distances, axis=0).astype(np.uint8)
        return indices


def learn_shape_model(
    sources: Sequence[SourceMap], scheme: LabelScheme, settings: ShapeModelSettings
) -> ShapeModel:
    """Return the shape model of label maps on one grid.

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
        modes=_modes(distances - mean, settings),
        case_ids=tuple(source.case_id for source in sources),
        subject_ids=tuple(sorted({source.subject_id for source in sources})),
        num_components=np.max([_components(i, scheme.num_structures) for i in channels], axis=0),
    )


def _refuse_missing(source: SourceMap, indices: NDArray[np.uint8], scheme: LabelScheme) -> None:
    """Refuse a map that lacks a structure."""
    missing = [name for k, name in enumerate(scheme.names, start=1) if not (indices == k).any()]
    if missing:
        raise DataError(
            f"learning a shape model: case {source.case_id} has no {', '.join(missing)}. Leave the "
            "case out, or use the builder perturb."
        )


def _modes(centred: NDArray[np.float32], settings: ShapeModelSettings) -> NDArray[np.float32]:
    """Return the main modes [M, ...] of centred rows [N, ...], each one deviation long."""
    rows = centred.reshape(len(centred), -1).astype(np.float64)  # [N, D]
    left, sizes, _ = np.linalg.svd(rows @ rows.T / (len(rows) - 1))  # of the small Gram matrix
    shares = np.cumsum(sizes) / sizes.sum() if sizes.sum() > 0 else np.ones_like(sizes)
    enough = int(np.searchsorted(shares, settings.variance_kept)) + 1
    count = min(enough, settings.max_modes, len(rows) - 1)
    modes = left[:, :count].T @ rows / np.sqrt(len(rows) - 1)  # [M, D], of length sqrt(size)
    shaped: NDArray[np.float32] = modes.reshape(count, *centred.shape[1:]).astype(np.float32)
    return shaped


def _distances(
    indices: NDArray[np.uint8], num_structures: int, spacing_mm: Sequence[float]
) -> NDArray[np.float32]:
    """Return signed distances in mm, clipped, of background and structures, [K + 1, X, Y, Z]."""
    signed = []
    for channel in range(num_structures + 1):
        inside = indices == channel
        outwards = ndimage.distance_transform_edt(~inside, sampling=spacing_mm)
        inwards = ndimage.distance_transform_edt(inside, sampling=spacing_mm)
        signed.append(np.clip(outwards - inwards, -_CLIP_MM, _CLIP_MM))
    return np.stack(signed).astype(np.float32)


def _offset(indices: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how far the centre of all structures lies from the grid's, in whole voxels [3]."""
    middle = (np.asarray(indices.shape) - 1) / 2
    offset: NDArray[np.int64] = np.rint(np.argwhere(indices > 0).mean(axis=0) - middle).astype(int)
    return offset


def _centred(indices: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a map moved by whole voxels so that its structures lie about the centre."""
    return _moved(indices, -_offset(indices))


def _moved(indices: NDArray[np.uint8], by: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return a map moved by whole voxels; background comes in at the border."""
    moved: NDArray[np.uint8] = ndimage.shift(indices, by, order=0, mode="constant", cval=0)
    return moved


def _without_islands(
    indices: NDArray[np.uint8], num_components: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Return a map where each structure has at most so many parts; smaller ones are removed."""
    kept = indices.copy()
    for k, most in enumerate(num_components, start=1):
        parts, num_parts = ndimage.label(indices == k)
        if num_parts > most:
            sizes = np.bincount(parts.ravel())
            sizes[0] = 0
            largest = np.argsort(sizes)[-int(most) :]
            kept[(parts > 0) & ~np.isin(parts, largest)] = 0
    return kept


def _components(indices: NDArray[np.uint8], num_structures: int) -> list[int]:
    """Return the number of connected parts of each structure, neighbours by faces."""
    return [int(ndimage.label(indices == k)[1]) for k in range(1, num_structures + 1)]


@dataclass(frozen=True)
class ShapeModelBuilder:
    """The builder.

    Attributes:
        settings: How far along the modes.
        scheme: Of the label maps.
        model: Learned of all sources.
        inherit: Columns of the case table that a condition takes over from its source.
    """

    settings: ShapeModelSettings
    scheme: LabelScheme
    model: ShapeModel
    inherit: tuple[str, ...] = ("age", "sex")
    name: str = "shape_model"

    def build(self, source: SourceMap, *, condition_id: str, seed: int) -> Condition:
        """Return a drawn shape where the source's structures lie.

        Raises:
            DataError: No draw of `max_tries` keeps every structure whole.
        """
        offset = _offset(index_map(source.label_map.array, self.scheme))
        for tries in range(1, self.settings.max_tries + 1):
            coefficients = self._draw(seed, tries)
            shape = self.model.shape_of(coefficients)
            indices = _moved(_without_islands(shape, self.model.num_components), offset)
            removed = float((shape > 0).sum() - (indices > 0).sum()) / max(1, (shape > 0).sum())
            if removed <= _MOST_REMOVED and self._is_whole(indices):
                label_map = Volume(from_index_map(indices, self.scheme), source.label_map.affine)
                return Condition(
                    condition_id=condition_id,
                    label_map=label_map,
                    row=recomputed(source.row, label_map, scheme=self.scheme, inherit=self.inherit),
                    source_case_ids=self.model.case_ids,
                    source_subject_ids=self.model.subject_ids,
                    builder=self.name,
                    parameters={
                        "coefficients": [round(float(value), 4) for value in coefficients],
                        "offset_voxels": offset.tolist(),
                        "placed_as": source.case_id,
                    },
                    seed=seed,
                    checks={"tries": float(tries), "share_removed": round(removed, 4)},
                )
        raise DataError(
            f"drawing condition {condition_id} from a shape model of {len(self.model.case_ids)} "
            f"maps: {self.settings.max_tries} draws lost or broke a structure. Lower "
            "max_deviations."
        )

    def _draw(self, seed: int, tries: int) -> NDArray[np.float64]:
        """Return coefficients [M] in standard deviations, none beyond the limit."""
        generator = numpy_generator(seed, "shape model", tries)
        limit = self.settings.max_deviations
        drawn = generator.standard_normal(len(self.model.modes))
        while (beyond := np.abs(drawn) > limit).any():
            drawn[beyond] = generator.standard_normal(int(beyond.sum()))
        return np.round(drawn, 4)

    def _is_whole(self, indices: NDArray[np.uint8]) -> bool:
        """Return whether every structure is there, in no more parts than among the sources."""
        found = np.array(_components(indices, self.scheme.num_structures))
        return bool((found > 0).all() and (found <= self.model.num_components).all())
