"""Rows of a manifest: what every case of a cohort has, how it was drawn if it was, and by what run.

A row is one flat mapping in a part of the manifest (JSON lines) and in its table; the three
records keep apart what belongs together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from vcmaug.data.case import IMAGE, LABEL, Case
from vcmaug.data.steps import Step
from vcmaug.errors import CohortError

__all__ = ["DONE", "RUN_COLUMNS", "Drawn", "ManifestRow", "Run", "columns_of", "row_of"]

DONE = "done"
"""Status of a request whose image and label map are there."""


@dataclass(frozen=True)
class Drawn:
    """How a sampler drew a case.

    Attributes:
        prior_sha256: Of the prior's weights.
        control_sha256: Of the control's weights.
        sampler: Its name.
        timesteps: That it visited.
        strength: Of the control.
        interval: Share of the schedule in which the control acted.
        micro_batch: In which the case was drawn.
        tries: Draws until one was accepted; each has noise of its own.
        checks: What was measured of the image.
        drawn_together: How many at once; fewer than the micro-batch in later tries, or where memory
            is short.
    """

    prior_sha256: str
    control_sha256: str
    sampler: str
    timesteps: tuple[int, ...]
    strength: float
    interval: tuple[float, ...]
    micro_batch: int
    tries: int = 1
    checks: Mapping[str, float] = field(default_factory=dict)
    drawn_together: int = 0


@dataclass(frozen=True)
class Run:
    """By what run a case was made.

    Attributes:
        shard: In which worker's share it lay.
        device: On which it was made.
        seconds: That it took.
        phases: Seconds by phase; the micro-batch's, divided among its requests.
        attempt: 1, and one more for each time its files were lost or its draw had failed.
        versions: Of Python and packages.
    """

    shard: int = 0
    device: str = "cpu"
    seconds: float = 0.0
    phases: Mapping[str, float] = field(default_factory=dict)
    attempt: int = 1
    versions: Mapping[str, str] = field(default_factory=dict)


RUN_COLUMNS = (*(one.name for one in fields(Run)), "drawn_together")
"""Columns that describe the run; the others are equal whoever made the cohort, and where."""


@dataclass(frozen=True)
class ManifestRow:
    """One request and what came of it.

    Attributes:
        request_id: Unique in the cohort.
        index: Of the request.
        status: "done"; "failed"; "rejected": no draw of it was accepted.
        reason: Why there is no image.
        case_id: Unique in the cohort.
        subject_id: Of the case; a made case has one of its own.
        image: File of the image, in the cohort's folder.
        label: File of the label map, in the cohort's folder.
        image_sha256: Of that file.
        label_sha256: Of that file.
        condition_id: What was to be made.
        condition_sha256: Of the file of its label map.
        source_case_ids: Every case that went into it, the host first.
        source_subject_ids: Their subjects.
        builder: Names of the builders of the condition, or of what made the case.
        role: Of all its parents: train, validation or test; empty where none is of a study.
        parameters: What was done to make it.
        seed: From which it was made.
        scalars: Raw values that the prior was told, by name; None is missing.
        drawn: How a sampler drew it; None: it was made otherwise.
        run: By what run.
    """

    request_id: str
    index: int
    status: str
    reason: str
    case_id: str
    subject_id: str
    image: str
    label: str
    image_sha256: str
    label_sha256: str
    condition_id: str
    condition_sha256: str
    source_case_ids: tuple[str, ...]
    source_subject_ids: tuple[str, ...]
    builder: str
    role: str = ""
    parameters: tuple[Step, ...] = ()
    seed: str = ""
    scalars: Mapping[str, float | None] = field(default_factory=dict)
    drawn: Drawn | None = None
    run: Run = Run()

    @property
    def is_done(self) -> bool:
        """Whether image and label map are there."""
        return self.status == DONE

    def changed(self, **values: Any) -> "ManifestRow":
        """Return the row with other values; those of the draw are named alike.

        Args:
            **values: By column of the row or, where it was drawn, of the draw.
        """
        own = {name: value for name, value in values.items() if name in _OWN}
        others = {name: value for name, value in values.items() if name not in _OWN}
        drawn = replace(self.drawn, **others) if self.drawn and others else self.drawn
        return replace(self, **{"drawn": drawn, **own})

    def cells(self) -> dict[str, Any]:
        """Return the row by column, JSON-like; columns of a draw are None where there was none."""
        own = {name: getattr(self, name) for name in _OWN}
        own["parameters"] = [vars(step) for step in self.parameters]
        drawn = vars(self.drawn) if self.drawn else dict.fromkeys(columns_of(Drawn))
        return {**own, **drawn, **vars(self.run)}

    def case(self, folder: Path) -> Case:
        """Return the finished case; hashes are the manifest's, and its parents its source columns.

        Args:
            folder: Of the cohort.
        """
        parents = {"case_ids": self.source_case_ids, "subject_ids": self.source_subject_ids}
        return Case(
            case_id=self.case_id,
            subject_id=self.subject_id,
            images={IMAGE: folder / self.image},
            label=folder / self.label,
            source={f"source_{kind}": names for kind, names in parents.items()},
            sha256={IMAGE: self.image_sha256, LABEL: self.label_sha256},
        )


@cache
def columns_of(record: type[Drawn] | type[Run]) -> dict[str, Any]:
    """Return the columns of a record with their types, in order."""
    return get_type_hints(record)


_OWN = {
    name: kind for name, kind in get_type_hints(ManifestRow).items() if name not in ("drawn", "run")
}


def row_of(cells: Mapping[str, Any]) -> ManifestRow:
    """Return the row of the cells that `cells` gave, also after JSON made lists of tuples.

    Raises:
        CohortError: Columns are missing: an older version wrote them.
    """
    try:
        own = _restored(_OWN_TUPLES, cells)
        own["parameters"] = tuple(Step(**step) for step in own["parameters"])
        drawn = cells["sampler"] is not None
        return ManifestRow(
            **own,
            drawn=Drawn(**_restored(_DRAWN_TUPLES, cells)) if drawn else None,
            run=Run(**_restored(_RUN_TUPLES, cells)),
        )
    except (KeyError, TypeError) as fault:
        raise CohortError(
            f"reading a row of a manifest: it was made by an older version ({fault}). Move the "
            "cohort's folder away and make the cohort again."
        ) from None


def _restored(columns: Mapping[str, bool], cells: Mapping[str, Any]) -> dict[str, Any]:
    """Return some cells, lists as tuples where a record has them."""
    return {
        name: tuple(cells[name] or ()) if is_tuple else cells[name]
        for name, is_tuple in columns.items()
    }


def _tuples(types: Mapping[str, Any]) -> dict[str, bool]:
    """Return for each column whether it holds tuples."""
    return {name: getattr(kind, "__origin__", None) is tuple for name, kind in types.items()}


_OWN_TUPLES, _DRAWN_TUPLES, _RUN_TUPLES = map(_tuples, (_OWN, columns_of(Drawn), columns_of(Run)))
