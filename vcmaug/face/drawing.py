"""`vcmaug.generate` and `vcmaug.export`: cohorts from objects, and in layouts of other tools."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from vcmaug.cohort.cohort import Cohort
from vcmaug.cohort.exporter import Exporter
from vcmaug.cohort.layout import CohortLayout
from vcmaug.compute import resolve_compute
from vcmaug.conditions.conditions import Conditions
from vcmaug.config import parse_settings
from vcmaug.control.base import Control, write_control
from vcmaug.data.splits import Splits
from vcmaug.errors import CohortError
from vcmaug.generate.drawer import Drawer
from vcmaug.generate.plan import GenerateSettings
from vcmaug.generate.planning import make_plan
from vcmaug.generate.run import generate as generate_plan
from vcmaug.progress import Report, silent

__all__ = ["export", "generate"]


def generate(
    draw: Drawer,
    asked: Conditions,
    *,
    out: Path | str,
    n: int | None = None,
    seed: int = 0,
    workers: int | None = None,
    gpus: int | None = None,
    scheduler: str | None = None,
    report: Report = silent,
    **settings: Any,
) -> Cohort:
    """Draw a labelled cohort, or what is missing of it, and return it.

    The bytes are those of `vcmaug generate`, whatever the number of workers. Whoever starts workers
    from a script does so under `if __name__ == "__main__":`.

    Args:
        draw: Prior, control, sampler, strength, guidance, interval and precision.
        asked: Conditions; their label maps become the labels.
        out: Folder of the cohort; the same call again goes on there.
        n: How many cases; None: one for each condition; beyond that each is drawn again.
        seed: Of the noise.
        workers: Processes on the CPU; None or 0: this one.
        gpus: Processes with a GPU each, instead.
        scheduler: Address of a Dask cluster, instead.
        report: Told as cases are done.
        **settings: Further settings of `GenerateSettings`, such as `micro_batch_size=8` or
            `acceptance={"accept": "image.clipped < 0.01"}`.

    Raises:
        CohortError: There is no control, prior, control and conditions do not fit together, or no
            request could be drawn.
        WorkFolderError: The folder holds another cohort, or is in use.
        ComputeError: Shards failed; the others are kept.
    """
    folder = Path(out)
    if draw.control is None:
        raise CohortError(
            f"generating in {folder}: the drawer has no control, so its images fit no label map. "
            "Give it one, e.g. Drawer(prior, control)."
        )
    how = {
        "sampler": draw.sampler,
        "strength": draw.strength,
        "guidance": draw.guidance,
        "interval": draw.interval,
        "precision": draw.precision,
        **settings,
    }
    if draw.prior.folder is None:
        raise CohortError(
            "generating: the prior lies in no folder from which workers could load it. Write it "
            "with vcmaug.ldm.prior.write_prior and use Prior.load(folder)."
        )
    plan = make_plan(
        parse_settings(GenerateSettings, how, source="the arguments of generate"),
        prior_folder=draw.prior.folder,
        control_folder=_kept(draw.control, folder),
        conditions_folder=asked.folder,
        n=len(asked) if n is None else n,
        seed=seed,
    )
    compute = resolve_compute(gpus=gpus, workers=workers, scheduler=scheduler)
    generate_plan(plan, out=folder, compute=compute, report=report)
    return replace(Cohort.open(folder), roles=asked.spec.roles)


def _kept(control: Control, cohort: Path) -> Path:
    """Return a folder beside a cohort's cases with its control, written if it is not there."""
    folder = CohortLayout(cohort.resolve()).models / f"control-{control.card.weights_sha256[:12]}"
    if not (folder / "card.json").exists():
        write_control(folder, control)
    return folder


def export(
    cohort: Cohort,
    layout: Exporter | str,
    out: Path | str,
    *,
    report: Report = silent,
    **settings: Any,
) -> Path:
    """Write a cohort in the layout of another tool, and return the file or folder to read.

    Args:
        cohort: A finished one.
        layout: Such as "monai-datalist", or an exporter.
        out: The file or folder.
        report: Told after every case.
        **settings: Of the layout, where it is named.

    Raises:
        LeakError: A held-out subject had a part in the cohort.
        CohortError: No case is finished.
        WorkFolderError: What is written would lie in a folder that is read, or hold one.
    """
    asked: object = {"name": layout, **settings} if isinstance(layout, str) else layout
    chosen = parse_settings(Exporter, asked, source="the arguments of export")  # type: ignore[type-abstract]
    splits = Splits.of_roles(cohort.roles) if cohort.roles else None
    return chosen.export(cohort, Path(out), splits=splits, report=report)
