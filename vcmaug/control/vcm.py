"""The Volumetric Conditioning Module: epsilon' = epsilon * (1 + gamma_t) + beta_t.

What it is: a condition encoder, a time-conditioned U-Net over [z_t, epsilon_t, encoded condition],
and two heads that scale and shift the frozen prediction.
In the flow: trained on 10 to 500 pairs of latent and label map, then steers every draw.
Sources: Ahn et al. 2025, WACV, arXiv 2410.21826; Ham et al. 2023, arXiv 2302.12764 (modulation of
a frozen model's output).

Notes:
    Three deviations from the released code, each on purpose: the heads end in bare convolutions
    that start at zero, so that a new control returns the frozen prediction exactly (there, an
    instance normalisation after each head makes that impossible); the penalty is the mean of
    |gamma| + |beta| over all elements; the label map enters through a space-to-depth stem.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from vcmaug.config import Settings
from vcmaug.control.base import ControlNetwork, Steered
from vcmaug.control.encoder import ConditionEncoder, ModalityEncoders, widths_for
from vcmaug.control.layout import Layout
from vcmaug.control.shown import ALONE, parts_of
from vcmaug.control.unet import AnyGridUNet
from vcmaug.ldm.denoiser import Context, Denoiser, Encoded
from vcmaug.ldm.spec import PriorSpec

__all__ = ["VCMNetwork", "VCMSettings", "modulate", "modulated", "zero"]


_WIDTHS = (32, 48, 64)


class VCMSettings(Settings):
    """The networks of a VCM."""

    method: Literal["vcm"] = "vcm"
    stem_factor: int = Field(2, ge=1, description="edge of the block folded into channels")
    encoder_channels: tuple[int, ...] | None = Field(
        None, description="of the condition's encoder, a halving between two; None: as needed"
    )
    encoder_res_blocks: int = Field(1, ge=1)
    channels: tuple[int, ...] = (64, 128)
    attention_levels: tuple[bool, ...] = (False, True)
    num_res_blocks: int = Field(2, ge=1)
    num_head_channels: int = Field(32, ge=1)
    hidden_channels: int = Field(64, ge=1, description="features shared by the two heads")
    norm_num_groups: int = Field(16, ge=1)
    layout: bool = Field(
        False, description="predict latents from the map alone, and learn where to follow them"
    )
    time_in_encoder: bool = Field(
        False, description="as in the paper's figure: the condition is encoded at every step"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        """Refuse a layout that would depend on the timestep."""
        if self.layout and self.time_in_encoder:
            raise ValueError("layout wants an encoder without time; set one of the two")
        return self


def modulate(epsilon: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Return epsilon * (1 + gamma) + beta, elementwise, [B, L, x, y, z]."""
    return epsilon * (1.0 + gamma) + beta


def modulated(frozen: Tensor, gamma: Tensor, beta: Tensor, strength: float) -> Steered:
    """Return the modulated prediction, and the mean of |gamma| + |beta| as its penalty."""
    gamma, beta = gamma.float(), beta.float()
    return Steered(
        epsilon=modulate(frozen, strength * gamma, strength * beta),
        frozen=frozen,
        penalty=(gamma.abs() + beta.abs()).mean(),
    )


