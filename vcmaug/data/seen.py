"""Whose data a model, a set of conditions or a cohort has seen, as its card carries it on.

The refusal of leaks rests on these records alone, so every card of the house holds the same one.
"""

from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator

from vcmaug.config import Settings

__all__ = ["Seen"]


def _sorted(subjects: tuple[str, ...]) -> tuple[str, ...]:
    """Return subjects in order, each once."""
    return tuple(sorted(set(subjects)))


Subjects = Annotated[tuple[str, ...], AfterValidator(_sorted)]


class Seen(Settings):
    """Whose data something has seen; ids of subjects, sorted, each once.

    Attributes:
        images: Whose images, with or without labels.
        labels: Whose own label maps.
        pseudo_labels: Whose images with label maps that a network gave them.
        teachers: Whose label maps that network was trained on.
    """

    images: Subjects = ()
    labels: Subjects = ()
    pseudo_labels: Subjects = ()
    teachers: Subjects = ()

    @property
    def subjects(self) -> frozenset[str]:
        """Everybody of whom an image or a label map was seen."""
        return frozenset({*self.images, *self.labels, *self.pseudo_labels})

    @classmethod
    def by_labels(
        cls, subjects: Iterable[str], *, pseudo: Iterable[str] = (), teachers: Iterable[str] = ()
    ) -> "Seen":
        """Return what has seen the label maps of some subjects and no image.

        Args:
            subjects: All of them.
            pseudo: Those who have pseudo-labels alone.
            teachers: Whose label maps the network behind these was trained on.
        """
        everybody, guessed = set(subjects), set(pseudo)
        return cls(
            labels=tuple(everybody - guessed),
            pseudo_labels=tuple(everybody & guessed),
            teachers=tuple(teachers) if everybody & guessed else (),
        )
