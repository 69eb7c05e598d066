"""vcmaug: labelled synthetic 3D medical volumes from a few real ones, and what they are worth.

Real labelled volumes become *conditions*, a small *control* steers a frozen latent diffusion model
to draw images that fit them, the drawn pairs become a *cohort* with a manifest, and a *study*
measures whether training on that cohort helps a segmentation network.

`import vcmaug as va` gives the names in `__all__`; each is imported when it is first used.

The floors; imports go down only:

    cli | face               the verbs, in the order of the flow; what a notebook imports
    pipeline                 recipe, artefacts, and the graph of what each is made from
    report                   one HTML file
    gates | arms             measured before a study; mixes of training data, and their makers
    generate                 plan, shards, workers
    quality | downstream     does the image fit its label; does the cohort help
    training | released      loops and losses; weights of others
    control                  VCM: a denoiser that holds a denoiser
    ldm | conditions         the frozen prior; what to ask it for
    cohort                   made cases with manifest and card; exporters
    data                     volumes, labels, cases, splits
    parts                    families of what a recipe names
    config | provenance | shapes | seeding | compute | progress | affine
    files
    errors | version | doors  what goes wrong; which version; ways to what the face makes of things
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
    from vcmaug.conditions.builders.lesions import Lesions
    from vcmaug.conditions.builders.lowres import LowRes
    from vcmaug.conditions.builders.modalities import Modalities
    from vcmaug.conditions.builders.perturb import Perturb
    from vcmaug.conditions.builders.shape_model import ShapeModel
    from vcmaug.conditions.target import Target
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
    from vcmaug.face.conditions import chains, conditions
    from vcmaug.face.drawing import export, generate
    from vcmaug.face.models import load_control, train, train_prior
    from vcmaug.face.preparing import prepare
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

_PLACES = {
    "Case": "vcmaug.data.case",
    "Cases": "vcmaug.data.cases",
    "Cohort": "vcmaug.cohort.cohort",
    "Control": "vcmaug.control.base",
    "ControlNet": "vcmaug.control.methods.controlnet",
    "ControlNetLite": "vcmaug.control.methods.controlnet",
    "ControlNetMLP": "vcmaug.control.methods.controlnet",
    "CopyPaste": "vcmaug.arms.copy_paste",
    "DDIM": "vcmaug.generate.samplers",
    "DDPM": "vcmaug.generate.samplers",
    "DPMpp2M": "vcmaug.generate.samplers",
    "DPMpp2MSDE": "vcmaug.generate.samplers",
    "Deformed": "vcmaug.arms.deformed",
    "Drawer": "vcmaug.generate.drawer",
    "Grid": "vcmaug.data.geometry",
    "Heun": "vcmaug.generate.samplers",
    "LabelToImage": "vcmaug.arms.label_to_image",
    "Lesions": "vcmaug.conditions.builders.lesions",
    "LowRes": "vcmaug.conditions.builders.lowres",
    "MCM": "vcmaug.control.methods.vcm",
    "Modalities": "vcmaug.conditions.builders.modalities",
    "MonaiDatalist": "vcmaug.cohort.exporters.monai_datalist",
    "Noise": "vcmaug.generate.noise",
    "Perturb": "vcmaug.conditions.builders.perturb",
    "Prior": "vcmaug.ldm.prior",
    "Real": "vcmaug.arms.real",
    "ShapeModel": "vcmaug.conditions.builders.shape_model",
    "Synthetic": "vcmaug.arms.synthetic",
    "T2IAdapter": "vcmaug.control.methods.controlnet",
    "Target": "vcmaug.conditions.target",
    "VCM": "vcmaug.control.methods.vcm",
    "chains": "vcmaug.face.conditions",
    "export": "vcmaug.face.drawing",
    "load_control": "vcmaug.face.models",
    "prepare": "vcmaug.face.preparing",
    "study": "vcmaug.face.studies",
    "train": "vcmaug.face.models",
    "train_prior": "vcmaug.face.models",
}
"""The module of each name; packages are imported by their own."""

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
