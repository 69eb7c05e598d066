"""The measure by which drawn images are accepted: the adherence that the arm's own segmenter sees.

It has the labels that the control has and no more. The independent evaluator that judges a cohort
never takes part in its acceptance.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import PlainSerializer

from vcmaug.config import JsonFile
from vcmaug.data.labels import LabelScheme, Structure
from vcmaug.downstream.settings import StudySettings
from vcmaug.errors import ModelError
from vcmaug.files import sha256_of_file
from vcmaug.generate.acceptance import Measure

__all__ = ["DICE", "WEIGHTS", "MeasureCard", "load_adherence"]

WEIGHTS = "segmenter.safetensors"
DICE = "adherence.dice"
_OF_NETWORK = {"task", "segmenter", "lesions"}


class MeasureCard(JsonFile):
    """What the segmenter is, beside its weights.

    Attributes:
        kind: Of the model.
        study: Whose network it is; what builds the network is kept of it.
        scheme: Structures of the label maps.
        subjects: Whose labels it was trained on.
        file_sha256: Of the weights.
    """

    kind: str = "segmenter"
    study: Annotated[
        StudySettings,
        PlainSerializer(lambda study: study.model_dump(mode="json", include=_OF_NETWORK)),
    ]
    scheme: tuple[Structure, ...]
    subjects: tuple[str, ...]
    file_sha256: str


def load_adherence(folder: Path) -> Measure:
    """Return the measure: adherence.dice, and adherence.dice.STRUCTURE, of every image.

    Raises:
        ModelError: The weights are not those of the card.
    """
    from vcmaug.downstream.evaluator import load_evaluator

    card = MeasureCard.read(folder / "card.json")
    if sha256_of_file(folder / WEIGHTS) != card.file_sha256:
        raise ModelError(
            f"loading the segmenter of acceptance: {folder / WEIGHTS} is not the file of its "
            "card.json. Remove the folder and run the same command again; it will be made again."
        )
    scheme = LabelScheme(card.scheme)
    evaluator = load_evaluator(folder / WEIGHTS, study=card.study, scheme=scheme)

    def measure(
        images: NDArray[np.float32], asked: NDArray[np.uint16]
    ) -> Sequence[Mapping[str, float]]:
        found = []
        for dice in evaluator.adherence(images, asked):
            each = {f"{DICE}.{name}": round(value, 4) for name, value in dice.items()}
            found.append({DICE: round(float(np.mean([*dice.values()])), 4), **each})
        return found

    return measure
