"""The curve of a stress test: scores of a segmenter over the volume that is swept."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from vcmaug.data.case import LABEL
from vcmaug.data.cases import Cases
from vcmaug.data.dice import dice_of
from vcmaug.data.nifti import read_label_map
from vcmaug.downstream.scoring import volume_error
from vcmaug.errors import DataError, WorkFolderError
from vcmaug.files import read_json, write_json
from vcmaug.provenance import versions
from vcmaug.stress.segmenters import CaseReading

__all__ = ["Bin", "Curve", "Scored", "curve_of", "value_of", "volumes_ml"]

_BINS = 6


@dataclass(frozen=True)
class Scored:
    """One case of the sweep.

    Attributes:
        case_id: Of the case.
        volume_ml: Of the structure in its label map.
        found_ml: That the segmenter found.
        dice: Of both.
        volume_error: In % of the true volume.
    """

    case_id: str
    volume_ml: float
    found_ml: float
    dice: float
    volume_error: float


@dataclass(frozen=True)
class Bin:
    """The cases of a part of the range: how many, and their means."""

    low_ml: float
    high_ml: float
    num: int
    dice: float
    volume_error: float
    is_labelled: bool


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What a stress test found.

    Attributes:
        structure: That is swept.
        labelled_ml: Its volumes in the segmenter's own labelled cases; none: they are not known.
        cases: The sweep, from small to large.
        segmenter: Which one, in words.
        sweep: By what the sweep was made, in words.
        notes: What must be known to read it.
        versions: Of Python and packages.
    """

    structure: str
    labelled_ml: tuple[float, ...]
    cases: tuple[Scored, ...]
    segmenter: str = ""
    sweep: str = ""
    notes: tuple[str, ...] = ()
    versions: Mapping[str, object] = field(default_factory=versions)

    @property
    def labelled_range_ml(self) -> tuple[float, float] | None:
        """From the smallest labelled volume to the largest."""
        return (min(self.labelled_ml), max(self.labelled_ml)) if self.labelled_ml else None

    @property
    def bins(self) -> list[Bin]:
        """The range in parts of as many millilitres; parts without a case are left out."""
        volumes = np.array([case.volume_ml for case in self.cases])
        edges = np.linspace(volumes.min(), volumes.max(), _BINS + 1)
        place = np.clip(np.searchsorted(edges, volumes, side="right") - 1, 0, _BINS - 1)
        known, found = self.labelled_range_ml, []
        for number in np.unique(place):
            own = [case for case, at in zip(self.cases, place, strict=True) if at == number]
            low, high = float(edges[number]), float(edges[number + 1])
            found.append(
                Bin(
                    low_ml=low,
                    high_ml=high,
                    num=len(own),
                    dice=float(np.mean([case.dice for case in own])),
                    volume_error=float(np.mean([case.volume_error for case in own])),
                    is_labelled=known is not None and high >= known[0] and low <= known[1],
                )
            )
        return found

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        write_json(path, {"kind": "stress test", **asdict(self)})

    @classmethod
    def read(cls, path: Path) -> "Curve":
        """Return the stress test of a file.

        Raises:
            WorkFolderError: It holds none.
        """
        try:
            return _CURVE.validate_python(read_json(path))
        except ValidationError as fault:
            raise WorkFolderError(
                f"reading {path}: it is no stress test ({fault.errors()[0]['msg']}). Run "
                "`vcmaug stress` again."
            ) from None


_CURVE = TypeAdapter(Curve)


def volumes_ml(cases: Cases, structure: str) -> tuple[float, ...]:
    """Return the volumes of a structure in the label maps of cases.

    Raises:
        DataError: There is no such structure, or no label map.
    """
    value, found = value_of(cases, structure), []
    if not cases.labelled():
        raise DataError(
            f"measuring {structure!r}: none of these {len(cases)} cases of {cases.folder} has a "
            "label map. Name the labelled subjects as the case table has them."
        )
    for case in cases.labelled():
        label = read_label_map(case.files[LABEL], case_id=case.case_id)
        found.append(_ml(label.array == value, label.spacing_mm))
    return tuple(found)


def curve_of(
    sweep: Cases,
    read: CaseReading,
    *,
    structure: str,
    labelled_ml: Sequence[float] = (),
    segmenter: str = "",
    made_by: str = "",
    notes: Sequence[str] = (),
    value: int | None = None,
) -> Curve:
    """Return how well a segmenter finds a structure over its volume.

    Args:
        sweep: Images with the label maps that are true of them.
        read: The segmenter.
        structure: That is swept.
        labelled_ml: Its volumes in the segmenter's labelled cases.
        segmenter: Which one, in words.
        made_by: By what the sweep was made, in words.
        notes: What must be known.
        value: Of the structure in what the segmenter writes; None: as in the sweep's label maps.

    Raises:
        DataError: There is no such structure, or a case holds none of it.
    """
    own = value_of(sweep, structure)
    rows = []
    for case, found in zip(sweep, read(sweep.cases), strict=True):
        label = read_label_map(case.files[LABEL], case_id=case.case_id)
        there, seen = label.array == own, found == (own if value is None else value)
        if not there.any():
            raise DataError(
                f"stress test: case {case.case_id} holds no {structure!r}. Leave it out."
            )
        rows.append(
            Scored(
                case_id=case.case_id,
                volume_ml=_ml(there, label.spacing_mm),
                found_ml=_ml(seen, label.spacing_mm),
                dice=dice_of(seen, there),
                volume_error=volume_error(seen, there),
            )
        )
    return Curve(
        structure=structure,
        labelled_ml=tuple(sorted(labelled_ml)),
        cases=tuple(sorted(rows, key=lambda row: (row.volume_ml, row.case_id))),
        segmenter=segmenter,
        sweep=made_by,
        notes=tuple(notes),
    )


def value_of(cases: Cases, structure: str) -> int:
    """Return the value of a structure in the label maps of cases."""
    names = cases.scheme.names
    if structure not in names:
        raise DataError(
            f"stress test: found structure {structure!r}, expected one of {cases.folder} "
            f"({', '.join(names)})."
        )
    return cases.scheme.values[names.index(structure)]


def _ml(inside: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """Return the volume of a mask."""
    return round(float(np.count_nonzero(inside)) * float(np.prod(spacing_mm)) / 1000.0, 4)
