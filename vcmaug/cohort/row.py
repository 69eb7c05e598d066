"""Rows of a manifest: what every case of a cohort has, how it was drawn if it was, and by what run.

A row is flat in a part of the manifest (JSON lines) and in its table; the three records keep apart
what belongs together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from pydantic import BeforeValidator, JsonValue, TypeAdapter, ValidationError

from vcmaug.data.case import IMAGE, LABEL, Case
from vcmaug.data.steps import Step
from vcmaug.errors import CohortError

__all__ = ["ADDED", "COLUMNS", "DONE", "RUN_COLUMNS", "Drawn", "ManifestRow", "Run", "row_of"]

DONE = "done"
"""Status of a request whose image and label map are there."""


Ids = Annotated[tuple[str, ...], BeforeValidator(lambda ids: ids or ())]
"""Ids; where a table has nothing at all there are none."""


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
        prior_kind: What the prior predicts: "epsilon" or "flow".
        guidance: By scalars; 1 is none.
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
    prior_kind: str = "epsilon"
    guidance: float = 1.0
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
    source_case_ids: Ids
    source_subject_ids: Ids
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
        names = {one.name for one in fields(ManifestRow)}
        own = {name: value for name, value in values.items() if name in names}
        others = {name: value for name, value in values.items() if name not in names}
        drawn = replace(self.drawn, **others) if self.drawn and others else self.drawn
        return replace(self, **{"drawn": drawn, **own})

    def cells(self) -> dict[str, JsonValue]:
        """Return the row by column; columns of a draw are None where there was none."""
        own = _ROW.dump_python(self)
        drawn, run = own.pop("drawn"), own.pop("run")
        return {**own, **(drawn or dict.fromkeys(get_type_hints(Drawn))), **run}

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
            source={f"source_{kind}": ", ".join(names) for kind, names in parents.items()},
            sha256={IMAGE: self.image_sha256, LABEL: self.label_sha256},
        )


_ROW = TypeAdapter(ManifestRow)

COLUMNS: Mapping[str, Any] = {
    **{k: v for k, v in get_type_hints(ManifestRow).items() if k not in ("drawn", "run")},
    **get_type_hints(Drawn),
    **get_type_hints(Run),
}
"""The columns of a manifest in order, with their types."""


ADDED: Mapping[str, str | float] = {"prior_kind": "epsilon", "guidance": 1.0}
"""Columns that older cohorts do not have, with what was true of these."""


def row_of(cells: Mapping[str, object]) -> ManifestRow:
    """Return the row of the cells that `cells` gave, also after JSON made lists of tuples.

    Raises:
        CohortError: Columns are missing: an older version wrote them.
    """
    drawn = cells if cells.get("sampler") is not None else None
    try:
        return _ROW.validate_python({**cells, "drawn": drawn, "run": cells})
    except ValidationError as fault:
        lacking = ", ".join(repr(error["loc"][-1]) for error in fault.errors())
        raise CohortError(
            f"reading a row of a manifest: it was made by an older version ({lacking}). Move the "
            "cohort's folder away and make the cohort again."
        ) from None
