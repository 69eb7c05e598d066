"""Are synthetic images nearer to what the models were trained on than to images they never saw.

Both real sets are cut to one size, since a larger set is nearer by chance alone; the share is a
mean over random cuts. It sees copies as far as the descriptors do. Conditions are deformed training
anatomy, so a share somewhat above one half is no proof of copied images.

References:
    The overfitting rule of SDMetrics' tabular reports, on descriptors of volumes; Dar et al., 2023,
    arXiv 2307.01148 (latent diffusion models of volumes do memorise).
"""

import numpy as np
from numpy.typing import NDArray

from vcmaug.quality.distances import standardised

__all__ = ["memorisation_rows", "share_nearer_to_train"]

Rows = NDArray[np.float64]  # [N, D]


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
) -> list[dict[str, float | int | str]]:
    """Return the share of synthetic rows, and beside it that of real rows no model has seen.

    For the second, one half of the hold-out asks and the other half answers.
    """
    both = np.concatenate([train, hold_out])
    _, synthetic, train, hold_out = standardised(both, synthetic, train, hold_out)
    order = generator.permutation(len(hold_out))
    asking, answering = hold_out[order[::2]], hold_out[order[1::2]]
    rows: list[dict[str, float | int | str]] = []
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
