"""The gate of a control: do drawn images fit their labels as real ones do?"""

from vcmaug.gates.base import GateResult, Limit
from vcmaug.quality.results import Quality

__all__ = ["measure_control"]

_MOST_LOST = 0.03


def measure_control(quality: Quality, *, num_labelled: int) -> GateResult:
    """Return adherence on synthetic and on real images, and what is between them.

    Args:
        quality: The evaluation of its cohort.
        num_labelled: Labelled cases that it was trained on.
    """
    dice = quality.mean_adherence
    lost = dice["real"] - dice["synthetic"]
    figures = {
        "adherence": dice["synthetic"],
        "same_segmenter_on_real_images": dice["real"],
        "lost": lost,
        "num_labelled": num_labelled,
    }
    what = "Dice lost against the same segmenter on real images"
    return GateResult(figures, (Limit(what, lost, "at most", _MOST_LOST),))
