"""What more steps and other solvers bring: adherence and Frechet distance over network calls.

python benchmarks/frontier.py work/hippocampus [--replicate n10-s0] [--n 64] [--out work/frontier]
    [--quick]

A replicate of a work folder that `vcmaug run` has finished is drawn again in every way, with the
same conditions and noise. The choice: of all ways whose adherence is, by paired
bootstrap, not lower than the reference's (DDIM, 200 steps) by more than 0.01 Dice and whose
Frechet distance not higher by more than 5 %, the one with the fewest calls. Finished ways are
kept; the same command goes on. JSON comes last; docs/make_frontier.py draws it.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from drawing import Ground, Rows, cohort_of, distance, ground_of, interval, judged

from vcmaug.generate.plan import GenerateSettings
from vcmaug.generate.samplers import Sampler
from vcmaug.provenance import machine, versions

SAMPLERS = ("ddim", "dpm++2m", "heun", "dpm++2m-sde", "ddpm")
STEPS = (5, 10, 15, 25, 50)
REFERENCE = ("ddim", 200)
MOST_DICE_LOST, MOST_FRECHET = 0.01, 1.05
DRAWS = 1000


def ways(quick: bool) -> list[tuple[str, int]]:
    """Return (sampler, steps) of every way; Heun asks twice per step and has half of them."""
    if quick:
        return [("ddim", 5), ("dpm++2m", 5)]
    return [(name, s // 2 if name == "heun" else s) for name in SAMPLERS for s in STEPS]


def settings_of(ground: Ground, name: str, steps: int, **others: Any) -> GenerateSettings:
    """Return the recipe's way of drawing with another solver."""
    before = ground.settings.sampler
    sampler = Sampler.named(name)(steps=steps, spacing=before.spacing, start=before.start)
    return ground.settings.model_copy(update={"sampler": sampler, **others})


def compared(ground: Ground, first: tuple[Rows, Rows], second: tuple[Rows, Rows]) -> dict[str, Any]:
    """Return how the second way differs from the first, with paired bootstrap intervals."""
    num = min(len(first[0]), len(second[0]))
    generator = np.random.default_rng(0)
    lost, ratios = [], []
    for _ in range(DRAWS):
        chosen = generator.integers(0, num, num)
        lost.append(np.nanmean(second[0][chosen] - first[0][chosen]))
        ratios.append(distance(ground, second[1][chosen]) / distance(ground, first[1][chosen]))
    lower, higher = interval(lost), interval(ratios)
    return {
        "dice_difference": float(np.nanmean(second[0][:num] - first[0][:num])),
        "dice_difference_interval": lower,
        "frechet_ratio": distance(ground, second[1][:num]) / distance(ground, first[1][:num]),
        "frechet_ratio_interval": higher,
        "equal": bool(lower[0] >= -MOST_DICE_LOST and higher[1] <= MOST_FRECHET),
    }


def main() -> None:
    """Draw every way, compare and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--replicate", default="n10-s0")
    parser.add_argument("--n", type=int, default=64)
    parser.add_argument("--out", type=Path, default=Path("work/frontier"))
    parser.add_argument("--quick", action="store_true", help="8 volumes, few ways: a trial")
    asked = parser.parse_args()
    n, out = (8 if asked.quick else asked.n), asked.out / asked.work.name
    reference_way = ("ddim", 20) if asked.quick else REFERENCE
    ground = ground_of(asked.work, asked.replicate)
    folder, seconds = cohort_of(ground, out, settings_of(ground, *reference_way), n=n)
    reference = judged(ground, folder)
    rows = []
    for name, steps in [reference_way, *ways(asked.quick)]:
        folder, seconds = cohort_of(ground, out, settings_of(ground, name, steps), n=n)
        found = judged(ground, folder)
        row = {
            "sampler": name,
            "steps": steps,
            "calls": 2 * steps - 1 if name == "heun" else steps,
            "seconds_per_volume": seconds,
            "adherence": float(np.nanmean(found[0])),
            "frechet": distance(ground, found[1]),
            **compared(ground, reference, found),
        }
        rows.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
    chosen = min((row for row in rows if row["equal"]), key=lambda row: row["calls"])
    about = {"recipe": ground.work.recipe.name, "replicate": asked.replicate, "n": n}
    about |= {"grid_mm": list(ground.work.recipe.data.grid.spacing_mm)}
    about |= {"chosen": {key: chosen[key] for key in ("sampler", "steps", "calls")}}
    print(json.dumps({"rows": rows, **about, "machine": machine(), "versions": versions()}))


if __name__ == "__main__":
    main()
