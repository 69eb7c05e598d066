"""Splits by subject, fixed by a seed, kept in a file.

What it is: train, validation and test subjects, and nested labelled subsets of the first.
In the flow: made or read right after `prepare`; everything above asks here who may be seen.
Sources: none.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

from pydantic import Field

from vcmaug.config import Settings
from vcmaug.errors import DataError, FaultyDataSet
from vcmaug.files import read_json, write_json
from vcmaug.seeding import stable_seed

__all__ = [
    "SplitSettings",
    "Splits",
    "labelled_subset",
    "make_splits",
    "read_splits",
    "write_splits",
]


class SplitSettings(Settings):
    """How many subjects go where; the rest is for training."""

    num_test: int = Field(ge=1)
    num_validation: int = Field(0, ge=0)
    seed: int = 0
    file: str | None = Field(None, description="a fixed split file beside the recipe")


@dataclass(frozen=True)
class Splits:
    """Subject ids by role; no subject has two.

    `reader` are those of `train` that the independent reader learns from; they are the last whose
    labels anything else may use.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    seed: int
    reader: tuple[str, ...] = ()

    @property
    def folds(self) -> dict[str, str]:
        """Role of every subject: train, validation or test."""
        roles = {"train": self.train, "validation": self.validation, "test": self.test}
        return {subject: role for role, subjects in roles.items() for subject in subjects}


def make_splits(subjects: Iterable[str], settings: SplitSettings) -> Splits:
    """Return splits that depend on the set of subjects and the seed, not on their order.

    Raises:
        DataError: No subject would be left for training.
    """
    order = sorted(set(subjects), key=lambda subject: stable_seed(settings.seed, "split", subject))
    first, second = settings.num_test, settings.num_test + settings.num_validation
    if second >= len(order):
        raise DataError(
            f"splitting {len(order)} subjects: {settings.num_test} for the test and "
            f"{settings.num_validation} for validation leave none for training. Ask for fewer."
        )
    return Splits(
        train=tuple(sorted(order[second:])),
        validation=tuple(sorted(order[first:second])),
        test=tuple(sorted(order[:first])),
        seed=settings.seed,
    )


def write_splits(path: Path, splits: Splits) -> None:
    """Write splits as JSON, without a `reader` if there is none."""
    content = asdict(splits)
    if not splits.reader:
        del content["reader"]  # as files were written before there was one
    write_json(path, content)


def read_splits(path: Path, subjects: Iterable[str]) -> Splits:
    """Return the splits of a file, cut to the subjects that are there.

    Args:
        path: JSON with train, validation, test and seed, as `write_splits` leaves it; it may also
            list subjects as `left_out`, which are given no role, and training subjects as `reader`.
        subjects: Of the case table. Each must be named; the file may name more.

    Raises:
        FaultyDataSet: A subject has two roles or none, a role is empty, or the reader's subjects
            are not of training; all at once.
    """
    content = {"left_out": [], "reader": [], **read_json(path)}
    roles = ("train", "validation", "test", "left_out")
    lists = (*roles, "reader")
    faults = [f"no list {role!r}" for role in lists if not isinstance(content.get(role), list)]
    if faults:
        raise FaultyDataSet(f"reading splits {path}", faults)
    named = {role: {str(subject) for subject in content[role]} for role in lists}
    known = set(subjects)
    for first, second in combinations(roles, 2):
        both = sorted(named[first] & named[second])
        faults += [f"subject {subject}: in {first} and in {second}" for subject in both]
    without = sorted(known - set().union(*named.values()))
    faults += [f"subject {subject}: in no split" for subject in without]
    elsewhere = sorted(named["reader"] - named["train"])
    faults += [f"subject {subject}: in reader and not in train" for subject in elsewhere]
    faults += [
        f"no subject of {role!r} is among the {len(known)} prepared ones"
        for role in ("train", "test")
        if not named[role] & known
    ]
    if faults:
        raise FaultyDataSet(f"reading splits {path}", faults, advice="Mend the file.")
    kept = {role: tuple(sorted(named[role] & known)) for role in (*roles[:3], "reader")}
    return Splits(seed=int(content.get("seed", 0)), **kept)


def labelled_subset(splits: Splits, *, num_labelled: int, seed: int) -> tuple[str, ...]:
    """Return training subjects whose labels may be used; for one seed smaller subsets are nested.

    Those of the reader come last, so only a subset that needs them has them.

    Raises:
        DataError: More are asked for than there are.
    """
    if not 1 <= num_labelled <= len(splits.train):
        raise DataError(
            f"choosing {num_labelled} labelled subjects: there are {len(splits.train)} training "
            "subjects. Ask for a number between 1 and that."
        )
    last = set(splits.reader)
    order = sorted(splits.train, key=lambda one: (one in last, stable_seed(seed, "labelled", one)))
    return tuple(sorted(order[:num_labelled]))
