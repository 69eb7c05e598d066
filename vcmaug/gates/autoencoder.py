"""The gate of the autoencoder: does it keep what a segmenter needs, and the texture?"""

from dataclasses import replace
from typing import TYPE_CHECKING

from vcmaug.gates.base import GateGround, GateResult, Limit, mean_dice, reconstructed

if TYPE_CHECKING:
    from vcmaug.ldm.prior import Prior

__all__ = ["measure_autoencoder"]

_MOST_LOST = 0.01
_MOST_OFF = 0.1


def measure_autoencoder(ground: GateGround, prior: "Prior", *, dice: float) -> GateResult:
    """Return what training on reconstructions costs, and how much texture they have.

    Args:
        ground: Cases and settings.
        prior: Whose autoencoder it is.
        dice: Of the segmenter that was trained on the images themselves.
    """
    from vcmaug.training.autoencoder import gradient_energy

    made = replace(ground.train, images=reconstructed(prior, ground.train))
    lost = dice - mean_dice(ground, made, ground.study.fit)
    shown = ground.validation
    again = replace(shown, images=reconstructed(prior, shown))
    energies = [gradient_energy(one.tensors()[0]).sum() for one in (again, shown)]
    ratio = float(energies[0] / energies[1])
    figures = {
        "dice_lost": lost,
        "gradient_energy_ratio": ratio,
        "psnr_db": prior.card.figures.get("psnr_db"),
    }
    return GateResult(
        figures,
        (
            Limit("Dice lost", lost, "at most", _MOST_LOST),
            Limit("gradient energy off real by", abs(ratio - 1.0), "at most", _MOST_OFF),
        ),
    )
