"""The gate of the segmenter: with all training labels, is it good enough and at its plateau?"""

from vcmaug.gates.base import GateGround, GateResult, Limit, mean_dice

__all__ = ["measure_segmenter"]

_MOST_GAIN = 0.005


def measure_segmenter(ground: GateGround) -> GateResult:
    """Return validation Dice of a segmenter with all training labels, at full and half length."""
    full = ground.study.fit
    half = full.model_copy(update={"updates": full.updates // 2})
    at_half, at_end = (mean_dice(ground, ground.train, fit) for fit in (half, full))
    figures = {
        "dice": at_end,
        "dice_at_half_the_updates": at_half,
        "updates": full.updates,
        "num_train": len(ground.train.names),
    }
    return GateResult(
        figures,
        (
            Limit("dice", at_end, "at least", ground.settings.least_dice),
            Limit("gain of the second half", at_end - at_half, "below", _MOST_GAIN),
        ),
    )
