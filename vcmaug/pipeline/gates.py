"""Gates in front of a study: segmenter, autoencoder, prior, control; the first that fails names it.

What it is: one function per gate, each with its figures, its limit and its verdict.
In the flow: before the study; everything is measured on validation subjects, none on the test.
Sources: none.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vcmaug.compute import Compute
from vcmaug.conditions.target import Target
from vcmaug.data.cases import Case, Cases, cases_of
from vcmaug.data.labels import volumes_mm3
from vcmaug.data.scalars import raw_value
from vcmaug.data.splits import Splits
from vcmaug.downstream.data import LabelledVolumes, read_case_volumes
from vcmaug.downstream.fit import fit
from vcmaug.downstream.settings import FitSettings
from vcmaug.files import read_json, write_json
from vcmaug.generate.drawer import Drawer
from vcmaug.generate.noise import Noise
from vcmaug.ldm.prior import Prior, load_prior
from vcmaug.pipeline.evaluator import independent_evaluator
from vcmaug.pipeline.pool import splits_of
from vcmaug.pipeline.run import draw_cohort
from vcmaug.pipeline.stages import prepare_stage, prior_stage
from vcmaug.pipeline.work import Work, stage
from vcmaug.progress import Report, silent
from vcmaug.provenance import machine, versions
from vcmaug.quality.realism import tell_apart
from vcmaug.report.figures import write_mosaic
from vcmaug.seeding import numpy_generator
from vcmaug.training.autoencoder import gradient_energy

__all__ = ["run_gates"]

Say = Callable[[str, bool], None]

_DRAWN_TOGETHER = 8


@dataclass(frozen=True)
class _Ground:
    """What every gate works on."""

    work: Work
    prepared: Cases
    splits: Splits
    report: Report

    @property
    def train(self) -> LabelledVolumes:
        """All training cases with their labels."""
        return self._read(self.splits.train)

    @property
    def validation(self) -> LabelledVolumes:
        """The validation cases with their labels."""
        return self._read(self.splits.validation)

    def _read(self, subjects: Sequence[str]) -> LabelledVolumes:
        """Return the labelled cases of some subjects in memory."""
        cases: tuple[Case, ...] = cases_of(self.prepared.cases, subjects)
        return read_case_volumes([case for case in cases if case.label], self.prepared.scheme)


def run_gates(work: Work, *, compute: Compute, say: Say, report: Report = silent) -> dict[str, Any]:
    """Measure all gates of a recipe, write WORK/gates.json and return it.

    Args:
        work: The work folder; cases and prior are made if they are missing.
        compute: Where conditions and cohorts are made.
        say: Told after every gate.
        report: Told within the long ones.
    """
    prepare_stage(work, report=report)
    prepared = Cases.open(work.cases)
    ground = _Ground(work, prepared, splits_of(work, prepared), report)
    folder = work.folder / "gates"
    _gate(folder, "1-segmenter", ground, _segmenter, say)
    say("prior", prior_stage(work, report=report))
    _gate(folder, "2-autoencoder", ground, _autoencoder, say)
    _gate(folder, "3-prior", ground, _prior, say)
    gates = work.recipe.gates
    many = [(4, gates.num_labelled)] if gates.num_labelled else []
    for number, n in [*many, *((5, n) for n in work.recipe.study.num_labelled)]:
        draw_cohort(work, work.replicate(n, gates.seed), compute=compute, say=say, report=report)
        _gate(folder, f"{number}-control-n{n}", ground, _control_of(n), say)
    found = [read_json(path) for path in sorted(folder.glob("*.json"))]
    result = {"kind": "gates", "gates": found, "versions": versions(), "machine": machine()}
    write_json(work.folder / "gates.json", result)
    return result


Measure = Callable[[_Ground, Path], tuple[dict[str, Any], bool]]


def _gate(folder: Path, name: str, ground: _Ground, measure: Measure, say: Say) -> None:
    """Measure one gate unless its inputs are unchanged, and write its figures."""
    work, path = ground.work, folder / f"{name}.json"

    def action() -> None:
        began = time.perf_counter()
        figures, passed = measure(ground, folder)
        row = {"gate": name, "passed": passed, **figures}
        write_json(path, row | {"seconds": round(time.perf_counter() - began, 1)})

    recipe = work.recipe
    card = work.prior / "card.json"
    inputs = [
        recipe.gates.model_dump(mode="json"),
        recipe.study.model_dump(mode="json", include={"task", "segmenter", "augment", "fit"}),
        read_json(card)["weights_sha256"] if name[0] != "1" else None,
        read_json(_quality_of(work, name)) if name[0] in "45" else None,
    ]
    ran = stage(work, f"gate-{name}", inputs=inputs, outputs=path, action=action)
    say(f"gate {name}: {'passed' if read_json(path)['passed'] else 'FAILED'}", ran)


def _quality_of(work: Work, name: str) -> Path:
    """Return the evaluation that a control's gate reads."""
    num_labelled = int(name.rsplit("n", 1)[1])
    return work.replicate(num_labelled, work.recipe.gates.seed).quality / "quality.json"


