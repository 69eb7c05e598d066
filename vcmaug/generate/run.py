"""`generate`: a plan, its shards on workers, the manifest.

What it is: the run that can be killed and repeated at any point.
In the flow: conditions in, a finished cohort out.
Sources: none.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.merge import Merged, merge_parts
from vcmaug.compute import Compute, run_all
from vcmaug.conditions.replay import map_bytes
from vcmaug.conditions.spec import read_spec
from vcmaug.conditions.table import ConditionRow, read_conditions
from vcmaug.data.nifti import label_map_in
from vcmaug.errors import CohortError, ModelError, list_faults
from vcmaug.files import locked, read_json, sha256_of_file, write_json
from vcmaug.generate.gate import IMAGE_FIGURES, MeasureSource, unknown_figures
from vcmaug.generate.plan import (
    GenerateSettings,
    Plan,
    claim_plan,
    num_shards,
    requests_of_shard,
)
from vcmaug.generate.samplers import timesteps_of
from vcmaug.generate.worker import ShardDone, ShardTask, draw_shard
from vcmaug.ldm.prior import has_mean, spec_on
from vcmaug.ldm.spec import PriorSpec
from vcmaug.ldm.weights import read_card
from vcmaug.progress import Progress, Report, silent
from vcmaug.provenance import machine, versions

__all__ = ["generate", "make_plan", "tasks_of"]


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
        measure: What the gate asks for that an image alone does not tell.

    Raises:
        ModelError: The control belongs to another prior.
        CohortError: Nothing is asked for, or prior, control and conditions do not fit together; all
            that is wrong is listed.
    """
    prior = read_card(prior_folder, kind="prior")
    control = read_card(control_folder, kind="control")
    if control["prior_sha256"] != prior["weights_sha256"]:
        raise ModelError(
            f"planning a cohort: control {control_folder} was trained on another prior than "
            f"{prior_folder}. Train a control on this prior."
        )
    conditions = read_conditions(conditions_folder)
    spec = spec_on(prior, prior_folder)
    faults = _misfits(spec, control, conditions=conditions, folder=conditions_folder, n=n)
    faults += _unfit_measure(settings, measure, control)
    layout = control["settings"].get("layout", False)
    if settings.sampler.start < 1.0 and not layout and not has_mean(prior_folder):
        faults.append(
            f"draws start at {settings.sampler.start} of the schedule (sampler.start), and neither "
            "the prior has a mean nor the control a layout to start from; set it to 1"
        )
    if faults:
        raise CohortError(list_faults(f"planning a cohort of {conditions_folder}", faults))
    return Plan(
        seed=seed,
        n=n,
        num_conditions=len(conditions),
        settings=settings,
        timesteps=timesteps_of(settings.sampler, num_timesteps=spec.schedule.num_timesteps),
        prior_sha256=prior["weights_sha256"],
        control_sha256=control["weights_sha256"],
        conditions_sha256=sha256_of_file(conditions_folder / "conditions.parquet"),
        prior_folder=str(prior_folder.resolve()),
        control_folder=str(control_folder.resolve()),
        conditions_folder=str(conditions_folder.resolve()),
        measure=measure,
    )


def _misfits(
    spec: PriorSpec,
    control: Mapping[str, Any],
    *,
    conditions: Sequence[ConditionRow],
    folder: Path,
    n: int,
) -> list[str]:
    """Return what keeps a cohort from being drawn, as far as seconds can tell."""
    faults = []
    if n < 1:
        faults.append(f"{n} cases were asked for, expected at least 1")
    if not conditions:
        return [*faults, "the table of conditions is empty, expected at least one"]
    if spec.image_channels != 1:
        faults.append(f"the prior draws {spec.image_channels} image channels; a cohort holds one")
    conditions_spec = read_spec(folder)
    asked, known = _values(conditions_spec.scheme.to_json()), _values(control["scheme"])
    if asked != known:
        faults.append(f"the conditions' scheme is {asked}, the control's {known}")
    lazy = conditions_spec.lazy
    absent = [] if lazy else _absent(folder, [row.map for row in conditions])
    if absent:
        faults.append(f"{len(absent)} maps are not there, {absent[0]} first")
    else:
        shape = label_map_in(map_bytes(folder, conditions[0])).shape
        if shape != tuple(spec.grid.shape):
            faults.append(f"the maps have shape {shape}, the prior draws {tuple(spec.grid.shape)}")
    return faults


def _absent(folder: Path, names: Iterable[str]) -> list[str]:
    """Return the files that a folder lacks; for many, listing is faster than asking for each."""
    places = {name.rpartition("/")[0] for name in names}
    there = {
        f"{place}/{entry}".lstrip("/")
        for place in places
        if (folder / place).is_dir()
        for entry in os.listdir(folder / place)
    }
    return [name for name in names if name not in there]


def _unfit_measure(
    settings: GenerateSettings, measure: MeasureSource | None, control: Mapping[str, Any]
) -> list[str]:
    """Return why the gate cannot measure; it must have seen no other labels than the control."""
    wish = settings.gate.accept
    if measure is None and settings.gate.measured:
        return [f"the gate asks {wish!r}, and there is nothing that measures it"]
    unknown = unknown_figures(wish, measure)
    if unknown:
        known = ", ".join((*IMAGE_FIGURES, *(measure.figures if measure else ())))
        return [f"the gate asks for {', '.join(unknown)}; measured are {known}"]
    if measure is None:
        return []
    seen = set(read_json(Path(measure.folder) / "card.json")["subjects"])
    others = sorted(seen - set(control.get("labelled_subjects", control["subjects"])))
    if not others:
        return []
    return [
        f"the gate's measure was trained on {len(others)} subjects that are not among the "
        f"control's labelled ones, {others[0]} first: such a gate would leak"
    ]


