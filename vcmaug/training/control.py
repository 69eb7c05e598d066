"""Training of a control on a frozen prior, from a few labelled cases.

What it is: `train_control`, which leaves a folder that `control.build.load_control` reads.
In the flow: the only training that sees label maps; the caller names the cases, never a test one.
Sources: Ahn et al. 2025, WACV, arXiv 2410.21826.

Notes:
    The prior runs without gradient; its prediction is an input of the control. The deformed copies
    of the training pairs (image and label map bent together, then encoded) are this toolkit's
    addition for small n, as is the learning rate near 1e-3.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vcmaug.control.build import load_control, write_control
from vcmaug.control.method import ControlMethod, control_method
from vcmaug.control.network import ControlNetwork
from vcmaug.control.shown import ShownSettings
from vcmaug.data.cases import Case
from vcmaug.data.labels import LabelScheme
from vcmaug.errors import LeakError, ModelError, list_faults
from vcmaug.ldm.prior import Prior, weights_of
from vcmaug.ldm.weights import hash_of_weights
from vcmaug.progress import Report, silent
from vcmaug.provenance import machine, versions
from vcmaug.seeding import torch_generator
from vcmaug.training.control_objective import control_objective, validation_loss
from vcmaug.training.control_settings import ControlTraining
from vcmaug.training.loop import Watch, train, training_device
from vcmaug.training.pairs import labelled_pairs

__all__ = ["train_control"]


def train_control(
    cases: Sequence[Case],
    *,
    prior: Prior,
    scheme: LabelScheme,
    network: ControlMethod,
    settings: ControlTraining,
    seed: int,
    folder: Path,
    forbidden: Sequence[str],
    about: Mapping[str, Any],
    pseudo_labelled: Sequence[Case] = (),
    start_from: Path | None = None,
    shows: ShownSettings | None = None,
    watches: Sequence[Watch] = (),
    report: Report = silent,
) -> None:
    """Train a control and leave it in a folder.

    Args:
        cases: The labelled cases; the labels of exactly these are seen.
        prior: Frozen; its weights' hash is taken before and after. Its networks are moved to where
            the control is trained.
        scheme: Of the label maps.
        network: The method, as it is set.
        settings: How to train.
        seed: Of everything random.
        folder: Gets `control.safetensors`, `card.json`, and `.checkpoints/`.
        forbidden: Subjects of test and validation.
        about: Written into the card: data, licence, command.
        pseudo_labelled: Further training cases, their label maps guessed by a segmenter of `cases`.
        start_from: Folder of a control on the same prior to start from, or None.
        shows: Channels that it is shown; None: the label map alone.
        watches: What else is looked at on the way.
        report: Told after every update.

    Raises:
        LeakError: A forbidden subject is among the cases.
        ModelError: The prior's weights changed, or `start_from` does not fit.
    """
    everybody = [*cases, *pseudo_labelled]
    _refuse(everybody, forbidden)
    seen = {case.subject_id for case in everybody}
    prior = prior.to(training_device())
    before = hash_of_weights(weights_of(prior.autoencoder, prior.denoiser.unet))
    shows = shows or ShownSettings()
    shown = shows.part_of(scheme)
    kept, watch = _held_out(cases, settings, prior=prior, scheme=scheme, seed=seed, shows=shows)
    pairs = labelled_pairs(
        [*kept, *pseudo_labelled],
        prior=prior,
        scheme=scheme,
        settings=settings,
        seed=seed,
        shows=shows,
    )
    torch.manual_seed(torch_generator(seed, "control").initial_seed())
    module = network.network(prior.spec, num_structures=shown.num_structures, names=shows.names)
    module.start_from_prior(prior)
    if start_from is not None:
        seen |= _start(module, start_from, prior=prior, network=network, scheme=scheme, shows=shows)
    trained = train(
        module,
        control_objective(
            pairs, prior=prior, scheme=shown, settings=settings, seed=seed, drop=shows.drop
        ),
        settings=settings,
        checkpoint=folder / ".checkpoints" / "control.pt",
        identity={
            "prior": before,
            "cases": [case.case_id for case in everybody],
            "network": network.model_dump(mode="json"),
            "settings": settings.model_dump(mode="json"),
            "scheme": scheme.to_json(),
            "start_from": str(start_from),
            "shows": shows.model_dump(mode="json"),
            "seed": seed,
        },
        what="control",
        watches=[*([watch] if watch else []), *watches],
        events=folder / "training",
        report=report,
    )
    module.load_state_dict(trained.best if settings.keep == "best" else trained.weights)
    if hash_of_weights(weights_of(prior.autoencoder, prior.denoiser.unet)) != before:
        raise ModelError("training a control: the frozen prior's weights changed. This is a bug.")
    last = trained.log[-1] if trained.log else {}
    write_control(
        folder,
        network=module,
        settings=network,
        prior=prior,
        scheme=scheme,
        half=settings.half,
        card={
            "subjects": sorted(seen),
            "labelled_subjects": sorted({case.subject_id for case in cases}),
            "pseudo_labelled_subjects": sorted({case.subject_id for case in pseudo_labelled}),
            "started_from": None if start_from is None else "/".join(start_from.parts[-2:]),
            "latent_scale": prior.latent_scale,
            "training": settings.model_dump(mode="json"),
            "shown": shows.model_dump(mode="json"),
            "seed": seed,
            "figures": {
                "last": last,
                "seconds": trained.seconds,
                "kept_update": trained.best_update if settings.keep == "best" else settings.updates,
                "best_update": trained.best_update,
            },
            "log": trained.log,
            "versions": versions(),
            "machine": machine(),
            **about,
        },
    )


def _refuse(cases: Sequence[Case], forbidden: Sequence[str]) -> None:
    """Refuse a case of a test or validation subject."""
    leaked = sorted({case.subject_id for case in cases} & set(forbidden))
    if leaked:
        raise LeakError(
            f"training a control: subject {', '.join(leaked)} belongs to test or validation. "
            "Use training subjects only."
        )


def _held_out(
    cases: Sequence[Case],
    settings: ControlTraining,
    *,
    prior: Prior,
    scheme: LabelScheme,
    seed: int,
    shows: ShownSettings,
) -> tuple[Sequence[Case], Watch | None]:
    """Return the cases to train on, and the measurement on those held out, if there are any.

    All cases of a subject are on one side; the last subjects are held out.

    Raises:
        ModelError: No subject would be left, or the best is to be kept and none is held out.
    """
    count, subjects = settings.held_out, list(dict.fromkeys(case.subject_id for case in cases))
    if count == 0 and settings.keep == "last":
        return cases, None
    if not 0 < count < len(subjects):
        raise ModelError(
            f"training a control on {len(subjects)} subjects: held_out is {count}, expected 1 to "
            f"{len(subjects) - 1} (keep: best needs one)."
        )
    kept, held_out = (
        [case for case in cases if case.subject_id in some]
        for some in (subjects[:-count], subjects[-count:])
    )
    plain = settings.model_copy(update={"deformed_copies": 0, "flip": False})
    pairs = labelled_pairs(
        held_out, prior=prior, scheme=scheme, settings=plain, seed=seed, shows=shows
    )

    def measure(module: nn.Module, update: int) -> dict[str, float]:
        loss = validation_loss(
            module,
            pairs,
            prior=prior,
            scheme=shows.part_of(scheme),
            timesteps=settings.timesteps,
        )
        return {"validation": loss}

    return kept, Watch(settings.validate_every, measure)


def _start(
    module: ControlNetwork,
    folder: Path,
    *,
    prior: Prior,
    network: ControlMethod,
    scheme: LabelScheme,
    shows: ShownSettings,
) -> set[str]:
    """Fill a network from a trained control; return the subjects that one has seen.

    Raises:
        ModelError: It steers another prior, is damaged, speaks another scheme, is shown something
            else or is another network.
    """
    control = load_control(folder, prior=prior)
    theirs = LabelScheme.from_json(control.card["scheme"])
    then, now = (dict(zip(one.names, one.values, strict=True)) for one in (theirs, scheme))
    faults = [] if then == now else [f"its structures are {then}, this recipe's {now}"]
    if not faults:
        was, is_now = (
            f"{', '.join(one.names)} of {', '.join(one.part_of(scheme).names)}"
            for one in (control.shows, shows)
        )
        faults += [] if was == is_now else [f"it was shown {was}; this recipe shows {is_now}"]
    settings, mine = control_method(control.card["settings"]).model_dump(), network.model_dump()
    faults += [
        f"control.network.{name} is {settings.get(name)!r} there and {mine.get(name)!r} here"
        for name in sorted({*settings, *mine})
        if settings.get(name) != mine.get(name)
    ]
    if faults:
        advice = "Make them the same, or train without start_from."
        raise ModelError(list_faults(f"starting from control {folder}", faults, advice=advice))
    module.load_state_dict(control.network.state_dict())
    return set(control.card["subjects"])
