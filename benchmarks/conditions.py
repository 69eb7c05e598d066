"""The speed of condition building, each rate beside its rival's in one run.

python benchmarks/conditions.py [--atlas FOLDER] [--n 1000]

On a made-up head of 160x224x160 voxels of 1 mm: deformations of its label map per second, beside
TorchIO's RandomElasticDeformation and MONAI's Rand3DElastic at the same amplitude, in turns;
lesions mixed from an atlas (a made-up one unless a folder is given), per second on one core; and n
conditions on a head of half that size, with two worker processes beside one. JSON comes last.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torchio as tio
from monai.transforms import Rand3DElastic
from numpy.typing import NDArray

from vcmaug.compute import Compute
from vcmaug.conditions.atlas import AtlasSettings
from vcmaug.conditions.atlas_index import index_atlas
from vcmaug.conditions.base import SourceMap, as_it_is
from vcmaug.conditions.build import build_conditions
from vcmaug.conditions.builders.lesions import LesionMixing, Lesions
from vcmaug.conditions.builders.perturb import Perturb
from vcmaug.conditions.chain import ConditionSettings
from vcmaug.data.cases import Case
from vcmaug.data.deformation import (
    deform_label_map,
    draw_velocity,
    integrate,
    least_jacobian,
    upsampled,
)
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import write_label_map
from vcmaug.data.volume import Volume
from vcmaug.provenance import machine, versions

SHAPE = (160, 224, 160)
AMPLITUDE_MM = 5.0
SCHEME = LabelScheme.from_mapping({"grey": 1, "white": 2, "fluid": 3, "lesion": 9})


def head(shape: tuple[int, int, int]) -> NDArray[np.uint16]:
    """Return a label map: a folded shell of grey around white around fluid."""
    places = np.stack(np.meshgrid(*[np.linspace(-1.1, 1.1, n) for n in shape], indexing="ij"))
    away = np.sqrt((places**2).sum(axis=0))
    away += 0.03 * np.prod(np.sin(14 * places), axis=0)
    return np.select([away < 0.25, away < 0.8, away < 1], [3, 2, 1], 0).astype(np.uint16)


def rounds(ways: dict[str, Callable[[], object]], count: int) -> dict[str, float]:
    """Return the median seconds of each way; they take turns, the first round does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(count + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}


def deformation(label_map: NDArray[np.uint16], count: int) -> dict[str, float]:
    """Return seconds per deformed map, ours and the libraries'; `perturb` has all its checks."""
    generator = np.random.default_rng(0)

    def ours() -> object:
        velocity = draw_velocity(
            SHAPE,
            spacing_mm=(1.0, 1.0, 1.0),
            max_displacement_mm=AMPLITUDE_MM,
            smoothness_mm=10.0,
            generator=generator,
        )
        field = integrate(velocity, SHAPE)
        assert least_jacobian(field, SHAPE) > 0
        return deform_label_map(label_map, upsampled(field, SHAPE))

    tensor = torch.from_numpy(label_map.astype(np.int16))[None]
    subject = tio.Subject(map=tio.LabelMap(tensor=tensor))
    elastic = tio.RandomElasticDeformation(num_control_points=10, max_displacement=AMPLITUDE_MM)
    monai = Rand3DElastic(
        sigma_range=(10, 10), magnitude_range=(300, 300), prob=1.0, mode="nearest"
    )
    floats = tensor.float()
    start = as_it_is(SourceMap("h", "h", Volume(label_map, np.eye(4)), {}), condition_id="c0")
    builder = Perturb(max_displacement_mm=AMPLITUDE_MM).ready(SCHEME)
    ways = {
        "ours": ours,
        "torchio": lambda: elastic(subject),
        "monai": lambda: monai(floats),
        "perturb": lambda: builder.build(start, seed=0),
    }
    return rounds(ways, count)


def made_up_atlas(folder: Path) -> Path:
    """Write masks of balls in the head; return their folder."""
    places = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"))
    generator = np.random.default_rng(1)
    for subject in range(6):
        mask = np.zeros(SHAPE, dtype=np.uint16)
        for _ in range(20):
            centre = np.array(SHAPE) / 2 + generator.uniform(-30, 30, 3)
            radius = generator.uniform(1.5, 6)
            mask[((places - centre.reshape(3, 1, 1, 1)) ** 2).sum(axis=0) < radius**2] = 1
        write_label_map(folder / f"s{subject}.nii.gz", Volume(mask, np.eye(4)))
    return folder


def lesions(label_map: NDArray[np.uint16], atlas: Path, count: int) -> dict[str, float]:
    """Return conditions with lesions per second on one thread, and lesions in each."""
    settings = Lesions(atlas=AtlasSettings(source=atlas), inside=("white",), off=("fluid",))
    builder = LesionMixing(settings, SCHEME, index_atlas(settings.atlas))
    start = as_it_is(SourceMap("h", "h", Volume(label_map, np.eye(4)), {}), condition_id="c0")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    placed = [len(builder.build(start, seed=0).steps[0].parameters["lesions"])]
    began = time.perf_counter()
    for seed in range(1, count + 1):
        made = builder.build(start, seed=seed)
        placed.append(len(made.steps[0].parameters["lesions"]))
    seconds = time.perf_counter() - began
    torch.set_num_threads(threads)
    return {"per_second": count / seconds, "lesions_each": statistics.mean(placed)}


def workers(folder: Path, n: int) -> dict[str, float]:
    """Return seconds for n conditions with one worker process and with two, and peak memory.

    A tenth of n goes first, so that its peak stands beside that of all.
    """
    small = (80, 112, 80)
    path = folder / "label.nii.gz"
    write_label_map(path, Volume(head(small), np.diag([2.0, 2.0, 2.0, 1.0])))
    case = Case("h", "h", {"image": path}, path)
    settings = ConditionSettings(chains=[{"steps": [{"name": "perturb"}]}])
    result = {}
    for num, count in ((1, n // 10), (1, n), (2, n)):
        began = time.perf_counter()
        build_conditions(
            settings,
            [case],
            folder=folder / f"{count}-by-{num}",
            scheme=SCHEME,
            n=count,
            seed=0,
            roles={},
            compute=Compute("workers", num=num),
        )
        result[f"seconds_{count}_by_{num}"] = time.perf_counter() - began
        peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        result[f"peak_mib_{count}_by_{num}"] = round(peak_mib, 1)
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--atlas", type=Path)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    label_map = head(SHAPE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds = deformation(label_map, asked.rounds)
        atlas = asked.atlas or made_up_atlas(folder / "atlas")
        mixed = lesions(label_map, atlas, 20)
        many = workers(folder, asked.n)
    result = {
        "deform_vs_torchio": seconds["torchio"] / seconds["ours"],
        "deform_vs_monai": seconds["monai"] / seconds["ours"],
        "lesions_per_second_per_core": mixed["per_second"],
        "two_workers_vs_one": many[f"seconds_{asked.n}_by_1"] / many[f"seconds_{asked.n}_by_2"],
        "seconds_per_deformation": seconds,
        "lesions_each": mixed["lesions_each"],
        "atlas": asked.atlas.name if asked.atlas else "made up",
        "workers": many,
        "n": asked.n,
        "threads": torch.get_num_threads(),
        "machine": machine(),
        "versions": versions(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
