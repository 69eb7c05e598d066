"""Splits by subject, fixed by a seed, kept in a file: who is for training, validation and test.

They are made or read right after `prepare`; everything above asks here who may be seen. Subjects of
test and validation have label maps, and so have labelled subsets of the training subjects, which
are nested.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

from pydantic import Field

from vcmaug.config import RecipePath, Settings
from vcmaug.errors import DataError, FaultyDataSet, VcmaugError
from vcmaug.files import read_json, write_json
from vcmaug.seeding import stable_seed

__all__ = [
    "SplitSettings",
    "Splits",
    "labelled_subset",
    "make_splits",
    "nested_subset",
    "read_splits",
    "split_faults",
    "splits_from",
    "unfit",
    "write_splits",
]


_PERHAPS = ("left_out", "evaluator", "candidates")  # lists that a file may lack


class SplitSettings(Settings):
    """How many labelled subjects go where; all others are for training."""

    num_test: int | None = Field(
        None, ge=1, description="None: a quarter of the labelled subjects, and a tenth to validate"
    )
    num_validation: int = Field(0, ge=0)
    seed: int = 0
    file: RecipePath | None = Field(None, description="a fixed split file beside the recipe")

    def counts(self, num_labelled: int) -> tuple[int, int]:
        """Return how many of so many labelled subjects are for the test and for validation.

        Examples:
            >>> SplitSettings().counts(200), SplitSettings(num_test=5).counts(200)
            ((50, 20), (5, 0))
        """
        if self.num_test is not None:
            return self.num_test, self.num_validation
        return max(2, num_labelled // 4), self.num_validation or max(2, num_labelled // 10)


@dataclass(frozen=True)
class Splits:
    """Subject ids by role; no subject has two.

    Attributes:
        train: For training.
        validation: For choices.
        test: For the test alone.
        seed: Of the split, and nothing more where a file was given.
        evaluator: Those of `train` that the evaluator, the independent segmenter, learns from; they
            are the last whose labels anything else may use.
        candidates: Those of `train` of whom labelled subsets are drawn, and whose labels alone an
            arm may use that has not every label; none: all of `train`.
        left_out: Those without a role.
        unlabelled: Those of `train` without a label map; the cases say who they are, no file does.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    seed: int
    evaluator: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()

    @classmethod
    def of_roles(cls, roles: Mapping[str, str]) -> "Splits":
        """Return the splits in which each subject has such a role: train, validation or test."""
        train, validation, test = (
            tuple(sorted(subject for subject, role in roles.items() if role == wanted))
            for wanted in ("train", "validation", "test")
        )
        return cls(train=train, validation=validation, test=test, seed=0)

    @property
    def roles(self) -> dict[str, str]:
        """Role of every subject: train, validation or test."""
        roles = {"train": self.train, "validation": self.validation, "test": self.test}
        return {subject: role for role, subjects in roles.items() for subject in subjects}

    @property
    def labelled(self) -> tuple[str, ...]:
        """The training subjects with a label map."""
        return tuple(sorted({*self.train} - {*self.unlabelled}))

    @property
    def drawn_from(self) -> tuple[str, ...]:
        """The training subjects of whom labelled subsets are drawn."""
        return self.candidates or self.labelled


def make_splits(
    subjects: Iterable[str], settings: SplitSettings, *, unlabelled: Iterable[str] = ()
) -> Splits:
    """Return splits that depend on the set of subjects and the seed, not on their order.

    Args:
        subjects: All of them.
        settings: How many go where.
        unlabelled: Those without a label map, who are for training; unless nobody has one.

    Raises:
        DataError: No labelled subject would be left for training.
    """
    everybody, bare = set(subjects), set(unlabelled)
    order = sorted(
        (everybody - bare) or everybody,
        key=lambda subject: stable_seed(settings.seed, "split", subject),
    )
    num_test, num_validation = settings.counts(len(order))
    first, second = num_test, num_test + num_validation
    if second >= len(order):
        known = f", {len(order)} with a label map" if len(order) < len(everybody) else ""
        raise DataError(
            f"splitting {len(everybody)} subjects{known}: {num_test} for the test and "
            f"{num_validation} for validation leave none for training. Ask for fewer."
        )
    train = everybody - {*order[:second]}
    return Splits(
        train=tuple(sorted(train)),
        validation=tuple(sorted(order[first:second])),
        test=tuple(sorted(order[:first])),
        seed=settings.seed,
        unlabelled=tuple(sorted(train & bare)),
    )


def splits_from(
    settings: SplitSettings, subjects: Iterable[str], *, unlabelled: Iterable[str] = ()
) -> Splits:
    """Return the splits of a recipe: of its file, or made from its counts and seed."""
    if settings.file is not None:
        return read_splits(settings.file, subjects, unlabelled=unlabelled)
    return make_splits(subjects, settings, unlabelled=unlabelled)


def split_faults(
    settings: SplitSettings, subjects: Iterable[str], *, unlabelled: Iterable[str] = ()
) -> list[str]:
    """Return, one sentence each, why subjects cannot be split as asked for."""
    try:
        splits_from(settings, subjects, unlabelled=unlabelled)
    except FaultyDataSet as several:
        return [f"splits {settings.file}: {fault}" for fault in several.faults]
    except VcmaugError as fault:
        return [str(fault).rstrip(".")]
    return []


