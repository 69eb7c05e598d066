"""Pictures of what a control in training draws, for its first training cases.

A recipe asks for them by `control.look_every`; they measure nothing.
"""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch import nn

from vcmaug.conditions.base import SourceMap, Target
from vcmaug.control.base import Control
from vcmaug.control.network import ControlNetwork
from vcmaug.control.shown import channels_for
from vcmaug.data.case import LABEL
from vcmaug.data.cases import Case
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.scalars import raw_value
from vcmaug.data.seen import Seen
from vcmaug.data.volume import Volume
from vcmaug.files import write_bytes
from vcmaug.generate.loading import drawer_of
from vcmaug.generate.noise import Noise
from vcmaug.generate.plan import GenerateSettings
from vcmaug.ldm.prior import Prior
from vcmaug.report.figures import Column, contoured
from vcmaug.training.settings import ControlJob

__all__ = ["pictures"]

_CASES = 4


def pictures(
    cases: Sequence[Case],
    job: ControlJob,
    *,
    prior: Prior,
    settings: GenerateSettings,
    folder: Path,
) -> Callable[[nn.Module, int], dict[str, float]]:
    """Return what draws the first cases anew, as `update-000400.png` in a folder.

    Args:
        cases: Training cases, whose own label maps are asked for.
        job: The training; its seed is that of the noise, the same in every picture.
        prior: That the control steers.
        settings: How cohorts are drawn, and so these.
        folder: Gets the pictures.
    """
    first = cases[:_CASES]
    label_maps = [read_label_map(one.files[LABEL], case_id=one.case_id) for one in first]
    targets = [
        _target(case, label_map, prior, job, seed=number)
        for number, (case, label_map) in enumerate(zip(first, label_maps, strict=True))
    ]
    noise = Noise(job.seed, [case.case_id for case in first])

    def look(module: nn.Module, update: int) -> dict[str, float]:
        assert isinstance(module, ControlNetwork)
        control = Control.of(
            copy.deepcopy(module),  # frozen, while the module goes on learning
            method=job.method,
            prior=prior,
            scheme=job.scheme,
            seen=Seen(note="still in training"),
            shown=job.shows,
        )
        device = str(next(module.parameters()).device)
        images = drawer_of(settings, prior=prior.to(device), control=control)(targets, noise)
        columns = [
            Column(name, Volume(np.nan_to_num(image), label_map.affine), label_map)
            for name, image, label_map in zip(noise.ids, images, label_maps, strict=True)
        ]
        write_bytes(folder / f"update-{update:06d}.png", contoured(columns, job.scheme))
        return {}

    return look


def _target(case: Case, label_map: Volume, prior: Prior, job: ControlJob, *, seed: int) -> Target:
    """Return a case's own label map, scalars and channels as what is drawn for."""
    image = read_image(case.image, case_id=case.case_id)
    images: dict[str, Path | Volume] = {"image": image, **case.extra_images}
    source = SourceMap(case.case_id, case.subject_id, label_map, {}, images)
    scalars = {spec.name: raw_value(spec, case.columns) for spec in prior.spec.scalars}
    channels = channels_for(source, job.shows, job.scheme, seed=seed)
    return Target(label_map, scalars, channels)
