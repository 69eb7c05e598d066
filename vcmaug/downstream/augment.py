"""Training cases of a study in memory and versions of them by TorchIO, alike in every arm.

A batch is drawn from (seed, step). A version of a case depends on (seed, case, version) alone:
TorchIO draws from torch's global generator, which is seeded here inside a fork. A bank of versions
is kept and not a stream, since TorchIO's elastic transform alone costs about as much as an update
of a small network.

References:
    Perez-Garcia et al., "TorchIO", 2021, arXiv 2003.04696.
"""

import time

import numpy as np
import torch
import torchio as tio
from torch import Tensor

from vcmaug.data.mirror import Mirror, mirror_of
from vcmaug.data.volumes import LabelledVolumes
from vcmaug.downstream.settings import AugmentSettings
from vcmaug.seeding import stable_seed, torch_generator

__all__ = ["Bank"]

_CONTROL_POINTS, _SPLINE_ORDER = 6, 3
"""Of the elastic field; displacements below half a knot's distance cannot fold."""


def _transform(
    settings: AugmentSettings, volumes: LabelledVolumes, mirror: Mirror | None
) -> tio.Compose:
    """Return the random transform that settings describe, for volumes of such an extent."""
    sides = zip(volumes.images.shape[1:], volumes.spacing_mm, strict=True)
    extent_mm = [(size - 1) * step for size, step in sides]
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


class Bank:
    """Versions of cases in memory, renewed a little with every draw.

    It starts with the cases themselves. While samples are drawn, `fresh` new versions per sample
    take the place of the oldest ones, case by case; so their cost is in proportion to the
    training, and each version is seen about 1 / fresh times whatever the number of cases.

    Args:
        volumes: Cases.
        settings: How strong the augmentation is, and how many versions are new.
        versions: Kept of each case.
        seed: Of the training.

    Raises:
        DataError: Cases are to be mirrored, and a structure lacks its other side.
    """

    def __init__(
        self, volumes: LabelledVolumes, settings: AugmentSettings, *, versions: int, seed: int
    ) -> None:
        self.volumes = volumes
        self.settings = settings
        self.seed = seed
        self.mirror = mirror_of(volumes.orientation, volumes.scheme) if settings.flip else None
        self.originals = volumes.tensors()
        self.transform = _transform(settings, volumes, self.mirror)
        self.images = self.originals[0].repeat(versions, 1, 1, 1, 1)  # [V * N, 1, X, Y, Z]
        self.labels = self.originals[1].repeat(versions, 1, 1, 1)  # [V * N, X, Y, Z]
        self.num_drawn = 0
        self.num_fresh = 0
        self.seconds = 0.0

    def draw(self, num: int, *, step: int, purpose: str) -> tuple[Tensor, Tensor]:
        """Return num images [num, 1, X, Y, Z] and labels [num, X, Y, Z].

        What is drawn depends on the seed, the step and the number of samples drawn before.
        """
        self.num_drawn += num
        began = time.perf_counter()
        while self.num_fresh < int(self.settings.fresh * self.num_drawn):
            self._renew()
        self.seconds += time.perf_counter() - began
        generator = torch_generator(self.seed, purpose, step)
        places = torch.randint(len(self.labels), (num,), generator=generator)
        return self.images[places], self.labels[places].long()

    def _renew(self) -> None:
        """Put the next new version in the place of the oldest."""
        round_number, case = divmod(self.num_fresh, len(self.volumes.names))
        place = self.num_fresh % len(self.labels)
        self.images[place], self.labels[place] = self.version(case, round_number + 1)
        self.num_fresh += 1

    def version(self, case: int, number: int) -> tuple[Tensor, Tensor]:
        """Return a new version of a case: image [1, X, Y, Z] and channel numbers [X, Y, Z].

        Args:
            case: Its place among the volumes; its name decides the draws, with number and seed.
            number: Of the version.
        """
        affine = np.diag([*self.volumes.spacing_mm, 1.0])
        subject = tio.Subject(
            image=tio.ScalarImage(tensor=self.originals[0][case], affine=affine),
            labels=tio.LabelMap(tensor=self.originals[1][case][None], affine=affine),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stable_seed(self.seed, self.volumes.names[case], "version", number))
            changed = self.transform(subject)
        channels = changed.labels.data[0].to(torch.uint8)
        if self.mirror and any(name == "Flip" for name, _ in changed.applied_transforms):
            channels = torch.from_numpy(self.mirror.channels[channels.numpy()])
        return changed.image.data.float(), channels
