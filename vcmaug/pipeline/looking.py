"""Pictures of what a control in training draws, for its first training cases.

A recipe asks for them by `control.look_every`; they measure nothing.
"""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import nn

from vcmaug.conditions.base import SourceMap, as_it_is
from vcmaug.conditions.target import Target
from vcmaug.control.base import Control
from vcmaug.control.card import card_of
from vcmaug.control.method import ControlMethod
from vcmaug.control.network import ControlNetwork
from vcmaug.control.shown import ShownSettings, with_channels
from vcmaug.data.case import LABEL
from vcmaug.data.cases import Case
from vcmaug.data.labels import LabelScheme
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
from vcmaug.training.loop import Watch

__all__ = ["pictures"]

_CASES = 4


def pictures(
    cases: Sequence[Case],
    *,
    every: int,
    prior: Prior,
    scheme: LabelScheme,
    method: ControlMethod,
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
        method: Of the control.
        shows: Channels that the control sees.
        settings: How cohorts are drawn, and so these.
        seed: Of the noise, the same in every picture.
        folder: Gets the pictures.
    """
    first = cases[:_CASES]
    label_maps = [_label_map_of(case) for case in first]
    targets = [
        _target(case, label_map, prior, scheme, shows, seed=number)
        for number, (case, label_map) in enumerate(zip(first, label_maps, strict=True))
    ]
    noise = Noise(seed, [case.case_id for case in first])

    def look(module: nn.Module, update: int) -> dict[str, float]:
        assert isinstance(module, ControlNetwork)
        seen = Seen(note="still in training")
        card = card_of(module, method=method, prior=prior, scheme=scheme, seen=seen, shown=shows)
        control = Control(copy.deepcopy(module), card)  # frozen, while the module goes on learning
        device = str(next(module.parameters()).device)
        images = drawer_of(settings, prior=prior.to(device), control=control)(targets, noise)
        columns = [
            Column(name, Volume(np.nan_to_num(image), label_map.affine), label_map)
            for name, image, label_map in zip(noise.ids, images, label_maps, strict=True)
        ]
        write_bytes(folder / f"update-{update:06d}.png", contoured(columns, scheme))
        return {}

    return Watch(every, look)


def _label_map_of(case: Case) -> Volume:
    """Return the label map of a labelled case."""
    return read_label_map(case.files[LABEL], case_id=case.case_id)


def _target(
    case: Case,
    label_map: Volume,
    prior: Prior,
    scheme: LabelScheme,
    shows: ShownSettings,
    *,
    seed: int,
) -> Target:
    """Return a case's own label map, scalars and channels as what is drawn for."""
    image = read_image(case.image, case_id=case.case_id)
    images: dict[str, Path | Volume] = {"image": image, **case.extra_images}
    source = SourceMap(case.case_id, case.subject_id, label_map, {}, images)
    start = as_it_is(source, condition_id=case.case_id)
    scalars = {spec.name: raw_value(spec, case.columns) for spec in prior.spec.scalars}
    channels = with_channels(start, shows, scheme, seed=seed).channels
    return Target(label_map, scalars, channels)
