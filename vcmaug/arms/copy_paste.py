"""`real+copy-paste`: structures of one labelled case blended into another; no generator at all.

The donor is moved by whole voxels so that its structures lie where the host's do. With `replace`
(organs: every body has one) the host's own structures are covered as well; without it (lesions)
they stay.

References:
    The idea of Zhang et al., "CarveMix", 2021, MICCAI: a region of interest grown or shrunk by a
    drawn distance; written from the mathematics.
"""

from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vcmaug.arms.base import Arm, Need, Sources
from vcmaug.arms.rows import MadeCase, write_cases
from vcmaug.data.case import LABEL
from vcmaug.data.cases import Case
from vcmaug.data.distance import signed_distance_mm
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import label_map_bytes, read_image, read_label_map
from vcmaug.data.steps import Step
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.progress import Report, silent
from vcmaug.seeding import numpy_generator, stable_seed

__all__ = ["CopyPaste"]


class CopyPaste(Arm):
    """Real labelled cases mixed with pasted ones: what is pasted, how far around it, how softly."""

    name: Literal["real+copy-paste"] = "real+copy-paste"
    structures: tuple[str, ...] = Field((), description="what is pasted; none: all")
    replace: bool = Field(True, description="cover the host's own structures as well")
    margin_mm: tuple[float, float] = Field((1.0, 4.0), description="of the region, drawn")
    blend_mm: float = Field(1.0, gt=0, description="width of the seam")

    colour: ClassVar[str] = "#66ccee"
    needs: ClassVar[frozenset[Need]] = frozenset()
    folder: ClassVar[str | None] = "copy-paste"

    def make(self, sources: Sources, *, out: Path, report: Report = silent) -> None:
        """Write as many pasted cases as the recipe draws: hosts in turn, donors drawn.

        Raises:
            DataError: There are fewer than two subjects, or a donor lacks the structures.
        """
        if len({case.subject_id for case in sources.cases}) < 2:
            raise DataError(
                f"pasting {sources.n} cases: found {len(sources.cases)} labelled cases of one "
                "subject, expected two subjects or more."
            )
        pasted = partial(self._pasted, sources)
        write_cases(pasted, sources, n=sources.n, doing="pasting", out=out, report=report)

    def _pasted(self, sources: Sources, index: int) -> MadeCase:
        """Return one pasted case."""
        seed = stable_seed(sources.seed, "copy and paste", index)
        generator = numpy_generator(seed)
        host = sources.cases[index % len(sources.cases)]
        donors = [case for case in sources.cases if case.subject_id != host.subject_id]
        donor = donors[int(generator.integers(len(donors)))]
        margin_mm = round(float(generator.uniform(*self.margin_mm)), 3)
        image, labels = self.blended(
            _read(host), _read(donor), scheme=sources.scheme, margin_mm=margin_mm
        )
        return MadeCase(
            method="copy_paste",
            image=image,
            label_file=label_map_bytes(labels),
            condition_id=f"{host.case_id}-{donor.case_id}-{index}",
            parents=(host, donor),
            parameters=(Step("copy_paste", {"margin_mm": margin_mm, "donor": donor.case_id}),),
            seed=seed,
        )

    def blended(
        self,
        host: tuple[Volume, Volume],
        donor: tuple[Volume, Volume],
        *,
        scheme: LabelScheme,
        margin_mm: float,
    ) -> tuple[Volume, Volume]:
        """Return image and label map of a host with a donor's structures.

        Args:
            host: Image and label map.
            donor: Image and label map on a grid of the same shape.
            scheme: Of the label maps.
            margin_mm: How far around the structures the region reaches; negative shrinks it.

        Raises:
            DataError: The grids differ, or the donor or host has none of the structures.
        """
        values = scheme.only(self.structures or scheme.names).values
        own = np.isin(host[1].array, values)
        if host[1].shape != donor[1].shape:
            raise DataError(f"pasting: grids {host[1].shape} and {donor[1].shape} differ in shape.")
        brought = np.isin(donor[1].array, values)
        if not brought.any() or (self.replace and not own.any()):
            raise DataError(
                "pasting: host or donor has none of the structures. Leave the case out."
            )
        from scipy import ndimage

        shift = _centre(own) - _centre(brought) if self.replace else np.zeros(3)
        image, labels, brought = (
            ndimage.shift(array, np.rint(shift), order=0, mode="nearest")
            for array in (donor[0].array, donor[1].array, brought)
        )
        spacing_mm = host[1].spacing_mm
        away_mm = signed_distance_mm(brought | own if self.replace else brought, spacing_mm)
        weight = _seam(away_mm - margin_mm, self.blend_mm)
        mixed = weight * image + (1.0 - weight) * host[0].array
        inside = away_mm <= margin_mm
        pasted = np.where(brought & inside, labels, host[1].array)
        pasted = np.where(inside & own & ~brought & self.replace, 0, pasted)
        affine = host[1].affine
        return Volume(mixed.astype(np.float32), affine), Volume(pasted.astype(np.uint16), affine)


def _read(case: Case) -> tuple[Volume, Volume]:
    """Return image and label map of a case."""
    image = read_image(case.image, case_id=case.case_id)
    return image, read_label_map(case.files[LABEL], case_id=case.case_id)


def _centre(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the centre of mass of a mask, voxels [3]."""
    centre: NDArray[np.float64] = np.argwhere(mask).mean(axis=0)
    return centre


def _seam(away_mm: NDArray[np.float64], width_mm: float) -> NDArray[np.float64]:
    """Return the donor's weight: 1 inside, 0 outside, half way at the edge."""
    weight: NDArray[np.float64] = np.clip(0.5 - away_mm / width_mm, 0.0, 1.0)
    return weight
