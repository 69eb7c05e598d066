"""Pieces of benchmarks/on_gpu.sh that no verb and no other benchmark measures; each prints JSON.

python benchmarks/gpu_pieces.py recipe {small|toy} RECIPE   writes the recipe of the small cohort
python benchmarks/gpu_pieces.py cohort COHORT               what its card says of time and device
python benchmarks/gpu_pieces.py sampling [--toy]            steps and a decode at BrainLDM's size
python benchmarks/gpu_pieces.py difference COHORT COHORT    of images with the same name
python benchmarks/gpu_pieces.py training WORK LOG           how far a prior is

`sampling` draws with DDIM in bfloat16 with random weights, at batch 1 and 8: seconds of a step and
of a decode, operations of a step (multiplications and additions apart) as PyTorch counts them, and
their rate as a share of `matmul_tflops`, which a product of two large bfloat16 matrices reaches on
the same device.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from brainldm import TOY, asked_of, finished, peak_gib, seconds_of
from torch.utils.flop_counter import FlopCounterMode

from vcmaug.compute.devices import device_name, torch_device
from vcmaug.data.nifti import read_image
from vcmaug.files import read_json
from vcmaug.generate.samplers import DDIM
from vcmaug.generate.sampling import sample
from vcmaug.ldm.autoencoder import StemmedAutoencoder
from vcmaug.ldm.denoiser import Context, FrozenDenoiser, ScalarUNet
from vcmaug.ldm.schedule import Schedule
from vcmaug.provenance import machine, versions
from vcmaug.released.brainldm import BRAINLDM

DEMO = Path(__file__).resolve().parent.parent / "recipes" / "demo" / "recipe.yaml"
BATCHES = (1, 8)
PROMISED = 1 / 255  # a step of an 8-bit image


def write_recipe(size: str, path: Path) -> dict[str, Any]:
    """Write the demo's recipe, or one of its way in seconds, and return where it is."""
    recipe = yaml.safe_load(DEMO.read_text())
    if size == "toy":
        updates = {"updates": 2, "batch_size": 2}
        recipe["population"]["num_subjects"] = 6
        recipe["splits"] |= {"num_test": 1, "num_validation": 1}
        recipe["study"]["num_labelled"] = [2]
        recipe["control"]["training"] |= updates | {"deformed_copies": 1}
        recipe["generate"]["sampler"]["steps"] = 3
        recipe["profiles"] = {"prior": {"prior": toy_prior(updates)}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return {"recipe": str(path)}


def toy_prior(updates: dict[str, int]) -> dict[str, Any]:
    """Return the prior of a toy recipe: to train, in seconds."""
    grid = {"shape": [40, 48, 40], "spacing_mm": [4, 4, 4]}
    spec: dict[str, Any] = {"name": "toy", "grid": grid}
    spec["autoencoder"] = {"channels": [8, 16], "norm_num_groups": 4}
    spec["diffusion"] = {"channels": [16, 32], "num_head_channels": 8, "norm_num_groups": 4}
    training = {"autoencoder": updates, "diffusion": updates}
    return {"zoo": None, "licence": "CC0-1.0", "spec": spec, "training": training}


def cohort(folder: Path) -> dict[str, Any]:
    """Return what the card of a cohort says of time."""
    card = read_json(folder / "cohort.json")
    return {key: card.get(key) for key in ("counts", "seconds", "num_restarts")}


def matmul_tflops(device: str, *, size: int, rounds: int) -> float:
    """Return what a product of two square bfloat16 matrices reaches."""
    left, right = torch.randn(2, size, size, device=device, dtype=torch.bfloat16)
    return 2 * size**3 / seconds_of(lambda: left @ right, rounds=rounds) / 1e12


@torch.no_grad()
def sampling(*, toy: bool) -> dict[str, Any]:
    """Return seconds and rates of sampling at BrainLDM's size."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    spec, steps, rounds = (TOY, 2, 1) if toy else (BRAINLDM, 10, 5)
    torch.manual_seed(0)
    denoiser = FrozenDenoiser(ScalarUNet(spec).to(device))
    autoencoder = StemmedAutoencoder(spec).to(device).eval()
    peak = matmul_tflops(device, size=512 if toy else 8192, rounds=2 * rounds)
    low = torch.autocast(device, dtype=torch.bfloat16)
    sampler, schedule = DDIM(steps=steps), Schedule(spec.schedule)

    def row(batch: int) -> dict[str, Any]:
        z_t, t, scalars = asked_of(spec, batch, device)
        context = Context(scalars)
        with FlopCounterMode(display=False) as counter, low:
            denoiser(z_t, t, context)

        def walk() -> object:
            with low:
                return sample(
                    denoiser,
                    z_t,
                    context=context,
                    schedule=schedule,
                    sampler=sampler,
                    timesteps=sampler.timesteps(spec.schedule.num_timesteps),
                )

        def decode() -> object:
            with low:
                return autoencoder.decode(z_t[:1])

        step = seconds_of(walk, rounds=rounds) / steps
        rate = counter.get_total_flops() / step / 1e12
        return {
            "batch": batch,
            "step_seconds": step,
            "step_tflop": counter.get_total_flops() / 1e12,
            "tflops": rate,
            "share_of_matmul": rate / peak,
            "decode_seconds_per_volume": seconds_of(decode, rounds=rounds),
            "peak_gib": peak_gib(device),
        }

    rows = [row(batch) for batch in BATCHES]
    return {"spec": spec.name, "toy": toy, "steps": steps, "matmul_tflops": peak, "rows": rows}


def difference(first: Path, second: Path) -> dict[str, Any]:
    """Return how far images of the same name in two cohorts are apart; values go from 0 to 1."""
    names = {path.name for path in (first / "images").iterdir()}
    names &= {path.name for path in (second / "images").iterdir()}
    gaps = [
        np.abs(
            np.subtract(*(read_image(f / "images" / n, case_id=n).array for f in (first, second)))
        )
        for n in sorted(names)
    ]
    return {
        "num_images": len(gaps),
        "num_equal": sum(not gap.any() for gap in gaps),
        "largest": max(float(gap.max()) for gap in gaps),
        "median_of_largest": statistics.median(float(gap.max()) for gap in gaps),
        "mean": float(np.mean([gap.mean() for gap in gaps])),
        "share_over_1_of_255": float(np.mean([(gap > PROMISED).mean() for gap in gaps])),
    }


def training(work: Path, log: Path) -> dict[str, Any]:
    """Return how far the training of a prior is: its card if it is finished, and its last words."""
    lines = log.read_text().splitlines()
    last = {line.split(":")[0]: line for line in lines if " of " in line}
    card = work / "prior" / "card.json"
    done = read_json(card) if card.exists() else {}
    kept = {key: value for key, value in done.items() if key not in ("log", "subjects")}
    return {"finished": card.exists(), "last_lines": list(last.values()), "card": kept}


def main() -> None:
    """Measure one piece and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("piece", choices=["recipe", "cohort", "sampling", "difference", "training"])
    parser.add_argument("places", nargs="*")
    parser.add_argument("--toy", action="store_true", help="small and fast; a trial, no figures")
    asked = parser.parse_args()
    paths = [Path(place) for place in asked.places]
    began = time.perf_counter()
    if asked.piece == "recipe":
        found = write_recipe(asked.places[0], paths[1])
    elif asked.piece == "sampling":
        found = sampling(toy=asked.toy)
    else:
        pieces: dict[str, Any] = {"cohort": cohort, "difference": difference, "training": training}
        found = pieces[asked.piece](*paths)
    finished(None)
    print(f"{asked.piece}: {time.perf_counter() - began:.1f} s", file=sys.stderr)
    about = {"machine": machine(), "device": device_name(torch_device("auto"))}
    print(json.dumps({**found, **about, "versions": versions()}))


if __name__ == "__main__":
    main()
