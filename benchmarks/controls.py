"""Every control beside every other: same prior, cases, conditions and updates.

VCMAUG_DATA=FOLDER python benchmarks/controls.py recipes/hippocampus/recipe.yaml --n 10 50 100
    [--methods vcm controlnet] [--task map] [--seeds 0] [--profile NAME] [--prior NAME]
    [--out work/controls] [--add-to benchmarks/results/controls-hippocampus.json]

For each method, number of labelled cases and seed, in a process of its own: parameters, the
cohort's adherence and volume error in the structures that are shown, and its Frechet distance.
Conditions of the cohort are made of the maps of the labelled cases by the recipe's chains;
`new_maps` has the same figures of maps made of those of validation subjects, which no training has
seen and which are the same for all n. Intervals are over the subjects that the maps began
with (of the shape model, those that gave the pose: its draws share one model); all methods
draw the same conditions from the same noise, so they can be compared subject by subject. At the
end, once per method and side by side: memory and seconds of a few updates, and what a sampling step
costs over the bare prior's.

`recipe` is the recipe's own network at its own strength, `recipe_at_1` at strength 1,
`recipe_no_layout` without its layout; `none` is it at strength 0, where draws are the prior's
alone; `vcm` is a larger VCM without a layout, all others are their method's default networks, each
at strength 1, and those called `_longer` have four times the updates. Else training, prior, cases,
conditions and sampler are the recipe's for all. What is finished is kept; the same command goes on,
and --add-to takes the rows of an earlier result of the same settings. The segmenter that reads was
trained on none of the labelled cases of any n and seed in the result. JSON comes last.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from adherence import PER_NEW_MAP, of_new_maps, readings
from turns import overhead_of

from vcmaug.compute import peak_memory, resolve_compute
from vcmaug.control.base import load_control
from vcmaug.control.method import ControlMethod
from vcmaug.control.shown import parts_of
from vcmaug.data.cases import Cases
from vcmaug.files import read_json
from vcmaug.ldm.denoiser import Context
from vcmaug.ldm.prior import load_prior
from vcmaug.pipeline.artefact import Run, make_all
from vcmaug.pipeline.artefacts.segmenters import evaluator_subjects
from vcmaug.pipeline.graph import Graph
from vcmaug.pipeline.recipe import PriorRecipe, Recipe, read_recipe
from vcmaug.pipeline.work import Replicate, Work, claim_work
from vcmaug.provenance import fingerprint, machine, versions

OWN, AT_1, NO_LAYOUT, NONE = "recipe", "recipe_at_1", "recipe_no_layout", "none"
PLAIN_VCM = {
    "name": "vcm",
    "channels": [64, 128],
    "num_res_blocks": 2,
    "num_head_channels": 32,
    "hidden_channels": 64,
    "layout": False,
}
VARIANTS = {
    "vcm": PLAIN_VCM,
    "vcm_timed": {**PLAIN_VCM, "time_in_encoder": True},
    "vcm_released_no_norm": {"name": "vcm_released", "head_norm": False},
    "vcm_longer": PLAIN_VCM,
    "controlnet_longer": {"name": "controlnet"},
}
LONGER = 4  # times the updates
BATCH, COST_UPDATES, ROUNDS = 8, 10, 9
COSTS = ("seconds_per_update", "peak_gib", "sampling_overhead")
PARTIAL = {
    "name": "modalities",
    "channels": ["label_map", "image"],
    "partial": {"image": {"remove": ["ventricles", "white_matter"]}},
}
TASKS: dict[str, dict[str, Any]] = {
    "map": {},
    "ventricles": {"structures": ["ventricles"]},
    "ventricles+partial": {"structures": ["ventricles"], "steps": [PARTIAL]},
}


def base_of(asked: argparse.Namespace) -> Recipe:
    """Return the recipe, with a prior of the zoo if one is named."""
    recipe = read_recipe(asked.recipe, profile=asked.profile)
    if asked.prior is None:
        return recipe
    return recipe.model_copy(update={"prior": PriorRecipe(zoo=asked.prior)})


def recipe_of(asked: argparse.Namespace, method: str) -> Recipe:
    """Return the recipe with another control and task, and these numbers of labelled cases."""
    task = asked.task
    content = base_of(asked).model_dump(mode="json")
    control, generate = content["control"], content["generate"]
    control["shows"] |= TASKS[task]
    for chain in content["conditions"]["chains"]:
        chain["steps"] += TASKS[task].get("steps", [])
    if method == NO_LAYOUT:
        control["network"]["layout"] = False
    elif method not in (OWN, AT_1, NONE):
        control["network"] = VARIANTS.get(method, {"name": method})
    if method.endswith("_longer"):
        control["training"]["updates"] *= LONGER
    if method == NONE:
        control["training"]["updates"] = 1  # of what is drawn none of it is seen
    own = generate["strength"]
    generate["strength"] = {OWN: own, NO_LAYOUT: own, NONE: 0.0}.get(method, 1.0)
    content["study"] |= {"num_labelled": asked.all_n, "seeds": asked.all_seeds}
    content["study"] |= {"arms": ["real+synthetic"]}
    return Recipe.model_validate(content)


def prepared_once(asked: argparse.Namespace) -> None:
    """Prepare cases, prior and evaluator once for all methods."""
    work = claim_work(asked.out / "common", recipe_of(asked, OWN), profile=asked.profile)
    make_all([Graph(work).prior, Graph(work).evaluator], Run())


def work_of(out: Path, recipe: Recipe, profile: str | None, method: str, task: str) -> Work:
    """Return the work folder of a method, which shares cases and prior with the others."""
    work = claim_work(out / task / method, recipe, profile=profile)
    link_common(work, out / "common")
    return work


def link_common(work: Work, common: Path) -> None:
    """Let a work folder have the cases, prior and evaluator that all methods share."""
    graph = Graph(Work(common, work.recipe))
    for one in (graph.cases, graph.splits, graph.prior, graph.evaluator):
        for path in (one.folder, one.marker):
            link = work.folder / path.relative_to(common)
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(path.resolve())


def overhead(work: Work, replicate: Replicate) -> float:
    """Return what the control adds to a sampling step of the bare prior, as a share of it."""
    prior = load_prior(work.prior)
    control = load_control(replicate.control, prior=prior)
    z_t = torch.randn(BATCH, *prior.spec.latent_shape)
    t, count = torch.full((BATCH,), 500), len(prior.spec.scalars)
    scalars = torch.rand(BATCH, count) if count else None
    scheme = control.shows.part_of(control.card.scheme)
    parts = parts_of(control.shows.names, scheme.num_structures)
    maps = torch.zeros(BATCH, max(p.stop for p in parts.values()), *prior.spec.grid.shape)
    asked = z_t, t, Context(scalars, control.encode(maps))
    return overhead_of(control, prior.denoiser, asked=asked, rounds=ROUNDS)


def one(asked: argparse.Namespace) -> dict[str, Any]:
    """Measure one method at one n and seed."""
    (method,), (n,), (seed,) = asked.methods, asked.n, asked.seeds
    recipe = recipe_of(asked, method)
    work = work_of(asked.out, recipe, asked.profile, method, asked.task)
    replicate = work.replicate(n, seed)
    compute = resolve_compute(gpus=None, workers=0, scheduler=None)
    Graph(work).evaluation(replicate).make(Run(compute))
    card = read_json(replicate.control / "card.json")
    quality = read_json(replicate.quality / "quality.json")
    shown = recipe.control.shows.structures or Cases.open(work.cases).scheme.names
    of_real = [
        row["dice"]
        for row in quality["adherence"]
        if row["source"] == "real" and row["structure"] in shown
    ]
    frechet = {row["row"]: row["frechet_distance"] for row in quality["distances"]}
    read = Graph(work).evaluator.load()
    if read is None:
        raise SystemExit("too few subjects are left for an evaluator")
    with tempfile.TemporaryDirectory() as name:
        new = readings(work, of_new_maps(work, replicate, Path(name)), shown, read)
    return {
        "method": method,
        "num_labelled": n,
        "seed": seed,
        "num_parameters": card["num_parameters"],
        "adherence_of_real": statistics.mean(of_real),
        "frechet": frechet,
        **readings(work, replicate.cohort, shown, read),
        "new_maps": new,
    }


def cost(asked: argparse.Namespace) -> dict[str, Any]:
    """Measure memory and seconds of a short training of one method, and what its steps cost."""
    (method,), (n,), (seed,) = asked.methods, asked.n, asked.seeds
    content = recipe_of(asked, method).model_dump(mode="json")
    content["control"]["training"]["updates"] = COST_UPDATES
    recipe, ends = Recipe.model_validate(content), []
    with tempfile.TemporaryDirectory() as name:
        work = claim_work(Path(name), recipe, profile=asked.profile)
        link_common(work, asked.out / "common")
        replicate = work.replicate(n, seed)
        run = Run(report=lambda progress: ends.append(time.perf_counter()))
        Graph(work).control(replicate).make(run)
        peak = peak_memory()
        return {
            "seconds_per_update": float(np.median(np.diff(ends)[-COST_UPDATES + 2 :])),
            "peak_gib": round(peak / 2**30, 3),
            "sampling_overhead": overhead(work, replicate),
        }


def settings_of(asked: argparse.Namespace) -> str:
    """Return a fingerprint of what rows have in common: recipe, task, prior and evaluator."""
    work = Work(asked.out / "common", recipe_of(asked, OWN))
    prior = read_json(work.prior / "card.json")["weights_sha256"]
    evaluators = evaluator_subjects(work, Graph(work).splits.load())
    apart = {"study": {"num_labelled", "seeds"}, "data": {"source"}}
    content = base_of(asked).model_dump(mode="json", exclude=apart)
    return fingerprint([content, asked.task, prior, evaluators, PER_NEW_MAP])


def known_rows(asked: argparse.Namespace, known: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of an earlier result, if it is of the same settings."""
    if not known["rows"]:
        return []
    if known["settings"] != settings_of(asked):
        raise SystemExit(
            f"adding to {asked.add_to}: it was measured with settings {known['settings']}, these "
            f"are {settings_of(asked)}. Measure all methods anew, without --add-to."
        )
    return [row for row in known["rows"] if "failed" not in row]


