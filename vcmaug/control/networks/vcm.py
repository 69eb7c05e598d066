"""The network of the Volumetric Conditioning Module: epsilon' = epsilon * (1 + gamma_t) + beta_t.

A condition encoder, a time-conditioned U-Net over [z_t, epsilon_t, encoded condition], and two
heads that scale and shift the frozen prediction.

References:
    Ahn et al. 2025, WACV, arXiv 2410.21826; Ham et al. 2023, arXiv 2302.12764 (modulation of a
    frozen model's output).

Notes:
    Three deviations from the released code, each on purpose: the heads end in bare convolutions
    that start at zero, so that a new control returns the frozen prediction exactly (there, an
    instance normalisation after each head makes that impossible); the penalty is the mean of
    |gamma| + |beta| over all elements; the label map enters through a space-to-depth stem.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vcmaug.conditions.base import LABEL_MAP
from vcmaug.control.network import ControlNetwork, Steered
from vcmaug.control.networks.encoder import ConditionEncoder, ModalityEncoders, widths_for
from vcmaug.control.networks.layout import Layout
from vcmaug.control.networks.modulation import modulated, zero
from vcmaug.control.networks.unet import AnyGridUNet
from vcmaug.control.shown import ALONE, parts_of
from vcmaug.ldm.denoiser import Context, Denoiser, Encoded
from vcmaug.ldm.prior import Prior
from vcmaug.ldm.spec import PriorSpec

__all__ = ["VCMNetwork"]

_WIDTHS = (32, 48, 64)


class VCMNetwork(ControlNetwork):
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
        self.several = tuple(names) != ALONE
        encoder = partial(
            ConditionEncoder,
            stem_factor=stem_factor,
            channels=widths,
            num_res_blocks=encoder_res_blocks,
            norm_num_groups=norm_num_groups,
            timed=time_in_encoder,
        )
        self.encoder = _encoder(encoder, parts_of(names, num_structures))
        self.unet = _unet(
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

    def encode(self, shown: Tensor) -> Encoded:
        """Return the features of conditions [B, C, X, Y, Z], and the latents they let one expect.

        Where time enters the encoder, encoding is left to each step, and the conditions themselves
        are the features.
        """
        return Encoded((shown,)) if self.timed else self._encoded(shown)

    def _encoded(self, shown: Tensor, t: Tensor | None = None) -> Encoded:
        """Return conditions as features [B, channels, x, y, z], at timesteps if they matter."""
        if self.several:
            features, there = self.encoder(shown, t)
        else:
            features, there = self.encoder(shown, t), None
        if self.layout is None:
            return Encoded((features,), there=there)
        expected = self.layout(features)
        if there is not None:  # where nothing is shown, nothing but the mean is to be expected
            expected = self.layout.mean + there * (expected - self.layout.mean)
        return Encoded((features,), expected, there)

    def steered(
        self,
        denoiser: Denoiser,
        z_t: Tensor,
        *,
        t: Tensor,
        context: Context,
        encoded: Encoded,
        strength: float = 1.0,
    ) -> Steered:
        """Return epsilon'; see `ControlNetwork.steered`."""
        frozen = denoiser(z_t, t, context).float()
        if self.timed:
            (shown,) = encoded.features
            encoded = self._encoded(shown, t)
        gamma, beta = self.modulation(z_t, frozen, t=t, encoded=encoded)
        return modulated(frozen, gamma, beta, strength)

    def modulation(
        self, z_t: Tensor, epsilon: Tensor, *, t: Tensor, encoded: Encoded
    ) -> tuple[Tensor, Tensor]:
        """Return gamma_t and beta_t, each [B, L, x, y, z]; zero where nothing is shown.

        Args:
            z_t: Noisy latents [B, L, x, y, z].
            epsilon: The frozen prediction for them, likewise.
            t: Timesteps, long [B].
            encoded: From `encode`.
        """
        gamma, beta = self._modulation(z_t, epsilon, t=t, encoded=encoded)
        if encoded.there is None:
            return gamma, beta
        return encoded.there * gamma, encoded.there * beta

    def _modulation(
        self, z_t: Tensor, epsilon: Tensor, *, t: Tensor, encoded: Encoded
    ) -> tuple[Tensor, Tensor]:
        """Return gamma_t and beta_t for features and, if there is a layout, expected latents."""
        if self.layout is None or encoded.expected is None:
            shared = self._features(z_t, epsilon, *encoded.features, t=t)
            return self.gamma_head(shared), self.beta_head(shared)
        expected = encoded.expected.detach()  # its own loss trains it
        away = self.layout.away(z_t, epsilon, t, expected)
        shared = self._features(z_t, epsilon, *encoded.features, away, t=t)
        follow = self.follow_head(shared) * self.layout.as_shift(away, t)
        return self.gamma_head(shared), self.beta_head(shared) + follow

    def _features(self, *parts: Tensor, t: Tensor) -> Tensor:
        """Return what both heads look at, [B, hidden, x, y, z]."""
        shared: Tensor = self.shared(self.unet(torch.cat(parts, dim=1), t))
        return shared


def _encoder(encoder: Callable[..., ConditionEncoder], parts: Mapping[str, slice]) -> nn.Module:
    """Return the encoder of a label map alone, or of several channels."""
    if tuple(parts) == ALONE:
        return encoder(num_structures=parts[LABEL_MAP].stop)
    return ModalityEncoders(parts, encoder)


def _unet(**shapes: Any) -> AnyGridUNet:
    """Return the U-Net on the latent grid."""
    unet = AnyGridUNet(spatial_dims=3, resblock_updown=True, **shapes)
    # MONAI starts this convolution at zero; the heads do so here, and two zeros in a row would let
    # no gradient through.
    unet.out[-1].conv.reset_parameters()
    return unet
