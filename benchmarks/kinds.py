"""Which kind of prior is better, epsilon or flow: the same networks, data and updates for both.

python benchmarks/kinds.py recipes/hippocampus/recipe.yaml [--profile P] [--variants V ...]
    [--seeds S ...] [--share 0.333] [--control] [--autoencoder JSON] [--out work/kinds] [--quick]

Each variant trains a prior with a share of the recipe's updates of diffusion; the autoencoder of a
seed is trained once, since a kind has no part in it. Draws without a control: area under the ROC
curve of a classifier (gate 3), spread and gradient energy of the latents against encoded ones of
the undeformed images, Frechet distance over steps, from the same signal-to-noise ratios. With
--control each variant, at its best start, trains the control of ten cases and is measured by
adherence on new maps, Frechet distance and background honesty over steps. With --autoencoder, such
as '{"latent_channels": 16}', all get another autoencoder, and gate 2 says what a segmenter loses to
it. Finished pieces are kept; at last comes JSON with all that is finished, of other calls too.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from drawing import Ground, cohort_of, distance, ground_of, judged
from numpy.typing import NDArray
from scipy import ndimage

from vcmaug.compute import Compute
from vcmaug.data.case import Case
from vcmaug.data.cases import cases_of
from vcmaug.data.scalars import raw_value
from vcmaug.files import read_json, write_json
from vcmaug.generate.noise import Noise
from vcmaug.generate.samplers import DDIM
from vcmaug.generate.sampling import sample
from vcmaug.ldm.denoiser import Context
from vcmaug.ldm.noise_schedule import NoiseSchedule
from vcmaug.ldm.prior import Prior
from vcmaug.ldm.schedules.epsilon import EpsilonSchedule
from vcmaug.ldm.schedules.flow import FlowSchedule
from vcmaug.pipeline.artefact import Run
from vcmaug.pipeline.graph import Graph
from vcmaug.pipeline.recipe import Recipe, read_recipe
from vcmaug.pipeline.work import Work, claim_work
from vcmaug.progress import silent
from vcmaug.provenance import machine, versions
from vcmaug.quality.features import describe, standardised
from vcmaug.quality.measured import volumes_of_cases, volumes_of_cohort
from vcmaug.quality.metrics.frechet_distance import frechet_distance
from vcmaug.quality.realism import tell_apart
from vcmaug.training.autoencoder import gradient_energy
from vcmaug.training.data import read_images
from vcmaug.training.settings import DiffusionTraining

VARIANTS: dict[str, tuple[NoiseSchedule, str]] = {  # the kind, and how its timesteps are spread
    "epsilon": (EpsilonSchedule(), "uniform"),
    "flow": (FlowSchedule(), "uniform"),
    "flow-middle": (FlowSchedule(), "logit-normal"),
    "flow-shifted": (FlowSchedule(shift=3), "uniform"),
}
SIGNAL_TO_NOISE = (0.16, 0.04, 0.0)  # where draws start; 0 is the top of the schedule
STEPS = (2, 5, 10, 30)
REPLICATE = "n10-s0"
TOGETHER = 8


def kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a file holds, made first if it is not there."""
    if not path.exists():
        write_json(path, make())
        print(path, json.dumps(read_json(path)), file=sys.stderr, flush=True)
    found: dict[str, Any] = read_json(path)
    return found


def start_of(prior: Prior, ratio: float) -> float:
    """Return the share of a prior's schedule below which signal over noise exceeds a ratio."""
    schedule = prior.schedule
    below = int((schedule.signal / schedule.noise > ratio).sum())
    return min(1.0, (below + 1) / schedule.num_timesteps)


