"""Where a segmenter fails, before any patient comes: `vcmaug stress` and `vcmaug coverage`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vcmaug.cli.console import progress, say
from vcmaug.cli.options import spread
from vcmaug.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vcmaug.cohort.cohort import Cohort
    from vcmaug.data.cases import Cases
    from vcmaug.data.way_back import WayBack
    from vcmaug.stress.segmenters import CaseReading

__all__ = ["coverage_command", "stress_command"]

_EXAMPLE = (
    "Example: vcmaug stress work/mine/cases --structure ventricles --range 5,150 --trained-on "
    "train.txt --command 'my_segmenter {images} {masks}' --out stress"
)


@dataclass(frozen=True)
class SegmenterOptions:
    """Which segmenter, and who trained it."""

    structure: Annotated[str, typer.Option("--structure", help="Whose volume is looked at.")]
    out: Annotated[Path, typer.Option("--out", help="Folder of what is made.")]
    trained_on: Annotated[
        Path | None,
        typer.Option(
            "--trained-on",
            help="Text file of the subjects that trained the segmenter, one to a line.",
        ),
    ] = None
    command: Annotated[
        str,
        typer.Option(
            "--command", help="Maps folders: 'nnUNetv2_predict -i {images} -o {masks} -d 1 ...'."
        ),
    ] = ""
    torchscript: Annotated[
        Path | None,
        typer.Option("--torchscript", help="From [1, 1, X, Y, Z] in [0, 1] to logits."),
    ] = None
    native: Annotated[
        bool,
        typer.Option(
            "--native", help="Images for the command on native grids, in own grey values."
        ),
    ] = False
    suffix: Annotated[
        str, typer.Option("--suffix", help="Of image names, e.g. _0000 for nnU-Net.")
    ] = ""
    mask_value: Annotated[
        int | None,
        typer.Option("--mask-value", help="Of the structure in masks.", show_default="its own"),
    ] = None

    def subjects(self) -> tuple[str, ...]:
        """Return who trained the segmenter.

        Raises:
            RecipeError: There is no such file.
        """
        if self.trained_on is None:
            return ()
        if not self.trained_on.is_file():
            raise RecipeError(f"reading --trained-on: there is no {self.trained_on}.")
        lines = self.trained_on.read_text(encoding="utf-8").splitlines()
        return tuple(line.strip() for line in lines if line.strip())

    def reading(self, folder: Path, native: "Mapping[str, WayBack] | None") -> "CaseReading":
        """Return the segmenter.

        Raises:
            RecipeError: None is named, or two are.
        """
        from vcmaug.stress.segmenters import by_command, by_torchscript

        if bool(self.command) == (self.torchscript is not None):
            raise RecipeError(
                f"choosing a segmenter: give --command or --torchscript, one of both. {_EXAMPLE}"
            )
        if self.torchscript is not None:
            return by_torchscript(self.torchscript)
        return by_command(self.command, folder, suffix=self.suffix, native=native)

    @property
    def segmenter(self) -> str:
        """Which one, in words."""
        return self.torchscript.name if self.torchscript is not None else self.command

    def value_in(self, cases: "Cases") -> int | None:
        """Return the value of the structure in masks; None: that of the cases' label maps."""
        from vcmaug.stress.curve import value_of

        own = cases.scheme.source_values
        if self.mask_value is not None or not self.native or not own:
            return self.mask_value
        return own[cases.scheme.values.index(value_of(cases, self.structure))]


@dataclass(frozen=True)
class SweepOptions:
    """What is swept, and by what."""

    range_ml: Annotated[
        str, typer.Option("--range", metavar="LOW,HIGH", help="Volumes of the sweep, ml.")
    ] = ""
    n: Annotated[int, typer.Option("--n", help="Cases of the sweep.")] = 64
    seed: Annotated[int, typer.Option("--seed")] = 0
    decay_mm: Annotated[
        float, typer.Option("--decay-mm", help="Of the flow that grows the heads.")
    ] = 25.0
    sweep: Annotated[
        Path | None,
        typer.Option("--sweep", help="A finished cohort, drawn for example, in place of growing."),
    ] = None
    cohort: Annotated[
        Path | None,
        typer.Option("--cohort", help="That the segmenter trained on; the same way is refused."),
    ] = None
    whole: Annotated[
        Path | None,
        typer.Option("--whole", help="The same cases prepared on a larger grid, to grow there."),
    ] = None
    workers: Annotated[int | None, typer.Option("--workers", help="Processes.")] = None

    def swept(self, prepared: "Cases", options: SegmenterOptions) -> "tuple[Cohort, str]":
        """Return the sweep, made if it is not there, and in words by what."""
        from vcmaug.cohort.cohort import Cohort
        from vcmaug.compute import resolve_compute
        from vcmaug.config import parse_settings
        from vcmaug.data.cases import Cases
        from vcmaug.stress.sweep import SweepSettings, labelled_heads, make_sweep

        if self.sweep is not None:
            return Cohort.open(self.sweep), f"swept by the cohort {self.sweep}"
        heads = labelled_heads(prepared, options.subjects())
        content = {
            "structure": options.structure,
            "range_ml": _range(self.range_ml),
            "n": self.n,
            "seed": self.seed,
            "decay_mm": self.decay_mm,
        }
        asked = parse_settings(SweepSettings, content, source="the options of stress")
        with progress() as report:
            made = make_sweep(
                heads,
                asked,
                out=options.out,
                whole=Cases.open(self.whole) if self.whole is not None else None,
                compute=resolve_compute(workers=self.workers),
                report=report,
            )
        low, high = asked.range_ml
        return made, f"{self.n} cases of {len(heads)} heads, grown to {low:g} to {high:g} ml"


