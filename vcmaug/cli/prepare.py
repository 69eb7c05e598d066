"""`vcmaug prepare`: your images and label maps, onto one grid."""

import json
from dataclasses import dataclass
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Annotated

import typer

from vcmaug.cli.console import progress, say
from vcmaug.cli.options import RecipeOptions, ShowOptions, make_or_show, spread
from vcmaug.data import readers
from vcmaug.errors import FaultyDataSet, RecipeError
from vcmaug.outputs import refuse_overlap

if TYPE_CHECKING:
    from vcmaug.data.geometry import Grid
    from vcmaug.data.prepare import DataSettings
    from vcmaug.data.splits import SplitSettings

__all__ = ["prepare_command"]

_FORMATS = [module.name for module in iter_modules(readers.__path__)]
"""Names of the readers, by which their modules are called; `auto` is the first."""

_BRAINLDM = "brainldm"
_ASSUMED = (
    "Assumed for BrainLDM: each image is a T1w head whose centre is the centre of the grid "
    "(160x224x160 voxels of 1 mm, LAS), and its 0.5 and 99.5 percentiles are 0 and 1. The prior "
    "saw heads that were rigidly registered to MNI152 before; this does not register."
)

_EXAMPLE = (
    "Example: vcmaug prepare my_data --out work/mine/cases --structures anterior=1,posterior=2 "
    "--grid 32x48x32 --spacing 1x1x1"
)


@dataclass(frozen=True)
class SourceOptions:
    """What to prepare, and how to split it."""

    source: Annotated[
        Path,
        typer.Argument(
            metavar="SRC",
            help="Folder, CSV/TSV, nnU-Net raw, MONAI datalist, BIDS root, or a recipe (.yaml).",
        ),
    ]
    out: Annotated[Path, typer.Option("--out", help="Folder of prepared cases, WORK/cases.")]
    structures: Annotated[
        str,
        typer.Option(
            "--structures",
            help="Names and values, e.g. anterior=1,posterior=2; not needed for images alone.",
        ),
    ] = ""
    grid: Annotated[
        str, typer.Option("--grid", help="Voxels, e.g. 32x48x32; or brainldm, its whole space.")
    ] = ""
    spacing: Annotated[
        str | None, typer.Option("--spacing", help="Voxel size in mm.", show_default="1x1x1")
    ] = None
    orientation: Annotated[str | None, typer.Option("--orientation", show_default="RAS")] = None
    padding: Annotated[
        str | None,
        typer.Option("--padding", help="zero, edge or reflect.", show_default="zero"),
    ] = None
    layout: Annotated[
        str, typer.Option("--format", help=f"One of {', '.join(_FORMATS)}, or a plugin's.")
    ] = "auto"
    images: Annotated[
        str | None,
        typer.Option("--images", help="Pattern of a plain folder, e.g. images/{case}.nii.gz."),
    ] = None
    labels: Annotated[
        str | None,
        typer.Option("--labels", help="Pattern of a plain folder, e.g. labels/{case}.nii.gz."),
    ] = None
    unlabelled: Annotated[
        bool, typer.Option("--allow-unlabelled", help="Images without a label map are kept.")
    ] = False
    profile: Annotated[
        str | None, typer.Option("--profile", help="One of the recipe's profiles, e.g. smoke.")
    ] = None
    num_test: Annotated[
        int, typer.Option("--num-test", help="Test subjects to set apart; 0: leave it to a recipe.")
    ] = 0
    num_validation: Annotated[
        int, typer.Option("--num-validation", help="Validation subjects, beside --num-test.")
    ] = 0
    seed: Annotated[int, typer.Option("--seed", help="Of the split.")] = 0

    def settings(self) -> "DataSettings":
        """Return what is to be prepared."""
        from vcmaug.config import parse_settings
        from vcmaug.data.prepare import DataSettings

        content = {
            "source": str(self.source),
            "format": _format(self.layout, images=self.images, labels=self.labels),
            "scheme": _structures(self.structures),
            "grid": self._grid(),
            "require_labels": not self.unlabelled,
        }
        return parse_settings(DataSettings, content, source="the options of prepare")

    def splits(self) -> "SplitSettings | None":
        """Return how subjects are to be split; None: a recipe does."""
        from vcmaug.config import parse_settings
        from vcmaug.data.splits import SplitSettings

        if self.num_test == 0:
            return None
        content = {name: getattr(self, name) for name in ("num_test", "num_validation", "seed")}
        return parse_settings(SplitSettings, content, source="the options of prepare")

    def _grid(self) -> "Grid | dict[str, object]":
        """Return the grid of the options, or that of BrainLDM.

        Raises:
            RecipeError: BrainLDM's grid is asked for and changed at once, or no grid is given.
        """
        spacing = None if self.spacing is None else _numbers(self.spacing, "--spacing")
        given = {"spacing_mm": spacing, "orientation": self.orientation, "padding": self.padding}
        named = {name: value for name, value in given.items() if value is not None}
        if self.grid != _BRAINLDM:
            return {"shape": _numbers(self.grid, "--grid"), **named}
        if named:
            found = ", ".join(f"--{name.removesuffix('_mm')}" for name in named)
            raise RecipeError(
                f"reading --grid {_BRAINLDM}: found {found} beside it, and the grid of BrainLDM is "
                "fixed (160x224x160 voxels of 1 mm, LAS, padded with zeros). Leave them out, or "
                "give the grid in voxels."
            )
        from vcmaug.released.brainldm import BRAINLDM

        return BRAINLDM.grid


