"""The stages of a recipe, one function each; every one knows its inputs and skips itself.

What it is: prepare, prior, control, conditions, cohort, evaluation, study.
In the flow: each verb runs one of them, `run` runs them all.
Sources: none.
"""

from functools import partial
from pathlib import Path
from typing import Any

from vcmaug.arms.base import Need
from vcmaug.cohort.card import read_cohort_card
from vcmaug.cohort.layout import CohortLayout
from vcmaug.compute import Compute
from vcmaug.conditions.build import build_conditions
from vcmaug.conditions.chain import files_of_steps
from vcmaug.control.build import write_control
from vcmaug.control.card import ControlCard
from vcmaug.data.cases import Cases, cases_of, hashes_of_files
from vcmaug.data.prepare import DataSettings, prepare
from vcmaug.data.scalars import ScalarSpec
from vcmaug.data.template import make_population
from vcmaug.downstream.results import Summary
from vcmaug.downstream.study import run_study
from vcmaug.errors import WorkFolderError
from vcmaug.files import sha256_of_file
from vcmaug.generate.acceptance import Acceptance
from vcmaug.generate.plan import GenerateSettings
from vcmaug.generate.planning import make_plan
from vcmaug.generate.run import generate
from vcmaug.ldm.card import PriorCard, read_card
from vcmaug.ldm.prior import write_prior
from vcmaug.pipeline.acceptance import measure_of
from vcmaug.pipeline.arms import training_data_of
from vcmaug.pipeline.evaluator import evaluator_subjects, independent_evaluator
from vcmaug.pipeline.looking import pictures
from vcmaug.pipeline.models import bring_prior, prior_under, refuse_unfit
from vcmaug.pipeline.pool import (
    labelled_of,
    make_splits_of,
    pool_of,
    pseudo_stage,
    splits_of,
    study_inputs,
    teachers_stage,
)
from vcmaug.pipeline.recipe import POPULATION
from vcmaug.pipeline.work import Replicate, Work, stage
from vcmaug.progress import Report, silent
from vcmaug.quality.run import evaluate_cohort
from vcmaug.training.control import ControlJob, train_control
from vcmaug.training.prior import train_prior

__all__ = [
    "conditions_stage",
    "control_stage",
    "evaluate_stage",
    "generate_stage",
    "prepare_stage",
    "prior_stage",
    "study_stage",
]


def prepare_stage(work: Work, *, report: Report = silent) -> bool:
    """Prepare the cases of a recipe; return whether anything was done.

    Raises:
        RecipeError: A file is not there that a later stage will need, hours later.
        FaultyDataSet: Cases cannot be read; all of them at once.
    """
    recipe = work.recipe
    settings = recipe.data
    refuse_unfit(work)

    def action() -> None:
        source = settings.source
        if recipe.population is not None:
            population = make_population(
                work.folder / POPULATION,
                num_subjects=recipe.population.num_subjects,
                seed=recipe.population.seed,
                grid=settings.grid,
                report=report,
            )
            source = str(population)
        prepare(settings.model_copy(update={"source": source}), work.cases, report=report)

    population = recipe.population.model_dump() if recipe.population else None
    inputs = [settings.model_dump(mode="json"), population, _listing(settings)]
    ran = stage(work, "prepare", inputs=inputs, outputs=work.cases, action=action)
    make_splits_of(work)
    return ran


def _listing(settings: DataSettings) -> list[tuple[str, int, int]]:
    """Return names, sizes and times of the files that are read, by which a change is noticed."""
    files = settings.reader.files(settings.path) if settings.path.exists() else []
    if settings.label_values_file is not None:
        files = [*files, Path(settings.label_values_file)]
    stats = [(path, path.stat()) for path in files if path.is_file()]
    return [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats]


