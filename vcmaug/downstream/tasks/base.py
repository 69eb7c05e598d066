"""The family of tasks: what is trained in every arm of a study, and how it is scored.

A task owns its network, its loss, what the network is shown and should answer, the scores of one
case, and what adherence means. The study knows batches, arms and statistics, and no task.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from vcmaug.data.labels import LabelScheme
from vcmaug.downstream.segmenters.base import Segmenter
from vcmaug.parts import Part

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Figures", "Ground", "Score", "Task"]

Figures = Mapping[str, str | float | bool]
"""One row of scores: figures by the name of their score, and what they are of (`structure`)."""


@dataclass(frozen=True)
class Score:
    """A figure of a case on which arms are compared.

    Attributes:
        name: Of its column.
        title: As headings say it.
        better: Direction.
        low: Least value.
        high: Largest value; None: there is none.
        unit: Of the figure; empty for a share.
        blind_spot: What it does not see, in one sentence.
        table: Caption of the table of means that it belongs to.
    """

    name: str
    title: str
    better: Literal["higher", "lower"]
    low: float = 0.0
    high: float | None = 1.0
    unit: str = ""
    blind_spot: str = ""
    table: str = "Means per structure"


@dataclass(frozen=True)
class Ground:
    """What a study tells its task.

    Attributes:
        scheme: Meaning of the label maps.
        segmenter: The study's segmentation network.
        lesions: Structures that are scored lesion by lesion.
    """

    scheme: LabelScheme
    segmenter: Segmenter
    lesions: tuple[str, ...] = ()


class Task(Part):
    """What is trained and scored.

    Attributes:
        scores: Figures that its rows may hold; the first is the headline of a report.
        empty_rule: What is scored where there is nothing to compare.
        reads_labels: Whether its answers are channel numbers, which a rule without a network can
            find too.
    """

    family: ClassVar[str] = "task"
    home: ClassVar[str] = "vcmaug.downstream.tasks"

    scores: ClassVar[tuple[Score, ...]]
    empty_rule: ClassVar[str] = ""
    reads_labels: ClassVar[bool] = False

    @abstractmethod
    def network(self, ground: Ground) -> "nn.Module":
        """Return a new network; its weights are drawn from torch's generator."""

    def examples(self, images: "Tensor", labels: "Tensor") -> tuple["Tensor", "Tensor"]:
        """Return what the network is shown of a batch, and what it should answer.

        Args:
            images: Augmented images of a training, or images of scored cases [B, 1, X, Y, Z].
            labels: Their channel numbers, int64 [B, X, Y, Z].
        """
        return images, labels

    @abstractmethod
    def loss(self) -> Callable[["Tensor", "Tensor"], "Tensor"]:
        """Return the loss of (answer of the network, what it should answer)."""

    @abstractmethod
    def predict(self, network: "nn.Module", inputs: "Tensor") -> NDArray[Any]:
        """Return what a network makes of inputs [N, ...], one prediction after the other."""

    @abstractmethod
    def score(
        self,
        prediction: NDArray[Any],
        target: NDArray[Any],
        *,
        ground: Ground,
        spacing_mm: Sequence[float],
    ) -> Sequence[Figures]:
        """Return the scores of one case, one row for each thing that is scored.

        Args:
            prediction: Of `predict`.
            target: What the network should have answered.
            ground: Of the study.
            spacing_mm: Voxel size.
        """

    def read(self, network: "nn.Module", images: NDArray[np.float32], ground: Ground) -> Any:
        """Return what a trained network reads in images [N, X, Y, Z], as arrays of files.

        For a segmenter these are label maps; they become pseudo-labels and are held against the
        label maps that were asked for.
        """
        raise NotImplementedError

    def adherence(
        self, found: NDArray[Any], asked: NDArray[np.uint16], ground: Ground
    ) -> Mapping[str, float]:
        """Return how well what was read in one image fits the label map it was drawn for.

        Args:
            found: Of `read`, for one image.
            asked: Label map [X, Y, Z].
            ground: Of the study.

        Returns:
            A figure from 0 to 1 by the name of each structure.
        """
        raise NotImplementedError
