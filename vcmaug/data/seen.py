"""What a trained model has seen: whose images, labels and pseudo-labels, and who taught it.

Priors, controls and cohorts carry one; the refusal of leaks asks it.
"""

from pydantic import Field, ValidationInfo, field_validator

from vcmaug.config import Settings

__all__ = ["Seen"]


class Seen(Settings):
    """Subjects by what was seen of them, each in sorted order.

    Attributes:
        images: Whose images.
        label_scalars: Whose scalars were measured on label maps, for a prior that reads such
            scalars.
        labels: Whose label maps, true ones; those of `label_scalars` count among them.
        pseudo_labels: Whose label maps, made by a segmenter.
        teachers: Whose label maps that segmenter had seen.
        before: What a model had seen from which this one started.
        note: Who it was, where subjects are not known by name.
    """

    images: tuple[str, ...] = ()
    label_scalars: tuple[str, ...] = ()
    labels: tuple[str, ...] = Field((), validate_default=True)
    pseudo_labels: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()
    before: "Seen | None" = None
    note: str = ""

    @field_validator("labels")
    @classmethod
    def _scalars_are_labels(cls, labels: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """Count those on whose label maps scalars were measured."""
        return tuple(sorted({*labels, *info.data.get("label_scalars", ())}))

    @property
    def subjects(self) -> tuple[str, ...]:
        """Everybody of whom anything was seen, here or before.

        Examples:
            >>> Seen(images=("a",), before=Seen(images=("b",), labels=("c",))).subjects
            ('a', 'b', 'c')
        """
        own = {*self.images, *self.labels, *self.pseudo_labels}
        return tuple(sorted({*own, *(self.before.subjects if self.before else ())}))

    @property
    def whose_images(self) -> tuple[str, ...]:
        """Whose images a model has seen, those of everybody before it started included.

        Examples:
            >>> Seen(images=("a",), labels=("b",), before=Seen(labels=("c",))).whose_images
            ('a', 'c')
        """
        return tuple(sorted({*self.images, *(self.before.subjects if self.before else ())}))
