"""Images of a condition's source, moved as its label map was.

What it is: the reader of a source's images for those builders that pass one on.
In the flow: used by `modalities` and `lowres`.
Sources: none.
"""

from vcmaug.conditions.base import Condition
from vcmaug.conditions.perturb import displacement_of, mirrored_if
from vcmaug.data.deformation import warp_image
from vcmaug.data.nifti import read_image
from vcmaug.data.volume import Volume, same_grid
from vcmaug.errors import DataError

__all__ = ["aligned_image", "moves_outlines"]

_BEYOND = 1e-3  # of [0, 1], by rounding


def moves_outlines(condition: Condition) -> str:
    """Return the step by which outlines left the source's image for good; "" where none did."""
    for step in condition.steps:
        if step.builder == "shape_model" or step.parameters.get("resize"):
            return step.builder
    return ""


def aligned_image(condition: Condition, name: str) -> Volume:
    """Return an image of the source as the condition's steps have moved it, float32.

    Raises:
        DataError: The image is not there, not on the map's grid, not between 0 and 1, or a step
            moved outlines in a way that no image can follow.
    """
    source = condition.source
    found = source.images.get(name)
    if found is None:
        raise DataError(f"case {source.case_id}: it has no image {name!r}.")
    culprit = moves_outlines(condition)
    if culprit:
        raise DataError(
            f"condition {condition.condition_id}: its image {name!r} cannot follow what {culprit} "
            "did to the outlines. Use perturb without resize before a builder of images."
        )
    where = f"case {source.case_id}, {name if isinstance(found, Volume) else found}"
    image = found if isinstance(found, Volume) else read_image(found, case_id=source.case_id)
    if not same_grid(image, source.label_map):
        raise DataError(f"{where}: its grid is not that of the label map.")
    low, high = float(image.array.min()), float(image.array.max())
    if low < -_BEYOND or high > 1 + _BEYOND:
        raise DataError(
            f"{where}: its values lie between {low:g} and {high:g}, expected "
            "0 to 1. Build conditions from prepared cases (vcmaug prepare)."
        )
    for step in condition.steps:
        if step.builder == "perturb":
            displacement = displacement_of(step.parameters, image)
            image = Volume(
                warp_image(mirrored_if(image, step.parameters), displacement), image.affine
            )
    return image
