"""The networks of the Volumetric Conditioning Module and of MCM, which both modulate.

A VCM is a condition encoder, a time-conditioned U-Net over [z_t, epsilon_t, encoded condition], and
two heads that scale and shift the frozen prediction: epsilon' = epsilon * (1 + gamma_t) + beta_t.
An MCM is the same without the encoder: averaging brings its condition to the latent grid.

References:
    Ahn et al. 2025, WACV, arXiv 2410.21826; Ham et al. 2023, arXiv 2302.12764 (modulation of a
    frozen model's output).

Notes:
    Three deviations from the released VCM, each on purpose: the heads end in bare convolutions
    that start at zero, so that a new control returns the frozen prediction exactly (there, an
    instance normalisation after each head makes that impossible); the penalty is the mean of
    |gamma| + |beta| over all elements; the label map enters through a space-to-depth stem.

    How the three-dimensional MCM beside the released VCM brought its condition to the latent grid
    is not known; here each cell holds the share of its voxels that each structure takes.

    The layout predicts z_0 from the condition alone, and the prediction is shifted by what leads
    the predicted z_0 towards that one. What a label map says about an image is drowned, at every
    update, by the noise that nobody can predict. Predicting z_0 from the map has no such noise: it
    is learnt in a few hundred updates, and leaves the module one thing to learn, namely where and
    when to follow it. A VCM trains it beside itself, on the same pairs.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn
from torch.nn import functional

from vcmaug.conditions.base import LABEL_MAP
from vcmaug.control.network import ModulatingNetwork, zero
from vcmaug.control.networks.encoder import ChannelEncoders, ConditionEncoder, widths_for
from vcmaug.control.shown import ALONE, parts_of
from vcmaug.ldm.denoiser import Encoded
from vcmaug.ldm.noise_schedule import NoiseSchedule
from vcmaug.ldm.prior import Prior
from vcmaug.ldm.schedule import Schedule
from vcmaug.ldm.spec import PriorSpec
from vcmaug.shapes import as_shape3

__all__ = ["AnyGridUNet", "Layout", "MCMNetwork", "VCMNetwork"]

_WIDTHS = (32, 48, 64)
_LARGEST = 3.0  # of signal over noise; near t = 0 the frozen prediction is right


class AnyGridUNet(DiffusionModelUNet):  # type: ignore[misc]
    """MONAI's `DiffusionModelUNet` on latent grids that its halvings do not divide as well.

    There it fails in its forward pass where a skip is one cell longer; here the input is padded
    with zeros and the output cut again. Weights and their names are the same.

    Args:
        starts_at_zero: Keep the last convolution at zero, as MONAI starts it. Heads that start at
            zero want it otherwise: two zeros in a row would let no gradient through.
        shapes: Of `DiffusionModelUNet`.

    Notes:
        Attention is fused: its matrix is never stored. Numbers differ from those of plain attention
        by rounding.
    """

    def __init__(self, *, starts_at_zero: bool = False, **shapes: Any) -> None:
        super().__init__(spatial_dims=3, resblock_updown=True, use_flash_attention=True, **shapes)
        if not starts_at_zero:
            self.out[-1].conv.reset_parameters()

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        """Return features [B, out, x, y, z] of an input [B, in, x, y, z] at timesteps [B]."""
        width, height, depth = x.shape[2:]
        step = 2 ** (len(self.block_out_channels) - 1)
        padding = (0, -depth % step, 0, -height % step, 0, -width % step)  # the last axis first
        result: Tensor = super().forward(functional.pad(x, padding), timesteps)
        return result[:, :, :width, :height, :depth]


class Layout(nn.Module):
    """Features [B, C, x, y, z] to expected latents [B, L, x, y, z].

    Args:
        in_channels: C.
        latent_shape: [L, x, y, z].
        hidden_channels: Of the two layers between.
        schedule: Of the prior.
    """

    mean: Tensor
    scales: Tensor

    def __init__(
        self,
        *,
        in_channels: int,
        latent_shape: tuple[int, ...],
        hidden_channels: int,
        schedule: NoiseSchedule,
    ) -> None:
        super().__init__()
        latent_channels, *cells = latent_shape
        axes = [torch.linspace(-1, 1, size) for size in cells]
        places = torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
        self.schedule = Schedule(schedule)
        self.register_buffer("places", places, persistent=False)  # [1, 3, x, y, z]
        for name in ("signal", "noise"):
            scale = getattr(self.schedule, name).float()
            self.register_buffer(name, scale, persistent=False)  # [T]
        self.register_buffer("mean", torch.zeros(1, *latent_shape))
        self.layers = nn.Sequential(
            nn.Conv3d(in_channels + 3, hidden_channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv3d(hidden_channels, hidden_channels, 3, padding=2, dilation=2),
            nn.SiLU(),
            nn.Conv3d(hidden_channels, latent_channels, 3, padding=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return expected latents [B, L, x, y, z]."""
        places = self.get_buffer("places").expand(len(features), -1, -1, -1, -1)
        change: Tensor = self.layers(torch.cat([features, places], dim=1))
        return self.mean + change

    def away(self, z_t: Tensor, frozen: Tensor, t: Tensor, expected: Tensor) -> Tensor:
        """Return the z_0 of the frozen prediction minus the expected one, [B, L, x, y, z]."""
        return self.schedule.z_0_at(z_t, frozen, self._scales(t)) - expected

    def as_shift(self, away: Tensor, t: Tensor) -> Tensor:
        """Return the shift of the prediction that takes z_0 all the way to the expected one."""
        signal, noise = self._scales(t)
        of_epsilon = self.schedule.of_epsilon * (signal / noise).clamp(max=_LARGEST)
        return away * (of_epsilon - self.schedule.of_z_0)

    def _scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return signal and noise at timesteps, each [B, 1, 1, 1, 1]."""
        signal, noise = (
            self.get_buffer(name)[t].reshape(-1, 1, 1, 1, 1) for name in ("signal", "noise")
        )
        return signal, noise


class VCMNetwork(ModulatingNetwork):
    """The trainable part: (z_t, epsilon_t, encoded condition, t) -> gamma_t, beta_t.

    Args:
        spec: Of the prior.
        num_structures: K, channels of the condition.
        names: Channels that it is shown.
        layout: Predict latents from the condition alone, and learn where to follow them.
        hidden_channels: Features shared by the heads.
        encoder_channels: Widths of the condition's encoder; None: as many as are needed.
        stem_factor: Edge of the block of voxels folded into channels.
        encoder_res_blocks: Of each level of the condition's encoder.
        time_in_encoder: Encode the condition at every step.
        norm_num_groups: Of the group normalisations.
        unet: Further shapes of the U-Net, as MONAI names them.
    """

    def __init__(
        self,
        *,
        spec: PriorSpec,
        num_structures: int,
        names: Sequence[str] = ALONE,
        layout: bool,
        hidden_channels: int,
        encoder_channels: Sequence[int] | None,
        stem_factor: int,
        encoder_res_blocks: int,
        time_in_encoder: bool,
        norm_num_groups: int,
        **unet: Any,
    ) -> None:
        super().__init__()
        latent_channels, hidden = spec.latent_shape[0], hidden_channels
        widths = widths_for(
            encoder_channels, _WIDTHS, method="vcm", first=stem_factor, factor=spec.latent_factor
        )
        self.layout = None
        if layout:
            self.layout = Layout(
                in_channels=widths[-1],
                latent_shape=spec.latent_shape,
                hidden_channels=hidden,
                schedule=spec.schedule,
            )
        self.timed = time_in_encoder
        encoder = partial(
            ConditionEncoder,
            stem_factor=stem_factor,
            channels=widths,
            num_res_blocks=encoder_res_blocks,
            norm_num_groups=norm_num_groups,
            timed=time_in_encoder,
        )
        parts = parts_of(names, num_structures)
        self.several = tuple(names) != ALONE
        self.encoder = (
            ChannelEncoders(parts, encoder)
            if self.several
            else encoder(num_structures=parts[LABEL_MAP].stop)
        )
        self.unet = AnyGridUNet(
            in_channels=(3 if layout else 2) * latent_channels + widths[-1],
            out_channels=hidden,
            norm_num_groups=norm_num_groups,
            **unet,
        )
        self.shared = nn.Sequential(nn.Conv3d(hidden, hidden, 3, padding=1), nn.SiLU())
        self.gamma_head = zero(nn.Conv3d(hidden, latent_channels, 3, padding=1))
        self.beta_head = zero(nn.Conv3d(hidden, latent_channels, 3, padding=1))
        if layout:
            self.follow_head = zero(nn.Conv3d(hidden, latent_channels, 3, padding=1))

    def start_from_prior(self, prior: Prior) -> None:
        """Let the layout start at the mean of the prior's training cases."""
        if self.layout is not None and prior.mean is not None:
            self.layout.mean.copy_(prior.mean)

    def encode(self, channels: Tensor) -> Encoded:
        """Return the features of conditions [B, C, X, Y, Z], and the latents they let one expect.

        Where time enters the encoder, encoding is left to each step, and the conditions themselves
        are the features.
        """
        return Encoded((channels,)) if self.timed else self._encoded(channels)

    def _encoded(self, channels: Tensor, t: Tensor | None = None) -> Encoded:
        """Return conditions as features [B, channels, x, y, z], at timesteps if they matter."""
        if self.several:
            features, there = self.encoder(channels, t)
        else:
            features, there = self.encoder(channels, t), None
        if self.layout is None:
            return Encoded((features,), there=there)
        expected = self.layout(features)
        if there is not None:  # where nothing is shown, nothing but the mean is to be expected
            expected = self.layout.mean + there * (expected - self.layout.mean)
        return Encoded((features,), expected, there)

    def modulation(
        self, z_t: Tensor, frozen: Tensor, *, t: Tensor, encoded: Encoded
    ) -> tuple[Tensor, Tensor]:
        """Return gamma_t and beta_t, each [B, L, x, y, z]; zero where nothing is shown."""
        if self.timed:
            (channels,) = encoded.features
            encoded = self._encoded(channels, t)
        gamma, beta = self._modulation(z_t, frozen, t=t, encoded=encoded)
        if encoded.there is None:
            return gamma, beta
        return encoded.there * gamma, encoded.there * beta

    def _modulation(
        self, z_t: Tensor, frozen: Tensor, *, t: Tensor, encoded: Encoded
    ) -> tuple[Tensor, Tensor]:
        """Return gamma_t and beta_t for features and, if there is a layout, expected latents."""
        if self.layout is None or encoded.expected is None:
            return super().modulation(z_t, frozen, t=t, encoded=encoded)
        expected = encoded.expected.detach()  # its own loss trains it
        away = self.layout.away(z_t, frozen, t, expected)
        seen = torch.cat([z_t, frozen, *encoded.features, away], dim=1)
        shared = self.shared(self.unet(seen, t))
        follow = self.follow_head(shared) * self.layout.as_shift(away, t)
        return self.gamma_head(shared), self.beta_head(shared) + follow


