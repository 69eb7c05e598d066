"""Copy what a run measured into its recipe: gates, study, adherence, and the learning curve.

python docs/publish_results.py work/hippocampus recipes/hippocampus/results

Whatever is not there yet is left out; nothing is typed in.
"""

import json
import shutil
import sys
from pathlib import Path

from vcmaug.downstream.results import read_summary
from vcmaug.files import write_json, write_text
from vcmaug.report.figures import difference_plot, mean_plot

COPIED = {
    "gates.json": "gates.json",
    "gates/samples.png": "samples.png",
    "study/summary.json": "study.json",
    "study/scores.csv": "scores.csv",
}
INK = "#57606a"  # readable on white and on black


def main() -> None:
    """Copy files, gather adherence, draw the curves."""
    work, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    for source, target in COPIED.items():
        if (work / source).exists():
            shutil.copyfile(work / source, out / target)
    found = {
        "/".join(path.relative_to(work / "replicates").parts[:-2]): json.loads(path.read_text())
        for path in sorted(work.glob("replicates/**/quality/quality.json"))
    }
    kept = ("num_synthetic", "num_real", "adherence", "distances", "memorisation", "missing")
    if found:
        content = {name: {key: one[key] for key in kept} for name, one in found.items()}
        write_json(out / "quality.json", content)
    if (work / "study" / "summary.json").exists():
        summary = read_summary(work / "study" / "summary.json")
        for name, plot in (("learning-curve", mean_plot), ("differences", difference_plot)):
            write_text(out / f"{name}.svg", plot(summary).replace("currentColor", INK))


if __name__ == "__main__":
    main()
