"""Acceptance: what a drawn image must be to be kept; else its request is drawn again.

A user's comparisons are held against the figures of each image. What an image alone does not tell
comes from a measure that the plan names and the worker loads, so this room knows no segmenter.

Notes:
    An image that holds NaN, is the same everywhere or lies mostly outside [0, 1] is never accepted.
    The measure must not have seen more labels than the control.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from vcmaug.config import Settings
from vcmaug.doors import behind
from vcmaug.errors import CohortError
from vcmaug.files import sha256_of_file

__all__ = [
    "IMAGE_FIGURES",
    "Acceptance",
    "Measure",
    "MeasureSource",
    "figures_of",
    "load_measure",
    "unknown_figures",
    "verdict",
]

Measure = Callable[[NDArray[np.float32], NDArray[np.uint16]], Sequence[Mapping[str, float]]]
"""Images [B, X, Y, Z] and their label maps -> figures by name, per image."""

IMAGE_FIGURES = ("image.min", "image.max", "image.clipped")
"""What an image alone tells; see `figures_of`."""

_MOST_CLIPPED = 0.5
_TOLERANCE = 0.05
_RELATIONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_CLAUSE = re.compile(r"\s*([A-Za-z][\w.-]*)\s*(>=|<=|>|<)\s*(-?[0-9.]+(?:[eE]-?\d+)?)\s*")


class Acceptance(Settings):
    """What a drawn image must be; all of it decides about a cohort's bytes."""

    accept: str = Field(
        "", description="such as 'adherence.dice >= 0.8 and image.clipped < 0.01'; empty: any image"
    )
    max_tries: int = Field(3, ge=1, description="draws of one request, each with its own noise")
    keep_rejects: bool = Field(False, description="keep the images that were not accepted, too")

    @field_validator("accept")
    @classmethod
    def _is_readable(cls, value: str) -> str:
        """Refuse what is no list of comparisons."""
        clauses_of(value)
        return value

    @property
    def num_tries(self) -> int:
        """Draws of one request at most."""
        return self.max_tries if self.accept else 1

    @property
    def measured(self) -> bool:
        """Whether figures are asked for that an image alone does not tell."""
        return any(not name.startswith("image.") for name, _, _ in clauses_of(self.accept))


class MeasureSource(Settings):
    """Where workers find the measure."""

    loader: str = Field(pattern=r"^[\w.]+:\w+$", description="module:function, folder -> measure")
    folder: str
    sha256: str = Field(description="of the folder's card.json")
    figures: tuple[str, ...] = Field((), description="what it measures; none: known as it measures")


def clauses_of(accept: str) -> list[tuple[str, str, float]]:
    """Return (figure, relation, bound) of each comparison; all of them must hold.

    Raises:
        ValueError: It is no list of comparisons joined by `and`.

    Examples:
        >>> clauses_of("adherence.dice >= 0.8 and image.clipped < 0.01")
        [('adherence.dice', '>=', 0.8), ('image.clipped', '<', 0.01)]
    """
    clauses = []
    for text in accept.split(" and ") if accept.strip() else []:
        match = _CLAUSE.fullmatch(text)
        if match is None:
            raise ValueError(
                f"{text.strip()!r} is not a comparison such as 'adherence.dice >= 0.8'; several "
                "are joined by 'and'"
            )
        clauses.append((match[1], match[2], float(match[3])))
    return clauses


def unknown_figures(accept: str, source: MeasureSource | None) -> list[str]:
    """Return the figures in comparisons that nobody will measure, as far as is known beforehand."""
    names = {name for name, _, _ in clauses_of(accept)}
    known = {*IMAGE_FIGURES, *(source.figures if source else ())}
    if source is not None and not source.figures:
        return sorted(name for name in names - known if name.startswith("image."))
    return sorted(names - known)


def load_measure(source: MeasureSource) -> Measure:
    """Return the measure of a plan.

    Raises:
        CohortError: It is no longer that of the plan.
    """
    card = Path(source.folder) / "card.json"
    if not card.exists() or sha256_of_file(card) != source.sha256:
        raise CohortError(
            f"loading the measure of acceptance: {card} is not the one that the plan was made "
            "with. Restore it, or move the cohort's folder away and draw it again."
        )
    measure: Measure = behind(source.loader)(Path(source.folder))
    return measure


def figures_of(image: NDArray[np.float32]) -> dict[str, float]:
    """Return what an image alone tells: smallest and largest value, and the share outside [0, 1].

    A twentieth beyond counts as inside; files are clipped to [0, 1].
    """
    outside = (image < -_TOLERANCE) | (image > 1.0 + _TOLERANCE)
    found = image.min(), image.max(), outside.mean()
    return {name: round(float(value), 6) for name, value in zip(IMAGE_FIGURES, found, strict=True)}


def broken(image: NDArray[np.float32]) -> str:
    """Return why an image cannot be used by anybody, or nothing."""
    if not np.isfinite(image).all():
        return "the image holds NaN or infinity"
    if image.min() == image.max():
        return "the image is the same everywhere"
    clipped = figures_of(image)["image.clipped"]
    return f"{clipped:.0%} of the image lies outside [0, 1]" if clipped > _MOST_CLIPPED else ""


def verdict(figures: Mapping[str, float], accept: str) -> str:
    """Return which comparison does not hold, or nothing.

    Raises:
        CohortError: A figure is not measured.
    """
    for name, relation, bound in clauses_of(accept):
        if name not in figures:
            raise CohortError(
                f"accepting images with {accept!r}: {name!r} is not measured. Measured are "
                f"{', '.join(sorted(figures))}."
            )
        if not _RELATIONS[relation](figures[name], bound):
            return f"{name} is {figures[name]:.4g}, not {relation} {bound:g}"
    return ""