def recipe_of(base: Recipe, variant: str, *, seed: int, share: float, start: float) -> Recipe:
    """Return the recipe of a variant."""
    schedule, spread = VARIANTS[variant]
    diffusion = base.prior.training.diffusion
    updates = max(1, round(share * diffusion.updates))
    changes = {"updates": updates, "timestep_spread": spread}
    checked = DiffusionTraining.model_validate({**diffusion.model_dump(), **changes})
    training = base.prior.training.model_copy(update={"diffusion": checked})
    factor = base.prior.spec_to_train.latent_factor
    x, y, z = (size // factor for size in base.data.grid.shape)
    spec = base.prior.spec_to_train.model_copy(update={"schedule": schedule.on_grid((x, y, z))})
    prior = base.prior.model_copy(update={"spec": spec, "training": training, "seed": seed})
    sampler = DDIM(steps=max(STEPS), start=start)
    control = base.control.model_copy(
        update={"training": base.control.training.model_copy(update={"timesteps": start})}
    )
    generate = base.generate.model_copy(update={"sampler": sampler})
    return base.model_copy(update={"prior": prior, "control": control, "generate": generate})


def with_autoencoder(base: Recipe, settings: dict[str, Any]) -> Recipe:
    """Return a recipe with other settings of its autoencoder."""
    spec = base.prior.spec_to_train
    autoencoder = spec.autoencoder.model_copy(update=settings)
    spec = spec.model_copy(update={"autoencoder": autoencoder})
    return base.model_copy(update={"prior": base.prior.model_copy(update={"spec": spec})})


def shortened(base: Recipe) -> Recipe:
    """Return a recipe whose other trainings last seconds."""
    few = {"updates": 20}
    training = base.prior.training
    autoencoder = training.autoencoder.model_copy(update=few)
    diffusion = training.diffusion.model_copy(update={"deformed_copies": 0})
    training = training.model_copy(update={"autoencoder": autoencoder, "diffusion": diffusion})
    control = base.control.training.model_copy(update={**few, "deformed_copies": 0})
    realism = base.gates.realism.model_copy(update=few)
    return base.model_copy(
        update={
            "prior": base.prior.model_copy(update={"training": training}),
            "control": base.control.model_copy(update={"training": control}),
            "evaluator": base.evaluator.model_copy(update=few),
            "gates": base.gates.model_copy(update={"realism": realism}),
        }
    )


def share_autoencoder(mine: Path, others: Sequence[Path]) -> None:
    """Take the trained autoencoder and the latents of another training, if one has them.

    A training that finds an autoencoder of other settings, cases or seed refuses to go on with it.
    """
    checkpoints = mine / ".checkpoints"
    for other in others:
        files = list(other.glob(".checkpoints/latents-*"))  # written once it is trained
        if files and not checkpoints.exists():
            checkpoints.mkdir(parents=True)
            for file in (other / ".checkpoints" / "autoencoder.pt", *files):
                shutil.copyfile(file, checkpoints / file.name)


def drawn(
    prior: Prior, cases: Sequence[Case], sampler: DDIM, *, n: int
) -> tuple[torch.Tensor, NDArray[np.float32]]:
    """Return latents and images of draws without a control."""
    latents, images = [], []
    shape = (prior.spec.image_channels, *prior.spec.grid.shape)
    for first in range(0, n, TOGETHER):
        numbers = range(first, min(first + TOGETHER, n))
        noise = Noise(0, [f"kind-{k}" for k in numbers])
        rows = [cases[k % len(cases)].columns for k in numbers]
        vectors = [
            prior.scalar_vector({spec.name: raw_value(spec, row) for spec in prior.spec.scalars})
            for row in rows
        ]
        scalars = [vector for vector in vectors if vector is not None]
        z_0 = sample(
            prior.denoiser,
            noise.of(prior.spec.latent_shape),
            context=Context(torch.stack(scalars) if scalars else None),
            schedule=prior.schedule,
            sampler=sampler,
            timesteps=sampler.timesteps(prior.spec.schedule),
            mean=prior.mean,
        )
        latents.append(z_0)
        images.append(prior.decode(z_0, noise.of(shape, "texture"))[:, 0].numpy())
    return torch.cat(latents), np.concatenate(images)


def of_draws(work: Work, *, ratio: float, n: int) -> dict[str, Any]:
    """Return what draws without a control are worth, from one start."""
    graph, gates = Graph(work), work.recipe.gates
    prior, splits = graph.prior.load(), graph.splits.load()
    cases = cases_of(graph.cases.load(), (*splits.train, *splits.validation))
    images = read_images(cases)
    real, encoded = images[:, 0].numpy(), prior.encode(images)
    described = describe(real)
    start, rows = start_of(prior, ratio), []
    for steps in STEPS:
        z_0, made = drawn(prior, cases, DDIM(steps=steps, start=start), n=n)
        near, far = standardised(described, describe(made))
        rows.append(
            {
                "steps": steps,
                "frechet": frechet_distance(near, far),
                "latent_variance": float(z_0.var(dim=0).mean() / encoded.var(dim=0).mean()),
                "latent_gradient_energy": float(
                    gradient_energy(z_0).mean() / gradient_energy(encoded).mean()
                ),
            }
        )
    found = tell_apart(real, made, settings=gates.realism, seed=gates.seed)  # at most steps
    return {"ratio": ratio, "start": start, "n": n, "auc": found.auc, "steps": rows}


def stray(ground: Ground, cohort: Path) -> float | None:
    """Return the share of voxels above 0 farther than two voxels from the filled label map.

    None: the real images have no background of zeros.
    """
    graph = Graph(ground.work)
    real = read_images(cases_of(graph.cases.load(), graph.splits.load().validation))
    if float((real == 0).flatten(1).float().mean(dim=1).min()) < 0.05:
        return None
    volumes = volumes_of_cohort(cohort, report=silent)
    counts = np.zeros(2)
    for image, label in zip(volumes.images, volumes.maps, strict=True):
        near = ndimage.binary_dilation(ndimage.binary_fill_holes(label > 0), iterations=2)
        counts += [(image[~near] > 0).sum(), (~near).sum()]
    return float(counts[0] / counts[1])


def of_control(work: Work, *, n: int) -> dict[str, Any]:
    """Return what the draws of a control of ten cases are worth, over steps."""
    graph, replicate = Graph(work), work.replicate(10, 0)
    run = Run(Compute("in-process"))
    for one in (graph.control(replicate), graph.conditions(replicate), graph.evaluator):
        one.make(run)
    ground, rows = ground_of(work.folder, REPLICATE), []
    for steps in STEPS:
        sampler = ground.settings.sampler.model_copy(update={"steps": steps})
        way = ground.settings.model_copy(update={"sampler": sampler})
        folder, _ = cohort_of(ground, work.folder / "ways", way, n=n)
        dice, descriptors = judged(ground, folder)
        rows.append(
            {
                "steps": steps,
                "adherence": float(np.nanmean(dice)),
                "frechet": distance(ground, descriptors),
                "stray_share": stray(ground, folder),
                "failed": int(np.isnan(dice).sum()),
            }
        )
    start = ground.settings.sampler.start
    return {"start": start, "n": n, "steps": rows, "real": real_adherence(ground)}


def real_adherence(ground: Ground) -> float:
    """Return the evaluator's own mean Dice on real validation images."""
    graph = Graph(ground.work)
    cases, splits = graph.cases.load(), graph.splits.load()
    volumes = volumes_of_cases(cases_of(cases, splits.validation), report=silent)
    table = volumes.adherence(ground.evaluator, source="real")
    return float(table.groupby("case_id")["dice"].mean().mean())


def measure(base: Recipe, folder: Path, variant: str, seed: int, asked: Any) -> None:
    """Make whatever of one variant is not there."""
    run = Run(Compute("in-process"))
    recipe = recipe_of(base, variant, seed=seed, share=asked.share, start=0.65)
    work = claim_work(folder, recipe, profile=asked.profile)
    others = [folder.with_name(f"{other}-s{seed}") / "prior" for other in VARIANTS]
    given = [asked.autoencoder_from] if asked.autoencoder_from else []
    share_autoencoder(work.prior, [*given, *others])
    Graph(work).prior.make(run)
    draws = [
        kept(folder / f"draws-{ratio}.json", lambda r=ratio: of_draws(work, ratio=r, n=asked.n))
        for ratio in SIGNAL_TO_NOISE
    ]
    if asked.autoencoder:
        for gate in Graph(work).gates.gates[:2]:  # the segmenter's, and the autoencoder's
            gate.make(run)
    if asked.control:
        best = min(draws, key=lambda row: row["auc"])["start"]
        changed = recipe_of(base, variant, seed=seed, share=asked.share, start=best)
        mine = claim_work(folder, changed, profile=asked.profile)
        kept(folder / "control.json", lambda: of_control(mine, n=asked.n // 2))


def found_in(folder: Path) -> dict[str, Any]:
    """Return all that was measured of a variant."""
    variant, seed = folder.name.rsplit("-s", 1)
    found = {"variant": variant, "seed": int(seed)}
    found["figures"] = read_json(folder / "prior" / "card.json")["figures"]
    found["draws"] = [read_json(path) for path in sorted(folder.glob("draws-*.json"))]
    found |= {f"gate {path.stem}": read_json(path) for path in sorted(folder.glob("gates/*.json"))}
    if (folder / "control.json").exists():
        found["control"] = read_json(folder / "control.json")
    return found


def main() -> None:
    """Measure every variant and print what came out."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--profile")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=[*VARIANTS])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0], help="none: print alone")
    parser.add_argument("--share", type=float, default=1 / 3, help="of the updates of diffusion")
    parser.add_argument("--control", action="store_true", help="train and measure a control too")
    parser.add_argument("--autoencoder-from", type=Path, help="the folder of a prior that has it")
    parser.add_argument("--autoencoder", type=json.loads, default={}, help="settings of its own")
    parser.add_argument("--n", type=int, default=128, help="draws; half as many with a control")
    parser.add_argument("--out", type=Path, default=Path("work/kinds"))
    parser.add_argument("--quick", action="store_true", help="few updates and draws: a trial")
    asked = parser.parse_args()
    base = read_recipe(asked.recipe, profile=asked.profile)
    if asked.quick:
        asked.share, asked.n, base = 0.002, 16, shortened(base)
    name = f"{base.name}-{asked.profile or 'full'}-{asked.share:.3f}"
    for setting, value in asked.autoencoder.items():
        name += f"-{setting}-{value}"
        base = with_autoencoder(base, {setting: value})
    out = asked.out / name
    for seed in asked.seeds:
        for variant in asked.variants:
            measure(base, out / f"{variant}-s{seed}", variant, seed, asked)
    rows = [found_in(folder) for folder in sorted(out.glob("*-s*")) if any(folder.glob("draws-*"))]
    about = {"recipe": base.name, "profile": asked.profile, "share": asked.share, "n": asked.n}
    about |= {"autoencoder": asked.autoencoder}
    print(json.dumps({**about, "rows": rows, "machine": machine(), "versions": versions()}))


if __name__ == "__main__":
    main()