class VCMNetwork(ControlNetwork):
    """The trainable part: (z_t, epsilon_t, encoded condition, t) -> gamma_t, beta_t.

    Args:
        settings: Shapes of the networks.
        num_structures: K, channels of the condition.
        spec: Of the prior.
        names: Channels that it is shown.
    """

    def __init__(
        self,
        settings: VCMSettings,
        *,
        num_structures: int,
        spec: PriorSpec,
        names: Sequence[str] = ALONE,
    ) -> None:
        super().__init__()
        latent_channels = spec.latent_shape[0]
        widths = widths_for(
            settings.encoder_channels,
            _WIDTHS,
            method=settings.method,
            first=settings.stem_factor,
            factor=spec.latent_factor,
        )
        self.num_features = widths[-1]
        self.layout = None
        if settings.layout:
            self.layout = Layout(
                in_channels=self.num_features,
                latent_shape=spec.latent_shape,
                hidden_channels=settings.hidden_channels,
                schedule=spec.schedule,
            )
        encoder = partial(
            ConditionEncoder,
            stem_factor=settings.stem_factor,
            channels=widths,
            num_res_blocks=settings.encoder_res_blocks,
            norm_num_groups=settings.norm_num_groups,
            timed=settings.time_in_encoder,
        )
        self.timed = settings.time_in_encoder
        self.encoder: nn.Module
        self.several = tuple(names) != ALONE
        if self.several:
            self.encoder = ModalityEncoders(parts_of(names, num_structures), encoder)
        else:
            self.encoder = encoder(num_structures=num_structures)
        self.unet = AnyGridUNet(
            spatial_dims=3,
            in_channels=(3 if settings.layout else 2) * latent_channels + self.num_features,
            out_channels=settings.hidden_channels,
            num_res_blocks=settings.num_res_blocks,
            channels=settings.channels,
            attention_levels=settings.attention_levels,
            norm_num_groups=settings.norm_num_groups,
            resblock_updown=True,
            num_head_channels=settings.num_head_channels,
        )
        # MONAI starts this convolution at zero; the heads do so here, and two zeros in a row would
        # let no gradient through.
        self.unet.out[-1].conv.reset_parameters()
        hidden = settings.hidden_channels
        self.shared = nn.Sequential(nn.Conv3d(hidden, hidden, 3, padding=1), nn.SiLU())
        self.gamma_head = zero(nn.Conv3d(hidden, latent_channels, 3, padding=1))
        self.beta_head = zero(nn.Conv3d(hidden, latent_channels, 3, padding=1))
        if settings.layout:
            self.follow_head = zero(nn.Conv3d(hidden, latent_channels, 3, padding=1))

    def steered(
        self, denoiser: Denoiser, z_t: Tensor, t: Tensor, context: Context, *, strength: float = 1.0
    ) -> Steered:
        """Return epsilon'; see `ControlNetwork.steered`."""
        assert isinstance(context.encoded, Tensor)  # of its own `encode`
        frozen = denoiser(z_t, t, context).float()
        encoded = self.encoder(context.encoded, t) if self.timed else context.encoded
        gamma, beta = self.modulation(z_t, frozen, t=t, encoded=encoded)
        return modulated(frozen, gamma, beta, strength)

    def encode(self, shown: Tensor) -> Tensor:
        """Return features [B, channels, x, y, z] of conditions, expected latents behind them.

        Of several channels the first feature says whether any of them is there. Where time enters
        the encoder, that is left to each step, and the conditions come back as they are.
        """
        if self.timed:
            return shown
        features: Tensor = self.encoder(shown)
        if self.layout is None:
            return features
        expected = self.layout(features[:, -self.num_features :])
        if self.several:  # where nothing is shown, nothing but the mean is to be expected
            expected = self.layout.mean + features[:, :1] * (expected - self.layout.mean)
        return torch.cat([features, expected], dim=1)

    def expected(self, encoded: Encoded) -> Tensor | None:
        """Return the expected latents [B, L, x, y, z] of what `encode` gave, or None."""
        assert isinstance(encoded, Tensor)  # of its own `encode`
        return encoded[:, self.num_features + int(self.several) :] if self.layout else None

    def modulation(
        self, z_t: Tensor, epsilon: Tensor, *, t: Tensor, encoded: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return gamma_t and beta_t, each [B, L, x, y, z]; zero where nothing is shown.

        Args:
            z_t: Noisy latents [B, L, x, y, z].
            epsilon: The frozen prediction for them, likewise.
            t: Timesteps, long [B].
            encoded: From `encode`.
        """
        if not self.several:
            return self._modulation(z_t, epsilon, t=t, encoded=encoded)
        there = encoded[:, :1]
        gamma, beta = self._modulation(z_t, epsilon, t=t, encoded=encoded[:, 1:])
        return there * gamma, there * beta

    def _modulation(
        self, z_t: Tensor, epsilon: Tensor, *, t: Tensor, encoded: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return gamma_t and beta_t for features and, behind them, expected latents."""
        if self.layout is None:
            features = self.unet(torch.cat([z_t, epsilon, encoded], dim=1), t)
            shared = self.shared(features)  # [B, hidden, x, y, z]
            return self.gamma_head(shared), self.beta_head(shared)
        own, expected = encoded[:, : self.num_features], encoded[:, self.num_features :]
        away = self.layout.away(z_t, epsilon, t, expected.detach())  # its own loss trains it
        features = self.unet(torch.cat([z_t, epsilon, own, away], dim=1), t)
        shared = self.shared(features)
        follow = self.follow_head(shared) * self.layout.as_shift(away, t)
        return self.gamma_head(shared), self.beta_head(shared) + follow


def zero(convolution: nn.Conv3d) -> nn.Conv3d:
    """Return the convolution with weight and bias at zero."""
    nn.init.zeros_(convolution.weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution
