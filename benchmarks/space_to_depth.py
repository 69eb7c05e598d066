"""What the space-to-depth stem of the autoencoder saves: training steps side by side, in turns.

Prints JSON: seconds per step of a 4x autoencoder with stem 2 and without a stem, and their ratio.
Steps alternate, so that a noisy machine is noisy for both; the median counts.
"""

import json
import statistics
import time

import torch

from vcmaug.data.geometry import Grid
from vcmaug.ldm.autoencoder import StemmedAutoencoder
from vcmaug.ldm.spec import AutoencoderSettings, PriorSpec
from vcmaug.provenance import machine, versions

GRID = Grid(shape=(40, 48, 40))
SHAPE = (2, 1, *GRID.shape)
ROUNDS = 7


def step_seconds(autoencoder: StemmedAutoencoder, images: torch.Tensor) -> float:
    """Return the seconds of one forward and backward pass."""
    began = time.perf_counter()
    mean, _ = autoencoder.encode(images)
    (autoencoder.decode(mean) - images).abs().mean().backward()
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    images = torch.rand(SHAPE)
    kinds = {
        "stem_2": AutoencoderSettings(stem_factor=2, channels=(32, 64), shortcut=False),
        "no_stem": AutoencoderSettings(stem_factor=1, channels=(32, 32, 64), shortcut=False),
    }
    both = {
        name: StemmedAutoencoder(PriorSpec(name=name, grid=GRID, autoencoder=settings))
        for name, settings in kinds.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in both}
    for _ in range(ROUNDS + 1):
        for name, autoencoder in both.items():
            seconds[name].append(step_seconds(autoencoder, images))
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    result = {
        "what": "seconds per training step of a 4x autoencoder, batch 2 of 40x48x40",
        "median_seconds": medians,
        "ratio_no_stem_over_stem": medians["no_stem"] / medians["stem_2"],
        "threads": torch.get_num_threads(),
        "machine": machine(),
        "versions": versions(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
