"""The measure by which drawn images are accepted: adherence, read by the replicate's own segmenter.

The segmenter is the teacher of the same n and seed, trained on the very labels that the control
has. The independent evaluator that judges a cohort never takes part in its acceptance.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vcmaug.data.labels import LabelScheme
from vcmaug.downstream.evaluator import Evaluator
from vcmaug.downstream.settings import StudySettings
from vcmaug.errors import ModelError
from vcmaug.files import read_json, sha256_of_file, write_bytes, write_json
from vcmaug.generate.acceptance import Measure, MeasureSource
from vcmaug.ldm.weights import fill_module, read_weights
from vcmaug.pipeline.pool import labelled_of, own_segmenter
from vcmaug.pipeline.work import Replicate, Work
from vcmaug.progress import Report, silent

__all__ = ["load_adherence", "measure_of"]

_WEIGHTS, _DICE = "segmenter.safetensors", "adherence.dice"
_OF_THE_NETWORK = {"task", "segmenter", "lesions"}


def measure_of(work: Work, replicate: Replicate, *, report: Report = silent) -> MeasureSource:
    """Return where workers find the adherence of a replicate; its segmenter is trained if need be.

    Args:
        work: The work folder.
        replicate: Whose n cases the segmenter may see.
        report: Told within the training.
    """
    prepared, _, labelled = labelled_of(work, replicate)
    weights = own_segmenter(work, replicate, report=report)
    folder = work.replicate(replicate.num_labelled, replicate.seed).folder / "acceptance"
    write_bytes(folder / _WEIGHTS, weights.read_bytes())
    card = {
        "kind": "segmenter",
        "study": work.recipe.study.model_dump(mode="json", include=_OF_THE_NETWORK),
        "scheme": prepared.scheme.to_json(),
        "subjects": sorted(case.subject_id for case in labelled),
        "file_sha256": sha256_of_file(weights),
    }
    write_json(folder / "card.json", card)
    return MeasureSource(
        loader=f"{load_adherence.__module__}:{load_adherence.__name__}",
        folder=str(folder.resolve()),
        sha256=sha256_of_file(folder / "card.json"),
        figures=(_DICE, *(f"{_DICE}.{name}" for name in prepared.scheme.names)),
    )


def load_adherence(folder: Path) -> Measure:
    """Return the measure: adherence.dice, and adherence.dice.STRUCTURE, of every image.

    Raises:
        ModelError: The weights are not those of the card.
    """
    card = read_json(folder / "card.json")
    if sha256_of_file(folder / _WEIGHTS) != card["file_sha256"]:
        raise ModelError(
            f"loading the segmenter of acceptance: {folder / _WEIGHTS} is not the file of its "
            "card.json. Remove the folder and run the same command again; it is made anew."
        )
    scheme = LabelScheme.from_json(card["scheme"])
    study = StudySettings.model_validate(card["study"])
    ground = study.ground(scheme)
    network = study.task.network(ground)
    fill_module(network, read_weights(folder / _WEIGHTS), source=folder / _WEIGHTS)
    evaluator = Evaluator(network.eval(), task=study.task, ground=ground)

    def measure(
        images: NDArray[np.float32], asked: NDArray[np.uint16]
    ) -> Sequence[Mapping[str, float]]:
        found = []
        for dice in evaluator.adherence(images, asked):
            each = {f"{_DICE}.{name}": round(value, 4) for name, value in dice.items()}
            found.append({_DICE: round(float(np.mean([*dice.values()])), 4), **each})
        return found

    return measure
