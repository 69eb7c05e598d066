"""`vcmaug gates`: segmenter, autoencoder, prior and control, measured before a study."""

from vcmaug.cli.console import progress, say
from vcmaug.cli.options import (
    DryRun,
    Gpus,
    Out,
    Profile,
    RecipePath,
    Scheduler,
    Workers,
    chosen_compute,
    open_work,
    show_plan,
)

__all__ = ["gates_command"]


def gates_command(
    recipe: RecipePath,
    gpus: Gpus = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    profile: Profile = None,
    out: Out = None,
    dry_run: DryRun = False,
) -> None:
    """Measure, in this order and on validation subjects, what a study stands on.

    Is the segmenter at its plateau? Does the autoencoder keep what it needs? Are the prior's
    samples real? Do drawn images fit their labels? The first gate that fails names the cause.

    Example: vcmaug gates recipes/hippocampus/recipe.yaml
    """
    from vcmaug.pipeline.gates import run_gates

    compute = chosen_compute(gpus=gpus, workers=workers, scheduler=scheduler)
    work = open_work(recipe, profile=profile, out=out, dry_run=dry_run)
    if dry_run:
        options = work.recipe.gates.model_dump(mode="json")
        show_plan(f"measure the gates of {work.folder}, cohorts {compute}", **options)
        return
    with progress() as report:
        run_gates(work, compute=compute, say=_say_gate, report=report)
    say(f"The figures are in {work.folder / 'gates.json'}")


def _say_gate(name: str, ran: bool) -> None:
    """Say what a gate found."""
    say(name if ran else f"{name} (unchanged, kept)")