def _segmenter(ground: _Ground, folder: Path) -> tuple[dict[str, Any], bool]:
    """Return validation Dice of a segmenter with all training labels, at full and half length."""
    del folder
    gates, full = ground.work.recipe.gates, ground.work.recipe.study.fit
    half = full.model_copy(update={"updates": full.updates // 2})
    train = ground.train
    dice = {fit.updates: _dice(ground, train, fit) for fit in (half, full)}
    gain = dice[full.updates] - dice[half.updates]
    figures = {
        "dice": dice[full.updates],
        "dice_at_half_the_updates": dice[half.updates],
        "updates": full.updates,
        "num_train": len(train.names),
        "limit": f"dice at least {gates.least_dice}, gain of the second half below 0.005",
    }
    return figures, dice[full.updates] >= gates.least_dice and gain < 0.005


def _dice(ground: _Ground, train: LabelledVolumes, settings: FitSettings) -> float:
    """Return the mean Dice on validation of a segmenter trained on some volumes."""
    study = ground.work.recipe.study
    told = study.ground(ground.prepared.scheme)
    network, _ = fit(
        train,
        None,
        task=study.task,
        ground=told,
        augment=study.augment,
        settings=settings,
        seed=ground.work.recipe.gates.seed,
        report=ground.report,
    )
    shown = ground.validation
    inputs, targets = study.task.examples(shown.images, shown.labels)
    pairs = zip(study.task.predict(network, inputs), targets.numpy(), strict=True)
    headline = study.task.scores[0].name
    scores = [
        float(row[headline])
        for found, target in pairs
        for row in study.task.score(found, target, ground=told, spacing_mm=shown.spacing_mm)
    ]
    return float(np.mean(scores))


def _autoencoder(ground: _Ground, folder: Path) -> tuple[dict[str, Any], bool]:
    """Return what training on reconstructions costs, and how much texture they have."""
    prior, train, shown = load_prior(ground.work.prior), ground.train, ground.validation
    made = replace(train, images=_reconstructed(prior, train))
    real = read_json(folder / "1-segmenter.json")["dice"]
    loss = real - _dice(ground, made, ground.work.recipe.study.fit)
    again = _reconstructed(prior, shown)
    ratio = float(gradient_energy(again).sum() / gradient_energy(shown.images).sum())
    figures = {
        "dice_lost": loss,
        "gradient_energy_ratio": ratio,
        "psnr_db": prior.card.figures.get("psnr_db"),
        "limit": "Dice lost at most 0.01, gradient energy within 10 % of real",
    }
    return figures, loss <= 0.01 and abs(ratio - 1.0) <= 0.1


def _reconstructed(prior: Prior, volumes: LabelledVolumes) -> Tensor:
    """Return reconstructions [N, 1, X, Y, Z] with the prior's texture."""
    shape = tuple(volumes.images.shape[1:])
    parts = []
    for name, image in zip(volumes.names, volumes.images, strict=True):
        noise = Noise(0, [name]).of(shape, "texture")
        parts.append(prior.decode(prior.encode(image[None]), noise))
    return torch.cat(parts)


def _prior(ground: _Ground, folder: Path) -> tuple[dict[str, Any], bool]:
    """Return how well samples, and reconstructions, are told from real images."""
    prior, gates = load_prior(ground.work.prior), ground.work.recipe.gates
    everybody = (*ground.splits.train, *ground.splits.validation)
    cases = cases_of(ground.prepared.cases, everybody)
    real = read_case_volumes([c for c in cases if c.label], ground.prepared.scheme)
    drawn = _unconditional(prior, cases, num=gates.num_samples, ground=ground)
    write_mosaic(folder / "samples.png", drawn[:64])
    response = _scalar_response(prior, cases, drawn, ground)
    order = numpy_generator(gates.seed, "halves").permutation(len(real.names))
    half = len(order) // 2
    images = real.images[:, 0].numpy()
    again = _reconstructed(prior, real)[:, 0].numpy()
    told_by = partial(tell_apart, settings=gates.realism, seed=gates.seed, report=ground.report)
    told = {
        "samples": told_by(images, drawn, what="samples"),
        "reconstructions": told_by(images[order[:half]], again[order[half:]]),
        "other real images": told_by(images[order[:half]], images[order[half:]]),
    }
    losses = prior.card.figures  # an imported prior has none
    figures = {
        "told_from_real": {name: asdict(one) for name, one in told.items()},
        "steps": gates.sampler.steps,
        "losses": {name: loss for name, loss in losses.items() if name.startswith("diffusion")},
        "scalar_response": response,
        "limit": "AUC of samples at most 0.8; asked against measured volumes r = 0.8 or more",
    }
    responds = all(row["r"] >= 0.8 for row in response)
    return figures, told["samples"].auc <= 0.8 and responds


def _scalar_response(
    prior: Prior, cases: Sequence[Case], drawn: NDArray[np.float32], ground: _Ground
) -> list[dict[str, Any]]:
    """Return, per volume that the prior can be asked for, asked against measured in its samples."""
    prepared = ground.prepared
    volumes = [
        spec for spec in prior.spec.scalars if set(spec.structures) & {*prepared.scheme.names}
    ]
    if not volumes:
        return []
    read, _ = independent_evaluator(ground.work, prepared, ground.splits, report=ground.report)
    if read is None:
        why = "no independent evaluator"
        return [{"scalar": spec.name, "r": float("nan"), "why": why} for spec in volumes]
    spacing_mm = prior.spec.grid.spacing_mm
    found = [volumes_mm3(map_, prepared.scheme, spacing_mm) for map_ in read(drawn)]
    rows = []
    for spec in volumes:
        asked = [raw_value(spec, cases[k % len(cases)].row) or 0.0 for k in range(len(drawn))]
        measured = [sum(one[name] for name in spec.structures) for one in found]
        varies = bool(np.std(asked) > 0 and np.std(measured) > 0)
        r = float(np.corrcoef(asked, measured)[0, 1]) if varies else 0.0
        slope = float(np.polyfit(asked, measured, 1)[0]) if varies else 0.0
        rows.append({"scalar": spec.name, "r": r, "slope": slope, "num": len(drawn)})
    return rows


def _unconditional(
    prior: Prior, cases: Sequence[Case], *, num: int, ground: _Ground
) -> NDArray[np.float32]:
    """Return images [num, X, Y, Z] drawn without a control; scalars are those of cases in turn."""
    gates = ground.work.recipe.gates
    drawer = Drawer(prior, None, sampler=gates.sampler)
    parts = []
    for first in range(0, num, _DRAWN_TOGETHER):
        numbers = range(first, min(first + _DRAWN_TOGETHER, num))
        rows = [cases[k % len(cases)].row for k in numbers]
        targets = [
            Target(scalars={spec.name: raw_value(spec, row) for spec in prior.spec.scalars})
            for row in rows
        ]
        parts.append(drawer(targets, Noise(gates.seed, [f"unconditional-{k}" for k in numbers])))
    return np.concatenate(parts)


def _control_of(num_labelled: int) -> Measure:
    """Return the gate of the control trained on so many labelled cases."""

    def measure(ground: _Ground, folder: Path) -> tuple[dict[str, Any], bool]:
        """Return adherence on synthetic and on real images, and what is between them."""
        del folder
        replicate = ground.work.replicate(num_labelled, ground.work.recipe.gates.seed)
        quality = read_json(replicate.quality / "quality.json")
        dice = {
            row["source"]: row["dice"] for row in quality["adherence"] if row["structure"] == "mean"
        }
        lost = dice["real"] - dice["synthetic"]
        figures = {
            "adherence": dice["synthetic"],
            "same_segmenter_on_real_images": dice["real"],
            "lost": lost,
            "num_labelled": num_labelled,
            "limit": "within 0.03 of the same segmenter on real images",
        }
        return figures, lost <= 0.03

    return measure
