"""Training of a segmentation network: so many updates, no more and no fewer, in every arm.

What it is: the loop, and the record of what it cost.
In the flow: called by the study once per arm, n and seed, and for the independent reader.
Sources: Milletari et al. 2016, arXiv 1606.04797 (Dice loss), with cross-entropy as in nnU-Net.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from monai.losses import DiceCELoss
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from vcmaug.config import Settings
from vcmaug.data.cases import Case
from vcmaug.data.labels import LabelScheme, from_index_map
from vcmaug.downstream.augment import AugmentSettings
from vcmaug.downstream.data import Bank, LabelledVolumes, read_case_volumes
from vcmaug.downstream.segmenter import Segmenter, SegmenterSettings
from vcmaug.errors import ModelError
from vcmaug.progress import Progress, Report, silent
from vcmaug.seeding import stable_seed

__all__ = ["FitRecord", "FitSettings", "Reader", "fit", "predict", "train_reader"]


class FitSettings(Settings):
    """How long and how fast to learn; the same in every arm."""

    updates: int = Field(400, ge=1)
    batch_size: int = Field(4, ge=1)
    learning_rate: float = Field(2e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    synthetic_share: float = Field(
        0.5, ge=0, le=1, description="of each batch, in an arm with a cohort"
    )
    real_only_final: float = Field(
        0.25, ge=0, le=1, description="last share of the updates, on real cases alone in every arm"
    )
    threads: int | None = Field(
        None, ge=1, description="of a training on the CPU; None: as many as the process has"
    )


@dataclass(frozen=True)
class FitRecord:
    """What a training cost: updates, seconds in all, seconds of augmentation, last loss."""

    updates: int
    seconds: float
    augmentation_seconds: float
    loss: float


def fit(
    real: LabelledVolumes,
    synthetic: LabelledVolumes | None,
    *,
    num_structures: int,
    segmenter: SegmenterSettings,
    augment: AugmentSettings,
    settings: FitSettings,
    seed: int,
    what: str = "segmenter",
    report: Report = silent,
) -> tuple[Segmenter, FitRecord]:
    """Return a trained network and what it cost.

    Args:
        real: Labelled real cases.
        synthetic: A cohort, or None.
        num_structures: K.
        segmenter: Shape of the network.
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
            num_structures=num_structures,
            segmenter=segmenter,
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
    num_structures: int,
    segmenter: SegmenterSettings,
    settings: FitSettings,
    seed: int,
    what: str,
    report: Report,
) -> tuple[Segmenter, FitRecord]:
    """Return a network trained on banks, and what it cost; see `fit`."""
    began = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stable_seed(seed, "segmenter"))
        network = Segmenter(segmenter, num_structures=num_structures)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    loss_of = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False)
    smooth = math.nan
    network.train()
    for step in range(settings.updates):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * _decay(step, settings.updates)
        images, labels = _batch(banks, settings, step=step)
        loss = loss_of(network(images.to(device)), labels[:, None].to(device))
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


@torch.no_grad()
def predict(network: Segmenter, images: Tensor, *, batch_size: int = 4) -> NDArray[np.uint8]:
    """Return channel indices, uint8 [N, X, Y, Z], of images [N, 1, X, Y, Z]."""
    device = next(network.parameters()).device
    logits = (network(part.to(device)) for part in images.split(batch_size))
    indices: NDArray[np.uint8] = torch.cat(
        [part.argmax(dim=1).to(torch.uint8).cpu() for part in logits]
    ).numpy()
    return indices


class Reader:
    """A trained segmenter as a plain function of arrays; others hold it without knowing it.

    Args:
        network: Trained.
        scheme: Meaning of its channels.
    """

    def __init__(self, network: Segmenter, scheme: LabelScheme) -> None:
        self.network = network
        self.scheme = scheme

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.uint16]:
        """Return label maps [N, X, Y, Z] of images [N, X, Y, Z] in [0, 1]."""
        indices = predict(self.network, torch.tensor(images.copy(), dtype=torch.float32)[:, None])
        return from_index_map(indices, self.scheme)


def train_reader(
    cases: Sequence[Case],
    *,
    scheme: LabelScheme,
    segmenter: SegmenterSettings,
    augment: AugmentSettings,
    settings: FitSettings,
    seed: int,
    report: Report = silent,
) -> Reader:
    """Return a segmenter trained on real cases alone; the caller chooses which."""
    network, _ = fit(
        read_case_volumes(cases, scheme),
        None,
        num_structures=scheme.num_structures,
        segmenter=segmenter,
        augment=augment,
        settings=settings,
        seed=seed,
        what="independent reader",
        report=report,
    )
    return Reader(network, scheme)
