"""What worker processes bring: the zoo's control draws one small cohort in 1 process and in 2.

Prints JSON: seconds of each way side by side, start of the processes included, and their ratio.
Both leave the same bytes; the script checks it.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np

from vcmaug.cohort.manifest import read_manifest
from vcmaug.compute import Compute
from vcmaug.conditions.build import ConditionSettings, build_conditions
from vcmaug.control.card import ControlCard
from vcmaug.data.cases import Case
from vcmaug.data.nifti import write_label_map
from vcmaug.data.volume import Volume
from vcmaug.generate.plan import GenerateSettings
from vcmaug.generate.planning import make_plan
from vcmaug.generate.run import generate
from vcmaug.ldm.card import PriorCard, read_card
from vcmaug.provenance import machine, versions
from vcmaug.zoo import zoo_folder

NUM_CASES = 32
PRIOR, CONTROL = "brain-mini-4mm", "brain-mini-4mm/tissue4"


def ball(folder: Path) -> Case:
    """Return a case whose label map is a ball in a ball, on the prior's grid."""
    shape = read_card(zoo_folder(PRIOR), PriorCard).spec.grid.shape
    places = np.indices(shape) - (np.array(shape).reshape(3, 1, 1, 1) - 1) / 2
    distance = np.sqrt((places**2).sum(axis=0))
    array = np.select([distance < 3, distance < 10, distance < 14, distance < 15], [4, 3, 2, 1])
    path = folder / "ball.nii.gz"
    write_label_map(path, Volume(array.astype(np.uint16), np.diag([4.0, 4.0, 4.0, 1.0])))
    return Case("ball", "ball", {"image": path}, label=path)


def conditions_in(folder: Path) -> Path:
    """Build four conditions; return their folder."""
    scheme = read_card(zoo_folder(CONTROL), ControlCard).scheme
    build_conditions(
        ConditionSettings(),
        [ball(folder)],
        folder=folder / "conditions",
        scheme=scheme,
        n=4,
        seed=0,
        roles={},
        compute=Compute("in-process"),
    )
    return folder / "conditions"


def main() -> None:
    """Measure and print."""
    here = Compute("in-process")
    seconds, hashes = {}, {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        conditions = conditions_in(folder)
        plan = make_plan(
            GenerateSettings(micro_batches_per_shard=1),
            prior_folder=zoo_folder(PRIOR),
            control_folder=zoo_folder(CONTROL),
            conditions_folder=conditions,
            n=NUM_CASES,
            seed=0,
        )
        for way, compute in (("one_process", here), ("two_workers", Compute("workers", num=2))):
            began = time.perf_counter()
            generate(plan, out=folder / way, compute=compute)
            seconds[way] = time.perf_counter() - began
            hashes[way] = list(read_manifest(folder / way)["image_sha256"])
    result = {
        "what": f"{NUM_CASES} volumes of 40x48x40, {len(plan.timesteps)} steps, one thread each",
        "seconds": seconds,
        "ratio_one_over_two": seconds["one_process"] / seconds["two_workers"],
        "same_bytes": hashes["one_process"] == hashes["two_workers"],
        "machine": machine(),
        "versions": versions(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
