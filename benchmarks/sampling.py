"""How much faster a cohort is drawn than by the straight loop, at equal steps and equal quality.

python benchmarks/sampling.py work/hippocampus [--replicate n10-s0] [--sampler dpm++2m --steps 15]
    [--n 256] [--out work/frontier] [--quick]

The yardstick is the loop as one would write it from the paper: one volume at a time, the condition
encoded at every step, DDIM with 200 steps, decode and save in turn, with the same weights on the
same machine. `equal_steps`: its seconds per volume over those of `vcmaug generate` with the same
solver and steps, the whole engine included, drawn in turns so that both meet the same machine.
`equal_quality`: the same with the chosen solver, steps and precision, given only if, by paired
bootstrap over n volumes with the same conditions and noise, adherence is not lower than with DDIM
200 by more than 0.01 Dice and the Frechet distance not higher by more than 5 %; else null, with
the figures. JSON comes last, on one line.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from drawing import Ground, cohort_of, ground_of, judged
from frontier import REFERENCE, compared, settings_of

from vcmaug.compute import Compute
from vcmaug.control.channels import channels_of
from vcmaug.generate.loading import LoadedPlan, load_plan
from vcmaug.generate.plan import GenerateSettings, Plan
from vcmaug.generate.planning import make_plan
from vcmaug.generate.run import generate
from vcmaug.ldm.denoiser import Context
from vcmaug.provenance import machine, versions


def plan_of(ground: Ground, settings: GenerateSettings, n: int, seed: int) -> Plan:
    """Return the plan of a cohort of the replicate."""
    return make_plan(
        settings,
        prior_folder=ground.work.prior,
        control_folder=ground.replicate.control,
        conditions_folder=ground.replicate.conditions,
        n=n,
        seed=seed,
    )


@torch.no_grad()
def straight(loaded: LoadedPlan, folder: Path) -> float:
    """Draw a plan's volumes by the straight loop; return seconds per volume."""
    plan, prior, control = loaded.plan, loaded.drawer.prior, loaded.control
    steered = control.steer(prior.denoiser, strength=plan.settings.strength)
    signal, noise = (
        [float(scale[t]) for t in plan.timesteps] + [end]
        for scale, end in ((prior.schedule.signal, 1.0), (prior.schedule.noise, 0.0))
    )
    began = time.perf_counter()
    for index in range(plan.n):
        asked = loaded.condition_of(plan.request(index))
        maps = channels_of([asked], shows=control.shows, scheme=control.card.scheme)
        vector = prior.scalar_vector(asked.values_of(prior.spec.scalars))
        scalars = None if vector is None else vector[None]
        z = torch.randn(1, *prior.spec.latent_shape)
        if prior.mean is not None:
            z = signal[0] * prior.mean + noise[0] * z
        for step, t in enumerate(plan.timesteps):
            context = Context(scalars, control.encode(maps))
            prediction = steered(z, torch.tensor([t]), context)
            z_0 = prior.schedule.predict_z_0(z, prediction, torch.tensor([t]))
            epsilon = prior.schedule.predict_epsilon(z_0, prediction)
            z = signal[step + 1] * z_0 + noise[step + 1] * epsilon
        texture = None
        if prior.texture is not None:
            texture = torch.randn(1, prior.spec.image_channels, *prior.spec.grid.shape)
        image = prior.decode(z, texture)[0, 0].numpy()
        nib.save(nib.Nifti1Image(image, asked.label_map.affine), folder / f"{index}.nii.gz")
        nib.save(
            nib.Nifti1Image(asked.label_map.array.astype(np.uint8), asked.label_map.affine),
            folder / f"{index}-label.nii.gz",
        )
    return (time.perf_counter() - began) / plan.n


def in_turns(
    ground: Ground,
    loop: GenerateSettings,
    ways: dict[str, GenerateSettings],
    *,
    volumes: int,
    rounds: int,
) -> dict[str, float]:
    """Return the median seconds per volume of the straight loop and of each way, in turns."""
    spent: dict[str, list[float]] = {name: [] for name in ("straight", *ways)}
    loaded = load_plan(plan_of(ground, loop, 2, 0), device="cpu")
    for turn in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            spent["straight"].append(straight(loaded, Path(name)))
        for way, settings in ways.items():
            plan = plan_of(ground, settings, volumes, turn)
            with tempfile.TemporaryDirectory() as name:
                began = time.perf_counter()
                generate(plan, out=Path(name) / "cohort", compute=Compute("in-process"))
                spent[way].append((time.perf_counter() - began) / volumes)
    return {name: statistics.median(seconds) for name, seconds in spent.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--replicate", default="n10-s0")
    parser.add_argument("--sampler", default="dpm++2m")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--n", type=int, default=256)
    parser.add_argument("--out", type=Path, default=Path("work/frontier"))
    parser.add_argument("--quick", action="store_true", help="under a minute; a trial, no figures")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    ground = ground_of(asked.work, asked.replicate)
    batches: dict[str, Any] = {"micro_batch_size": 8, "micro_batches_per_shard": 4}
    ways = {
        "equal_steps": settings_of(ground, *REFERENCE, **batches),
        "chosen": settings_of(
            ground, asked.sampler, asked.steps, precision=asked.precision, **batches
        ),
    }
    loop = ways["equal_steps"]
    if asked.quick:
        loop = settings_of(ground, REFERENCE[0], 10, **batches)
        ways["equal_steps"] = loop
    volumes, rounds = (8, 1) if asked.quick else (16, 3)
    seconds = in_turns(ground, loop, ways, volumes=volumes, rounds=rounds)
    found: dict[str, Any] = {"seconds_per_volume": seconds}
    for name in ways:
        found[f"faster_{name}"] = seconds["straight"] / seconds[name]
    if not asked.quick:
        out = asked.out / asked.work.name
        folders = [
            cohort_of(ground, out, settings, n=asked.n)[0]
            for settings in (settings_of(ground, *REFERENCE, **batches), ways["chosen"])
        ]
        found |= compared(ground, judged(ground, folders[0]), judged(ground, folders[1]))
    result = {
        "equal_steps": found.pop("faster_equal_steps", None),
        "equal_quality": found["faster_chosen"] if found.get("equal") else None,
        "chosen": {"sampler": asked.sampler, "steps": asked.steps, "precision": asked.precision},
        "recipe": ground.work.recipe.name,
        "grid_mm": list(ground.work.recipe.data.grid.spacing_mm),
        "replicate": asked.replicate,
        "n": asked.n,
        **found,
    }
    print(json.dumps({**result, "machine": machine(), "versions": versions()}))


if __name__ == "__main__":
    main()
