"""The released VCM checkpoint into a control's folder, every tensor accounted for.

What it is: the order and the names of its tensors, and the switches that it needs.
In the flow: `import-weights vcm`; the control then steers an imported BrainLDM.
Sources: the key names of monai-generative 0.2.3, in which its U-Net is written.

Notes:
    The tensors of its condition encoder are told by their order and shape, since both networks
    define their layers in the order in which data flows through them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vcmaug.control.build import build_network, write_control
from vcmaug.control.vcm_released import RELEASED_SCALE, VCMReleasedSettings
from vcmaug.data.labels import LabelScheme
from vcmaug.errors import ModelError
from vcmaug.ldm.prior import Prior
from vcmaug.ldm.released import refuse_other_model
from vcmaug.ldm.released_files import read_released
from vcmaug.ldm.weights import fill_module

__all__ = ["RELEASED_SCHEME", "import_vcm"]

RELEASED_SCHEME = LabelScheme.from_mapping(
    {
        "white_matter": 1,
        "grey_matter": 2,
        "ventricles": 3,
        "deep_grey": 4,
        "hippocampus": 5,
        "amygdala": 6,
        "csf": 7,
        "brainstem": 8,
    }
)
"""Channels of the released model; their meaning is read from the label map it was released with."""

_ENCODER = "modality_encoder."
_HEADS = {
    "mlp_shared.conv.": "shared.",
    "mlp_gamma.conv.": "gamma_head.",
    "mlp_beta.conv.": "beta_head.",
}
_UNUSED = ".proj_attn."


def import_vcm(
    path: Path,
    *,
    prior: Prior,
    folder: Path,
    settings: VCMReleasedSettings | None = None,
    scheme: LabelScheme = RELEASED_SCHEME,
) -> dict[str, Any]:
    """Write a control's folder from the released checkpoint and return its card.

    Args:
        path: State dict, with or without the prefix of data-parallel training.
        prior: The imported BrainLDM that it steers.
        folder: Gets `control.safetensors` and `card.json`.
        settings: Widths; others for tests.
        scheme: Meaning of its condition channels.

    Raises:
        ModelError: The file cannot be read, or holds other tensors.
    """
    settings = settings or VCMReleasedSettings()
    network = build_network(settings, spec=prior.spec, num_structures=scheme.num_structures)
    released = read_released(path)
    weights = _renamed(released, network.state_dict(), path)
    refuse_other_model(weights, network.state_dict(), name="the released VCM", path=path)
    fill_module(network, weights, source=path)
    unused = [tensor for name, tensor in released.items() if _UNUSED in name]
    stored = sum(tensor.numel() for tensor in released.values())
    card = {
        "subjects": [],
        "labelled_subjects": [],
        "pseudo_labelled_subjects": [],
        "subjects_note": "500 training scans, not listed with the release",
        "latent_scale": RELEASED_SCALE,
        "imported_from": {
            "file": path.name,
            "num_keys": len(released),
            "num_stored_parameters": stored,
            "num_unused_parameters": sum(tensor.numel() for tensor in unused),
        },
        "note": "instance normalisation of gamma and beta is on and latents are multiplied by "
        f"{RELEASED_SCALE:.7f}: the checkpoint was trained so and needs both",
        "licence": "none was given with the release",
    }
    write_control(folder, network=network, settings=settings, prior=prior, scheme=scheme, card=card)
    return card


def _renamed(
    released: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path
) -> dict[str, Tensor]:
    """Return the tensors under our names, without those that nothing uses."""
    weights = {}
    for name, tensor in released.items():
        if name.startswith("time_unet.") and _UNUSED not in name:
            weights["unet." + _core_name(name.removeprefix("time_unet."))] = tensor
        for prefix, own_prefix in _HEADS.items():
            if name.startswith(prefix):
                weights[own_prefix + name.removeprefix(prefix)] = tensor
    theirs = [tensor for name, tensor in released.items() if name.startswith(_ENCODER)]
    ours = [name for name in own if name.startswith("encoder.")]
    shapes = [tuple(own[name].shape) for name in ours]
    if [tuple(tensor.shape) for tensor in theirs] != shapes:
        raise ModelError(
            f"importing {path}: its condition encoder has {len(theirs)} tensors, expected "
            f"{len(ours)} of known shapes in a known order. It is the file of another model."
        )
    weights |= dict(zip(ours, theirs, strict=True))
    known = ("time_unet.", _ENCODER, *_HEADS)
    return weights | {name: t for name, t in released.items() if not name.startswith(known)}


def _core_name(name: str) -> str:
    """Return the MONAI core name of a tensor in a U-Net's self-attention."""
    for part in ("to_q", "to_k", "to_v"):
        name = name.replace(f".{part}.", f".attn.{part}.")
    return name
