"""Training of a control on a frozen prior, from a few labelled cases.

The only training that sees label maps; the caller names the cases, never a test one.

References:
    Ahn et al. 2025, WACV, arXiv 2410.21826.

Notes:
    The prior runs without gradient; its prediction is an input of the control. The deformed copies
    of the training pairs (image and label map deformed together, then encoded) are this toolkit's
    addition for small n, as is the learning rate near 1e-3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from vcmaug.control.base import Control, load_control
from vcmaug.control.card import ControlCard, card_of
from vcmaug.control.method import ControlMethod
from vcmaug.control.network import ControlNetwork
from vcmaug.control.shown import ShownSettings
from vcmaug.data.cases import Case
from vcmaug.data.labels import LabelScheme
from vcmaug.data.seen import Seen
from vcmaug.errors import LeakError, ModelError, list_faults
from vcmaug.ldm.prior import Prior, weights_of
from vcmaug.ldm.weights import hash_of_weights, in_half_precision
from vcmaug.progress import Report, silent
from vcmaug.provenance import machine, versions
from vcmaug.seeding import stable_seed
from vcmaug.training.control_objective import control_objective, validation_loss
from vcmaug.training.learner import seeded
from vcmaug.training.loop import Trained, Watch, train, training_device
from vcmaug.training.pairs import labelled_pairs
from vcmaug.training.settings import ControlTraining

__all__ = ["ControlJob", "train_control"]


@dataclass(frozen=True, kw_only=True)
class ControlJob:
    """What control is trained, and how.

    Attributes:
        method: As it is set.
        scheme: Of the label maps.
        shows: Channels that it is shown.
        settings: How to train.
        seed: Of everything random.
        forbidden: Subjects of test and validation.
        pseudo_labelled: Further training cases, their label maps made by a segmenter that learnt
            from the labelled ones.
        start_from: Folder of a control on the same prior to start from, or None.
        about: Written into the card: data, licence, command.
    """

    method: ControlMethod
    scheme: LabelScheme
    shows: ShownSettings = field(default_factory=ShownSettings)
    settings: ControlTraining = field(default_factory=ControlTraining)
    seed: int = 0
    forbidden: Sequence[str] = ()
    pseudo_labelled: Sequence[Case] = ()
    start_from: Path | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shown(self) -> LabelScheme:
        """The structures that the control is shown."""
        return self.shows.part_of(self.scheme)

    def identity(self, cases: Sequence[Case], prior_sha256: str) -> dict[str, Any]:
        """Return what must be the same for a training to be resumed."""
        return {
            "prior": prior_sha256,
            "cases": [case.case_id for case in (*cases, *self.pseudo_labelled)],
            "network": self.method.model_dump(mode="json"),
            "settings": self.settings.model_dump(mode="json"),
            "scheme": self.scheme.to_json(),
            "start_from": str(self.start_from),
            "shows": self.shows.model_dump(mode="json"),
            "seed": self.seed,
        }


def train_control(
    cases: Sequence[Case],
    *,
    prior: Prior,
    job: ControlJob,
    folder: Path,
    watches: Sequence[Watch] = (),
    report: Report = silent,
) -> Control:
    """Return a trained control; `control.base.write_control` writes it.

    Args:
        cases: The labelled cases; the labels of exactly these are seen.
        prior: Frozen; its weights' hash is taken before and after. Its networks are moved to where
            the control is trained.
        job: What to train, and how.
        folder: Gets a checkpoint and a log, and resumes from them.
        watches: What else is looked at on the way.
        report: Told after every update.

    Raises:
        LeakError: A forbidden subject is among the cases.
        ModelError: The prior's weights changed, or `job.start_from` does not fit.
    """
    _refuse([*cases, *job.pseudo_labelled], job.forbidden)
    prior = prior.to(training_device())
    before = hash_of_weights(weights_of(prior.autoencoder, prior.denoiser.unet))
    kept, watch = _held_out(cases, job, prior=prior)
    pairs = labelled_pairs(
        [*kept, *job.pseudo_labelled],
        prior=prior,
        scheme=job.scheme,
        settings=job.settings,
        seed=job.seed,
        shows=job.shows,
    )
    module, started = _new_network(job, prior)
    trained = train(
        module,
        control_objective(
            pairs,
            prior=prior,
            scheme=job.shown,
            settings=job.settings,
            seed=job.seed,
            drop=job.shows.drop,
        ),
        settings=job.settings,
        checkpoint=folder / ".checkpoints" / "control.pt",
        identity=job.identity(cases, before),
        what="control",
        watches=[*([watch] if watch else []), *watches],
        events=folder / "training",
        report=report,
    )
    weights = trained.best if job.settings.keep == "best" else trained.weights
    module.load_state_dict(in_half_precision(weights) if job.settings.half else weights)
    if hash_of_weights(weights_of(prior.autoencoder, prior.denoiser.unet)) != before:
        raise ModelError("training a control: the frozen prior's weights changed. This is a bug.")
    return Control(module, _card(module, cases, job, prior=prior, trained=trained, started=started))


def _card(
    module: ControlNetwork,
    cases: Sequence[Case],
    job: ControlJob,
    *,
    prior: Prior,
    trained: Trained,
    started: ControlCard | None,
) -> ControlCard:
    """Return the card of a trained control."""
    settings = job.settings
    return card_of(
        module,
        method=job.method,
        prior=prior,
        scheme=job.scheme,
        seen=_seen(cases, job.pseudo_labelled, before=started.seen if started else None),
        started_from=None if job.start_from is None else "/".join(job.start_from.parts[-2:]),
        latent_scale=prior.latent_scale,
        training=settings.model_dump(mode="json"),
        shown=job.shows,
        seed=job.seed,
        figures={
            "last": trained.log[-1] if trained.log else {},
            "seconds": trained.seconds,
            "kept_update": trained.best_update if settings.keep == "best" else settings.updates,
            "best_update": trained.best_update,
        },
        log=trained.log,
        versions=versions(),
        machine=machine(),
        **job.about,
    )


def _seen(cases: Sequence[Case], pseudo_labelled: Sequence[Case], *, before: Seen | None) -> Seen:
    """Return whose images and labels a control sees, and who taught what labelled the rest."""
    labels, pseudo = (
        tuple(sorted({case.subject_id for case in some})) for some in (cases, pseudo_labelled)
    )
    return Seen(
        images=tuple(sorted({*labels, *pseudo})),
        labels=labels,
        pseudo_labels=pseudo,
        teachers=labels if pseudo else (),
        before=before,
    )


def _new_network(job: ControlJob, prior: Prior) -> tuple[ControlNetwork, ControlCard | None]:
    """Return the network to train, and the card of the control that it starts from."""
    make = partial(
        job.method.network,
        prior.spec,
        num_structures=job.shown.num_structures,
        names=job.shows.names,
    )
    module = seeded(make, seed=stable_seed(job.seed, "control"))
    module.start_from_prior(prior)
    if job.start_from is None:
        return module, None
    return module, _start(module, job.start_from, job, prior=prior)


def _refuse(cases: Sequence[Case], forbidden: Sequence[str]) -> None:
    """Refuse a case of a test or validation subject."""
    leaked = sorted({case.subject_id for case in cases} & set(forbidden))
    if leaked:
        raise LeakError(
            f"training a control: subject {', '.join(leaked)} belongs to test or validation. "
            "Use training subjects only."
        )


def _held_out(
    cases: Sequence[Case], job: ControlJob, *, prior: Prior
) -> tuple[Sequence[Case], Watch | None]:
    """Return the cases to train on, and the measurement on those held out, if there are any.

    All cases of a subject are on one side; the last subjects are held out.

    Raises:
        ModelError: No subject would be left, or the best is to be kept and none is held out.
    """
    settings, shows = job.settings, job.shows
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
        held_out, prior=prior, scheme=job.scheme, settings=plain, seed=job.seed, shows=shows
    )

    def measure(module: nn.Module, update: int) -> dict[str, float]:
        loss = validation_loss(
            module,
            pairs,
            prior=prior,
            scheme=job.shown,
            timesteps=settings.timesteps,
        )
        return {"validation": loss}

    return kept, Watch(settings.validate_every, measure)


def _start(module: ControlNetwork, folder: Path, job: ControlJob, *, prior: Prior) -> ControlCard:
    """Fill a network from a trained control; return that one's card.

    Raises:
        ModelError: It steers another prior, is damaged, speaks another scheme, is shown something
            else or is another network.
    """
    control = load_control(folder, prior=prior)
    then, now = (
        dict(zip(one.names, one.values, strict=True)) for one in (control.card.scheme, job.scheme)
    )
    faults = [] if then == now else [f"its structures are {then}, this recipe's {now}"]
    if not faults:
        was, is_now = (
            f"{', '.join(one.names)} of {', '.join(one.part_of(job.scheme).names)}"
            for one in (control.shows, job.shows)
        )
        faults += [] if was == is_now else [f"it was shown {was}; this recipe shows {is_now}"]
    settings, mine = control.card.settings.model_dump(), job.method.model_dump()
    faults += [
        f"control.network.{name} is {settings.get(name)!r} there and {mine.get(name)!r} here"
        for name in sorted({*settings, *mine})
        if settings.get(name) != mine.get(name)
    ]
    if faults:
        advice = "Make them the same, or train without start_from."
        raise ModelError(list_faults(f"starting from control {folder}", faults, advice=advice))
    module.load_state_dict(control.network.state_dict())
    return control.card
