"""What a prior is made of: grid, networks, schedule, scalars. Settings only, no weights.

A person writes it in a recipe, and the card beside a prior's weights repeats it. Networks are built
of it (`StemmedAutoencoder(spec)`, `ScalarUNet(spec)`); this module loads no torch. Defaults are
those of `recipes/hippocampus`, and on a larger grid of `recipes/brain-mini`; their LOG.md says why.

References:
    Pinaya et al. 2022, arXiv 2209.07162, for the shape of the whole.
"""

from collections.abc import Mapping

from pydantic import Field, ValidationInfo, field_validator, model_validator

from vcmaug.config import Settings, merged
from vcmaug.data.geometry import Grid
from vcmaug.data.grid_size import by_size, grid_in
from vcmaug.data.scalars import ScalarSpec
from vcmaug.ldm.noise_schedule import NoiseSchedule
from vcmaug.ldm.schedules.epsilon import EpsilonSchedule
from vcmaug.shapes import Shape3, as_shape3, latent_shape

__all__ = ["AutoencoderSettings", "DiffusionSettings", "PriorSpec"]


class AutoencoderSettings(Settings):
    """The networks of the autoencoder; the latent factor is stem_factor * 2**(levels - 1)."""

    stem_factor: int = Field(2, ge=1, description="edge of the block folded into channels")
    channels: tuple[int, ...] = (32, 64)
    latent_channels: int = Field(8, ge=1)
    num_res_blocks: int = Field(1, ge=1)
    norm_num_groups: int = Field(16, ge=1)
    shortcut: bool = Field(
        True, description="linear map of blocks beside the networks; starts as their components"
    )
    foreground: bool = Field(
        False, description="decode as well which voxels are shown; all others are 0"
    )

    @classmethod
    def of_grid(cls, grid: Grid) -> dict[str, object]:
        """Return the settings that depend on the grid: a third level where it is large.

        A latent cell is then of 8x8x8 voxels and no longer of 4x4x4, if the grid can be divided so.
        """
        levels = by_size(grid, (2, 2, 3))
        if any(size % 16 for size in grid.shape):  # 8, and halved once by the diffusion U-Net
            levels = 2
        return {"channels": (32, 64, 96)[:levels]}

    @property
    def latent_factor(self) -> int:
        """Voxels per latent cell along one axis."""
        return self.stem_factor * int(2 ** (len(self.channels) - 1))


class DiffusionSettings(Settings):
    """The diffusion U-Net on latents."""

    channels: tuple[int, ...] = (64, 80)
    attention_levels: tuple[bool, ...] = (False, True)
    num_res_blocks: int = Field(1, ge=1)
    num_head_channels: int | tuple[int, ...] = Field(16, description="or one number per level")
    norm_num_groups: int = Field(16, ge=1)
    upcast_attention: bool = False

    @classmethod
    def of_grid(cls, grid: Grid) -> dict[str, object]:
        """Return the settings that depend on the grid, from the recipes in `data.grid_size`."""
        widths = (by_size(grid, one, step=16) for one in ((64, 64, 96), (80, 80, 128)))
        return {"channels": tuple(widths), "num_res_blocks": by_size(grid, (1, 1, 2))}


class PriorSpec(Settings):
    """Everything that fixes the shape and the meaning of a prior."""

    name: str
    grid: Grid
    image_channels: int = Field(1, ge=1)
    autoencoder: AutoencoderSettings = AutoencoderSettings()
    diffusion: DiffusionSettings = DiffusionSettings()
    schedule: NoiseSchedule = Field(EpsilonSchedule(), description="the kind of prior")
    scalars: tuple[ScalarSpec, ...] = ()
    drop_scalars: float = Field(
        0.0, ge=0, lt=1, description="share of the samples that train without; guidance needs some"
    )
    latent_scale: float | None = Field(
        None, gt=0, description="z is multiplied by it; None: 1 / deviation, measured once"
    )

    @model_validator(mode="before")
    @classmethod
    def _networks_of_the_grid(cls, value: object) -> object:
        """Take the networks that the grid asks for, where they are not named."""
        grid = grid_in(value)
        if grid is None or not isinstance(value, Mapping):
            return value
        networks = {
            "autoencoder": AutoencoderSettings.of_grid(grid),
            "diffusion": DiffusionSettings.of_grid(grid),
        }
        return merged(networks, value)

    @field_validator("schedule")
    @classmethod
    def _schedule_of_the_grid(cls, value: NoiseSchedule, info: ValidationInfo) -> NoiseSchedule:
        """Fit the schedule to the latent grid, if what makes that up is right."""
        if not {"grid", "autoencoder"} <= set(info.data):
            return value
        factor = info.data["autoencoder"].latent_factor
        return value.on_grid(as_shape3([size // factor for size in info.data["grid"].shape]))

    @model_validator(mode="after")
    def _shapes_fit(self) -> "PriorSpec":
        """Refuse a grid that the networks cannot halve often enough."""
        deepest = self.latent_factor * 2 ** (len(self.diffusion.channels) - 1)
        if any(size % deepest for size in self.grid.shape):
            raise ValueError(
                f"grid.shape {tuple(self.grid.shape)} must be multiples of {deepest}: latent "
                f"factor {self.latent_factor}, halved {len(self.diffusion.channels) - 1} times"
            )
        if self.drop_scalars > 0 and not self.scalars:
            raise ValueError("drop_scalars leaves scalars out of training, and there are none")
        if len(self.diffusion.channels) != len(self.diffusion.attention_levels):
            raise ValueError("diffusion.channels and diffusion.attention_levels differ in length")
        return self

    @property
    def measured_scalars(self) -> tuple[str, ...]:
        """Names of the scalars that are measured on label maps."""
        return tuple(scalar.name for scalar in self.scalars if scalar.is_measured)

    @property
    def about_labels(self) -> str:
        """What a card says of the labels that such scalars bring along."""
        read = " and ".join(self.measured_scalars)
        note = f"It reads {read}, measured on the label maps of its training cases; these count as "
        return f"{note}labels that it has seen." if read else ""

    def guidance_fault(self, scale: float) -> str:
        """Return in a sentence why the prior cannot be guided at a scale, or nothing."""
        if scale == 1.0 or self.drop_scalars > 0:
            return ""
        lacks = "always saw its scalars in training" if self.scalars else "has no scalars"
        return (
            f"guidance is {scale:g}, and prior {self.name!r} {lacks}; set it to 1, or train a "
            "prior with scalars and drop_scalars"
        )

    @property
    def latent_factor(self) -> int:
        """Voxels per latent cell along one axis."""
        return self.autoencoder.latent_factor

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """Shape of one latent, [L, x, y, z]."""
        grid_shape: Shape3 = as_shape3(self.grid.shape)
        return (
            self.autoencoder.latent_channels,
            *latent_shape(grid_shape, self.latent_factor),
        )
