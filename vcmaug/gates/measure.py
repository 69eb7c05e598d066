"""The four gates, in the order in which they are read: segmenter, autoencoder, prior, control.

With all training labels, is the segmenter good enough and at its plateau? Does the autoencoder keep
what it needs, and the texture? Are the prior's samples real, and do they have the requested
volumes? Do images drawn with a control fit their labels as real ones do?
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vcmaug.conditions.base import Target
from vcmaug.data.case import Case
from vcmaug.data.labels import volumes_mm3
from vcmaug.data.scalars import raw_value
from vcmaug.downstream.evaluator import Evaluator
from vcmaug.gates.base import GateGround, GateResult, Limit
from vcmaug.generate.drawer import Drawer
from vcmaug.generate.noise import Noise
from vcmaug.ldm.prior import Prior
from vcmaug.quality.realism import tell_apart
from vcmaug.quality.results import Quality
from vcmaug.seeding import numpy_generator
from vcmaug.training.autoencoder import gradient_energy
from vcmaug.training.data import read_images

__all__ = ["measure_autoencoder", "measure_control", "measure_prior", "measure_segmenter"]

_MOST_GAIN = 0.005  # of the second half of a segmenter's training
_MOST_DICE_LOST = 0.01  # to the autoencoder
_MOST_ENERGY_OFF = 0.1
_MOST_AUC = 0.8
_LEAST_R = 0.8
_MOST_ADHERENCE_LOST = 0.03
_DRAWN_TOGETHER = 8


def measure_segmenter(ground: GateGround) -> GateResult:
    """Return validation Dice of a segmenter with all training labels, at full and half length."""
    full = ground.study.fit
    half = full.model_copy(update={"updates": full.updates // 2})
    at_half, at_end = (ground.score_of(ground.train, fit) for fit in (half, full))
    return GateResult(
        {
            "dice": at_end,
            "dice_at_half_the_updates": at_half,
            "updates": full.updates,
            "num_train": len(ground.train.names),
        },
        (
            Limit("dice", at_end, "at least", ground.settings.least_dice),
            Limit("gain of the second half", at_end - at_half, "below", _MOST_GAIN),
        ),
    )


def measure_autoencoder(ground: GateGround, prior: Prior, *, dice: float) -> GateResult:
    """Return what training on reconstructions costs, and how much texture they have.

    Args:
        ground: Cases and settings.
        prior: Whose autoencoder it is.
        dice: Of the segmenter that was trained on the images themselves.
    """
    again = {
        one: _reconstructed(prior, volumes.names, volumes.tensors()[0])
        for one, volumes in (("train", ground.train), ("validation", ground.validation))
    }
    train = replace(ground.train, images=again["train"][:, 0].numpy())
    lost = dice - ground.score_of(train, ground.study.fit)
    real = gradient_energy(ground.validation.tensors()[0]).sum()
    ratio = float(gradient_energy(again["validation"]).sum() / real)
    psnr_db = prior.card.figures.get("psnr_db")
    return GateResult(
        {"dice_lost": lost, "gradient_energy_ratio": ratio, "psnr_db": psnr_db},
        (
            Limit("Dice lost", lost, "at most", _MOST_DICE_LOST),
            Limit("gradient energy off real by", abs(ratio - 1.0), "at most", _MOST_ENERGY_OFF),
        ),
    )


def _reconstructed(prior: Prior, names: Sequence[str], images: Tensor) -> Tensor:
    """Return reconstructions of images [N, 1, X, Y, Z] with the prior's texture."""
    parts = []
    for name, image in zip(names, images, strict=True):
        noise = Noise(0, [name]).of(tuple(image.shape), "texture")
        parts.append(prior.decode(prior.encode(image[None]), noise))
    return torch.cat(parts)


class _Response(NamedTuple):
    """How the measured volumes of samples follow one scalar that was asked for.

    There are a correlation, a slope (mm3 per mm3) and the number of samples, or the reason why not.
    """

    scalar: str
    r: float
    slope: float | None = None
    num: int | None = None
    why: str | None = None


