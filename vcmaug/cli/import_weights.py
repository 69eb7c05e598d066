"""`vcmaug import-weights`: released checkpoints into folders that this toolkit reads."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from vcmaug.cli.console import say
from vcmaug.errors import ModelError

__all__ = ["import_weights_command"]

import_weights_command = typer.Typer(
    no_args_is_help=True,
    help="Bring released weights into a folder with a card, every key checked.",
)

Out = Annotated[Path, typer.Option("--out", help="Folder for weights and card.")]
PRIOR, CONTROL = Path("work/priors/brainldm"), Path("work/controls/vcm")


@import_weights_command.command("brainldm")
def brainldm_command(
    autoencoder: Annotated[
        Path | None, typer.Option("--autoencoder", help="Released autoencoder, .pt or .pth.")
    ] = None,
    diffusion: Annotated[
        Path | None, typer.Option("--diffusion", help="Released diffusion U-Net, .pt or .pth.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="Folder of the MONAI bundle instead.")
    ] = None,
    sex: Annotated[
        Literal["female0", "male0"],
        typer.Option("--sex", help="Which sex is 0; sources disagree."),
    ] = "female0",
    out: Out = PRIOR,
) -> None:
    """Import BrainLDM's autoencoder and diffusion U-Net.

    Example: vcmaug import-weights brainldm --bundle brain_image_synthesis_latent_diffusion_model
    """
    from vcmaug.released.brainldm import brainldm
    from vcmaug.released.files import files_of_bundle
    from vcmaug.released.importing import import_brainldm

    if bundle is not None:
        autoencoder, diffusion = files_of_bundle(bundle)
    if autoencoder is None or diffusion is None:
        raise ModelError(
            "importing BrainLDM: give --autoencoder and --diffusion, or --bundle with both."
        )
    card = import_brainldm(autoencoder, diffusion, folder=out, spec=brainldm(sex))
    for name, one in card.imported_from.items():
        known = "the released file" if one.is_the_release else "NOT the md5 of the release"
        say(f"{name}: {one.file}, {one.num_keys} keys, all used; md5 {one.md5}, {known}.")
    say(f"Sex is coded {sex}. The prior is in {out}.")


@import_weights_command.command("vcm")
def vcm_command(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Released checkpoint, .pt.")],
    prior: Annotated[
        Path, typer.Option("--prior", help="Folder of the imported BrainLDM.")
    ] = PRIOR,
    out: Out = CONTROL,
) -> None:
    """Import the released VCM, for an imported BrainLDM.

    Example: vcmaug import-weights vcm vcm.pt
    """
    from vcmaug.ldm.prior import load_prior
    from vcmaug.released.importing import import_vcm

    card = import_vcm(path, prior=load_prior(prior), folder=out)
    found = card.imported_from
    say(
        f"{found['file']}: {found['num_keys']} keys, {found['num_stored_parameters']:,} "
        f"parameters; {found['num_unused_parameters']:,} are never used and were dropped."
    )
    say(f"Switches that come with it: {card.note}. The control is in {out}.")
