"""A trained network as a plain function of images: what it reads, and how well that fits labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from vcmaug.compute.devices import threads_of
from vcmaug.data.cases import Case
from vcmaug.data.labels import LabelScheme
from vcmaug.data.volumes import read_case_volumes
from vcmaug.downstream.fit import fit
from vcmaug.downstream.settings import StudySettings
from vcmaug.downstream.tasks.base import Ground, Task
from vcmaug.ldm.weights import fill_module, read_weights
from vcmaug.progress import Report, silent

__all__ = ["Evaluator", "load_evaluator", "train_evaluator"]


@dataclass(frozen=True, eq=False)
class Evaluator:
    """A trained network of a task; other rooms hold it without knowing the task.

    Attributes:
        network: Trained.
        task: Whose network it is.
        ground: What the task was told.
        threads: Of the CPU while it reads; None: as many as the process has.
    """

    network: nn.Module
    task: Task
    ground: Ground
    threads: int | None = None

    def __call__(self, images: NDArray[np.float32]) -> NDArray[Any]:
        """Return what the network reads in images [N, X, Y, Z] in [0, 1], such as label maps."""
        with threads_of(self.threads):
            found: NDArray[Any] = self.task.read(self.network, images, self.ground)
        return found

    def adherence(
        self, images: NDArray[np.float32], asked: NDArray[np.uint16]
    ) -> list[Mapping[str, float]]:
        """Return per image how well it fits the label map it was drawn for, by structure.

        Args:
            images: [N, X, Y, Z] in [0, 1].
            asked: Label maps [N, X, Y, Z].
        """
        pairs = zip(self(images), asked, strict=True)
        return [self.task.adherence(found, wanted, self.ground) for found, wanted in pairs]


def train_evaluator(
    cases: Sequence[Case],
    *,
    study: StudySettings,
    scheme: LabelScheme,
    seed: int,
    report: Report = silent,
) -> Evaluator:
    """Return an evaluator trained on real cases alone; the caller chooses which."""
    volumes = read_case_volumes(cases, scheme)
    network, _ = fit(
        volumes, None, study=study, seed=seed, what="independent evaluator", report=report
    )
    return _evaluator(network, study, study.ground(scheme))


def load_evaluator(weights: Path, *, study: StudySettings, scheme: LabelScheme) -> Evaluator:
    """Return a network of a study's task from its weights.

    Args:
        weights: A safetensors file.
        study: Whose task and segmenter it is of.
        scheme: Of the label maps.
    """
    ground = study.ground(scheme)
    network = study.task.network(ground)
    fill_module(network, read_weights(weights), source=weights)
    return _evaluator(network.eval(), study, ground)


def _evaluator(network: nn.Module, study: StudySettings, ground: Ground) -> Evaluator:
    """Return a network of a study's task as its evaluator."""
    return Evaluator(network, task=study.task, ground=ground, threads=study.fit.threads)
