"""The tensor that a control is shown, made by one function for training and for drawing.

Every channel but a label map that stands alone ends in a mask of where it is known; a channel that
is left out, or that a case lacks, is zero in its values and in its mask.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from vcmaug.conditions.base import LABEL_MAP, Drawable
from vcmaug.control.shown import ALONE, ShownSettings, further_channels, is_shown
from vcmaug.data.labels import LabelScheme, index_map
from vcmaug.data.volume import Volume
from vcmaug.errors import ModelError

__all__ = ["known_channels", "one_hot_batch", "shown_of", "shown_tensor"]


def one_hot_batch(index_maps: Tensor, num_structures: int) -> Tensor:
    """Return label maps [B, K, X, Y, Z] float32 of channel indices [B, X, Y, Z]."""
    wanted = torch.arange(1, num_structures + 1, device=index_maps.device, dtype=index_maps.dtype)
    return (index_maps[:, None] == wanted[None, :, None, None, None]).float()


def shown_tensor(
    one_hot: Tensor, further: Tensor | None, *, names: Sequence[str], kept: Tensor | None = None
) -> Tensor:
    """Return the tensor [B, C, X, Y, Z] that a control is shown.

    Args:
        one_hot: Label maps [B, K, X, Y, Z].
        further: Value and mask of each channel but the label map [B, 2 N, X, Y, Z]; None: the
            label map stands alone.
        names: The control's channels, in the order of `control.shown.parts_of`.
        kept: Which channels each sample shows, bool [B, channels]; None: all that it has.
    """
    if further is None:
        return one_hot
    blocks = list(_blocks(one_hot, further, names))
    if kept is not None:
        factors = kept.float().to(one_hot.device)
        blocks = [block * factors[:, k].reshape(-1, 1, 1, 1, 1) for k, block in enumerate(blocks)]
    return torch.cat(blocks, dim=1)


def _blocks(one_hot: Tensor, further: Tensor, names: Sequence[str]) -> Iterator[Tensor]:
    """Yield each channel with its mask last, in the order of the names."""
    images = iter(further.float().split(2, dim=1))
    for name in names:
        if name == LABEL_MAP:
            yield torch.cat([one_hot, torch.ones_like(one_hot[:, :1])], dim=1)
        else:
            yield next(images)


def known_channels(further: Tensor, *, names: Sequence[str]) -> Tensor:
    """Return which channels each sample has, bool [B, channels] on the CPU; a label map always.

    Args:
        further: Value and mask of each channel but the label map [B, 2 N, X, Y, Z].
        names: The control's channels, in order.
    """
    masks = iter((further[:, 1::2] > 0).flatten(2).any(dim=2).cpu().unbind(dim=1))
    always = torch.ones(len(further), dtype=torch.bool)
    return torch.stack([always if name == LABEL_MAP else next(masks) for name in names], dim=1)


def shown_of(targets: Sequence[Drawable], *, shows: ShownSettings, scheme: LabelScheme) -> Tensor:
    """Return the tensor [B, C, X, Y, Z] that a control is shown of some targets, on the CPU.

    Args:
        targets: With their label maps and channels.
        shows: Which channels and structures the control is shown.
        scheme: Of the label maps.

    Raises:
        ModelError: A target has no label map.
    """
    shown, names = shows.part_of(scheme), shows.names
    maps = [_label_map_of(target).array for target in targets]
    indices = torch.from_numpy(np.stack([index_map(array, shown) for array in maps]))
    one_hot = one_hot_batch(indices, shown.num_structures)  # [B, K, X, Y, Z]
    if names == ALONE:
        return one_hot
    further = [
        further_channels({k: v.array for k, v in target.channels.items()}, names, array.shape)
        for target, array in zip(targets, maps, strict=True)
    ]
    kept = [[is_shown(name, target.presence) for name in names] for target in targets]
    return shown_tensor(
        one_hot, torch.from_numpy(np.stack(further)), names=names, kept=torch.tensor(kept)
    )


def _label_map_of(target: Drawable) -> Volume:
    """Return the label map of a target."""
    if target.label_map is None:
        raise ModelError(
            "drawing with a control: a target has no label map. Give one, or draw without control."
        )
    return target.label_map
