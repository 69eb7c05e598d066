"""Released BrainLDM files into a prior's folder, every key of monai-generative accounted for.

References:
    The key names of monai-generative 0.2.3 and of MONAI core 1.6.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, nn

from vcmaug.data.seen import Seen
from vcmaug.ldm.autoencoder import StemmedAutoencoder
from vcmaug.ldm.card import PriorCard, ReleasedFile
from vcmaug.ldm.denoiser import ScalarUNet
from vcmaug.ldm.prior import new_prior, write_prior
from vcmaug.ldm.spec import PriorSpec
from vcmaug.ldm.weights import refuse_other_weights
from vcmaug.released.brainldm import BRAINLDM, POPULATION_MEANS, RELEASED_MD5
from vcmaug.released.files import md5_of_file, read_released

__all__ = ["import_brainldm"]

Renamed = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
"""Released tensors -> the same under our names."""


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
    """
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
    )
    write_prior(folder, prior)
    return prior.card


def _fill(name: str, network: nn.Module, path: Path, renamed: Renamed) -> ReleasedFile:
    """Fill a network from its released file; return what file that is."""
    released = read_released(path)
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
