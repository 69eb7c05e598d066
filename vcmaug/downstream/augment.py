"""Augmentation of the study: TorchIO transforms, the same in every arm.

A version of a case depends on (seed, case, version) alone: TorchIO draws from torch's global
generator, which is seeded here inside a fork. A bank of versions is kept and not a stream, since
TorchIO's elastic transform alone costs about as much as an update of a small network.

References:
    Perez-Garcia et al., "TorchIO", 2021, arXiv 2003.04696.
"""

from collections.abc import Sequence

import torch
import torchio as tio
from torch import Tensor

from vcmaug.data.mirror import Mirror
from vcmaug.downstream.settings import AugmentSettings
from vcmaug.seeding import stable_seed

__all__ = ["augmented"]

_CONTROL_POINTS, _SPLINE_ORDER = 6, 3
"""Of the elastic field; displacements below half a knot's distance cannot fold."""


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
