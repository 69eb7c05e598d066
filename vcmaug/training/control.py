"""Training of a control on a frozen prior, from a few labelled cases.

The only training that sees label maps; the caller names the cases, never a test one.

References:
    Ahn et al. 2025, WACV, arXiv 2410.21826.

Notes:
    The prior runs without gradient; its prediction is an input of the control. The deformed copies
    of the training pairs (image and label map deformed together, then encoded) are this toolkit's
    addition for small n, as is the learning rate near 1e-3.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from vcmaug.compute.devices import threads_of
from vcmaug.control.base import Control, load_control
from vcmaug.control.card import ControlCard
from vcmaug.control.network import ControlNetwork
from vcmaug.data.case import Case, files_of
from vcmaug.data.seen import Seen
from vcmaug.errors import LeakError, ModelError, list_faults
from vcmaug.files import locked
from vcmaug.ldm.prior import Prior
from vcmaug.ldm.weights import hash_of_weights, in_half_precision
from vcmaug.outputs import refuse_overlap
from vcmaug.progress import Report, silent
from vcmaug.provenance import fingerprint, machine, versions
from vcmaug.seeding import stable_seed
from vcmaug.training.control_objective import control_objective, validation_loss
from vcmaug.training.learner import seeded
from vcmaug.training.loop import Watch, train, training_device
from vcmaug.training.pairs import labelled_pairs
from vcmaug.training.settings import ControlJob

__all__ = ["train_control"]


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
        WorkFolderError: The folder is in use, or overlaps with what is read.
    """
    _refuse([*cases, *job.pseudo_labelled], job.forbidden)
    models = filter(None, [prior.folder, job.start_from])
    refuse_overlap("training a control", writes=[folder], reads=[*models, *files_of(cases)])
    prior = prior.to(training_device())
    before = hash_of_weights(prior.weights)
    with (
        locked(folder, purpose="training a control", together=True),
        threads_of(job.settings.threads),
    ):
        kept, measured = _held_out(cases, job, prior=prior)
        pairs = labelled_pairs([*kept, *job.pseudo_labelled], prior=prior, job=job)
        module, started = _new_network(job, prior)
        trained = train(
            module,
            control_objective(pairs, prior=prior, job=job),
            settings=job.settings,
            checkpoint=folder / ".checkpoints" / "control.pt",
            identity=_identity(job, cases, before),
            what="control",
            watches=[*measured, *watches],
            events=folder / "training",
            report=report,
        )
    weights = (trained.best if job.settings.keep == "best" else {}) or trained.average
    module.load_state_dict(in_half_precision(weights) if job.settings.half else weights)
    if hash_of_weights(prior.weights) != before:
        raise ModelError("training a control: the frozen prior's weights changed. This is a bug.")
    settings = job.settings
    return Control.of(
        module,
        method=job.method,
        prior=prior,
        scheme=job.scheme,
        seen=_seen(cases, job, before=started.seen if started else None),
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


def _identity(job: ControlJob, cases: Sequence[Case], prior_sha256: str) -> str:
    """Return the fingerprint of what must be the same for a training to be resumed."""
    return fingerprint(
        {
            "prior": prior_sha256,
            "cases": [case.case_id for case in (*cases, *job.pseudo_labelled)],
            "network": job.method.model_dump(mode="json"),
            "settings": job.settings.model_dump(mode="json"),
            "scheme": job.scheme.to_json(),
            "start_from": str(job.start_from),
            "shows": job.shows.model_dump(mode="json"),
            "seed": job.seed,
        }
    )


def _seen(cases: Sequence[Case], job: ControlJob, *, before: Seen | None) -> Seen:
    """Return whose images and labels a control sees, and who taught what labelled the rest."""
    labels, pseudo = (
        tuple(sorted({case.subject_id for case in some})) for some in (cases, job.pseudo_labelled)
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
    module = seeded(
        lambda: job.method.network(
            prior.spec, num_structures=job.structures.num_structures, names=job.shows.names
        ),
        seed=stable_seed(job.seed, "control"),
    )
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
) -> tuple[Sequence[Case], list[Watch]]:
    """Return the cases to train on, and the measurement on those held out, if there are any.

    All cases of a subject are on one side; the last subjects are held out.

    Raises:
        ModelError: No subject would be left, or the best is to be kept and none is held out.
    """
    settings = job.settings
    count, subjects = settings.held_out, list(dict.fromkeys(case.subject_id for case in cases))
    if count == 0 and settings.keep == "last":
        return cases, []
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
    pairs = labelled_pairs(held_out, prior=prior, job=replace(job, settings=plain))

    def measure(module: nn.Module, update: int) -> dict[str, float]:
        return {"validation": validation_loss(module, pairs, prior=prior, job=job)}

    return kept, [Watch(settings.validate_every, measure)]


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
