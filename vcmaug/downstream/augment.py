"""Augmentation of the study: TorchIO transforms, the same in every arm, from a cached bank.

What it is: one augmented version of a case, drawn from (seed, case, version) and nothing else.
In the flow: between cases and batches.
Sources: Perez-Garcia et al. 2021, arXiv 2003.04696 (TorchIO).

Notes:
    TorchIO draws from torch's global generator; here it is seeded inside a fork, so that a version
    depends on (seed, case, version) alone and nothing outside is disturbed. A bank and not a
    stream: TorchIO's elastic transform alone costs about as much as an update of a small network.
"""

from collections.abc import Sequence

import torch
import torchio as tio
from pydantic import Field
from torch import Tensor

from vcmaug.config import Settings
from vcmaug.data.mirror import Mirror
from vcmaug.seeding import stable_seed

__all__ = ["AugmentSettings", "augmented"]


_CONTROL_POINTS, _SPLINE_ORDER = 6, 3
"""Of the elastic field; displacements below half a knot's distance cannot fold."""


class AugmentSettings(Settings):
    """How many versions of each case are kept, how fast they are renewed, how strong they are."""

    versions: int = Field(6, ge=1, description="of each real case, kept in memory at a time")
    fresh: float = Field(
        0.1, ge=0, le=1, description="new versions per sample drawn; each is seen 1/fresh times"
    )
    scale: float = Field(0.12, ge=0, description="largest relative change of size")
    degrees: float = Field(12.0, ge=0)
    translation_mm: float = Field(3.0, ge=0)
    elastic_probability: float = Field(0.3, ge=0, le=1)
    elastic_mm: float = Field(4.0, ge=0)
    log_gamma: float = Field(0.3, ge=0)
    noise: float = Field(0.05, ge=0)
    bias: float = Field(0.3, ge=0)
    flip: bool = Field(False, description="mirror left to right; pairs of structures change places")


def _transform(
    settings: AugmentSettings, extent_mm: Sequence[float], mirror: Mirror | None
) -> tio.Compose:
    """Return the random transform that settings describe, for volumes of such an extent."""
    knots_mm = [side / (_CONTROL_POINTS - _SPLINE_ORDER) for side in extent_mm]
    parts: list[tio.Transform] = [
        tio.RandomAffine(
            scales=settings.scale,
            degrees=settings.degrees,
            translation=settings.translation_mm,
            default_pad_value="minimum",
            p=0.8,
        ),
        tio.RandomElasticDeformation(
            num_control_points=_CONTROL_POINTS,
            max_displacement=tuple(min(settings.elastic_mm, 0.45 * knot) for knot in knots_mm),
            p=settings.elastic_probability,
        ),
        tio.RandomBlur(std=(0.0, 0.8), p=0.2),
        tio.RandomBiasField(coefficients=settings.bias, order=2, p=0.4),
        tio.RandomGamma(log_gamma=settings.log_gamma, p=0.5),
        tio.RandomNoise(std=(0.0, settings.noise), p=0.5),
    ]
    if mirror is not None:
        parts.insert(0, tio.RandomFlip(axes=(mirror.axis,), flip_probability=0.5))
    return tio.Compose(parts)


def augmented(
    image: Tensor,
    labels: Tensor,
    *,
    settings: AugmentSettings,
    spacing_mm: Sequence[float],
    name: str,
    version: int,
    seed: int,
    mirror: Mirror | None = None,
) -> tuple[Tensor, Tensor]:
    """Return one version of a case: image [1, X, Y, Z] and channel indices [X, Y, Z].

    Args:
        image: [1, X, Y, Z] in [0, 1].
        labels: uint8 [X, Y, Z].
        settings: How strong.
        spacing_mm: Voxel size.
        name: Of the case; with seed and version it decides every draw.
        version: 0 gives the case itself.
        seed: Of the training.
        mirror: How half of the versions are mirrored; None: none is.
    """
    if version == 0:
        return image, labels
    affine = torch.diag(torch.tensor([*spacing_mm, 1.0], dtype=torch.float64)).numpy()
    extent_mm = [(size - 1) * step for size, step in zip(labels.shape, spacing_mm, strict=True)]
    subject = tio.Subject(
        image=tio.ScalarImage(tensor=image, affine=affine),
        labels=tio.LabelMap(tensor=labels[None], affine=affine),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stable_seed(seed, name, "version", version))
        changed = _transform(settings, extent_mm, mirror)(subject)
    indices = changed["labels"].data[0].to(torch.uint8)
    if mirror is not None and any(name == "Flip" for name, _ in changed.applied_transforms):
        indices = torch.from_numpy(mirror.channels[indices.numpy()])
    return changed["image"].data.float(), indices
