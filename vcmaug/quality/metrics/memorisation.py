"""`memorisation`: are drawn images nearer to training images than to images no model has seen."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from vcmaug.quality.features import describe
from vcmaug.quality.measured import Measured
from vcmaug.quality.memorisation import memorisation_rows
from vcmaug.quality.metrics.base import Metric, Need, Row
from vcmaug.seeding import numpy_generator

__all__ = ["Memorisation"]

_CUTS = 100


class Memorisation(Metric):
    """Share of images whose nearest real image is a training image; one half if none is copied."""

    name: Literal["memorisation"] = "memorisation"

    figure: ClassVar[str] = "share_nearer_to_train"
    title: ClassVar[str] = "Memorisation"
    better: ClassVar[Literal["higher", "lower", "near 0.5"]] = "near 0.5"
    high: ClassVar[float | None] = 1
    needs: ClassVar[frozenset[Need]] = frozenset({Need.TRAINING, Need.HOLD_OUT})
    blind_spot: ClassVar[str] = "It sees copies only as far as simple descriptors do."
    section: ClassVar[str] = "memorisation"
    columns: ClassVar[Mapping[str, str]] = {
        "row": "images",
        "num": "asked",
        "num_each": "training and hold-out, each",
        "share_nearer_to_train": "share nearer to training",
    }

    def rows(self, ground: Measured) -> Sequence[Row]:
        """Return the share of drawn images, and that of real images no model has seen."""
        return memorisation_rows(
            describe(ground.drawn.images),
            train=describe(ground.train_images),
            hold_out=describe(ground.held_out.images),
            num_draws=_CUTS,
            generator=numpy_generator("quality", "memorisation"),
        )

    @classmethod
    def caption(cls, evaluations: Sequence[Mapping[str, Any]]) -> str:
        """Return the caption."""
        del evaluations
        return (
            "Memorisation: share of images whose nearest real image, by simple descriptors, is one "
            "that prior or control was trained on (0 to 1; one half if nothing was memorised). The "
            "row of held-out real images is the floor."
        )
