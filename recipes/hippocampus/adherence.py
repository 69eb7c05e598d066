"""Adherence with the recipe beside this file, and with the defaults alone, from nothing.

VCMAUG_DATA=FOLDER python recipes/hippocampus/adherence.py

`recipe.yaml` and `from-defaults.yaml` share data and splits. For 10 labelled cases and seed 0 each
trains its control on its prior and draws its cohort. Both cohorts are read by both independent
evaluators: that of `recipe.yaml` has fewer training cases, since its gates need 80 labelled ones.
Where both ask for the same prior, as they do, it is trained once. All figures go into
results/adherence.json; a second call goes on where the first one stopped.
"""

import argparse
from pathlib import Path

from vcmaug.compute import resolve_compute
from vcmaug.files import write_json
from vcmaug.pipeline.artefact import Run
from vcmaug.pipeline.graph import Graph
from vcmaug.pipeline.recipe import PriorRecipe, Recipe, read_recipe
from vcmaug.pipeline.work import Work, claim_work
from vcmaug.progress import silent
from vcmaug.quality.measured import volumes_of_cohort

HERE = Path(__file__).parent
NUM_LABELLED, SEED = 10, 0


def is_same_prior(one: Recipe, other: Recipe) -> bool:
    """Return whether two recipes train the same prior on the same images."""

    def asked(prior: PriorRecipe) -> object:
        """Return all but what is only written on the card."""
        return prior.model_dump(exclude={"licence": True, "spec": {"name"}})

    grids = [recipe.data.grid for recipe in (one, other)]
    return asked(one.prior) == asked(other.prior) and grids[0] == grids[1]


def adherence(judge: Work, work: Work) -> float:
    """Return the adherence of a cohort, by the evaluator of a work folder."""
    evaluator = Graph(judge).evaluator.load()
    if evaluator is None:
        raise SystemExit("too few labelled subjects are left for an evaluator")
    volumes = volumes_of_cohort(work.replicate(NUM_LABELLED, SEED).cohort, report=silent)
    return float(volumes.adherence(evaluator, source="synthetic")["dice"].mean())


def main() -> None:
    """Measure both and write what came out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("work"), help="gets a work folder for each"
    )
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--gpus", type=int)
    asked = parser.parse_args()
    compute = resolve_compute(workers=asked.workers, gpus=asked.gpus)
    ready, defaults = (read_recipe(HERE / f"{name}.yaml") for name in ("recipe", "from-defaults"))
    if is_same_prior(ready, defaults):
        prior = PriorRecipe(folder=(asked.out / ready.name / "prior").resolve())
        defaults = defaults.model_copy(update={"prior": prior})
    works = {
        name: claim_work(asked.out / recipe.name, recipe, profile=None)
        for name, recipe in (("recipe", ready), ("from-defaults", defaults))
    }
    real = {}
    for name, work in works.items():
        evaluation = Graph(work).evaluation(work.replicate(NUM_LABELLED, SEED))
        evaluation.make(
            Run(compute, lambda artefact, made: print(artefact, "made" if made else "kept"))
        )
        real[name] = evaluation.load().mean_adherence["real"]
    rows = [
        {
            "evaluator": name,
            "subjects_of_the_evaluator": Graph(work).evaluator.about().subjects,
            **{cohort: adherence(work, other) for cohort, other in works.items()},
            "real": real[name],
        }
        for name, work in works.items()
    ]
    for row in rows:
        row["difference"] = row["from-defaults"] - row["recipe"]
    write_json(HERE / "results" / "adherence.json", rows)


if __name__ == "__main__":
    main()
