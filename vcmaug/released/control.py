"""The released VCM checkpoint into a control's folder, every tensor accounted for.

References:
    The key names of monai-generative 0.2.3, in which its U-Net is written.

Notes:
    The tensors of its condition encoder are told by their order, kind and shape, whatever their
    names after `modality_encoder.`: their full names are not known here, and both networks define
    their layers in the order in which data flows through them.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from vcmaug.control.base import Control, write_control
from vcmaug.control.card import ControlCard, card_of
from vcmaug.control.methods.vcm import VCMReleased
from vcmaug.control.networks.vcm_released import RELEASED_SCALE
from vcmaug.data.labels import LabelScheme
from vcmaug.data.seen import Seen
from vcmaug.errors import ModelError
from vcmaug.ldm.prior import Prior
from vcmaug.ldm.weights import refuse_other_weights
from vcmaug.released.files import read_released

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
_PARTS = {  # released prefix -> ours
    "time_unet.": "unet.",
    "mlp_shared.conv.": "shared.",
    "mlp_gamma.conv.": "gamma_head.",
    "mlp_beta.conv.": "beta_head.",
}


def import_vcm(
    path: Path,
    *,
    prior: Prior,
    folder: Path,
    settings: VCMReleased | None = None,
    scheme: LabelScheme = RELEASED_SCHEME,
) -> ControlCard:
    """Write a control's folder from the released checkpoint and return its card.

    Args:
        path: State dict, with or without the prefix of data-parallel training.
        prior: The imported BrainLDM that it steers.
        folder: Gets `control.safetensors` and `card.json`.
        settings: Widths; others for tests.
        scheme: Meaning of its condition channels.

    Raises:
        ModelError: The file cannot be read, holds other tensors, or steers other latents.
    """
    settings = settings or VCMReleased()
    network = settings.network(prior.spec, num_structures=scheme.num_structures)
    released, own = read_released(path), network.state_dict()
    _refuse_other_latents(released, prior, path)
    stored, unused = _stored_names(released, own, path), _unused_tensors(own)
    expected = unused | {theirs: own[ours] for theirs, ours in stored.items()}
    refuse_other_weights(released, expected, doing=f"importing {path} as the released VCM")
    network.load_state_dict({ours: released[theirs] for theirs, ours in stored.items()})
    card = card_of(
        network,
        method=settings,
        prior=prior,
        scheme=scheme,
        seen=Seen(note="500 training scans, not listed with the release"),
        latent_scale=RELEASED_SCALE,
        imported_from={
            "file": path.name,
            "num_keys": len(released),
            "num_stored_parameters": sum(tensor.numel() for tensor in released.values()),
            "num_unused_parameters": sum(tensor.numel() for tensor in unused.values()),
        },
        note="instance normalisation of gamma and beta is on and latents are multiplied by "
        f"{RELEASED_SCALE:.7f}: the checkpoint was trained so and needs both",
        licence="none was given with the release",
    )
    write_control(folder, Control(network, card))
    return card


def _refuse_other_latents(released: Mapping[str, Tensor], prior: Prior, path: Path) -> None:
    """Refuse a prior whose latents have another number of channels than the checkpoint's."""
    head = released.get("mlp_gamma.conv.weight")
    if head is not None and len(head) != prior.spec.latent_shape[0]:
        raise ModelError(
            f"importing {path}: it steers latents of {len(head)} channels, those of prior "
            f"{prior.spec.name!r} have {prior.spec.latent_shape[0]}. Name the prior that it was "
            "trained on: BrainLDM, as `vcmaug import-weights brainldm` leaves it."
        )


def _stored_names(
    released: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path
) -> dict[str, str]:
    """Return our name by the stored one, of every tensor that is used.

    Raises:
        ModelError: The condition encoder's tensors are not those expected, in their order.
    """
    theirs = [name for name in released if name.startswith(_ENCODER)]
    ours = [name for name in own if name.startswith("encoder.")]
    if [_kind(name, released) for name in theirs] != [_kind(name, own) for name in ours]:
        raise ModelError(
            f"importing {path}: its condition encoder has {len(theirs)} tensors, expected "
            f"{len(ours)} of known kinds and shapes in a known order. It is the file of another "
            "model, or the prior's latents are of another size than BrainLDM's."
        )
    others = {_stored_name(name): name for name in own if name not in ours}
    return dict(zip(theirs, ours, strict=True)) | others


def _kind(name: str, tensors: Mapping[str, Tensor]) -> tuple[str, tuple[int, ...]]:
    """Return whether a tensor is a weight or a bias, and its shape."""
    return name.rpartition(".")[2], tuple(tensors[name].shape)


def _stored_name(name: str) -> str:
    """Return the released name of one of our tensors outside the condition's encoder."""
    theirs, ours = next(pair for pair in _PARTS.items() if name.startswith(pair[1]))
    return theirs + name.removeprefix(ours).replace(".attn.to_", ".to_")


def _unused_tensors(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return, by stored name, tensors shaped like those that nothing uses: one per attention."""
    queries = [name for name in own if ".attn.to_q." in name]
    return {_stored_name(name).replace(".to_q.", ".proj_attn."): own[name] for name in queries}
