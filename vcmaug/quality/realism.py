"""Realism: can a small network tell made images from real ones?

The figure is the area under the ROC curve over images that it was not trained on: 0.5 is a coin,
1.0 never errs. It depends on the network, its training and the number of images: only figures of
one run can be held against each other.

References:
    Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", 2017, arXiv 1610.06545; the area
    by ranks, Mann and Whitney, 1947.
"""

from dataclasses import dataclass

import numpy as np
import torch
from monai.networks.nets import Classifier
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu
from torch import Tensor, nn
from torch.nn import functional

from vcmaug.compute.devices import threads_of
from vcmaug.progress import Report, silent
from vcmaug.quality.settings import RealismSettings
from vcmaug.seeding import numpy_generator, stable_seed, torch_generator
from vcmaug.training.learner import constant, learn, seeded

__all__ = ["RealismSettings", "Told", "tell_apart"]

_FEWEST = 4


@dataclass(frozen=True)
class Told:
    """How well a classifier tells real and synthetic images apart."""

    auc: float
    num_real: int
    num_made: int


def tell_apart(
    real: NDArray[np.float32],
    made: NDArray[np.float32],
    *,
    settings: RealismSettings,
    seed: int,
    what: str = "telling apart",
    report: Report = silent,
) -> Told:
    """Return how well a classifier tells made images from real ones, by cross-validation.

    Args:
        real: [N, X, Y, Z] in [0, 1].
        made: [M, X, Y, Z], likewise.
        settings: The classifier.
        seed: Of folds, initial weights and batches.
        what: Name for progress.
        report: Told after every update.

    Raises:
        ValueError: There are fewer than four images of a kind.
    """
    if min(len(real), len(made)) < _FEWEST:
        raise ValueError(f"telling apart {len(real)} real and {len(made)} made images needs 4 each")
    images = torch.from_numpy(np.concatenate([real, made]))[:, None].float()  # [N + M, 1, X, Y, Z]
    is_made = torch.cat([torch.zeros(len(real)), torch.ones(len(made))])
    folds = _folds(len(real), len(made), settings.folds, seed=seed)
    scores = torch.empty(len(images))
    for fold in range(settings.folds):
        inside = folds != fold
        with threads_of(settings.threads):
            network = _train(
                images[inside],
                is_made[inside],
                settings=settings,
                seed=stable_seed(seed, "fold", fold),
                what=f"{what}, fold {fold + 1} of {settings.folds}",
                report=report,
            )
            with torch.no_grad():
                left = [network(part)[:, 0] for part in images[~inside].split(settings.batch_size)]
        scores[~inside] = torch.cat(left)
    ranks = mannwhitneyu(scores[is_made == 1].numpy(), scores[is_made == 0].numpy())
    auc = float(ranks.statistic) / (len(real) * len(made))
    return Told(auc=auc, num_real=len(real), num_made=len(made))


def _folds(num_real: int, num_made: int, folds: int, *, seed: int) -> Tensor:
    """Return the fold of each image; both kinds are spread evenly."""
    generator = numpy_generator(seed, "folds")
    parts = [generator.permutation(np.arange(num) % folds) for num in (num_real, num_made)]
    return torch.from_numpy(np.concatenate(parts))


def _train(
    images: Tensor,
    is_made: Tensor,
    *,
    settings: RealismSettings,
    seed: int,
    what: str,
    report: Report,
) -> nn.Module:
    """Return a classifier trained on half and half of each kind per batch."""
    network: nn.Module = seeded(
        lambda: Classifier(
            in_shape=tuple(images.shape[1:]),
            classes=1,
            channels=settings.channels,
            strides=(2,) * len(settings.channels),
            num_res_units=0,
        ),
        seed=seed,
    )
    kinds = [torch.nonzero(is_made == kind)[:, 0] for kind in (0, 1)]

    def loss_at(step: int) -> Tensor:
        generator = torch_generator(seed, "batch", step)
        places = [
            kind[torch.randint(len(kind), (settings.batch_size // 2,), generator=generator)]
            for kind in kinds
        ]
        chosen = torch.cat(places)
        return functional.binary_cross_entropy_with_logits(
            network(images[chosen])[:, 0], is_made[chosen]
        )

    learn(
        network,
        loss_at,
        updates=settings.updates,
        rate=constant(settings.learning_rate),
        smoothing=1.0,
        what=what,
        report=report,
    )
    return network
