"""For which share of their time many workers are at work: part of benchmarks/engine.py.

python benchmarks/many_workers.py NUM SHARDS_EACH

Workers import the main module, so this one leaves out all that is heavy: 64 processes with torch
do not fit into the memory of a small machine.
"""

import json
import sys

import stand_ins

from vcmaug.compute import Compute, run_all

SHARD_SECONDS = 1.0


def efficiency(num: int, shards_each: int) -> float:
    """Return the share of their time for which many workers slept, from first to last shard."""
    spans: list[tuple[float, float]] = []
    run_all(
        stand_ins.asleep,
        [(place, SHARD_SECONDS) for place in range(num * shards_each)],
        compute=Compute("workers", num=num),
        threads=1,
        on_done=lambda item, span: spans.append(span),
    )
    span = max(end for _, end in spans) - min(begin for begin, _ in spans)
    return len(spans) * SHARD_SECONDS / (num * span)


if __name__ == "__main__":
    num, shards_each = map(int, sys.argv[1:])
    found = {"efficiency_64": efficiency(num, shards_each), "simulated_gpus": num}
    print(json.dumps({**found, "seconds_per_shard": SHARD_SECONDS}))
