"""`real+painted`: deformed real images in which what grew is painted as dark as the head's fluid.

A flow carries grey values along, so a ventricle that was grown is as grey inside as a small one,
whose voxels share tissue. Large ones are darker; here each is drawn between both.
"""

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy import ndimage

from vcmaug.arms.base import Arm, Need, Sources
from vcmaug.arms.rows import MadeCase, parents_of, write_cases
from vcmaug.conditions.builder import Range, grown_values, images_followed
from vcmaug.conditions.table import ConditionRow, read_conditions
from vcmaug.conditions.workshop import map_bytes, workshop_in
from vcmaug.data.nifti import label_map_in
from vcmaug.data.volume import Volume
from vcmaug.errors import CohortError
from vcmaug.progress import Report, silent
from vcmaug.seeding import numpy_generator, stable_seed

__all__ = ["Painted"]

_EDGE_VOXELS = 0.7  # sigma of the paint at the outline, whose voxels share tissue


class Painted(Arm):
    """Real labelled cases mixed with deformed ones, the interior of what grew painted."""

    name: Literal["real+painted"] = "real+painted"
    share: Range = Field(
        (0.0, 1.0), description="of the way from its own grey to the darkest, drawn for each case"
    )
    darkest: float = Field(
        0.015, gt=0, lt=1, description="share of the labelled voxels that are the head's darkest"
    )

    colour: ClassVar[str] = "#999933"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.CONDITIONS})
    folder: ClassVar[str | None] = "painted"

    def make(self, sources: Sources, *, out: Path, report: Report = silent) -> None:
        """Write a case per condition with a grown structure, at most as many as are drawn.

        Raises:
            CohortError: Nothing grew in any condition, or the source of one is not among the cases.
        """
        table = read_conditions(sources.conditions)
        asked = [row for row in table if images_followed(row.steps) and grown_values(row.steps)]
        if not asked:
            raise CohortError(
                f"painting images for {sources.conditions}: in none of its {len(table)} conditions "
                "did a structure grow with its image. Build some with grow, or leave the arm out."
            )
        write_cases(
            lambda index: self._painted(index, asked[index], sources),
            sources,
            n=min(sources.n, len(asked)),
            doing="painting what grew",
            out=out,
            report=report,
            conditions=sources.conditions,
        )

    def _painted(self, index: int, asked: ConditionRow, sources: Sources) -> MadeCase:
        """Return a condition with its source's image, moved and painted."""
        parents = parents_of(asked, sources.cases)[:1]
        label_file = map_bytes(sources.conditions, asked)
        seed = stable_seed(sources.seed, "painting what grew", index)
        share = float(numpy_generator(seed, "share").uniform(*self.share))
        moved = workshop_in(sources.conditions).follow(asked)
        return MadeCase(
            method="paint",
            image=self.image_of(
                moved, label_map_in(label_file), values=grown_values(asked.steps), share=share
            ),
            label_file=label_file,
            condition_id=asked.condition_id,
            parents=parents,
            parameters=asked.steps,
            role=asked.role,
            seed=seed,
        )

    def image_of(
        self, image: Volume, label_map: Volume, *, values: frozenset[int], share: float
    ) -> Volume:
        """Return an image with the interior of structures nearer to the head's darkest grey.

        Their noise stays: every voxel is moved by as much, less at the outline.

        Args:
            image: Values in [0, 1].
            label_map: On its grid.
            values: Of the structures in the label map.
            share: Of the way.
        """
        array, labels = image.array, label_map.array
        inside = np.isin(labels, sorted(values))
        if not inside.any():
            return image
        dark = float(np.quantile(array[labels > 0], self.darkest))
        down = max(0.0, float(np.median(array[inside])) - dark)
        paint = ndimage.gaussian_filter(inside.astype(np.float32), _EDGE_VOXELS) * inside
        painted = np.clip(array - share * down * paint, 0.0, 1.0).astype(np.float32)
        return Volume(painted, image.affine)