def measure_prior(ground: GateGround, prior: Prior, *, evaluator: Evaluator | None) -> GateResult:
    """Return how well samples, and reconstructions, are told from real images.

    Args:
        ground: Cases and settings.
        prior: Whose samples they are.
        evaluator: Reads their volumes; None: there is none.
    """
    settings = ground.settings
    everybody = (*ground.splits.train, *ground.splits.validation)
    cases = ground.cases_of(everybody)
    real = read_images(cases)
    drawn = _unconditional(ground, prior, cases)
    responses = _responses(ground, prior, cases, drawn, evaluator)
    order = numpy_generator(settings.seed, "halves").permutation(len(cases))
    half = len(order) // 2
    names = [case.case_id for case in cases]
    images, again = (one[:, 0].numpy() for one in (real, _reconstructed(prior, names, real)))
    told_by = partial(
        tell_apart, settings=settings.realism, seed=settings.seed, report=ground.report
    )
    told = {
        "samples": told_by(images, drawn, what="samples"),
        "reconstructions": told_by(images[order[:half]], again[order[half:]]),
        "other real images": told_by(images[order[:half]], images[order[half:]]),
    }
    losses = prior.card.figures.items()  # an imported prior has none
    limits = [Limit("AUC of samples", told["samples"].auc, "at most", _MOST_AUC)]
    limits += [
        Limit("r of asked against measured volumes", one.r, "at least", _LEAST_R)
        for one in responses
    ]
    return GateResult(
        {
            "told_from_real": {name: asdict(one) for name, one in told.items()},
            "steps": settings.sampler.steps,
            "losses": {name: loss for name, loss in losses if name.startswith("diffusion")},
            "scalar_response": [
                {name: value for name, value in one._asdict().items() if value is not None}
                for one in responses
            ],
        },
        limits,
        samples=drawn,
    )


def _unconditional(ground: GateGround, prior: Prior, cases: Sequence[Case]) -> NDArray[np.float32]:
    """Return images drawn without a control; scalars are those of cases in turn."""
    settings = ground.settings
    drawer = Drawer(prior, None, sampler=settings.sampler)
    parts = []
    for first in range(0, settings.num_samples, _DRAWN_TOGETHER):
        numbers = range(first, min(first + _DRAWN_TOGETHER, settings.num_samples))
        rows = [cases[k % len(cases)].columns for k in numbers]
        targets = [
            Target(scalars={spec.name: raw_value(spec, row) for spec in prior.spec.scalars})
            for row in rows
        ]
        noise = Noise(settings.seed, [f"unconditional-{k}" for k in numbers])
        parts.append(drawer(targets, noise))
    return np.concatenate(parts)


def _responses(
    ground: GateGround,
    prior: Prior,
    cases: Sequence[Case],
    drawn: NDArray[np.float32],
    evaluator: Evaluator | None,
) -> list[_Response]:
    """Return the response to every volume that the prior can be asked for."""
    scheme = ground.cases.scheme
    volumes = [spec for spec in prior.spec.scalars if set(spec.structures) & {*scheme.names}]
    if evaluator is None or not volumes:
        why = "no independent evaluator"
        return [_Response(spec.name, float("nan"), why=why) for spec in volumes]
    found = [volumes_mm3(one, scheme, prior.spec.grid.spacing_mm) for one in evaluator(drawn)]
    responses = []
    for spec in volumes:
        values = [raw_value(spec, cases[k % len(cases)].columns) for k in range(len(found))]
        pairs = [
            (value, sum(one[name] for name in spec.structures))
            for value, one in zip(values, found, strict=True)
            if value is not None  # of a case without a label map nothing was asked
        ]
        asked, measured = np.array(pairs, dtype=float).reshape(-1, 2).T
        varies = len(pairs) > 1 and bool(np.std(asked) > 0 and np.std(measured) > 0)
        r = float(np.corrcoef(asked, measured)[0, 1]) if varies else 0.0
        slope = float(np.polyfit(asked, measured, 1)[0]) if varies else 0.0
        responses.append(_Response(spec.name, r, slope, len(pairs)))
    return responses


def measure_control(quality: Quality, *, num_labelled: int) -> GateResult:
    """Return adherence on synthetic and on real images, and what is between them.

    Args:
        quality: The evaluation of its cohort.
        num_labelled: Labelled cases that it was trained on.
    """
    dice = quality.mean_adherence
    lost = dice["real"] - dice["synthetic"]
    figures = {
        "adherence": dice["synthetic"],
        "same_segmenter_on_real_images": dice["real"],
        "lost": lost,
        "num_labelled": num_labelled,
    }
    what = "Dice lost against the same segmenter on real images"
    return GateResult(figures, (Limit(what, lost, "at most", _MOST_ADHERENCE_LOST),))
