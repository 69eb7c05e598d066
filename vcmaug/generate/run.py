"""`generate`: a plan, its shards on workers, the manifest.

What it is: the run that can be killed and repeated at any point.
In the flow: conditions in, a finished cohort out.
Sources: none.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import merge_parts
from vcmaug.compute import Compute, run_all
from vcmaug.conditions.build import read_conditions
from vcmaug.errors import CohortError, ModelError
from vcmaug.files import locked, sha256_of_file, write_json
from vcmaug.generate.plan import GenerateSettings, Plan, claim_plan, num_shards
from vcmaug.generate.samplers import timesteps_of
from vcmaug.generate.worker import ShardTask, draw_shard
from vcmaug.ldm.spec import PriorSpec
from vcmaug.ldm.weights import read_card
from vcmaug.progress import Progress, Report, silent
from vcmaug.provenance import machine, versions

__all__ = ["generate", "make_plan"]


def make_plan(
    settings: GenerateSettings,
    *,
    prior_folder: Path,
    control_folder: Path,
    conditions_folder: Path,
    n: int,
    seed: int,
) -> Plan:
    """Return the plan of a cohort; no weights are loaded.

    Args:
        settings: How to draw.
        prior_folder: Of a finished prior.
        control_folder: Of a control trained on it.
        conditions_folder: With conditions.parquet.
        n: How many cases; beyond the number of conditions each is drawn again with other noise.
        seed: Of the cohort.

    Raises:
        ModelError: The control belongs to another prior.
    """
    prior, control = (
        read_card(prior_folder, kind="prior"),
        read_card(control_folder, kind="control"),
    )
    if control["prior_sha256"] != prior["weights_sha256"]:
        raise ModelError(
            f"planning a cohort: control {control_folder} was trained on another prior than "
            f"{prior_folder}. Train a control on this prior."
        )
    conditions = read_conditions(conditions_folder)
    spec = PriorSpec.model_validate(prior["spec"])
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
    )


def generate(plan: Plan, *, out: Path, compute: Compute, report: Report = silent) -> pd.DataFrame:
    """Draw a cohort, or what is missing of it, and return its manifest.

    Args:
        plan: What to draw.
        out: The cohort's folder; held by this run alone.
        compute: Where.
        report: Told as shards end.

    Raises:
        WorkFolderError: The folder is in use or holds another plan.
        ComputeError: Shards failed; the others are finished and kept.
        CohortError: No request could be drawn.
    """
    layout = CohortLayout(out)
    with locked(out, purpose="generating"):
        claim_plan(out, plan)
        tasks = [ShardTask(str(out), shard, compute.device) for shard in range(num_shards(plan))]
        drawn = [0]

        def collect(task: ShardTask, num_rows: int) -> None:
            drawn[0] += num_rows
            report(Progress("generating", drawn[0], plan.n, str(task)))

        run_all(
            draw_shard,
            tasks,
            compute=compute,
            threads=plan.settings.threads_per_worker,
            on_done=collect,
        )
        manifest = merge_parts(layout, plan.request_ids)
        write_json(layout.card, _card(plan, manifest))
    if not (manifest["status"] == "done").any():
        raise CohortError(
            f"generating in {out}: every request failed, e.g. {manifest['reason'].iloc[0]!r}. Look "
            "at the control's training log."
        )
    return manifest


def _card(plan: Plan, manifest: pd.DataFrame) -> Mapping[str, Any]:
    """Return what a cohort came from."""
    prior = read_card(Path(plan.prior_folder), kind="prior")
    control = read_card(Path(plan.control_folder), kind="control")
    sources = {s for text in manifest["source_subject_ids"].unique() for s in json.loads(text)}
    return {
        "kind": "cohort",
        "n": plan.n,
        "counts": {str(k): int(v) for k, v in manifest["status"].value_counts().items()},
        "scheme": control["scheme"],
        "grid": prior["spec"]["grid"],
        "subjects": {
            "prior": prior["subjects"],
            "control": control["subjects"],
            "conditions": sorted(sources),
        },
        "labelled_subjects": control.get("labelled_subjects", control["subjects"]),
        "control_pretrained_on": control.get("started_from"),
        "conditions_folder": plan.conditions_folder,
        "prior": prior["name"],
        "licences": {"prior": prior.get("licence"), "control": control.get("licence")},
        "versions": versions(),
        "machine": machine(),
    }