class MCMNetwork(ModulatingNetwork):
    """(z_t, epsilon_t, shares of structures, t) -> gamma_t, beta_t.

    Args:
        spec: Of the prior.
        num_structures: K.
        channels: Of each level of the U-Net.
        hidden_channels: Features shared by the heads.
        unet: Further shapes of the U-Net, as MONAI names them.
    """

    def __init__(
        self,
        *,
        spec: PriorSpec,
        num_structures: int,
        channels: Sequence[int],
        hidden_channels: int,
        **unet: Any,
    ) -> None:
        super().__init__()
        latent_channels, *cells = spec.latent_shape
        self.cells = as_shape3(cells)
        width, hidden = channels[0], hidden_channels
        self.unet = AnyGridUNet(
            in_channels=2 * latent_channels + num_structures,
            out_channels=width,
            channels=channels,
            include_fc=False,
            **unet,
        )
        self.shared = nn.Sequential(nn.Conv3d(width, hidden, 3, padding=1), nn.LeakyReLU(0.01))
        self.gamma_head = zero(nn.Conv3d(hidden, latent_channels, 3, padding=1))
        self.beta_head = zero(nn.Conv3d(hidden, latent_channels, 3, padding=1))

    def encode(self, channels: Tensor) -> Encoded:
        """Return the share of each latent cell that each structure takes, [B, K, x, y, z]."""
        return Encoded((functional.adaptive_avg_pool3d(channels, self.cells),))
