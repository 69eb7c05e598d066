"""What a recipe does not say, on the grid of its data: the numbers that each room states for it.

Everything else that a recipe leaves out is a default of the settings themselves.
"""

from collections.abc import Mapping

from vcmaug.conditions.chain import ConditionSettings
from vcmaug.config import merged
from vcmaug.data.geometry import Grid
from vcmaug.data.grid_size import grid_in
from vcmaug.downstream.settings import FitSettings
from vcmaug.training.settings import ControlTraining, PriorTraining

__all__ = ["completed"]

_ANY = Grid((32, 48, 32))


def completed(content: Mapping[str, object]) -> dict[str, object]:
    """Return the content of a recipe with what its grid asks for where it says nothing.

    A prior that is neither of the zoo nor in a folder is one to train on the grid of the data, and
    a control is trained from where draws start. Content whose grid cannot be read is refused for
    that alone: what else is missing is filled in as for any grid.
    """
    grid = grid_in(content.get("data")) or _ANY
    control = content.get("control", {})
    named = {"control": {"network": control}} if isinstance(control, str) else {}
    fit = FitSettings.of_grid(grid)
    defaults = {
        "prior": {"training": PriorTraining.of_grid(grid)},
        "control": {"training": {**ControlTraining.of_grid(grid), **_timesteps(content)}},
        "conditions": ConditionSettings.of_grid(grid),
        "evaluator": fit,
        "study": {"fit": fit},
    }
    if not _brings_prior(content.get("prior")):
        spec = {"name": content.get("name", "prior"), "grid": grid}
        defaults = merged(defaults, {"prior": {"spec": spec}})
    return merged(defaults, {**content, **named})


def _brings_prior(prior: object) -> bool:
    """Return whether a section names a finished prior."""
    section = prior if isinstance(prior, Mapping) else {}
    return any(section.get(source) is not None for source in ("zoo", "folder"))


def _timesteps(content: Mapping[str, object]) -> dict[str, object]:
    """Return the share of the schedule to train on, if the sampler names one."""
    generate = content.get("generate")
    sampler = generate.get("sampler") if isinstance(generate, Mapping) else None
    start = sampler.get("start") if isinstance(sampler, Mapping) else None
    return {} if start is None else {"timesteps": start}
