"""Released BrainLDM and VCM into a prior's and a control's folder, every tensor accounted for.

References:
    The key names of monai-generative 0.2.3, in which the U-Nets are written, and of MONAI core 1.6.

Notes:
    The tensors of the VCM's condition encoder are told by their order, kind and shape, whatever
    their names after `modality_encoder.`: their full names are not known here, and both networks
    define their layers in the order in which data flows through them.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, nn

from vcmaug.control.base import Control, write_control
from vcmaug.control.card import ControlCard
from vcmaug.control.methods.vcm import VCMReleased
from vcmaug.control.networks.vcm_released import RELEASED_SCALE
from vcmaug.data.labels import LabelScheme
from vcmaug.data.seen import Seen
from vcmaug.errors import ModelError
from vcmaug.files import locked
from vcmaug.ldm.autoencoder import StemmedAutoencoder
from vcmaug.ldm.card import PriorCard, ReleasedFile
from vcmaug.ldm.denoiser import ScalarUNet
from vcmaug.ldm.prior import Prior, new_prior, write_prior
from vcmaug.ldm.spec import PriorSpec
from vcmaug.ldm.weights import refuse_other_weights
from vcmaug.outputs import refuse_overlap
from vcmaug.released.brainldm import BRAINLDM, POPULATION_MEANS, RELEASED_MD5
from vcmaug.released.files import md5_of_file, read_released

__all__ = ["RELEASED_SCHEME", "import_brainldm", "import_vcm"]

Renamed = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
"""Released tensors -> the same under our names."""

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

_WHOLE_SCHEDULE = {"name": "ddim", "steps": 25, "start": 1.0}
"""The sampler of BrainLDM: without a mean of its latents, a draw cannot start lower."""

_ENCODER = "modality_encoder."
_PARTS = {  # released prefix -> ours
    "time_unet.": "unet.",
    "mlp_shared.conv.": "shared.",
    "mlp_gamma.conv.": "gamma_head.",
    "mlp_beta.conv.": "beta_head.",
}


def core_autoencoder(released: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return an autoencoder's tensors under the names of a `StemmedAutoencoder`."""
    return {
        "kl." + re.sub(r"^(decoder\.blocks\.\d+)\.conv\.conv\.", r"\1.postconv.conv.", name): tensor
        for name, tensor in released.items()
    }


def core_unet(released: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a diffusion U-Net's tensors under the names of a `ScalarUNet`."""
    return {
        "unet." + name.replace(".to_out.0.", ".out_proj."): tensor
        for name, tensor in released.items()
    }


def import_brainldm(
    autoencoder: Path,
    diffusion: Path,
    *,
    folder: Path,
    spec: PriorSpec = BRAINLDM,
) -> PriorCard:
    """Write a prior's folder from the two released files and return its card.

    Args:
        autoencoder: State dict in the layout of monai-generative.
        diffusion: Likewise.
        folder: Gets `prior.safetensors` and `card.json`.
        spec: What they are; with another width for tests.

    Raises:
        ModelError: A file cannot be read, or is not of these networks.
        WorkFolderError: The folder holds a file that is read, or is in use.
    """
    refuse_overlap("importing BrainLDM", writes=[folder], reads=[autoencoder, diffusion])
    own_autoencoder, own_unet = StemmedAutoencoder(spec), ScalarUNet(spec)
    files = {
        "autoencoder": _fill("autoencoder", own_autoencoder, autoencoder, core_autoencoder),
        "unet": _fill("unet", own_unet, diffusion, core_unet),
    }
    prior = new_prior(
        spec=spec,
        autoencoder=own_autoencoder,
        unet=own_unet,
        latent_scale=float(spec.latent_scale or 1.0),
        seen=Seen(note="31,740 participants of UK Biobank, not listed with the release"),
        scalar_fill={one.name: POPULATION_MEANS[one.name] for one in spec.scalars},
        licence="of the released files; see their own terms",
        imported_from=files,
        sampler=_WHOLE_SCHEDULE,
    )
    with locked(folder, purpose="importing BrainLDM"):
        write_prior(folder, prior)
    return prior.card


def _fill(name: str, network: nn.Module, path: Path, renamed: Renamed) -> ReleasedFile:
    """Fill a network from its released file; return what file that is."""
    released = read_released(path, network=name)
    weights, md5, known = renamed(released), md5_of_file(path), RELEASED_MD5[name]
    refuse_other_weights(weights, network.state_dict(), doing=f"importing {path} as {name}")
    network.load_state_dict(weights)
    return ReleasedFile(
        file=path.name,
        md5=md5,
        md5_of_the_release=known,
        is_the_release=md5 == known,
        num_keys=len(released),
    )


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
        WorkFolderError: The folder holds the file, is that of the prior, or is in use.
    """
    reads = [path, *filter(None, [prior.folder])]
    refuse_overlap("importing the released VCM", writes=[folder], reads=reads)
    settings = settings or VCMReleased()
    network = settings.network(prior.spec, num_structures=scheme.num_structures)
    released, own = read_released(path), network.state_dict()
    _refuse_other_latents(released, prior, path)
    stored, unused = _stored_names(released, own, path), _unused_tensors(own)
    expected = unused | {theirs: own[ours] for theirs, ours in stored.items()}
    refuse_other_weights(released, expected, doing=f"importing {path} as the released VCM")
    network.load_state_dict({ours: released[theirs] for theirs, ours in stored.items()})
    control = Control.of(
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
    with locked(folder, purpose="importing the released VCM"):
        write_control(folder, control)
    return control.card


def _refuse_other_latents(released: Mapping[str, Tensor], prior: Prior, path: Path) -> None:
    """Refuse a prior of another kind, or with other channels of its latents than the checkpoint."""
    if prior.spec.schedule.of_z_0:
        raise ModelError(
            f"importing {path}: it steers predictions of the noise, and prior {prior.spec.name!r} "
            f"predicts otherwise ({prior.spec.schedule.name}). Name the prior that it was trained "
            "on: BrainLDM, as `vcmaug import-weights brainldm` leaves it."
        )
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
