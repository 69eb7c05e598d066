"""Released BrainLDM files into a prior's folder, every key of monai-generative accounted for.

References:
    The key names of monai-generative 0.2.3 and of MONAI core 1.6.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from vcmaug.data.seen import Seen
from vcmaug.errors import ModelError, list_faults
from vcmaug.ldm.card import PriorCard
from vcmaug.ldm.prior import new_prior, write_prior
from vcmaug.ldm.spec import PriorSpec
from vcmaug.ldm.weights import fill_module
from vcmaug.released.brainldm import BRAINLDM, NUM_PARAMETERS, POPULATION_MEANS, RELEASED_MD5
from vcmaug.released.files import md5_of_file, read_released

__all__ = ["import_brainldm", "refuse_other_model"]


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
    own_autoencoder, own_unet = spec.build_autoencoder(), spec.build_unet()
    networks = {"autoencoder": own_autoencoder, "unet": own_unet}
    paths = {"autoencoder": autoencoder, "unet": diffusion}
    rename = {"autoencoder": core_autoencoder, "unet": core_unet}
    files = {}
    for name, module in networks.items():
        released = read_released(paths[name])
        weights = rename[name](released)
        refuse_other_model(weights, module.state_dict(), name=name, path=paths[name])
        fill_module(module, weights, source=paths[name])
        found, known = md5_of_file(paths[name]), RELEASED_MD5[name]
        files[name] = {
            "file": paths[name].name,
            "md5": found,
            "md5_of_the_release": known,
            "is_the_release": found == known,
            "num_keys": len(released),
        }
    _refuse_other_counts(networks, spec)
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


def refuse_other_model(
    weights: Mapping[str, Tensor], own: Mapping[str, Tensor], *, name: str, path: Path
) -> None:
    """Refuse a file whose keys or shapes are not those of the network."""
    unknown, missing = sorted(set(weights) - set(own)), sorted(set(own) - set(weights))
    other = [key for key in own if key in weights and weights[key].shape != own[key].shape]
    if unknown or missing or other:
        raise ModelError(
            f"importing {path} as {name}: {len(unknown)} of its {len(weights)} keys are unknown, "
            f"{len(missing)} are missing and {len(other)} have another shape (the first: "
            f"{[*unknown, *missing, *other][0]}). It is the file of another model."
        )


def _refuse_other_counts(networks: Mapping[str, nn.Module], spec: PriorSpec) -> None:
    """Refuse networks of BrainLDM whose counts are not the known ones."""
    if spec.name != BRAINLDM.name or spec.diffusion != BRAINLDM.diffusion:
        return
    counts = {
        name: sum(p.numel() for p in module.parameters()) for name, module in networks.items()
    }
    faults = [
        f"{name}: {counts[name]} parameters, expected {expected}"
        for name, expected in NUM_PARAMETERS.items()
        if counts[name] != expected
    ]
    if faults:
        raise ModelError(list_faults("importing BrainLDM", faults))
