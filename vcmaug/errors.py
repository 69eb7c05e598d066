"""Every error that vcmaug raises on purpose.

    VcmaugError
    |-- RecipeError          a recipe (YAML) that cannot be used
    |-- PluginError          parts of another package that cannot be imported
    |-- DataError            volumes, label maps, tables, splits
    |   |-- FaultyDataSet    all the faults of one data set, together
    |   `-- LeakError        a test subject where no test subject may be
    |-- ModelError           priors, controls, checkpoints
    |-- CohortError          plans, shards, manifests
    |-- ComputeError         GPUs, workers, schedulers
    `-- WorkFolderError      output folders, locks, missing stages

A message says what was being done, what was found, what was expected and what to do next. The
command line shows a `VcmaugError` as one panel and exits with code 2; anything else is a bug and
keeps its traceback.
"""

from collections.abc import Sequence

__all__ = [
    "CohortError",
    "ComputeError",
    "DataError",
    "FaultyDataSet",
    "LeakError",
    "ModelError",
    "PluginError",
    "RecipeError",
    "VcmaugError",
    "WorkFolderError",
    "list_faults",
]


class VcmaugError(Exception):
    """The root of all errors that the user can fix."""


class RecipeError(VcmaugError):
    """A recipe that cannot be used; names every fault in it."""


class PluginError(VcmaugError):
    """Parts of another package that cannot be imported."""


class DataError(VcmaugError):
    """A volume, label map, table or split that cannot be used."""


class FaultyDataSet(DataError):
    """All the faults of one data set, each with its case and file."""

    def __init__(self, what: str, faults: Sequence[str], *, advice: str = "") -> None:
        self.faults = tuple(faults)
        super().__init__(list_faults(what, self.faults, advice=advice))


class LeakError(DataError):
    """A test subject that reached a prior, a control, a condition or a training set."""


class ModelError(VcmaugError):
    """A prior, a control or a checkpoint that cannot be used."""


class CohortError(VcmaugError):
    """A plan, a shard or a manifest that cannot be used."""


class ComputeError(VcmaugError):
    """Requested compute that is not available, or that failed too often."""


class WorkFolderError(VcmaugError):
    """An output folder that is locked, foreign, or lacks what an earlier stage leaves."""


def list_faults(what: str, faults: Sequence[str], *, advice: str = "", most: int = 500) -> str:
    """Return one message: `what`, a numbered line per fault, and the advice.

    Args:
        what: What was being read or checked.
        faults: One sentence each.
        advice: What to do next; left out when empty.
        most: How many faults are written out; the rest are counted.

    Examples:
        >>> print(list_faults("reading cases", ["a: no label", "b: NaN"], advice="Fix them."))
        reading cases: 2 faults
          1. a: no label
          2. b: NaN
        Fix them.
    """
    noun = "fault" if len(faults) == 1 else "faults"
    lines = [f"{what}: {len(faults)} {noun}"]
    lines += [f"  {number}. {fault}" for number, fault in enumerate(faults[:most], start=1)]
    if len(faults) > most:
        lines.append(f"  ... and {len(faults) - most} more")
    if advice:
        lines.append(advice)
    return "\n".join(lines)