def prior_stage(
    work: Work, *, seed: int | None = None, again: bool = False, report: Report = silent
) -> bool:
    """Train the recipe's prior, or bring a finished one; return whether anything was done."""
    recipe = work.recipe.prior
    chosen_seed = work.recipe.seed if seed is None else seed
    if recipe.source is not None:
        refuse_unfit(work)
        card = sha256_of_file(recipe.source / "card.json")
        bring = partial(bring_prior, recipe, work.prior)
        return stage(work, "prior", inputs=[recipe.zoo, card], outputs=work.prior, action=bring)
    prepared = Cases.open(work.cases)
    splits = splits_of(work, prepared)
    spec = recipe.spec
    assert spec is not None  # the recipe has a prior that is there, or a spec

    def action() -> None:
        prior = train_prior(
            cases_of(prepared.cases, splits.train),
            held_out=cases_of(prepared.cases, splits.validation),
            spec=spec,
            settings=recipe.training,
            seed=chosen_seed,
            folder=work.prior,
            about=_about(work, recipe.licence),
            report=report,
        )
        write_prior(work.prior, prior, half=recipe.training.half)

    inputs = [
        recipe.model_dump(mode="json", exclude={"folder"}),  # None here, and new to older folders
        chosen_seed,
        hashes_of_files(prepared),
        sha256_of_file(work.splits),
    ]
    return stage(work, "prior", inputs=inputs, outputs=work.prior, action=action, again=again)


def _about(work: Work, licence: str) -> dict[str, Any]:
    """Return what a card says of its origin."""
    return {"recipe": work.recipe.name, "data": work.recipe.data_note, "licence": licence}


def control_stage(
    work: Work, replicate: Replicate, *, again: bool = False, report: Report = silent
) -> bool:
    """Train the control of a replicate on exactly its n cases; return whether it was done."""
    prepared, splits, cases = labelled_of(work, replicate)
    pseudo = pool_of(work, replicate, report=report) if replicate.pool else ()
    recipe = work.recipe.control
    start_from = recipe.source

    def action() -> None:
        prior = prior_under(start_from, work.prior)
        watches = []
        if recipe.look_every:
            look = pictures(
                cases,
                every=recipe.look_every,
                prior=prior,
                scheme=prepared.scheme,
                method=recipe.network,
                shows=recipe.shows,
                settings=work.recipe.generate,
                seed=replicate.seed,
                folder=replicate.control / "training",
            )
            watches.append(look)
        job = ControlJob(
            method=recipe.network,
            scheme=prepared.scheme,
            shows=recipe.shows,
            settings=recipe.training,
            seed=replicate.seed,
            forbidden=splits.test + splits.validation,
            pseudo_labelled=pseudo,
            start_from=start_from,
            about=_about(work, recipe.licence),
        )
        control = train_control(
            cases, prior=prior, job=job, folder=replicate.control, watches=watches, report=report
        )
        write_control(replicate.control, control, half=recipe.training.half)

    inputs = [
        recipe.model_dump(mode="json", exclude={"look_every"}),
        read_card(start_from, ControlCard).weights_sha256 if start_from else None,
        read_card(work.prior, PriorCard).weights_sha256,
        hashes_of_files((*cases, *pseudo)),
        prepared.scheme.to_json(),
        replicate.seed,
    ]
    name = f"control-{replicate.name}"
    return stage(work, name, inputs=inputs, outputs=replicate.control, action=action, again=again)


def conditions_stage(
    work: Work,
    replicate: Replicate,
    *,
    n: int | None = None,
    lazy: bool = False,
    compute: Compute,
    report: Report = silent,
) -> bool:
    """Build the conditions of a replicate from its n cases; return whether it was done."""
    prepared, splits, cases = labelled_of(work, replicate)
    cases += pool_of(work, replicate, report=report) if replicate.pool else ()
    settings = work.recipe.conditions.of_builders
    count = n or work.recipe.conditions.n

    def action() -> None:
        build_conditions(
            settings,
            cases,
            folder=replicate.conditions,
            scheme=prepared.scheme,
            n=count,
            seed=replicate.seed,
            roles=splits.roles,
            scalars=_scalars(work),
            lazy=lazy,
            compute=compute,
            report=report,
        )

    inputs = [
        settings.model_dump(mode="json"),
        files_of_steps(settings),
        count,
        lazy,
        hashes_of_files(cases),
        prepared.scheme.to_json(),
        [scalar.model_dump(mode="json") for scalar in _scalars(work)],
        replicate.seed,
    ]
    name = f"conditions-{replicate.name}"
    return stage(work, name, inputs=inputs, outputs=replicate.conditions, action=action)


