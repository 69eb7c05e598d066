"""`segmentation`: label maps from images, scored by Dice, HD95, volume and lesion by lesion."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from vcmaug.data.dice import dice_of
from vcmaug.downstream.tasks.base import Figures, Ground, Score, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Segmentation"]

_BATCH = 4


def _of_lesions(name: str, title: str) -> Score:
    """Return a score over connected components."""
    return Score(
        name,
        f"lesion-wise {title}",
        "higher",
        blind_spot="It counts a lesion as found or not, however well its outline fits.",
        table="Means lesion by lesion; a lesion is found where a tenth of it is predicted.",
    )


class Segmentation(Task):
    """Segmentation networks with Dice loss and cross-entropy, as in nnU-Net.

    References:
        Milletari et al., "V-Net", 2016, arXiv 1606.04797 (Dice loss).
    """

    name: Literal["segmentation"] = "segmentation"

    reads_labels: ClassVar[bool] = True
    scores: ClassVar[tuple[Score, ...]] = (
        Score("dice", "Dice", "higher", blind_spot="Small structures count as much as large ones."),
        Score(
            "hd95_mm",
            "HD95, mm",
            "lower",
            high=None,
            unit="mm",
            blind_spot="It sees outlines alone, and an empty structure costs the whole diagonal.",
        ),
        Score(
            "volume_error",
            "volume error, %",
            "lower",
            high=None,
            unit="%",
            blind_spot="A volume may be right in the wrong place.",
        ),
        _of_lesions("lesion_f1", "F1"),
        _of_lesions("lesion_sensitivity", "sensitivity"),
        _of_lesions("lesion_precision", "precision"),
    )
    empty_rule: ClassVar[str] = (
        "Reference and prediction both empty: Dice 1, HD95 0 mm, volume error 0 %. One of them "
        "empty: Dice 0, HD95 the diagonal of the grid, volume error 100 %."
    )

    def network(self, ground: Ground) -> "nn.Module":
        """Return the study's segmenter."""
        return ground.segmenter.network(num_structures=ground.scheme.num_structures)

    def loss(self) -> Callable[["Tensor", "Tensor"], "Tensor"]:
        """Return Dice and cross-entropy of logits and channel numbers."""
        from monai.losses import DiceCELoss

        loss = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False)
        return lambda logits, labels: loss(logits, labels[:, None])

    def predict(self, network: "nn.Module", inputs: "Tensor") -> NDArray[np.uint8]:
        """Return channel numbers, uint8 [N, X, Y, Z], of images [N, 1, X, Y, Z]."""
        import torch

        device = next(network.parameters()).device
        with torch.no_grad():
            logits = (network(part.to(device)) for part in inputs.split(_BATCH))
            parts = [part.argmax(dim=1).to(torch.uint8).cpu() for part in logits]
        indices: NDArray[np.uint8] = torch.cat(parts).numpy()
        return indices

    def score(
        self,
        prediction: NDArray[Any],
        target: NDArray[Any],
        *,
        ground: Ground,
        spacing_mm: Sequence[float],
    ) -> Sequence[Figures]:
        """Return one row per structure; those named as lesions have lesion-wise scores too."""
        from vcmaug.downstream.scoring import lesion_wise, score_structure

        rows: list[Figures] = []
        for channel, name in enumerate(ground.scheme.names, start=1):
            found, there = prediction == channel, target == channel
            row = {"structure": name, **score_structure(found, there, spacing_mm=spacing_mm)}
            rows.append(row | lesion_wise(found, there) if name in ground.lesions else row)
        return rows

    def read(
        self, network: "nn.Module", images: NDArray[np.float32], ground: Ground
    ) -> NDArray[np.uint16]:
        """Return label maps [N, X, Y, Z]."""
        import torch

        inputs = torch.tensor(images.copy(), dtype=torch.float32)[:, None]  # [N, 1, X, Y, Z]
        return ground.scheme.label_map(self.predict(network, inputs))

    def adherence(
        self, found: NDArray[Any], asked: NDArray[np.uint16], ground: Ground
    ) -> Mapping[str, float]:
        """Return the Dice of each structure between the predicted and the intended label map."""
        named = zip(ground.scheme.names, ground.scheme.values, strict=True)
        return {name: dice_of(found == value, asked == value) for name, value in named}
