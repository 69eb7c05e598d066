"""BrainLDM: shape, space and scalars of the prior that the VCM paper stands on.

References:
    Pinaya et al. 2022, arXiv 2209.07162; the configuration files of the MONAI bundle
    brain_image_synthesis_latent_diffusion_model.

Notes:
    Its samples lie in the space of `AFFINE`. What `prepare` brings to its grid keeps its own place
    in the world: heads are centred, not registered. A drawn image has its condition's affine.

    Sources disagree on the coding of sex: the authors' demonstration counts female 0 and male 1, as
    UK Biobank does; code of the VCM's first author counts the other way round. Here female is 0
    unless asked otherwise. The volumes that it was trained on were normalised for head size.
"""

from collections.abc import Mapping
from typing import Literal

from vcmaug.data.geometry import Grid
from vcmaug.data.scalars import ScalarSpec
from vcmaug.ldm.schedules.epsilon import EpsilonSchedule
from vcmaug.ldm.spec import AutoencoderSettings, DiffusionSettings, PriorSpec

__all__ = [
    "AFFINE",
    "BRAINLDM",
    "POPULATION_MEANS",
    "RELEASED_MD5",
    "SexCoding",
    "brainldm",
]

SexCoding = Literal["female0", "male0"]

RELEASED_MD5: Mapping[str, str] = {
    "autoencoder": "329e97b3085643ff235f11f049856242",
    "unet": "21c3047556fb671caf0556f1cce6ef22",
}

AFFINE = (
    (-1.0, 0.0, 0.0, 96.48149872),
    (0.0, 1.0, 0.0, -141.47715759),
    (0.0, 0.0, 1.0, -156.55375671),
    (0.0, 0.0, 0.0, 1.0),
)
"""From voxels to mm (RAS+) of the released samples."""

POPULATION_MEANS: Mapping[str, float] = {
    "sex": 0.5,
    "age": 63.6,
    "ventricles": 37_968.0,
    "brain": 1_485_720.0,
}
"""Of the training set, in place of a scalar that is missing; 0.5 is no sex."""


def brainldm(sex: SexCoding = "female0") -> PriorSpec:
    """Return the spec of BrainLDM.

    Args:
        sex: Which sex is 0.
    """
    female = 0.0 if sex == "female0" else 1.0
    codes = dict.fromkeys(("F", "f", "female", "Female"), female)
    codes |= dict.fromkeys(("M", "m", "male", "Male"), 1.0 - female)
    tissue = ("grey_matter", "white_matter", "ventricles")
    return PriorSpec(
        name="brainldm",
        grid=Grid(shape=(160, 224, 160), spacing_mm=(1.0, 1.0, 1.0), orientation="LAS"),
        autoencoder=AutoencoderSettings(
            stem_factor=1,
            channels=(64, 128, 128, 128),
            latent_channels=3,
            num_res_blocks=2,
            norm_num_groups=32,
            shortcut=False,
        ),
        diffusion=DiffusionSettings(
            channels=(256, 512, 768),
            attention_levels=(False, True, True),
            num_res_blocks=2,
            num_head_channels=(0, 512, 768),
            norm_num_groups=32,
            upcast_attention=True,
        ),
        schedule=EpsilonSchedule(),  # its defaults are those of BrainLDM
        scalars=(
            ScalarSpec(name="sex", low=0, high=1, column="sex", codes=codes),
            ScalarSpec(name="age", low=44, high=82, unit="years", column="age"),
            ScalarSpec(
                name="ventricles",
                low=6_995.68,
                high=171_375,
                unit="mm3",
                structures=("ventricles",),
            ),
            ScalarSpec(name="brain", low=1_144_240, high=1_793_910, unit="mm3", structures=tissue),
        ),
        latent_scale=1.0,
    )


BRAINLDM = brainldm()
