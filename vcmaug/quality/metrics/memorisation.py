"""`memorisation`: are drawn images nearer to training images than to images no model has seen.

Both real sets are cut to one size, since a larger set is nearer by chance alone; the share is a
mean over random cuts. It sees copies as far as the descriptors do. Conditions are deformed training
anatomy, so a share somewhat above one half is no proof of copied images.

References:
    The overfitting rule of SDMetrics' tabular reports, on descriptors of volumes; Dar et al., 2023,
    arXiv 2307.01148 (latent diffusion models of volumes do memorise).
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np

from vcmaug.quality.features import Rows, describe, standardised
from vcmaug.quality.measured import Measured
from vcmaug.quality.metrics.base import Better, Metric, Need, Row
from vcmaug.seeding import numpy_generator

__all__ = ["Memorisation", "memorisation_rows", "share_nearer_to_train"]

_CUTS = 100


class Memorisation(Metric):
    """Share of images whose nearest real image is a training image; one half if none is copied."""

    name: Literal["memorisation"] = "memorisation"

    figure: ClassVar[str] = "share_nearer_to_train"
    title: ClassVar[str] = "Memorisation"
    better: ClassVar[Better] = "near 0.5"
    high: ClassVar[float | None] = 1
    needs: ClassVar[frozenset[Need]] = frozenset({Need.TRAINING, Need.HOLD_OUT})
    blind_spot: ClassVar[str] = "It sees copies only as far as simple descriptors do."
    section: ClassVar[str] = "memorisation"
    heading: ClassVar[str] = (
        "Memorisation: share of images whose nearest real image, by simple descriptors, is one "
        "that prior or control was trained on (0 to 1; one half if nothing was memorised). The "
        "row of held-out real images is the floor."
    )
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


def share_nearer_to_train(
    rows: Rows, *, train: Rows, hold_out: Rows, num_draws: int, generator: np.random.Generator
) -> float:
    """Return the share of rows whose nearest real row is a training row; ties count one half.

    Args:
        rows: Descriptors [N, D] in question.
        train: Of training images, [N1, D].
        hold_out: Of images that no model has seen, [N2, D].
        num_draws: Random cuts of both real sets to the smaller one's size.
        generator: Of the cuts.

    Raises:
        ValueError: A set is empty.
    """
    from scipy.spatial.distance import cdist

    if min(len(rows), len(train), len(hold_out)) < 1:
        raise ValueError("memorisation needs rows, training rows and hold-out rows")
    size = min(len(train), len(hold_out))
    to_train, to_hold_out = cdist(rows, train), cdist(rows, hold_out)
    shares = []
    for _ in range(num_draws):
        near = to_train[:, generator.permutation(len(train))[:size]].min(axis=1)
        far = to_hold_out[:, generator.permutation(len(hold_out))[:size]].min(axis=1)
        shares.append(np.mean((near < far) + 0.5 * (near == far)))
    return float(np.mean(shares))


def memorisation_rows(
    synthetic: Rows, *, train: Rows, hold_out: Rows, num_draws: int, generator: np.random.Generator
) -> list[Row]:
    """Return the share of synthetic rows, and beside it that of real rows no model has seen.

    For the second, one half of the hold-out asks and the other half answers.
    """
    both = np.concatenate([train, hold_out])
    _, synthetic, train, hold_out = standardised(both, synthetic, train, hold_out)
    order = generator.permutation(len(hold_out))
    asking, answering = hold_out[order[::2]], hold_out[order[1::2]]
    rows: list[Row] = []
    for name, asked, others in (
        ("real hold-out", asking, answering),
        ("synthetic", synthetic, hold_out),
    ):
        share = share_nearer_to_train(
            asked, train=train, hold_out=others, num_draws=num_draws, generator=generator
        )
        size = min(len(train), len(others))
        rows.append(
            {"row": name, "num": len(asked), "num_each": size, "share_nearer_to_train": share}
        )
    return rows
