"""How far a structure can be grown and shrunk, and how long that takes.

VCMAUG_DATA=FOLDER python benchmarks/growth.py [--heads 24] [--volumes 5 20 50 100 150]

The ventricles of the first heads under 45 years of ixi_t1w_2mm, whole heads of 80x96x80 at 2 mm,
get each volume: how many are refused, how many flows it takes, the least Jacobian, and seconds of
one core. JSON comes last.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from vcmaug.conditions.base import SourceMap, as_it_is
from vcmaug.conditions.builders.grow import Grow
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import read_label_map
from vcmaug.errors import DataError
from vcmaug.provenance import machine, versions

SCHEME = LabelScheme.from_mapping(
    {
        **{"csf": 1, "grey_matter": 2, "white_matter": 3, "ventricles": 4},
        **{"deep_grey": 5, "hippocampus": 6, "cerebellum": 7, "brainstem": 8},
    }
)
YOUNG = 45


def heads(folder: Path, count: int) -> list[SourceMap]:
    """Return the label maps of the first young heads."""
    table = pd.read_csv(folder / "participants.csv")
    names = table[table["age"] < YOUNG]["id"].tolist()[:count]
    files = [(name, folder / "tissue8" / f"{name}_tissue8.nii.gz") for name in names]
    return [SourceMap(name, name, read_label_map(file, case_id=name), {}) for name, file in files]


def grown(source: SourceMap, wanted_ml: float) -> dict[str, Any]:
    """Return what becomes of one head."""
    builder = Grow(structures=[{"structure": "ventricles", "each_ml": [wanted_ml]}]).ready(SCHEME)
    before = float((source.label_map.array == 4).sum()) * 0.008
    row: dict[str, Any] = {"head": source.case_id, "before_ml": round(before, 3)}
    began = time.process_time()
    try:
        made = builder.build(as_it_is(source, condition_id="c0"), seed=0)
    except DataError as fault:
        row["refused"] = str(fault)
    else:
        reached = float((made.label_map.array == 4).sum()) * 0.008
        row |= {"reached_ml": round(reached, 3), **made.steps[0].checks}
    return row | {"seconds": round(time.process_time() - began, 2)}


def summary(wanted_ml: float, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of one volume."""
    made = [row for row in rows if "refused" not in row]
    flows = [row["tries"] for row in made]
    return {
        "volume_ml": wanted_ml,
        "heads": len(rows),
        "refused": len(rows) - len(made),
        "at_the_first_flow": sum(tries == 1 for tries in flows),
        "most_flows": max(flows, default=0),
        "largest_error": max((abs(row["reached_ml"] / wanted_ml - 1) for row in made), default=0),
        "least_jacobian": min((row["min_jacobian"] for row in made), default=None),
        "seconds_per_flow": float(np.median([row["seconds"] / row["tries"] for row in made])),
    }


def main() -> None:
    """Grow, and print what came out."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--heads", type=int, default=24)
    parser.add_argument("--volumes", type=float, nargs="+", default=[5, 20, 50, 100, 150])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    sources = heads(Path(os.environ["VCMAUG_DATA"]) / "ixi_t1w_2mm", asked.heads)
    found, rows = [], []
    for wanted in asked.volumes:
        each = [{"wanted_ml": wanted, **grown(source, wanted)} for source in sources]
        found.append(summary(wanted, each))
        rows += each
        print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    about = {"machine": machine(), "versions": versions()}
    print(json.dumps({"volumes": found, "rows": rows, **about}))


if __name__ == "__main__":
    main()