def _values(scheme: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return name -> value of a scheme as JSON."""
    return {str(structure["name"]): int(structure["value"]) for structure in scheme}


def generate(
    plan: Plan,
    *,
    out: Path,
    compute: Compute,
    report: Report = silent,
    draw: Callable[[ShardTask], ShardDone] = draw_shard,
) -> Merged:
    """Draw a cohort, or what is missing of it; return how many requests ended how.

    Files come first, then the rows of their micro-batch in a part; after the last shard the parts
    are merged into manifest.parquet, then manifest.csv, then cohort.json.

    Args:
        plan: What to draw.
        out: The cohort's folder; held by this run alone.
        compute: Where.
        report: Told as shards end.
        draw: Draws a shard; importable by name on a worker.

    Raises:
        WorkFolderError: The folder is in use or holds another plan.
        ComputeError: Shards failed; the others are finished and kept.
        CohortError: No request could be drawn.
    """
    layout = CohortLayout(out)
    with locked(out, purpose="generating"):
        plan = claim_plan(out, plan)
        layout.remove_leftovers()
        run_all(
            draw,
            tasks_of(plan, out=out, device=compute.device),
            compute=compute,
            threads=plan.settings.threads_per_worker,
            on_done=_Tally(plan.n, report).add,
            tell=lambda text: report(Progress("generating", 0, plan.n, text)),
        )
        layout.remove_leftovers()
        shards = (
            [r.request_id for r in requests_of_shard(plan, k)] for k in range(num_shards(plan))
        )
        merged = merge_parts(layout, shards)
        write_json(layout.card, _card(plan, merged))
    if not merged.counts["done"]:
        raise CohortError(
            f"generating in {out}: every request failed, e.g. {merged.reason!r}. The reasons "
            "of all are in manifest.csv; run the same command again once they are mended."
        )
    return merged


class _Tally:
    """Counts shards as they end, and tells how fast they come."""

    def __init__(self, total: int, report: Report) -> None:
        self._total, self._report = total, report
        self._began = time.monotonic()
        self._done = self._refused = 0
        self._drawn: Counter[str] = Counter()  # by worker, as the next
        self._peaks: Counter[str] = Counter()

    def add(self, task: ShardTask, done: ShardDone) -> None:
        """Count a shard and report."""
        self._done += done.num_requests
        self._refused += done.num_refused
        self._drawn[done.worker] += done.num_drawn
        self._peaks[done.worker] = max(done.peak_mib, self._peaks[done.worker])
        figures = self._figures()
        rates = [one["volumes_per_hour"] for one in figures["of_workers"].values()]
        note = (
            f"{figures['volumes_per_hour']:,} volumes per hour, {len(rates)} at work "
            f"({min(rates):,} to {max(rates):,} each), {max(self._peaks.values()):,} MiB at most"
        )
        note += f", {self._refused} refused" if self._refused else ""
        self._report(Progress("generating", self._done, self._total, note, figures))

    def _figures(self) -> dict[str, Any]:
        """Return what is known of the run and of each worker."""
        seconds = time.monotonic() - self._began
        drawn, left = self._drawn.total(), self._total - self._done
        return {
            "volumes_per_hour": round(3600 * drawn / seconds),
            "seconds_left": round(seconds / drawn * left) if drawn else None,
            "refused": self._refused,
            "of_workers": {
                name: {"volumes_per_hour": round(3600 * num / seconds), "peak_mib": peak}
                for (name, num), peak in zip(self._drawn.items(), self._peaks.values(), strict=True)
            },
        }


def tasks_of(plan: Plan, *, out: Path, device: str) -> list[ShardTask]:
    """Return one task per shard."""
    folder, tasks = str(out.resolve()), []
    for shard in range(num_shards(plan)):
        requests = requests_of_shard(plan, shard)
        named = f"requests {requests[0].request_id} to {requests[-1].request_id}"
        tasks.append(ShardTask(folder, shard, device, named))
    return tasks


def _card(plan: Plan, merged: Merged) -> Mapping[str, Any]:
    """Return what a cohort came from."""
    prior = read_card(Path(plan.prior_folder), kind="prior")
    control = read_card(Path(plan.control_folder), kind="control")
    return {
        "kind": "cohort",
        "n": plan.n,
        "counts": dict(merged.counts),
        "num_refused": merged.refused,
        "num_restarts": merged.restarts,
        "seconds": {phase: round(spent, 3) for phase, spent in merged.seconds.items()},
        "scheme": control["scheme"],
        "grid": prior["spec"]["grid"],
        "subjects": {
            "prior": prior["subjects"],
            "control": control["subjects"],
            "conditions": sorted(merged.subjects),
        },
        "labelled_subjects": control.get("labelled_subjects", control["subjects"]),
        "pseudo_labelled_subjects": control.get("pseudo_labelled_subjects", []),
        "teacher_subjects": control.get("teacher_subjects", []),
        "control_pretrained_on": control.get("started_from"),
        "conditions_folder": plan.conditions_folder,
        "prior": prior["name"],
        "licences": {"prior": prior.get("licence"), "control": control.get("licence")},
        "versions": versions(),
        "machine": machine(),
    }
