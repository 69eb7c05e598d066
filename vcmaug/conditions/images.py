"""Images of a condition's source, moved as its label map was, by the steps that it records."""

from collections.abc import Sequence

from vcmaug.conditions.base import Condition, Step
from vcmaug.conditions.builder import Builder, Moves
from vcmaug.data.nifti import read_image
from vcmaug.data.volume import Volume, same_grid
from vcmaug.errors import DataError

__all__ = ["aligned_image", "followed", "moves_of"]

_BEYOND = 1e-3  # of [0, 1], by rounding


def moves_of(steps: Sequence[Step]) -> list[Moves]:
    """Return what each step did to outlines."""
    return [Builder.named(step.builder).moves(step.parameters) for step in steps]


def followed(volume: Volume, steps: Sequence[Step], *, classes: bool = False) -> Volume:
    """Return a volume of a source after the steps of a condition, on the same grid.

    Args:
        volume: Of the source.
        steps: Of the condition.
        classes: Its values are numbers of classes, which are not interpolated.
    """
    for step in steps:
        volume = Builder.named(step.builder).follow(volume, step.parameters, classes=classes)
    return volume


def aligned_image(condition: Condition, name: str) -> Volume:
    """Return an image of the source as the condition's steps have moved it, float32.

    Raises:
        DataError: The image is not there, not on the map's grid, not between 0 and 1, or a step
            moved outlines in a way that no image can follow.
    """
    _refuse_left_behind(condition, name)
    return followed(_checked_image(condition, name), condition.steps)


def _refuse_left_behind(condition: Condition, name: str) -> None:
    """Refuse an image that a step's outlines have left behind, or that is not there."""
    if name not in condition.source.images:
        raise DataError(f"case {condition.source.case_id}: it has no image {name!r}.")
    for step, moves in zip(condition.steps, moves_of(condition.steps), strict=True):
        if moves == "no image follows":
            raise DataError(
                f"condition {condition.condition_id}: its image {name!r} cannot follow what "
                f"{step.builder} did to the outlines. Use perturb without resize before a builder "
                "of images."
            )


def _checked_image(condition: Condition, name: str) -> Volume:
    """Return an image of the source, refused where its grid or its values are wrong."""
    source = condition.source
    stored = source.images[name]
    where = f"case {source.case_id}, {name if isinstance(stored, Volume) else stored}"
    image = stored if isinstance(stored, Volume) else read_image(stored, case_id=source.case_id)
    if not same_grid(image, source.label_map):
        raise DataError(f"{where}: its grid is not that of the label map.")
    low, high = float(image.array.min()), float(image.array.max())
    if low < -_BEYOND or high > 1 + _BEYOND:
        raise DataError(
            f"{where}: its values lie between {low:g} and {high:g}, expected "
            "0 to 1. Build conditions from prepared cases (vcmaug prepare)."
        )
    return image
