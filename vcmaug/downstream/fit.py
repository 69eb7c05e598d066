"""Training of a task's network: so many updates, no more and no fewer, in every arm."""

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vcmaug.compute.devices import threads_of
from vcmaug.data.volumes import LabelledVolumes
from vcmaug.downstream.augment import Bank
from vcmaug.downstream.results import FitRecord
from vcmaug.downstream.settings import AugmentSettings, FitSettings, StudySettings
from vcmaug.progress import Report, silent
from vcmaug.seeding import stable_seed
from vcmaug.training.learner import learn, seeded, warm_polynomial

__all__ = ["fit"]


def fit(
    real: LabelledVolumes,
    synthetic: LabelledVolumes | None,
    *,
    study: StudySettings,
    seed: int,
    batches: int | None = None,
    what: str = "network",
    report: Report = silent,
) -> tuple[nn.Module, FitRecord]:
    """Return a trained network and what it cost.

    Args:
        real: Labelled real cases.
        synthetic: A cohort, or None.
        study: Whose task is trained; task, augmentation, length and speed are the same in every
            arm.
        seed: Of initial weights, augmentation and batches.
        batches: Of augmentation and batches, where it is another.
        what: Name for progress.
        report: Told after every update.

    Raises:
        ModelError: The loss is no longer finite.
    """
    began = time.perf_counter()
    task, ground, settings = study.task, study.ground(real.scheme), study.fit
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loss_of = task.loss()
    with threads_of(settings.threads):
        banks = _banks(real, synthetic, study.augment, seed=seed if batches is None else batches)
        network = seeded(lambda: task.network(ground), seed=stable_seed(seed, "segmenter"))
        network.to(device)

        def loss_at(step: int) -> Tensor:
            inputs, targets = task.examples(*_batch(banks, settings, step=step))
            loss: Tensor = loss_of(network(inputs.to(device)), targets.to(device))
            return loss

        loss = learn(
            network,
            loss_at,
            updates=settings.updates,
            rate=warm_polynomial(settings.learning_rate, updates=settings.updates),
            weight_decay=settings.weight_decay,
            what=what,
            report=report,
        )
    record = FitRecord(
        updates=settings.updates,
        seconds=time.perf_counter() - began,
        augmentation_seconds=sum(bank.seconds for bank in banks),
        loss=loss,
    )
    return network, record


def _banks(
    real: LabelledVolumes, synthetic: LabelledVolumes | None, augment: AugmentSettings, *, seed: int
) -> list[Bank]:
    """Return the bank of the real cases, and that of a cohort where there is one."""
    banks = [Bank(real, augment, versions=augment.versions, seed=seed)]
    if synthetic is not None:  # about as many versions in memory as of the real cases
        versions = max(1, round(augment.versions * len(real.names) / len(synthetic.names)))
        banks.append(Bank(synthetic, augment, versions=versions, seed=seed))
    return banks


def _batch(banks: Sequence[Bank], settings: FitSettings, *, step: int) -> tuple[Tensor, Tensor]:
    """Return images [B, 1, X, Y, Z] and labels [B, X, Y, Z] of one update."""
    num_synthetic = _num_synthetic(settings, step) if len(banks) > 1 else 0
    parts = [
        bank.draw(num, step=step, purpose=purpose)
        for bank, num, purpose in zip(
            banks,
            (settings.batch_size - num_synthetic, num_synthetic),
            ("real batch", "synthetic batch"),
            strict=False,  # one bank in the real arm
        )
    ]
    return torch.cat([images for images, _ in parts]), torch.cat([labels for _, labels in parts])


def _num_synthetic(settings: FitSettings, step: int) -> int:
    """Return how many of a batch are synthetic; over many steps their share is exact."""
    if step >= (1.0 - settings.real_only_final) * settings.updates:
        return 0
    per_step = settings.synthetic_share * settings.batch_size
    return math.floor(per_step * (step + 1) + 1e-9) - math.floor(per_step * step + 1e-9)
