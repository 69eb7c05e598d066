"""Training of a task's network: so many updates, no more and no fewer, in every arm."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vcmaug.downstream.data import Bank, LabelledVolumes
from vcmaug.downstream.results import FitRecord
from vcmaug.downstream.settings import AugmentSettings, FitSettings
from vcmaug.downstream.tasks.base import Ground, Task
from vcmaug.errors import ModelError
from vcmaug.progress import Progress, Report, silent
from vcmaug.seeding import stable_seed

__all__ = ["FitRecord", "fit"]


def fit(
    real: LabelledVolumes,
    synthetic: LabelledVolumes | None,
    *,
    task: Task,
    ground: Ground,
    augment: AugmentSettings,
    settings: FitSettings,
    seed: int,
    what: str = "network",
    report: Report = silent,
) -> tuple[nn.Module, FitRecord]:
    """Return a trained network and what it cost.

    Args:
        real: Labelled real cases.
        synthetic: A cohort, or None.
        task: Whose network is trained.
        ground: What the task is told.
        augment: The same in every arm.
        settings: Length and speed.
        seed: Of initial weights, augmentation and batches.
        what: Name for progress.
        report: Told after every update.

    Raises:
        ModelError: The loss is no longer finite.
    """
    with _threads(settings.threads):
        return _fit(
            _banks(real, synthetic, augment, seed=seed),
            task=task,
            ground=ground,
            settings=settings,
            seed=seed,
            what=what,
            report=report,
        )


@contextmanager
def _threads(num: int | None) -> Iterator[None]:
    """Compute with so many threads, and with as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(num or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _fit(
    banks: Sequence[Bank],
    *,
    task: Task,
    ground: Ground,
    settings: FitSettings,
    seed: int,
    what: str,
    report: Report,
) -> tuple[nn.Module, FitRecord]:
    """Return a network trained on banks, and what it cost; see `fit`."""
    began = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stable_seed(seed, "segmenter"))
        network = task.network(ground)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    loss_of = task.loss()
    smooth = math.nan
    network.train()
    for step in range(settings.updates):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * _decay(step, settings.updates)
        images, labels = _batch(banks, settings, step=step)
        inputs, targets = task.examples(images, labels)
        loss = loss_of(network(inputs.to(device)), targets.to(device))
        if not torch.isfinite(loss):
            raise ModelError(
                f"training {what}: loss {loss.item()} at update {step + 1}. Lower learning_rate."
            )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        smooth = loss.item() if math.isnan(smooth) else 0.95 * smooth + 0.05 * loss.item()
        report(Progress(what, step + 1, settings.updates, f"loss {smooth:.3f}"))
    record = FitRecord(
        updates=settings.updates,
        seconds=time.perf_counter() - began,
        augmentation_seconds=sum(bank.seconds for bank in banks),
        loss=smooth,
    )
    return network.eval(), record


def _banks(
    real: LabelledVolumes, synthetic: LabelledVolumes | None, augment: AugmentSettings, *, seed: int
) -> list[Bank]:
    """Return the bank of the real cases, and that of a cohort where there is one."""
    banks = [Bank(real, augment, versions=augment.versions, seed=seed)]
    if synthetic is not None:  # about as many versions in memory as of the real cases
        versions = max(1, round(augment.versions * len(real.names) / len(synthetic.names)))
        banks.append(Bank(synthetic, augment, versions=versions, seed=seed))
    return banks


def _decay(step: int, updates: int) -> float:
    """Return the share of the learning rate: a short warm-up, then nnU-Net's polynomial."""
    return min(1.0, (step + 1) / 20) * float((1.0 - step / updates) ** 0.9)


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
