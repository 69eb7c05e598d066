"""The table of verbs, and the group that imports a verb's module only when that verb is called."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

__all__ = ["VERBS", "Verb", "Verbs"]


@dataclass(frozen=True)
class Verb:
    """A verb before its module is imported.

    Attributes:
        name: As it is typed; the function is called so, with `_command`.
        module: In `vcmaug.cli`.
        help: The first sentence of its own help, for the list of verbs.
    """

    name: str
    module: str
    help: str

    def load(self) -> Any:
        """Import the verb's module and return its command, or the group that it is."""
        module = import_module(f"vcmaug.cli.{self.module}")
        command = getattr(module, f"{self.name.replace('-', '_')}_command")
        if isinstance(command, typer.Typer):
            return get_command(command)
        alone = typer.Typer(add_completion=False)
        alone.command(self.name)(command)
        return get_command(alone)


_MODULES = {
    "prepare": {
        "prepare": "Read images and label maps, list every fault at once, and bring them onto one "
        "grid.",
    },
    "training": {
        "train-prior": "Train the prior of a recipe; labels are not needed, test subjects are not "
        "seen.",
        "train-control": "Train the control of one (n, seed) on exactly n labelled training cases.",
    },
    "cohorts": {
        "build-conditions": "Build n conditions from the labelled cases of one (n-labelled, seed).",
        "generate": "Draw a labelled cohort; the same command again draws only what is missing.",
        "check": "List every fault of a finished cohort: lost, damaged or foreign files, rows, "
        "counts.",
        "export": "Write a finished cohort in the layout of another tool.",
    },
    "studies": {
        "evaluate": "Check every file of a cohort, then measure adherence and distance from real "
        "images.",
        "gates": "Measure, in this order and on validation subjects, what a study stands on.",
        "downstream-eval": "Train segmentation networks with and without the cohorts, and score "
        "them on test subjects.",
        "report": "Write one HTML file that opens offline; what is missing in WORK is said to be "
        "missing.",
        "run": "Go the whole way, from cases to report; a stage whose inputs are unchanged is "
        "skipped.",
    },
    "stress": {
        "stress": "Show how well a segmenter finds a structure over a sweep of its volume.",
        "coverage": "Show, before any training, where a target population lies over the labelled "
        "cases.",
    },
    "import_weights": {
        "import-weights": "Bring released weights into a folder with a card, every key checked.",
    },
    "info": {
        "info": "Print what is there: versions, machine, GPUs, the zoo, and the cards of models.",
        "schema": "Print the JSON Schema of recipes, by which editors complete and check them.",
    },
}

VERBS = tuple(
    Verb(name, module, text) for module, verbs in _MODULES.items() for name, text in verbs.items()
)
"""All verbs, in the order of the flow."""


class Verbs(TyperGroup):
    """A group whose list of verbs is the table, and whose verbs are imported when called."""

    def __init__(self, **settings: Any) -> None:
        listed = {
            verb.name: TyperCommand(verb.name, help=verb.help, rich_markup_mode=None)
            for verb in VERBS
        }
        super().__init__(**settings | {"commands": listed})

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the name, the command and the words after it, the verb's module imported."""
        name, command, rest = super().resolve_command(ctx, args)
        verb = next((verb for verb in VERBS if verb.name == name), None)
        return name, verb.load() if verb else command, rest
