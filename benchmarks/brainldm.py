"""BrainLDM and every control at full size with random weights: memory and seconds of one step.

python benchmarks/brainldm.py [--methods vcm controlnet] [--device cuda] [--batch 1]
    [--sampling-batch 8] [--rounds 3] [--toy]

For each method, in a process of its own: a training step (frozen prediction, loss, gradients,
AdamW), what the control adds to a sampling step of the bare prior, the two in turns, and a decode.
Memory is the peak of the process, or of the GPU's allocator; `training_gib_above_prior` is what
training adds to the loaded prior. `--toy` takes a small network on 64x64x64 voxels instead, as a
trial of the script. JSON comes last.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from turns import overhead_of

from vcmaug.compute import keep_freed_memory, peak_memory
from vcmaug.control.base import Control
from vcmaug.control.card import ControlCard
from vcmaug.control.method import ControlMethod, control_method
from vcmaug.control.network import ControlNetwork
from vcmaug.data.geometry import Grid
from vcmaug.data.labels import LabelScheme
from vcmaug.data.seen import Seen
from vcmaug.ldm.autoencoder import StemmedAutoencoder
from vcmaug.ldm.denoiser import Context, Encoded, FrozenDenoiser, ScalarUNet
from vcmaug.ldm.spec import PriorSpec
from vcmaug.provenance import machine, versions
from vcmaug.released.brainldm import BRAINLDM

STRUCTURES = 8
TOY = BRAINLDM.model_copy(
    update={
        "grid": Grid(shape=(64, 64, 64)),
        "autoencoder": BRAINLDM.autoencoder.model_copy(
            update={"channels": (32, 32, 32, 32), "num_res_blocks": 1}
        ),
        "diffusion": BRAINLDM.diffusion.model_copy(
            update={"channels": (32, 64, 96), "num_res_blocks": 1, "num_head_channels": (0, 64, 96)}
        ),
    }
)
GIB = 2.0**30


def peak_gib(device: str) -> float:
    """Return the peak memory since the last reset: of the GPU, or of the process."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / GIB
    return peak_memory() / GIB


def card_for(method: ControlMethod, spec: PriorSpec) -> ControlCard:
    """Return the card of a control that is timed and never kept."""
    return ControlCard(
        name=method.name,
        settings=method,
        scheme=LabelScheme.from_mapping({f"structure{k}": k for k in range(1, STRUCTURES + 1)}),
        num_timesteps=spec.schedule.num_timesteps,
        prior=spec.name,
        prior_sha256="",
        weights_sha256="",
        seen=Seen(),
        expects_latents=method.expects_latents,
    )


def repeated(encoded: Encoded, count: int) -> Encoded:
    """Return what a control made of one condition for a batch of it."""
    features = tuple(one.expand(count, *one.shape[1:]) for one in encoded.features)
    return replace(encoded, features=features)


def finished(result: object) -> object:
    """Return a result when the GPU, if there is one, has made it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result


def seconds_of(action: Callable[[], object], *, rounds: int) -> float:
    """Return the median seconds of an action; of several calls the first does not count."""
    times = []
    for _ in range(rounds + (rounds > 1)):
        began = time.perf_counter()
        finished(action())
        times.append(time.perf_counter() - began)
    return statistics.median(times[-rounds:])


def asked_of(spec: PriorSpec, batch: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return noisy latents, timesteps and scalars."""
    z_t = torch.randn(batch, *spec.latent_shape, device=device)
    return z_t, torch.full((batch,), 500, device=device), torch.rand(batch, 4, device=device)


def measured(
    method: str, *, spec: PriorSpec, device: str, batch: int, sampling_batch: int, rounds: int
) -> dict[str, Any]:
    """Return memory and seconds of one method."""
    torch.manual_seed(0)
    denoiser = FrozenDenoiser(ScalarUNet(spec).to(device))
    z_t, t, scalars = asked_of(spec, batch, device)
    maps = torch.zeros(batch, STRUCTURES, *spec.grid.shape, device=device)
    middle = (slice(size // 4, 3 * size // 4) for size in spec.grid.shape)
    maps[:, 0, *middle] = 1.0
    with torch.no_grad():
        bare = seconds_of(lambda: denoiser(z_t, t, Context(scalars)), rounds=rounds)
    loaded = peak_gib(device)
    network: ControlNetwork = (
        control_method({"name": method}).network(spec, num_structures=STRUCTURES).to(device)
    )
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-5)

    def train_step() -> None:
        steered, _ = network(denoiser, z_t, t, scalars, maps)
        optimiser.zero_grad()
        (steered.prediction**2).mean().backward()
        optimiser.step()

    training = seconds_of(train_step, rounds=rounds)
    peak = peak_gib(device)
    optimiser.zero_grad()
    control = Control(network, card_for(control_method(method), spec))
    encode = seconds_of(lambda: control.encode(maps), rounds=rounds)
    encoded = repeated(control.encode(maps[:1]), sampling_batch)
    z_t, t, scalars = asked_of(spec, sampling_batch, device)
    keep_freed_memory()  # as processes that draw do
    overhead = overhead_of(
        control,
        denoiser,
        asked=(z_t, t, Context(scalars, encoded)),
        rounds=rounds,
        finished=finished,
    )
    return {
        "method": method,
        "num_parameters": sum(p.numel() for p in network.parameters()),
        "training_step_seconds": training,
        "training_peak_gib": peak,
        "training_gib_above_prior": peak - loaded,
        "bare_step_seconds": bare,
        "sampling_overhead": overhead,
        "encode_seconds": encode,
    }


def decoded(*, spec: PriorSpec, device: str, rounds: int) -> dict[str, Any]:
    """Return memory and seconds of one decode."""
    autoencoder = StemmedAutoencoder(spec).to(device).eval()
    z = torch.randn(1, *spec.latent_shape, device=device)
    with torch.no_grad():
        seconds = seconds_of(lambda: autoencoder.decode(z), rounds=rounds)
    return {"method": "decode", "seconds": seconds, "peak_gib": peak_gib(device)}


def main() -> None:
    """Measure each method in a process of its own and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--methods", nargs="+", default=[*ControlMethod.parts(), "decode"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--sampling-batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--toy", action="store_true", help="a small network; a trial, no figures")
    parser.add_argument("--one", help="measure this one here and now")
    asked = parser.parse_args()
    spec = TOY if asked.toy else BRAINLDM
    if asked.one == "decode":
        print(json.dumps(decoded(spec=spec, device=asked.device, rounds=asked.rounds)))
        return
    if asked.one:
        sizes = {"batch": asked.batch, "sampling_batch": asked.sampling_batch}
        found = measured(asked.one, spec=spec, device=asked.device, rounds=asked.rounds, **sizes)
        print(json.dumps(found))
        return
    rows = []
    for method in asked.methods:
        command = [sys.executable, "-W", "ignore", __file__, "--one", method]
        command += ["--device", asked.device, "--batch", str(asked.batch)]
        command += ["--sampling-batch", str(asked.sampling_batch), "--rounds", str(asked.rounds)]
        command += ["--toy"] if asked.toy else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            rows.append({"method": method, "failed": done.stderr.strip().splitlines()[-1:]})
        else:
            rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
        print(rows[-1], file=sys.stderr, flush=True)
    about = {key: getattr(asked, key) for key in ("device", "batch", "sampling_batch", "rounds")}
    print(json.dumps({"rows": rows, **about, "machine": machine(), "versions": versions()}))


if __name__ == "__main__":
    main()
