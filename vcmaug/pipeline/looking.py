"""Pictures of what a control in training draws, for its first training cases.

What it is: a measurement of the training loop that measures nothing and leaves a PNG.
In the flow: `control.look_every` of a recipe asks for it.
Sources: none.
"""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from vcmaug.conditions.base import SourceMap, as_it_is
from vcmaug.control.base import Control, ControlNetwork
from vcmaug.control.shown import ShownSettings, with_channels
from vcmaug.data.cases import Case
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.scalars import raw_value
from vcmaug.data.volume import Volume
from vcmaug.files import write_bytes
from vcmaug.generate.draw import Asked, Model, draw_images
from vcmaug.generate.plan import GenerateSettings, Plan, Request
from vcmaug.generate.samplers import timesteps_of
from vcmaug.ldm.prior import Prior
from vcmaug.report.figures import contoured
from vcmaug.training.loop import Watch

__all__ = ["pictures"]

_CASES = 4


def pictures(
    cases: Sequence[Case],
    *,
    every: int,
    prior: Prior,
    scheme: LabelScheme,
    shows: ShownSettings,
    settings: GenerateSettings,
    seed: int,
    folder: Path,
) -> Watch:
    """Return what draws the first cases anew now and then, as `update-000400.png` in a folder.

    Args:
        cases: Training cases, whose own label maps are asked for.
        every: Updates from one picture to the next.
        prior: That the control steers.
        scheme: Of the label maps.
        shows: Channels that the control sees.
        settings: How cohorts are drawn, and so these.
        seed: Of the noise, the same in every picture.
        folder: Gets the pictures.
    """
    asked = [
        _asked(case, number, prior, scheme, shows) for number, case in enumerate(cases[:_CASES])
    ]
    plan = Plan(
        seed=seed,
        n=len(asked),
        num_conditions=len(asked),
        settings=settings,
        timesteps=timesteps_of(settings.sampler, num_timesteps=prior.schedule.num_timesteps),
        prior_sha256="",
        control_sha256="",
        conditions_sha256="",
        prior_folder="",
        control_folder="",
        conditions_folder="",
    )

    def look(module: nn.Module, update: int) -> dict[str, float]:
        assert isinstance(module, ControlNetwork)
        card = {
            "num_timesteps": prior.schedule.num_timesteps,
            "shown": shows.model_dump(mode="json"),
        }
        control = Control(copy.deepcopy(module), card)  # frozen, while the module goes on learning
        device = str(next(module.parameters()).device)
        model = Model(prior.to(device), control, scheme, pd.DataFrame())
        images = draw_images(asked, plan=plan, model=model, device=device)
        columns = []
        for one, image in zip(asked, images, strict=True):
            drawn = Volume(np.nan_to_num(image), one.label_map.affine)
            columns.append((one.request.request_id, drawn, one.label_map))
        write_bytes(folder / f"update-{update:06d}.png", contoured(columns, scheme))
        return {}

    return Watch(every, look)


def _asked(
    case: Case, number: int, prior: Prior, scheme: LabelScheme, shows: ShownSettings
) -> Asked:
    """Return a request for a case's own label map, scalars and channels."""
    assert case.label is not None  # of a labelled case
    image = read_image(case.image, case_id=case.case_id)
    label_map = read_label_map(case.label, case_id=case.case_id)
    images: dict[str, Path | Volume] = {"image": image, **case.extra_images}
    source = SourceMap(case.case_id, case.subject_id, label_map, {}, images)
    start = as_it_is(source, condition_id=case.case_id)
    made = with_channels(start, shows, scheme, seed=number)
    return Asked(
        request=Request(case.case_id, number, number),
        row={},
        label_map=label_map,
        label_file=b"",
        scalars={spec.name: raw_value(spec, case.row) for spec in prior.spec.scalars},
        channels=made.channels,
        presence={},
    )