def _scalars(work: Work) -> tuple[ScalarSpec, ...]:
    """Return the scalars of the recipe's prior."""
    recipe = work.recipe.prior
    if recipe.spec is not None:
        return recipe.spec.scalars
    assert recipe.source is not None  # the recipe has a prior that is there, or a spec
    return read_card(recipe.source, PriorCard).spec.scalars


def generate_stage(
    work: Work,
    replicate: Replicate,
    *,
    n: int | None = None,
    acceptance: Acceptance | None = None,
    verify: bool = False,
    compute: Compute,
    report: Report = silent,
) -> bool:
    """Draw the cohort of a replicate; return whether it was done.

    Args:
        work: The work folder.
        replicate: Whose.
        n: How many cases; None: the recipe's.
        acceptance: What images must be; None: the recipe's.
        verify: Compare all files of a finished cohort with their hashes, and mend it.
        compute: Where.
        report: Told as shards end.
    """
    recipe = work.recipe.generate
    settings = GenerateSettings(**recipe.model_dump(exclude={"n"}))
    if acceptance is not None:
        settings = settings.model_copy(update={"acceptance": acceptance})
    measured = settings.acceptance.measured
    plan = make_plan(
        settings,
        prior_folder=work.prior,
        control_folder=replicate.control,
        conditions_folder=replicate.conditions,
        n=n or recipe.n,
        seed=replicate.seed,
        measure=measure_of(work, replicate, report=report) if measured else None,
    )

    def action() -> None:
        generate(plan, out=replicate.cohort, compute=compute, report=report)

    free: Any = {
        "prior_folder": True,
        "control_folder": True,
        "conditions_folder": True,
        "measure": {"folder", "figures"},
    }
    inputs = plan.model_dump(mode="json", exclude=free)
    name = f"cohort-{replicate.name}"
    again = verify or not CohortLayout(replicate.cohort).is_finished
    return stage(work, name, inputs=inputs, outputs=replicate.cohort, action=action, again=again)


def evaluate_stage(work: Work, replicate: Replicate, *, report: Report = silent) -> bool:
    """Evaluate the cohort of a replicate; return whether it was done."""
    prepared = Cases.open(work.cases)
    splits = splits_of(work, prepared)
    manifest = replicate.cohort / "manifest.parquet"
    if not manifest.exists():
        raise WorkFolderError(
            f"evaluating {replicate.cohort}: there is no manifest.parquet. Run `vcmaug generate` "
            "first."
        )

    def action() -> None:
        evaluator, about = independent_evaluator(work, prepared, splits, report=report)
        seen = read_cohort_card(replicate.cohort).seen
        evaluate_cohort(
            replicate.cohort,
            real=cases_of(prepared.cases, splits.validation),
            evaluator=evaluator,
            about_evaluator=about,
            out=replicate.quality,
            trained_on=cases_of(prepared.cases, seen.of_models),
            metrics=work.recipe.metrics,
            report=report,
        )

    recipe = work.recipe
    inputs = [
        recipe.evaluator.model_dump(mode="json"),
        [metric.model_dump(mode="json") for metric in recipe.metrics],
        recipe.study.task.model_dump(mode="json"),
        recipe.study.segmenter.model_dump(mode="json"),
        recipe.study.augment.model_dump(mode="json"),
        evaluator_subjects(work, splits),
        sha256_of_file(manifest),
        hashes_of_files(prepared),
        sha256_of_file(work.splits),
    ]
    name = f"quality-{replicate.name}"
    return stage(work, name, inputs=inputs, outputs=replicate.quality, action=action)


def study_stage(work: Work, *, compute: Compute | None = None, report: Report = silent) -> Summary:
    """Run what is missing of the study and return its summary; finished runs are kept."""
    study = work.recipe.study
    if any(Need.TEACHER in arm.needs for arm in study.arms):
        teachers_stage(work, compute=compute, report=report)
        for replicate in work.replicates:
            pseudo_stage(work, replicate, report=report)
    arms = training_data_of(work, study.arms)
    inputs = study_inputs(work, splits_of(work, Cases.open(work.cases)), arms)
    return run_study(study, inputs, out=work.study, compute=compute, report=report)