@spread
def prepare_command(options: SourceOptions, show: ShowOptions) -> None:
    """Read images and label maps, list every fault at once, and bring them onto one grid.

    Example: vcmaug prepare my_data --out work/mine/cases --structures anterior=1,posterior=2
    --grid 32x48x32
    """
    if options.source.suffix in {".yaml", ".yml"}:
        _from_recipe(options, show)
        return
    settings, splits = options.settings(), options.splits()
    if show.dry_run:
        from vcmaug.data.prepare import find_cases

        faults: list[str] = []
        found = (
            f"would prepare {len(find_cases(settings, faults, splits=splits))} cases into "
            f"{options.out}; with\n"
        )
        if faults:
            raise FaultyDataSet(f"preparing {settings.source}", faults)
        asked = json.dumps(settings.model_dump(mode="json"), indent=2)
        say(asked if show.as_json else f"{found}{asked}")
        return
    from vcmaug.data.prepare import prepare
    from vcmaug.data.splits import splits_from, write_splits
    from vcmaug.data.work_layout import WorkLayout

    layout = WorkLayout(options.out.parent)
    if splits is not None:
        refuse_overlap(
            f"splitting {options.source}", writes=[layout.splits], reads=[options.source]
        )
    with progress() as report:
        cases = prepare(settings, options.out, splits=splits, report=report)
    if splits is not None:
        made = splits_from(splits, cases.subjects, unlabelled=cases.unlabelled_subjects)
        write_splits(layout.splits, made)
    if options.out == layout.cases:
        for name in ("cases", "splits"):  # a recipe in this folder looks at both again
            (layout.stages / f"{name}.json").unlink(missing_ok=True)
    say(f"{len(cases)} cases of {len(cases.subjects)} subjects are in {options.out}.")
    if options.grid == _BRAINLDM:
        say(_ASSUMED)


def _from_recipe(options: SourceOptions, show: ShowOptions) -> None:
    """Prepare the cases of a recipe, and split their subjects."""
    from vcmaug.pipeline.graph import Graph

    if options.out.name != "cases":
        raise RecipeError(
            f"preparing recipe {options.source}: --out {options.out} must end in 'cases', e.g. "
            "work/NAME/cases: the folder above it is the recipe's work folder."
        )
    recipe = RecipeOptions(
        options.source, options.profile, options.out.parent, dry_run=show.dry_run
    )
    if make_or_show(Graph(recipe.open_work()).splits, show) is not None:
        say(f"The cases are in {options.out}.")


def _format(layout: str, *, images: str | None, labels: str | None) -> dict[str, str]:
    """Return the reader's settings; patterns belong to the plain folder unless one is named."""
    given = {"images": images, "labels": labels}
    patterns = {name: pattern for name, pattern in given.items() if pattern is not None}
    return {"name": "folder" if patterns and layout == _FORMATS[0] else layout, **patterns}


def _structures(text: str) -> dict[str, int]:
    """Return name -> value of a text such as anterior=1,posterior=2."""
    try:
        pairs = [part.split("=") for part in text.split(",") if part.strip()]
        found = {name.strip(): int(value) for name, value in pairs}
        if len(found) < len(pairs):
            raise ValueError("a name stands twice")
        return found
    except ValueError:
        raise RecipeError(
            f"reading --structures {text!r}: expected NAME=VALUE,..., each name once. {_EXAMPLE}"
        ) from None


def _numbers(text: str, option: str) -> list[float]:
    """Return three numbers of a text such as 32x48x32."""
    try:
        first, second, third = (float(part) for part in text.lower().split("x"))
    except ValueError:
        raise RecipeError(
            f"reading {option} {text!r}: expected three numbers. {_EXAMPLE}"
        ) from None
    return [first, second, third]
