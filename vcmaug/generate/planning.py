"""The planning of a cohort: whether prior, control and conditions fit, and what to draw.

Cards and tables are read and no weights are loaded, so that a fault shows within seconds.
"""

import os
from pathlib import Path

from vcmaug.conditions.conditions import Conditions
from vcmaug.control.card import ControlCard
from vcmaug.data.labels import LabelScheme
from vcmaug.errors import CohortError, ModelError, list_faults
from vcmaug.files import read_json, sha256_of_file
from vcmaug.generate.acceptance import IMAGE_FIGURES, MeasureSource, unknown_figures
from vcmaug.generate.plan import GenerateSettings, Plan
from vcmaug.ldm.card import PriorCard, read_card
from vcmaug.ldm.prior import has_mean
from vcmaug.ldm.spec import PriorSpec

__all__ = ["make_plan"]


def make_plan(
    settings: GenerateSettings,
    *,
    prior_folder: Path,
    control_folder: Path,
    conditions_folder: Path,
    n: int,
    seed: int,
    measure: MeasureSource | None = None,
) -> Plan:
    """Return the plan of a cohort; no weights are loaded.

    Args:
        settings: How to draw.
        prior_folder: Of a finished prior.
        control_folder: Of a control trained on it.
        conditions_folder: With conditions.parquet.
        n: How many cases; beyond the number of conditions each is drawn again with other noise.
        seed: Of the cohort.
        measure: What is asked of accepted images that an image alone does not tell.

    Raises:
        ModelError: The control belongs to another prior.
        CohortError: Nothing is asked for, or prior, control and conditions do not fit together; all
            that is wrong is listed.
    """
    prior = read_card(prior_folder, PriorCard)
    control = read_card(control_folder, ControlCard)
    if control.prior_sha256 != prior.weights_sha256:
        raise ModelError(
            f"planning a cohort: control {control_folder} was trained on another prior than "
            f"{prior_folder}. Train a control on this prior."
        )
    conditions, spec = Conditions(conditions_folder), prior.spec
    faults = [] if n >= 1 else [f"n = {n}, expected at least 1"]
    faults += _misfits(spec, control, conditions) + _unfit_measure(settings, measure, control)
    faults += filter(None, [spec.guidance_fault(settings.guidance)])
    expects = control.expects_latents or has_mean(prior_folder)
    start = settings.sampler.start_on(spec.schedule)
    if start < 1.0 and not expects:
        faults.append(
            f"draws start at {start} of the schedule (sampler.start), and neither "
            "the prior has a mean nor the control a layout to start from; set it to 1"
        )
    if faults:
        raise CohortError(list_faults(f"planning a cohort of {conditions_folder}", faults))
    return Plan(
        seed=seed,
        n=n,
        num_conditions=len(conditions),
        settings=settings,
        timesteps=settings.sampler.timesteps(spec.schedule),
        prior_sha256=prior.weights_sha256,
        control_sha256=control.weights_sha256,
        conditions_sha256=sha256_of_file(conditions_folder / "conditions.parquet"),
        prior_folder=str(prior_folder.resolve()),
        control_folder=str(control_folder.resolve()),
        conditions_folder=str(conditions_folder.resolve()),
        measure=measure,
        prior_kind=spec.schedule.name,
    )


def _misfits(spec: PriorSpec, control: ControlCard, conditions: Conditions) -> list[str]:
    """Return what keeps a cohort from being drawn, as far as seconds can tell."""
    if not conditions:
        return ["the table of conditions is empty, expected at least one"]
    faults = []
    if spec.image_channels != 1:
        faults.append(f"the prior draws {spec.image_channels} image channels; a cohort holds one")
    asked, known = _values(conditions.scheme), _values(control.scheme)
    if asked != known:
        faults.append(f"the conditions' scheme is {asked}, the control's {known}")
    absent = _absent_maps(conditions)
    if absent:
        faults.append(f"{len(absent)} maps are not there, {absent[0]} first")
    else:
        shape = conditions[0].label_map.shape
        if shape != tuple(spec.grid.shape):
            faults.append(f"the maps have shape {shape}, the prior draws {tuple(spec.grid.shape)}")
    return faults


def _absent_maps(conditions: Conditions) -> list[str]:
    """Return the label maps that a folder lacks; for many, listing is faster than asking."""
    if conditions.spec.identity.lazy:
        return []
    maps = conditions.folder / "maps"
    there = {f"maps/{name}" for name in os.listdir(maps)} if maps.is_dir() else set()
    return [row.map for row in conditions.rows if row.map not in there]


def _unfit_measure(
    settings: GenerateSettings, measure: MeasureSource | None, control: ControlCard
) -> list[str]:
    """Return what is wrong with the measure; it must have seen no other labels than the control."""
    accept = settings.acceptance.accept
    if measure is None and settings.acceptance.measured:
        return [f"acceptance asks for {accept!r}, and there is nothing that measures it"]
    unknown = unknown_figures(accept, measure)
    if unknown:
        known = ", ".join((*IMAGE_FIGURES, *(measure.figures if measure else ())))
        return [f"acceptance asks for {', '.join(unknown)}; measured are {known}"]
    if measure is None:
        return []
    seen = set(read_json(Path(measure.folder) / "card.json")["subjects"])
    others = sorted(seen - set(control.seen.labels))
    if not others:
        return []
    return [
        f"the measure of acceptance was trained on {len(others)} subjects that are not among the "
        f"control's labelled ones, {others[0]} first: accepting by it would leak"
    ]


def _values(scheme: LabelScheme) -> dict[str, int]:
    """Return name -> value of a scheme."""
    return dict(zip(scheme.names, scheme.values, strict=True))
