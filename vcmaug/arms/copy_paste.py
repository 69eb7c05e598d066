"""`real+copy-paste`: structures of one labelled case blended into another; no generator at all.

The donor is moved by whole voxels so that its structures lie where the host's do. With `replace`
(organs: every body has one) the host's own structures are covered as well; without it (lesions)
they stay.

References:
    The idea of Zhang et al., "CarveMix", 2021, MICCAI: a region of interest grown or shrunk by a
    drawn distance; written from the mathematics.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from vcmaug.arms.base import Arm, Need, Sources
from vcmaug.arms.rows import seen_by_labels, write_row
from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.plain import write_plain_cohort
from vcmaug.cohort.row import ManifestRow
from vcmaug.data.case import LABEL
from vcmaug.data.cases import Case
from vcmaug.data.distance import signed_distance_mm
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import label_map_bytes, read_image, read_label_map
from vcmaug.data.steps import Step
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.files import locked
from vcmaug.progress import Progress, Report, silent
from vcmaug.seeding import numpy_generator, stable_seed

__all__ = ["CopyPaste", "blended", "copy_paste_cohort"]


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
        """Write as many pasted cases as the recipe draws."""
        copy_paste_cohort(
            sources.cases,
            settings=self,
            scheme=sources.scheme,
            n=sources.n,
            seed=sources.seed,
            out=out,
            report=report,
        )


def copy_paste_cohort(
    cases: Sequence[Case],
    *,
    settings: CopyPaste,
    scheme: LabelScheme,
    n: int,
    seed: int,
    out: Path,
    report: Report = silent,
) -> pd.DataFrame:
    """Write a cohort of pasted cases and return its manifest.

    Args:
        cases: Labelled cases; hosts in turn, donors drawn among the others.
        settings: What is pasted and how.
        scheme: Of the label maps.
        n: How many.
        seed: With the index it decides everything about a case.
        out: The cohort's folder.
        report: Told after every case.

    Raises:
        DataError: There are fewer than two subjects, or a donor lacks the structures.
    """
    if len({case.subject_id for case in cases}) < 2:
        raise DataError(
            f"pasting {n} cases: found {len(cases)} labelled cases of one subject, expected two "
            "subjects or more."
        )
    layout = CohortLayout(out)
    with locked(out, purpose="pasting"):
        rows = []
        for index in range(n):
            rows.append(_pasted(index, cases, settings, scheme, layout=layout, seed=seed))
            report(Progress("pasting", index + 1, n))
        return write_plain_cohort(layout, rows, scheme=scheme, seen=seen_by_labels(cases))


def _pasted(
    index: int,
    cases: Sequence[Case],
    settings: CopyPaste,
    scheme: LabelScheme,
    *,
    layout: CohortLayout,
    seed: int,
) -> ManifestRow:
    """Write one pasted case and return its row."""
    began = time.perf_counter()
    own_seed = stable_seed(seed, "copy and paste", index)
    generator = numpy_generator(own_seed)
    host = cases[index % len(cases)]
    donors = [case for case in cases if case.subject_id != host.subject_id]
    donor = donors[int(generator.integers(len(donors)))]
    margin_mm = round(float(generator.uniform(*settings.margin_mm)), 3)
    image, labels = blended(
        _read(host), _read(donor), settings=settings, scheme=scheme, margin_mm=margin_mm
    )
    return write_row(
        layout,
        index,
        method="copy_paste",
        image=image,
        label_file=label_map_bytes(labels),
        condition_id=f"{host.case_id}-{donor.case_id}-{index}",
        parents=(host, donor),
        parameters=(Step("copy_paste", {"margin_mm": margin_mm, "donor": donor.case_id}),),
        seed=own_seed,
        seconds=time.perf_counter() - began,
    )


def _read(case: Case) -> tuple[Volume, Volume]:
    """Return image and label map of a case."""
    image = read_image(case.image, case_id=case.case_id)
    return image, read_label_map(case.files[LABEL], case_id=case.case_id)


def blended(
    host: tuple[Volume, Volume],
    donor: tuple[Volume, Volume],
    *,
    settings: CopyPaste,
    scheme: LabelScheme,
    margin_mm: float,
) -> tuple[Volume, Volume]:
    """Return image and label map of a host with a donor's structures.

    Args:
        host: Image and label map.
        donor: Image and label map on a grid of the same shape.
        settings: What is pasted and how softly.
        scheme: Of the label maps.
        margin_mm: How far around the structures the region reaches; negative shrinks it.

    Raises:
        DataError: The grids differ, or the donor or host has none of the structures.
    """
    values = scheme.only(settings.structures or scheme.names).values
    own = np.isin(host[1].array, values)
    if host[1].shape != donor[1].shape:
        raise DataError(f"pasting: grids {host[1].shape} and {donor[1].shape} differ in shape.")
    brought = np.isin(donor[1].array, values)
    if not brought.any() or (settings.replace and not own.any()):
        raise DataError("pasting: host or donor has none of the structures. Leave the case out.")
    from scipy import ndimage

    shift = _centre(own) - _centre(brought) if settings.replace else np.zeros(3)
    image, labels, brought = (
        ndimage.shift(array, np.rint(shift), order=0, mode="nearest")
        for array in (donor[0].array, donor[1].array, brought)
    )
    spacing_mm = host[1].spacing_mm
    away_mm = signed_distance_mm(brought | own if settings.replace else brought, spacing_mm)
    weight = _seam(away_mm - margin_mm, settings.blend_mm)
    mixed = weight * image + (1.0 - weight) * host[0].array
    inside = away_mm <= margin_mm
    pasted = np.where(brought & inside, labels, host[1].array)
    pasted = np.where(inside & own & ~brought & settings.replace, 0, pasted)
    affine = host[1].affine
    return Volume(mixed.astype(np.float32), affine), Volume(pasted.astype(np.uint16), affine)


def _centre(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the centre of mass of a mask, voxels [3]."""
    centre: NDArray[np.float64] = np.argwhere(mask).mean(axis=0)
    return centre


def _seam(away_mm: NDArray[np.float64], width_mm: float) -> NDArray[np.float64]:
    """Return the donor's weight: 1 inside, 0 outside, half way at the edge."""
    weight: NDArray[np.float64] = np.clip(0.5 - away_mm / width_mm, 0.0, 1.0)
    return weight
