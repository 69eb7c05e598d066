"""`vcmaug train-control`: a VCM on the frozen prior, from n labelled cases."""

from vcmaug.cli.console import progress, say
from vcmaug.cli.options import (
    DryRun,
    NumLabelled,
    Out,
    Pool,
    Profile,
    RecipePath,
    Resume,
    Seed,
    begin_anew,
    open_work,
    replicate_of,
    show_plan,
)

__all__ = ["train_control_command"]


def train_control_command(
    recipe: RecipePath,
    num_labelled: NumLabelled = None,
    pool: Pool = False,
    profile: Profile = None,
    out: Out = None,
    seed: Seed = None,
    resume: Resume = "latest",
    dry_run: DryRun = False,
) -> None:
    """Train the control of one (n, seed) on exactly n labelled training cases.

    A stopped training goes on from its latest checkpoint; a finished one is repeated with
    --resume never alone.

    Example: vcmaug train-control recipes/hippocampus/recipe.yaml --n-labelled 10 --seed 0
    """
    from vcmaug.pipeline.stages import control_stage

    work = open_work(recipe, profile=profile, out=out, dry_run=dry_run)
    replicate = replicate_of(work, num_labelled=num_labelled, seed=seed, pool=pool)
    if dry_run:
        options = work.recipe.control.model_dump(mode="json")
        show_plan(f"train a control in {replicate.control}", **options)
        return
    anew = begin_anew(replicate.control, resume)
    with progress() as report:
        ran = control_stage(work, replicate, again=anew, report=report)
    say(f"The control {'is' if ran else 'was already'} in {replicate.control}.")
