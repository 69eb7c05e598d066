"""What the engine costs where the network costs nothing: overhead, plans, memory, 64 workers.

python benchmarks/engine.py [--quick]

`overhead_*`: wall time of a cohort of n = 1,000 whose samples take 0.1 s each, from the first
sample's begin to the finished manifest, over n * 0.1 s / workers, less 1. Reading conditions,
checks, hashing, files, rows, merge, Dask and the end of its processes are in it; their start is
not. A shard takes 10 s.
`plan_million_*`: plan and tasks of 1,000,000 requests, in short shards, in a process of its
own, and what its peak memory grows by; `libraries_mb` is there before. `parent_mib_*`: peak of the
parent of two workers at n = 1,000 and 20,000.
`efficiency_64`: 64 processes without torch that sleep a second per shard: time slept over 64
times the span. JSON comes last, on one line.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import stand_ins
from workers import CONTROL, PRIOR, conditions_in

from vcmaug.compute import Compute, peak_memory
from vcmaug.generate.plan import GenerateSettings, Plan
from vcmaug.generate.planning import make_plan
from vcmaug.generate.run import generate, tasks_of
from vcmaug.provenance import machine, versions
from vcmaug.zoo import zoo_folder


def plan_of(n: int, conditions: Path, *, shard: int = 25) -> Plan:
    """Return the plan of a cohort of n, in shards of so many micro-batches."""
    return make_plan(
        GenerateSettings(micro_batches_per_shard=shard),
        prior_folder=zoo_folder(PRIOR),
        control_folder=zoo_folder(CONTROL),
        conditions_folder=conditions,
        n=n,
        seed=0,
    )


def overhead(conditions: Path, out: Path, *, n: int, workers: int) -> float:
    """Return what the engine adds to the time of sleeping samples, as a share of it."""
    plan, compute = plan_of(n, conditions), Compute("workers", num=workers)
    generate(plan, out=out, compute=compute, draw=stand_ins.draw_asleep)
    ended = time.time()
    began = min(float(path.name.split("-")[1]) for path in out.glob("began-*"))
    return (ended - began) / (n * stand_ins.SECONDS_PER_SAMPLE / workers) - 1.0


def million(conditions: Path, out: Path) -> dict[str, float]:
    """Return seconds and peak memory of the plan of a million requests, in this process."""
    before = psutil.Process().memory_info().rss
    began = time.perf_counter()
    plan = plan_of(1_000_000, conditions, shard=2).claim(out)
    num = len(tasks_of(plan, out=out, device="cpu"))
    spent = time.perf_counter() - began
    return {
        "plan_million_seconds": spent,
        "plan_million_mb": (peak_memory() - before) / 1e6,
        "libraries_mb": before / 1e6,
        "plan_million_shards": num,
    }


def parent(conditions: Path, out: Path, n: int) -> dict[str, float]:
    """Return the peak memory of this process, which draws a cohort with two workers."""
    compute = Compute("workers", num=2)
    generate(plan_of(n, conditions), out=out, compute=compute, draw=stand_ins.draw_at_once)
    return {f"parent_mib_{n}": round(peak_memory() / 2**20)}


def in_a_process(*arguments: object) -> dict[str, Any]:
    """Return what a script measures in a process of its own."""
    command = [sys.executable, "-W", "ignore", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def measured(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Return all figures."""
    conditions = conditions_in(folder)
    n, ns, num, each = (20, (100,), 2, 3) if quick else (1000, (1000, 20_000), 64, 20)
    found: dict[str, Any] = {"n": n}
    for name, workers in (("one_worker", 1), ("two_workers", 2)):
        out = folder / name
        found[f"overhead_{name}"] = overhead(conditions, out, n=n, workers=workers)
    found |= in_a_process(__file__, "--million", conditions, folder / "million")
    for count in ns:
        found |= in_a_process(__file__, "--parent", conditions, folder / f"n{count}", count)
    return found | in_a_process(Path(__file__).with_name("many_workers.py"), num, each)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="under a minute; a trial, no figures")
    parser.add_argument("--million", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--parent", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.million:
        print(json.dumps(million(*asked.million)))
    elif asked.parent:
        conditions, out, n = asked.parent
        print(json.dumps(parent(Path(conditions), Path(out), int(n))))
    else:
        with tempfile.TemporaryDirectory() as name:
            found = measured(Path(name), quick=asked.quick)
        print(json.dumps({**found, "machine": machine(), "versions": versions()}))


if __name__ == "__main__":
    main()