@spread
def stress_command(
    cases: Annotated[Path, typer.Argument(metavar="CASES", help="Folder of prepared cases.")],
    options: SegmenterOptions,
    sweeping: SweepOptions,
) -> None:
    """Show how well a segmenter finds a structure over a sweep of its volume.

    Example: vcmaug stress work/mine/cases --structure ventricles --range 5,150 --trained-on
    train.txt --command 'my_segmenter {images} {masks}' --out stress
    """
    from vcmaug.cohort.cohort import Cohort
    from vcmaug.data.cases import Cases
    from vcmaug.outputs import refuse_overlap
    from vcmaug.report.stress import stress_page
    from vcmaug.stress.curve import curve_of, volumes_ml
    from vcmaug.stress.sweep import kinship, native_of, refuse_seen

    prepared, trained_on = Cases.open(cases), options.subjects()
    own = [sweeping.sweep, sweeping.cohort, sweeping.whole, options.torchscript]
    refuse_overlap("stress test", writes=[options.out], reads=[cases, *filter(None, own)])
    native: dict[str, WayBack] = {}
    read = options.reading(options.out, native if options.native else None)  # refused before work
    swept, made_by = sweeping.swept(prepared, options)
    native |= native_of(swept, prepared) if options.native else {}
    refuse_seen(swept, trained_on)
    notes = kinship(swept, Cohort.open(sweeping.cohort) if sweeping.cohort is not None else None)
    known = prepared.of(trained_on).labelled()
    if not trained_on:
        notes.append("Who trained the segmenter is not stated: heads of the sweep may be among it.")
    elif not known:
        notes.append(f"None of the {len(trained_on)} subjects that trained it is in {cases}.")
    curve = curve_of(
        swept,
        read,
        structure=options.structure,
        labelled_ml=volumes_ml(known, options.structure) if known else (),
        segmenter=options.segmenter,
        made_by=made_by,
        notes=notes,
        value=options.value_in(prepared),
    )
    curve.write(options.out / "stress.json")
    page = stress_page(curve, options.out / "stress.html")
    for one in curve.bins:
        say(
            f"{one.low_ml:.0f} to {one.high_ml:.0f} ml, {one.num} cases: Dice {one.dice:.2f}, "
            f"volume error {one.volume_error:.0f} %"
        )
    say(f"The page is {page}.")


@spread
def coverage_command(
    cases: Annotated[Path, typer.Argument(metavar="CASES", help="Folder of prepared cases.")],
    target: Annotated[
        Path,
        typer.Option("--target", help="Prepared cases of the target population, images alone."),
    ],
    options: SegmenterOptions,
    stress: Annotated[
        Path | None, typer.Option("--stress", help="stress.json of the same segmenter.")
    ] = None,
) -> None:
    """Show, before any training, where a target population lies over the labelled cases.

    Example: vcmaug coverage work/mine/cases --target work/clinic/cases --structure ventricles
    --trained-on train.txt --command 'my_segmenter {images} {masks}' --out coverage
    """
    import numpy as np

    from vcmaug.data.cases import Cases
    from vcmaug.files import write_json
    from vcmaug.outputs import refuse_overlap
    from vcmaug.report.stress import coverage_page
    from vcmaug.stress.curve import Curve, value_of, volumes_ml

    prepared, others = Cases.open(cases), Cases.open(target)
    reads = [cases, target, *filter(None, [stress, options.torchscript])]
    refuse_overlap("coverage", writes=[options.out], reads=reads)
    trained_on = options.subjects()
    labelled = volumes_ml(prepared.of(trained_on) if trained_on else prepared, options.structure)
    native = {case.case_id: case.back() for case in others} if options.native else None
    value = options.value_in(prepared) or value_of(prepared, options.structure)
    voxel_ml = float(np.prod(others.grid.spacing_mm)) / 1000.0
    found = [
        round(float((mask == value).sum()) * voxel_ml, 4)
        for mask in options.reading(options.out, native)(others.cases)
    ]
    curve = Curve.read(stress) if stress is not None else None
    write_json(
        options.out / "coverage.json",
        {
            "kind": "coverage",
            "structure": options.structure,
            "labelled_ml": labelled,
            "target_ml": dict(zip([case.case_id for case in others], found, strict=True)),
        },
    )
    page = coverage_page(
        curve,
        options.out / "coverage.html",
        structure=options.structure,
        labelled_ml=labelled,
        target_ml=found,
        segmenter=options.segmenter,
    )
    high = max(labelled)
    above = sum(volume > high for volume in found)
    say(f"{above} of {len(found)} target cases are read above the labelled range ({high:.1f} ml).")
    say(f"The page is {page}.")


def _range(text: str) -> list[float]:
    """Return two numbers of a text such as 5,150."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise RecipeError(
            f"reading --range {text!r}: expected two volumes, LOW,HIGH. {_EXAMPLE}"
        ) from None
    return [low, high]
