"""The drawer: prior, control and sampler as one function from targets and noise to images.

It is a pure function of objects in memory. Plans, workers, manifests and resumption stand around
it, and a notebook can call it alone.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vcmaug.compute.devices import Clock
from vcmaug.conditions.base import LABEL_MAP, Drawable
from vcmaug.control.base import Control
from vcmaug.control.channels import channels_of
from vcmaug.control.shown import is_shown
from vcmaug.data.labels import LabelScheme
from vcmaug.data.volume import Volume
from vcmaug.errors import ModelError
from vcmaug.generate.noise import Noise
from vcmaug.generate.samplers import DDIM, Sampler
from vcmaug.generate.sampling import sample
from vcmaug.ldm.autoencoder import volumes_at_once
from vcmaug.ldm.denoiser import Context, Denoiser
from vcmaug.ldm.guidance import GuidedDenoiser
from vcmaug.ldm.prior import Prior

__all__ = ["Drawer"]

_LOW = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, eq=False)
class Drawer:
    """Draws images.

    Attributes:
        prior: The frozen latent diffusion model; the device is its own.
        control: Steers it, on the same device; None: the prior alone draws.
        sampler: Walks from noise to an image.
        strength: Scales what the control adds; 0 is the prior's own draw, 1 as trained.
        interval: Share of the schedule, from 0 (no noise) to 1 (all noise), in which it acts.
        precision: In which the denoiser's networks compute: float32, bfloat16 or float16.
        guidance: By the prior's scalars; 1 is none, and the only value for most priors.

    Examples:
        An image of the prior alone, here of 16 x 16 x 16 voxels:

        >>> drawer = Drawer(prior, None, sampler=DDIM(steps=5))  # doctest: +SKIP
        >>> drawer(Target(scalars={"age": 40.0})).shape  # doctest: +SKIP
        (16, 16, 16)
    """

    prior: Prior
    control: Control | None = None
    _: KW_ONLY
    sampler: Sampler = field(default_factory=DDIM)
    strength: float = 1.5
    interval: tuple[float, float] = (0.0, 1.0)
    precision: str = "float32"
    guidance: float = 1.0

    def __post_init__(self) -> None:
        """Refuse guidance of a prior that cannot be guided.

        Raises:
            ModelError: It always saw its scalars, or has none.
        """
        if fault := self.prior.spec.guidance_fault(self.guidance):
            raise ModelError(f"drawing: {fault}.")

    @overload
    def __call__(
        self, targets: Drawable, noise: Noise | None = None, *, clock: Clock | None = None
    ) -> Volume: ...

    @overload
    def __call__(
        self, targets: Sequence[Drawable], noise: Noise | None = None, *, clock: Clock | None = None
    ) -> NDArray[np.float32]: ...

    def __call__(
        self,
        targets: Drawable | Sequence[Drawable],
        noise: Noise | None = None,
        *,
        clock: Clock | None = None,
    ) -> Volume | NDArray[np.float32]:
        """Return the first channel of images, float32 [B, X, Y, Z] in [0, 1] or NaN.

        Args:
            targets: What to draw for, in order. All are drawn together; the size of the batch
                decides about the last bits of the result. For a single one its image is returned
                as a volume.
            noise: With one id per target; None: of seed 0 and the ids of the targets.
            clock: Told how long encoding, sampling and decoding take.
        """
        if isinstance(targets, Sequence):
            several = noise or Noise(0, [target.condition_id for target in targets])
            return self._drawn(targets, several, clock or Clock(self.device))
        one = noise or Noise(0, [targets.condition_id])
        array = self._drawn([targets], one, clock or Clock(self.device))[0]
        label_map = targets.label_map
        return Volume(array, self.prior.spec.grid.affine if label_map is None else label_map.affine)

    @torch.no_grad()
    def _drawn(
        self, targets: Sequence[Drawable], noise: Noise, clock: Clock
    ) -> NDArray[np.float32]:
        """Return images [B, X, Y, Z]."""
        with clock.phase("encode"):
            context = self._context(targets)
        with clock.phase("sample"):
            z_0 = self._latents(context, noise)
        with clock.phase("decode"):
            return self._images(z_0, noise)

    @cached_property
    def device(self) -> str:
        """The torch device on which it draws."""
        return str(next(self.prior.autoencoder.parameters()).device)

    @cached_property
    def scheme(self) -> LabelScheme | None:
        """Of the label maps that can be drawn for; None without a control."""
        return None if self.control is None else self.control.card.scheme

    def _context(self, targets: Sequence[Drawable]) -> Context:
        """Return scalars and encoded conditions, on the device."""
        scalars = self._scalars(targets)
        if self.control is None or self.scheme is None:
            return Context(scalars)
        shows = self.control.shows
        encoded = self.control.encode(
            channels_of(targets, shows=shows, scheme=self.scheme).to(self.device)
        )
        there = [_is_any_shown(one, shows.names) for one in targets]
        known = None if all(there) else torch.tensor(there, device=self.device)
        return Context(scalars, encoded, known)

    def _scalars(self, targets: Sequence[Drawable]) -> Tensor | None:
        """Return normalised scalars [B, S], or None for a prior without any."""
        vectors = [
            self.prior.scalar_vector(target.values_of(self.prior.spec.scalars))
            for target in targets
        ]
        found = [vector for vector in vectors if vector is not None]
        return torch.stack(found).to(self.device) if found else None

    def _latents(self, context: Context, noise: Noise) -> Tensor:
        """Return the latents z_0 [B, L, x, y, z] of a draw."""
        prior, shape = self.prior, self.prior.spec.latent_shape
        return sample(
            _in_precision(self._denoiser(), self.precision),
            noise.of(shape).to(self.device),
            context=context,
            schedule=prior.schedule,
            sampler=self.sampler,
            timesteps=self.sampler.timesteps(prior.spec.schedule),
            mean=self._start(context),
            fresh=lambda step: noise.of(shape, f"step {step}").to(self.device),
        )

    def _denoiser(self) -> Denoiser:
        """Return the prior's denoiser, steered if there is a control, guided if that is asked."""
        frozen: Denoiser = self.prior.denoiser
        denoiser = frozen
        if self.control is not None:
            denoiser = self.control.steer(denoiser, strength=self.strength, interval=self.interval)
        if self.guidance == 1.0:
            return denoiser
        return GuidedDenoiser(denoiser, frozen, self.guidance)

    def _start(self, context: Context) -> Tensor | None:
        """Return the latents where a draw starts, or None for noise.

        Those that the condition lets one expect, if the control knows them; the prior's mean at
        strength 0 and where nothing is shown, so that the control has no part in the draw. A prior
        that knows no mean stands for zero where a draw starts within the schedule, else for noise.
        """
        mean = self.prior.mean
        if self.control is None or context.encoded is None:
            return mean
        expected = context.encoded.expected
        from_noise = self.sampler.start_on(self.prior.spec.schedule) == 1.0
        if expected is None or (mean is None and from_noise):
            return mean
        middle = torch.zeros_like(expected) if mean is None else mean
        if context.there is not None:
            expected = torch.where(context.there[:, None, None, None, None], expected, middle)
        return middle + min(self.strength, 1.0) * (expected - middle)

    def _images(self, z_0: Tensor, noise: Noise) -> NDArray[np.float32]:
        """Return the images [B, X, Y, Z] of latents, as many at once as the grid lets pass."""
        prior = self._scaled
        batches = z_0.split(volumes_at_once(prior.spec.grid.shape))
        textures: Sequence[Tensor | None] = [None] * len(batches)
        if prior.texture is not None:
            shape = (prior.spec.image_channels, *prior.spec.grid.shape)
            texture = noise.of(shape, "texture").to(self.device)  # [B, C, X, Y, Z]
            textures = texture.split(len(batches[0]))
        parts = [prior.decode(z, t) for z, t in zip(batches, textures, strict=True)]
        images: NDArray[np.float32]
        images = torch.cat([part[:, 0].float().cpu() for part in parts]).numpy()
        return images

    @property
    def _scaled(self) -> Prior:
        """The prior with the scale of latents that the control was trained with."""
        if self.control is None:
            return self.prior
        scale = self.control.card.latent_scale
        return self.prior if scale is None else replace(self.prior, latent_scale=scale)


def _is_any_shown(target: Drawable, names: Sequence[str]) -> bool:
    """Return whether a control of these channels is shown any of them."""
    return any(
        is_shown(name, target.presence) and (name == LABEL_MAP or name in target.channels)
        for name in names
    )


def _in_precision(denoiser: Denoiser, precision: str) -> Denoiser:
    """Return a denoiser whose networks compute in a precision; what it returns is float32."""
    if precision not in _LOW:
        return denoiser
    dtype = _LOW[precision]

    def predicted(z_t: Tensor, t: Tensor, context: Context) -> Tensor:
        with torch.autocast(z_t.device.type, dtype):
            return denoiser(z_t, t, context).float()

    return predicted
