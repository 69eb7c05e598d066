"""`vcmaug prepare`: your images and label maps, onto one grid."""

import json
from dataclasses import dataclass
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcmaug.cli.console import progress, say
from vcmaug.cli.options import AsJson, DryRun, RecipeOptions, make_or_show, spread
from vcmaug.data import readers
from vcmaug.errors import RecipeError

if TYPE_CHECKING:
    from vcmaug.data.cases import Cases
    from vcmaug.data.prepare import DataSettings

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

    @property
    def is_recipe(self) -> bool:
        """Whether a recipe says what to prepare."""
        return self.source.suffix in {".yaml", ".yml"}

    def settings(self) -> "DataSettings":
        """Return what is to be prepared."""
        from vcmaug.config import parse_settings
        from vcmaug.data.prepare import DataSettings

        grid = _grid(
            self.grid, spacing=self.spacing, orientation=self.orientation, padding=self.padding
        )
        content = {
            "source": str(self.source),
            "format": _format(self.layout, images=self.images, labels=self.labels),
            "scheme": _structures(self.structures),
            "grid": grid,
            "require_labels": not self.unlabelled,
        }
        return parse_settings(DataSettings, content, source="the options of prepare")


@spread
def prepare_command(
    options: SourceOptions, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Read images and label maps, list every fault at once, and bring them onto one grid.

    Example: vcmaug prepare my_data --out work/mine/cases --structures anterior=1,posterior=2
    --grid 32x48x32
    """
    out = options.out
    if options.is_recipe:
        of_recipe = RecipeOptions(
            options.source, options.profile, out.parent, dry_run=dry_run, as_json=as_json
        )
        _from_recipe(of_recipe, out)
        return
    settings = options.settings()
    if dry_run:
        _show(settings, out, as_json=as_json)
        return
    from vcmaug.data.prepare import prepare

    with progress() as report:
        cases = prepare(settings, out, report=report)
    if options.num_test:
        _split(cases, options)
    say(f"{len(cases)} cases of {len(cases.subjects)} subjects are in {out}.")
    if options.grid == _BRAINLDM:
        say(_ASSUMED)


def _show(settings: "DataSettings", out: Path, *, as_json: bool) -> None:
    """Say what would be prepared."""
    from vcmaug.data.prepare import find_cases

    found = len(find_cases(settings, []))
    asked = json.dumps(settings.model_dump(mode="json"), indent=2)
    say(asked if as_json else f"would prepare {found} cases into {out}; with\n{asked}")


def _split(cases: "Cases", options: SourceOptions) -> None:
    """Write the splits of the subjects beside their cases."""
    from vcmaug.data.splits import SplitSettings, make_splits, write_splits
    from vcmaug.data.work_layout import WorkLayout

    settings = SplitSettings(
        num_test=options.num_test, num_validation=options.num_validation, seed=options.seed
    )
    layout = WorkLayout(options.out.parent)
    write_splits(layout.splits, make_splits(cases.subjects, settings))


def _format(layout: str, *, images: str | None, labels: str | None) -> dict[str, str]:
    """Return the reader's settings; patterns belong to the plain folder unless one is named."""
    given = {"images": images, "labels": labels}
    patterns = {name: pattern for name, pattern in given.items() if pattern is not None}
    return {"name": "folder" if patterns and layout == _FORMATS[0] else layout, **patterns}


def _grid(
    text: str, *, spacing: str | None, orientation: str | None, padding: str | None
) -> dict[str, Any]:
    """Return the grid of the options, or that of BrainLDM.

    Raises:
        RecipeError: BrainLDM's grid is asked for and changed at once, or no grid is given.
    """
    given = {"--spacing": spacing, "--orientation": orientation, "--padding": padding}
    if text == _BRAINLDM:
        _refuse_with_brainldm([name for name, value in given.items() if value is not None])
        from vcmaug.released.brainldm import BRAINLDM

        return BRAINLDM.grid.model_dump()
    chosen = {
        "shape": _numbers(text, "--grid"),
        "spacing_mm": None if spacing is None else _numbers(spacing, "--spacing"),
        "orientation": orientation,
        "padding": padding,
    }
    return {name: value for name, value in chosen.items() if value is not None}


def _refuse_with_brainldm(names: list[str]) -> None:
    """Refuse options that would change BrainLDM's grid."""
    if names:
        raise RecipeError(
            f"reading --grid {_BRAINLDM}: found {', '.join(names)} beside it, and the grid of "
            "BrainLDM is fixed (160x224x160 voxels of 1 mm, LAS, padded with zeros). Leave them "
            "out, or give the grid in voxels."
        )


def _from_recipe(options: RecipeOptions, out: Path) -> None:
    """Prepare the cases of a recipe, and split their subjects.

    Args:
        options: Of the recipe; its work folder is above `out`.
        out: Folder of the cases.
    """
    from vcmaug.pipeline.graph import Graph

    if out.name != "cases":
        raise RecipeError(
            f"preparing recipe {options.recipe}: --out {out} must end in 'cases', e.g. "
            "work/NAME/cases: the folder above it is the recipe's work folder."
        )
    splits = Graph(options.open_work()).splits
    if make_or_show(splits, dry_run=options.dry_run, as_json=options.as_json) is not None:
        say(f"The cases are in {out}.")


def _structures(text: str) -> dict[str, int]:
    """Return name -> value of a text such as anterior=1,posterior=2."""
    try:
        pairs = [part.split("=") for part in text.split(",") if part.strip()]
        return {name.strip(): int(value) for name, value in pairs}
    except ValueError:
        raise RecipeError(
            f"reading --structures {text!r}: expected NAME=VALUE,... {_EXAMPLE}"
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