def unfit(
    splits: Splits,
    settings: SplitSettings,
    subjects: Iterable[str],
    *,
    unlabelled: Iterable[str] = (),
) -> list[str]:
    """Return how the splits of a work folder differ from those that a recipe asks for.

    Args:
        splits: As they were written once.
        settings: Of the recipe.
        subjects: Of the case table.
        unlabelled: Those of them without a label map.
    """
    if settings.file is not None:
        wanted = read_splits(settings.file, subjects, unlabelled=unlabelled)
        lists = "roles", "evaluator", "candidates"
        same = all(getattr(splits, name) == getattr(wanted, name) for name in lists)
        return [] if same else [f"its roles are not those of the recipe's file {settings.file}"]
    everybody, bare = set(subjects), set(unlabelled)
    num_test, num_validation = settings.counts(len(everybody - bare) or len(everybody))
    found = {
        "num_test": (num_test, len(splits.test)),
        "num_validation": (num_validation, len(splits.validation)),
        "seed": (settings.seed, splits.seed),
    }
    return [
        f"splits.{name} is {asked} in the recipe and {there} in the file"
        for name, (asked, there) in found.items()
        if asked != there
    ]


def write_splits(path: Path, splits: Splits) -> None:
    """Write splits as JSON, without the lists of `_PERHAPS` where they are empty."""
    content = asdict(splits)
    del content["unlabelled"]
    write_json(
        path, {name: value for name, value in content.items() if value or name not in _PERHAPS}
    )


def read_splits(
    path: Path, subjects: Iterable[str] | None = None, *, unlabelled: Iterable[str] = ()
) -> Splits:
    """Return the splits of a file, cut to the subjects that are there.

    Args:
        path: JSON with train, validation, test and seed, as `write_splits` leaves it; it may also
            list subjects as `left_out`, which are given no role, and training subjects as
            `evaluator` and as `candidates`.
        subjects: Of the case table. Each must be named; the file may name more. None: all that the
            file names.
        unlabelled: Those without a label map, who are for training; unless nobody has one.

    Raises:
        FaultyDataSet: A subject has two roles or none, a role is empty, subjects of the evaluator
            or candidates are not of training, or one of test, validation or these has no label map;
            all at once.
    """
    content = read_json(path)
    listed = content if isinstance(content, dict) else {}
    content = {**{name: [] for name in _PERHAPS}, "seed": 0, **listed}
    roles = ("train", "validation", "test", "left_out")
    lists = (*roles, "evaluator", "candidates")
    faults = ["the list 'reader' is called 'evaluator' now"] if "reader" in content else []
    faults += [f"no list {role!r}" for role in lists if not isinstance(content.get(role), list)]
    if not isinstance(content["seed"], int):
        faults.append(f"the seed is {content['seed']!r}, expected a whole number")
    if faults:
        raise FaultyDataSet(f"reading splits {path}", faults)
    named = {role: {str(subject) for subject in content[role]} for role in lists}
    everybody = set().union(*named.values())
    known = everybody if subjects is None else set(subjects)
    bare = set(unlabelled) & known
    for first, second in combinations(roles, 2):
        both = sorted(named[first] & named[second])
        faults += [f"subject {subject}: in {first} and in {second}" for subject in both]
    without = sorted(known - everybody)
    faults += [f"subject {subject}: in no split" for subject in without]
    faults += [
        f"subject {subject}: in {chosen} and not in train"
        for chosen in ("evaluator", "candidates")
        for subject in sorted(named[chosen] - named["train"])
    ]
    faults += [
        f"subject {subject}: in {role}, and none of its cases has a label map"
        for role in ("validation", "test", "evaluator", "candidates")
        for subject in sorted(named[role] & bare if bare < known else ())
    ]
    faults += [
        f"no subject of {role!r} is among the {len(known)} prepared ones"
        for role in ("train", "test")
        if not named[role] & known
    ]
    if faults:
        raise FaultyDataSet(f"reading splits {path}", faults, advice="Correct the file.")
    kept = {role: tuple(sorted(named[role] & known)) for role in lists}
    unknown = tuple(sorted({*kept["train"]} & bare))
    return Splits(seed=content["seed"], unlabelled=unknown, **kept)


def labelled_subset(
    splits: Splits, *, num_labelled: int, seed: int, of_all: bool = False
) -> tuple[str, ...]:
    """Return training subjects whose labels may be used; for one seed smaller subsets are nested.

    Those of the evaluator come last, so only a subset that needs them has them.

    Args:
        splits: Of the study.
        num_labelled: How many.
        seed: Of the choice.
        of_all: Whether candidates do not count: every label may be used.

    Raises:
        DataError: More are asked for than there are.
    """
    subjects = splits.labelled if of_all else splits.drawn_from
    return nested_subset(subjects, num=num_labelled, seed=seed, last=splits.evaluator)


def nested_subset(
    subjects: Iterable[str], *, num: int, seed: int, last: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return so many of some subjects; for one seed smaller subsets are within larger ones.

    Args:
        subjects: To choose from.
        num: How many.
        seed: Of the choice.
        last: Those of them that are chosen after all others.

    Raises:
        DataError: More are asked for than there are.
    """
    there, late = sorted(set(subjects)), set(last)
    if not 1 <= num <= len(there):
        raise DataError(
            f"choosing {num} labelled subjects: there are {len(there)} training subjects with a "
            "label map. Ask for a number between 1 and that, or label more."
        )
    order = sorted(there, key=lambda one: (one in late, stable_seed(seed, "labelled", one)))
    return tuple(sorted(order[:num]))
