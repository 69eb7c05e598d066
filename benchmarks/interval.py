"""How often the interval of a study leaves out zero where arms do not differ; nominal is 5 %.

python benchmarks/interval.py [--studies 2000] [--out benchmarks/results/interval.json]

Studies are simulated: 3 and 5 seeds, 10 and 30 test subjects, noise of 0.02 Dice in every score of
both arms. `luck` is the deviation of what a training adds to all scores of one seed; `answer` that
of what a subject adds in all seeds, as where one arm suits some subjects better. Beside the
interval of vcmaug stands a percentile bootstrap over seeds and subjects, and half the width of
both. Seconds on one core; the JSON goes to the file, and to the standard output.
"""

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vcmaug.downstream.statistics import mean_of
from vcmaug.files import write_json
from vcmaug.provenance import versions
from vcmaug.seeding import numpy_generator

NOISE, DRAWS = 0.02, 400
SEEDS, SUBJECTS = (3, 5), (10, 30)
LUCK, ANSWER = (0.0, 0.003, 0.01), (0.0, 0.007)
Ends = tuple[float, float]


def differences(
    generator: np.random.Generator, *, seeds: int, subjects: int, luck: float, answer: float
) -> NDArray[np.float64]:
    """Return paired differences [seeds, subjects] of two arms that do not differ."""
    first, second = generator.normal(0, NOISE, (2, seeds, subjects))
    own = generator.normal(0, luck, (seeds, 1)) + generator.normal(0, answer, (1, subjects))
    return second - first + own


def of_vcmaug(scores: NDArray[np.float64], generator: np.random.Generator) -> Ends:
    """Return the interval of a study; nothing of it is drawn."""
    found = mean_of(scores)
    return found.low, found.high


def of_bootstrap(scores: NDArray[np.float64], generator: np.random.Generator) -> Ends:
    """Return the percentiles of means over resampled seeds and subjects."""
    rows, columns = (generator.integers(size, size=(DRAWS, size)) for size in scores.shape)
    means = scores[rows[:, :, None], columns[:, None, :]].mean(axis=(1, 2))
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def row(num: int, seeds: int, subjects: int, luck: float, answer: float) -> dict[str, float]:
    """Return how often each interval leaves out zero, and its median half width."""
    place = {"seeds": seeds, "subjects": subjects, "luck": luck, "answer": answer}
    rules = {"interval": of_vcmaug, "bootstrap": of_bootstrap}
    ends: dict[str, list[Ends]] = {name: [] for name in rules}
    for study in range(num):
        generator = numpy_generator("interval", *place.values(), study)
        scores = differences(generator, **place)
        for name, rule in rules.items():
            ends[name].append(rule(scores, generator))
    found: dict[str, float] = dict(place)
    for name, intervals in ends.items():
        low, high = np.array(intervals).T
        found[f"{name}_leaves_out_zero"] = float(np.mean((low > 0) | (high < 0)))
        found[f"{name}_half_width"] = round(float(np.median(high - low)) / 2, 5)
    return found


def main() -> None:
    """Simulate every place of the grid."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=2000, help="at each place of the grid")
    parser.add_argument("--out", type=Path, default=None, help="file of the result")
    arguments = parser.parse_args()
    grid = itertools.product(ANSWER, SEEDS, SUBJECTS, LUCK)
    rows = [
        row(arguments.studies, seeds, subjects, luck, answer)
        for answer, seeds, subjects, luck in grid
    ]
    about = {"studies": arguments.studies, "noise": NOISE, "bootstrap_draws": DRAWS}
    content = {"rows": rows, **about, "versions": versions()}
    if arguments.out is not None:
        write_json(arguments.out, content)
    print(json.dumps(content))


if __name__ == "__main__":
    main()
