"""vcmaug: labelled synthetic 3D medical volumes from a few real ones, and what they are worth.

Real labelled volumes become *conditions*, a small *control* steers a frozen latent diffusion model
to draw images that fit them, the drawn pairs become a *cohort* with a manifest, and a *study*
measures whether training on that cohort helps a segmentation network.

`import vcmaug as va` gives the names in `__all__`; each is imported when it is first used.

The floors; imports go down only:

    cli | face               the verbs, in the order of the flow; what a notebook imports
    pipeline                 recipe, artefacts, and the graph of what each is made from
    report                   one HTML file
    stress                   a segmenter on a sweep of one volume
    gates | arms             measured before a study; mixes of training data, and their makers
    generate                 plan, shards, workers
    quality | downstream     does the image fit its label; does the cohort help
    training | released      loops and losses; weights of others
    control                  VCM: a denoiser that holds a denoiser
    ldm | conditions         the frozen prior; what to ask it for
    cohort                   made cases with manifest and card; exporters
    data                     volumes, labels, cases, splits
    parts                    families of what a recipe names
    config | provenance | shapes | seeding | compute | progress | affine | outputs
    files
    errors | version | doors | cores  what goes wrong; the version; ways to the face; cores to use
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vcmaug.version import __version__

if TYPE_CHECKING:
    from vcmaug.arms.copy_paste import CopyPaste
    from vcmaug.arms.deformed import Deformed
    from vcmaug.arms.label_to_image import LabelToImage
    from vcmaug.arms.real import Real
    from vcmaug.arms.synthetic import Synthetic
    from vcmaug.cohort.cohort import Cohort
    from vcmaug.cohort.exporters.monai_datalist import MonaiDatalist
    from vcmaug.conditions.base import Target
    from vcmaug.conditions.builders.grow import Grow
    from vcmaug.conditions.builders.lesions import Lesions
    from vcmaug.conditions.builders.lowres import LowRes
    from vcmaug.conditions.builders.modalities import Modalities
    from vcmaug.conditions.builders.perturb import Perturb
    from vcmaug.conditions.builders.shape_model import ShapeModel
    from vcmaug.control.base import Control
    from vcmaug.control.methods.controlnet import (
        ControlNet,
        ControlNetLite,
        ControlNetMLP,
        T2IAdapter,
    )
    from vcmaug.control.methods.vcm import MCM, VCM
    from vcmaug.data.case import Case
    from vcmaug.data.cases import Cases
    from vcmaug.data.geometry import Grid
    from vcmaug.face.conditions import chains, conditions, prepare
    from vcmaug.face.drawing import export, generate
    from vcmaug.face.models import load_control, train, train_prior
    from vcmaug.face.studies import study
    from vcmaug.generate.drawer import Drawer
    from vcmaug.generate.noise import Noise
    from vcmaug.generate.samplers import DDIM, DDPM, DPMpp2M, DPMpp2MSDE, Heun
    from vcmaug.ldm.prior import Prior

__all__ = [
    "__version__",
    # data
    "Case",
    "Cases",
    "Grid",
    "prepare",
    # models
    "Prior",
    "train_prior",
    "Control",
    "ControlNet",
    "ControlNetLite",
    "ControlNetMLP",
    "MCM",
    "T2IAdapter",
    "VCM",
    "load_control",
    "train",
    # conditions
    "Grow",
    "Lesions",
    "LowRes",
    "Modalities",
    "Perturb",
    "ShapeModel",
    "chains",
    "conditions",
    # drawing
    "DDIM",
    "DDPM",
    "DPMpp2M",
    "DPMpp2MSDE",
    "Drawer",
    "Heun",
    "Noise",
    "Target",
    # cohorts
    "Cohort",
    "MonaiDatalist",
    "export",
    "generate",
    # studies
    "CopyPaste",
    "Deformed",
    "LabelToImage",
    "Real",
    "Synthetic",
    "study",
]

_NAMES = {
    "arms.copy_paste": ("CopyPaste",),
    "arms.deformed": ("Deformed",),
    "arms.label_to_image": ("LabelToImage",),
    "arms.real": ("Real",),
    "arms.synthetic": ("Synthetic",),
    "cohort.cohort": ("Cohort",),
    "cohort.exporters.monai_datalist": ("MonaiDatalist",),
    "conditions.base": ("Target",),
    "conditions.builders.grow": ("Grow",),
    "conditions.builders.lesions": ("Lesions",),
    "conditions.builders.lowres": ("LowRes",),
    "conditions.builders.modalities": ("Modalities",),
    "conditions.builders.perturb": ("Perturb",),
    "conditions.builders.shape_model": ("ShapeModel",),
    "control.base": ("Control",),
    "control.methods.controlnet": ("ControlNet", "ControlNetLite", "ControlNetMLP", "T2IAdapter"),
    "control.methods.vcm": ("MCM", "VCM"),
    "data.case": ("Case",),
    "data.cases": ("Cases",),
    "data.geometry": ("Grid",),
    "face.conditions": ("chains", "prepare"),
    "face.drawing": ("export",),
    "face.models": ("load_control", "train", "train_prior"),
    "face.studies": ("study",),
    "generate.drawer": ("Drawer",),
    "generate.noise": ("Noise",),
    "generate.samplers": ("DDIM", "DDPM", "DPMpp2M", "DPMpp2MSDE", "Heun"),
    "ldm.prior": ("Prior",),
}
"""The names of each module; packages are imported by their own."""

_PLACES = {name: f"vcmaug.{module}" for module, names in _NAMES.items() for name in names}

_PACKAGES = frozenset({"conditions", "generate"})
"""Packages that can be called, see `vcmaug.doors`."""


def __getattr__(name: str) -> Any:
    """Return a name of the face, imported now."""
    if name in _PACKAGES:
        return import_module(f"vcmaug.{name}")
    if name not in _PLACES:
        raise AttributeError(f"module 'vcmaug' has no attribute {name!r}")
    value = getattr(import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the names of the face."""
    return sorted(__all__)
