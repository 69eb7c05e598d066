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
        name: As it is typed.
        place: `module:function` in `vcmaug.cli`; a `typer.Typer` in place of a function is a group.
        help: The first sentence of its own help, for the list of verbs.
    """

    name: str
    place: str
    help: str

    def load(self) -> Any:
        """Import the verb's module and return its command."""
        module, _, attribute = self.place.partition(":")
        command = getattr(import_module(f"vcmaug.cli.{module}"), attribute)
        if isinstance(command, typer.Typer):
            return get_command(command)
        alone = typer.Typer(add_completion=False)
        alone.command(self.name)(command)
        return get_command(alone)


VERBS = (
    Verb(
        "prepare",
        "prepare:prepare_command",
        "Read images and label maps, list every fault at once, and bring them onto one grid.",
    ),
    Verb(
        "train-prior",
        "train_prior:train_prior_command",
        "Train the prior of a recipe; labels are not needed, test subjects are not seen.",
    ),
    Verb(
        "train-control",
        "train_control:train_control_command",
        "Train the control of one (n, seed) on exactly n labelled training cases.",
    ),
    Verb(
        "build-conditions",
        "build_conditions:build_conditions_command",
        "Build n conditions from the labelled cases of one (n-labelled, seed).",
    ),
    Verb(
        "generate",
        "generate:generate_command",
        "Draw a labelled cohort; the same command again draws only what is missing.",
    ),
    Verb(
        "check",
        "check:check_command",
        "List every fault of a finished cohort: lost, damaged or foreign files, rows, counts.",
    ),
    Verb(
        "export",
        "export:export_command",
        "Write a finished cohort in the layout of another tool.",
    ),
    Verb(
        "evaluate",
        "evaluate:evaluate_command",
        "Check every file of a cohort, then measure adherence and distance from real images.",
    ),
    Verb(
        "gates",
        "gates:gates_command",
        "Measure, in this order and on validation subjects, what a study stands on.",
    ),
    Verb(
        "downstream-eval",
        "downstream_eval:downstream_eval_command",
        "Train segmentation networks with and without the cohorts, and score them on test "
        "subjects.",
    ),
    Verb(
        "report",
        "report:report_command",
        "Write one HTML file that opens offline; what is missing in WORK is said to be missing.",
    ),
    Verb(
        "run",
        "run:run_command",
        "Go the whole way, from cases to report; a stage whose inputs are unchanged is skipped.",
    ),
    Verb(
        "import-weights",
        "import_weights:import_weights_app",
        "Bring released weights into a folder with a card, every key checked.",
    ),
    Verb(
        "info",
        "info:info_command",
        "Print what is there: versions, machine, GPUs, the zoo, and the cards of models.",
    ),
    Verb(
        "schema",
        "schema:schema_command",
        "Print the JSON Schema of recipes, by which editors complete and check them.",
    ),
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