def in_a_process(asked: argparse.Namespace, what: str, *, method: str, n: int, seed: int) -> Any:
    """Return what is measured in a process of its own, or its last words."""
    command = [sys.executable, "-W", "ignore", __file__, str(asked.recipe), f"--{what}"]
    command += ["--methods", method, "--n", str(n), "--seeds", str(seed), "--out", str(asked.out)]
    command += ["--all-n", *map(str, asked.all_n), "--all-seeds", *map(str, asked.all_seeds)]
    command += ["--task", asked.task]
    for name in ("profile", "prior"):
        chosen = getattr(asked, name)
        command += [f"--{name}", chosen] if chosen else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-3:]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Measure each method in a process of its own and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--profile")
    parser.add_argument("--prior", help="of the zoo, in place of the recipe's")
    parser.add_argument(
        "--methods",
        nargs="+",
        default=[NONE, OWN, AT_1, NO_LAYOUT, *ControlMethod.parts(), *VARIANTS],
    )
    parser.add_argument("--task", choices=[*TASKS], default="map")
    parser.add_argument("--n", type=int, nargs="+", default=[10])
    for what in ("n", "seeds"):
        parser.add_argument(f"--all-{what}", type=int, nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=Path("work/controls"))
    parser.add_argument("--add-to", type=Path, help="result whose rows need not be drawn again")
    parser.add_argument("--without-costs", action="store_true", help="take known ones alone")
    for what in ("one", "cost"):
        parser.add_argument(f"--{what}", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one or asked.cost:
        print(json.dumps(one(asked) if asked.one else cost(asked)))
        return
    known = {"rows": []} if asked.add_to is None else read_json(asked.add_to)
    asked.all_n = sorted({*asked.n, *(row["num_labelled"] for row in known["rows"])})
    asked.all_seeds = sorted({*asked.seeds, *(row["seed"] for row in known["rows"])})
    prepared_once(asked)
    rows = known_rows(asked, known)
    there = {(row["seed"], row["num_labelled"], row["method"]) for row in rows}
    for seed, n, method in itertools.product(asked.seeds, asked.n, asked.methods):
        if (seed, n, method) in there:
            continue
        rows.append({"method": method, "num_labelled": n, "seed": seed})
        rows[-1] |= in_a_process(asked, "one", method=method, n=n, seed=seed)
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    costs: dict[str, Any] = {}  # side by side at the end, since what is finished takes no time
    done = [row for row in rows if "failed" not in row]
    if asked.without_costs:  # what is known of a method is that of all its rows
        known_costs = {row["method"]: row for row in done if COSTS[0] in row}
        costs = {m: {key: row[key] for key in COSTS} for m, row in known_costs.items()}
    for row in sorted(done, key=lambda row: row["num_labelled"]):  # all at their smallest n
        method, n, seed = row["method"], row["num_labelled"], row["seed"]
        if method not in costs and not asked.without_costs:
            found = in_a_process(asked, "cost", method=method, n=n, seed=seed)
            print(json.dumps({"cost of": method, **found}), file=sys.stderr, flush=True)
            costs[method] = {} if "failed" in found else found  # what was drawn stays
        row |= costs.get(method, {})
    recipe = base_of(asked)
    about = {"recipe": recipe.name, "task": asked.task, "updates": recipe.control.training.updates}
    about |= {"settings": settings_of(asked)}
    print(json.dumps({"rows": rows, **about, "machine": machine(), "versions": versions()}))


if __name__ == "__main__":
    main()
