"""`generate`: the shards of a plan on workers, then the manifest.

The run can be killed and repeated at any point.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vcmaug.cohort.card import CohortCard, SeenByCohort, seen_maps
from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.merge import Merged, merge_parts
from vcmaug.compute import Compute, run_all
from vcmaug.conditions.spec import ConditionSpec
from vcmaug.control.card import ControlCard
from vcmaug.data.case import files_of
from vcmaug.errors import CohortError
from vcmaug.files import locked
from vcmaug.generate.plan import Plan
from vcmaug.generate.worker import ShardDone, ShardTask, draw_shard
from vcmaug.ldm.card import PriorCard, read_card
from vcmaug.outputs import refuse_overlap
from vcmaug.progress import Progress, Report, silent
from vcmaug.provenance import machine, versions

__all__ = ["generate", "tasks_of"]


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
        WorkFolderError: The folder is in use, holds another plan, or overlaps with what is read.
        ComputeError: Shards failed; the others are finished and kept.
        CohortError: No request could be drawn.
    """
    layout = CohortLayout(out)
    refuse_overlap("generating", writes=[out], reads=_sources(plan, out))
    with locked(out, purpose="generating"):
        plan = plan.claim(out)
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
        shards = [
            [request.request_id for request in plan.requests_of_shard(k)]
            for k in range(plan.num_shards)
        ]
        merged = merge_parts(layout, shards)
        _card(plan, merged).write(out)
    if not merged.counts["done"]:
        raise CohortError(
            f"generating in {out}: every request failed, e.g. {merged.reason!r}. The reasons "
            "of all are in manifest.csv; run the same command again once the causes are fixed."
        )
    return merged


def _sources(plan: Plan, out: Path) -> list[Path]:
    """Return what is read, but a control that is kept in the cohort's own folder."""
    conditions = Path(plan.conditions_folder)
    reads = [conditions, *files_of(ConditionSpec.read(conditions).sources)]
    models = [Path(plan.prior_folder), Path(plan.control_folder)]
    return reads + [path for path in models if path.parent != CohortLayout(out.resolve()).models]


class _Tally:
    """Counts shards as they end, and tells how fast they come."""

    def __init__(self, total: int, report: Report) -> None:
        self._total, self._report = total, report
        self._began = time.monotonic()
        self._done = self._redrawn = 0
        self._drawn: Counter[str] = Counter()  # by worker, as the next
        self._peaks: Counter[str] = Counter()

    def add(self, task: ShardTask, done: ShardDone) -> None:
        """Count a shard and report."""
        self._done += done.num_requests
        self._redrawn += done.num_redrawn
        self._drawn[done.worker] += done.num_drawn
        self._peaks[done.worker] = max(done.peak_mib, self._peaks[done.worker])
        seconds, drawn = time.monotonic() - self._began, self._drawn.total()
        rate = round(3600 * drawn / seconds)
        rates = {name: round(3600 * num / seconds) for name, num in self._drawn.items()}
        note = (
            f"{rate:,} volumes per hour, {len(rates)} at work ({min(rates.values()):,} to "
            f"{max(rates.values()):,} each), {max(self._peaks.values()):,} MiB at most"
        )
        note += f", {self._redrawn} redrawn" if self._redrawn else ""
        left = self._total - self._done
        figures = {
            "volumes_per_hour": rate,
            "seconds_left": round(seconds / drawn * left) if drawn else None,
            "redrawn": self._redrawn,
            "of_workers": {
                name: {"volumes_per_hour": rates[name], "peak_mib": peak}
                for name, peak in self._peaks.items()
            },
        }
        self._report(Progress("generating", self._done, self._total, note, figures))


def tasks_of(plan: Plan, *, out: Path, device: str) -> list[ShardTask]:
    """Return one task per shard."""
    folder, tasks = str(out.resolve()), []
    for shard in range(plan.num_shards):
        requests = plan.requests_of_shard(shard)
        named = f"requests {requests[0].request_id} to {requests[-1].request_id}"
        tasks.append(ShardTask(folder, shard, device, named))
    return tasks


def _card(plan: Plan, merged: Merged) -> CohortCard:
    """Return what a cohort came from."""
    prior = read_card(Path(plan.prior_folder), PriorCard)
    control = read_card(Path(plan.control_folder), ControlCard)
    own_values = ConditionSpec.read(Path(plan.conditions_folder)).source_values
    pseudo, teachers = control.seen.pseudo_labels, control.seen.teachers
    return CohortCard(
        n=plan.n,
        counts=dict(merged.counts),
        scheme=replace(control.scheme, source_values=own_values),
        grid=prior.spec.grid,
        seen=SeenByCohort(
            prior=prior.seen,
            control=control.seen,
            conditions=seen_maps(merged.subjects, pseudo=pseudo, teachers=teachers),
        ),
        control_pretrained_on=control.started_from,
        num_redrawn=merged.redrawn,
        num_restarts=merged.restarts,
        seconds={phase: round(spent, 3) for phase, spent in merged.seconds.items()},
        conditions_folder=plan.conditions_folder,
        prior_name=prior.name,
        measured_scalars=prior.spec.measured_scalars,
        licences={"prior": prior.licence, "control": control.licence},
        versions=versions(),
        machine=machine(),
    )
