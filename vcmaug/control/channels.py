"""The tensor that a control is shown, made by one function for training and for drawing.

Every channel but a label map that stands alone ends in a mask of where it is known; a channel that
is left out, or that a case lacks, is zero in its values and in its mask.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vcmaug.conditions.base import LABEL_MAP, Drawable
from vcmaug.control.shown import ALONE, ChannelSettings, is_shown, stacked_channels
from vcmaug.data.labels import LabelScheme
from vcmaug.errors import ModelError

__all__ = ["channel_tensor", "channels_of", "one_hot_batch"]


def one_hot_batch(index_maps: Tensor, num_structures: int) -> Tensor:
    """Return label maps [B, K, X, Y, Z] float32 of channel indices [B, X, Y, Z]."""
    wanted = torch.arange(1, num_structures + 1, device=index_maps.device, dtype=index_maps.dtype)
    return (index_maps[:, None] == wanted[None, :, None, None, None]).float()


def channel_tensor(
    one_hot: Tensor, others: Tensor | None, *, names: Sequence[str], kept: Tensor | None = None
) -> Tensor:
    """Return the tensor [B, C, X, Y, Z] of all channels.

    Args:
        one_hot: Label maps [B, K, X, Y, Z].
        others: Value and mask of each channel but the label map [B, 2 N, X, Y, Z]; None: the
            label map stands alone.
        names: The control's channels, in the order of `control.shown.parts_of`.
        kept: Which channels each sample shows, bool [B, channels]; None: all that it has.
    """
    if others is None:
        return one_hot
    label_map = torch.cat([one_hot, torch.ones_like(one_hot[:, :1])], dim=1)
    images = iter(others.float().split(2, dim=1))
    blocks = [label_map if name == LABEL_MAP else next(images) for name in names]
    if kept is not None:
        factors = kept.float().to(one_hot.device)
        blocks = [block * factors[:, k].reshape(-1, 1, 1, 1, 1) for k, block in enumerate(blocks)]
    return torch.cat(blocks, dim=1)


def channels_of(
    targets: Sequence[Drawable], *, shows: ChannelSettings, scheme: LabelScheme
) -> Tensor:
    """Return the tensor [B, C, X, Y, Z] of the channels of some targets, on the CPU.

    Args:
        targets: With their label maps and channels.
        shows: Which channels and structures the control is shown.
        scheme: Of the label maps.

    Raises:
        ModelError: A target has no label map.
    """
    structures, names = shows.part_of(scheme), shows.names
    maps = [target.label_map.array for target in targets if target.label_map is not None]
    if len(maps) < len(targets):
        raise ModelError(
            "drawing with a control: a target has no label map. Give one, or draw without control."
        )
    indices = torch.from_numpy(np.stack([structures.channels(array) for array in maps]))
    one_hot = one_hot_batch(indices, structures.num_structures)  # [B, K, X, Y, Z]
    if names == ALONE:
        return one_hot
    others = [
        stacked_channels({k: v.array for k, v in target.channels.items()}, names, array.shape)
        for target, array in zip(targets, maps, strict=True)
    ]
    kept = [[is_shown(name, target.presence) for name in names] for target in targets]
    return channel_tensor(
        one_hot, torch.from_numpy(np.stack(others)), names=names, kept=torch.tensor(kept)
    )
