"""The card of a prior, and what every model's card says: settings, hashes, and what was seen.

`card.json` is written last into a model's folder, so that a folder with a card is complete.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ConfigDict, JsonValue, ValidationError

from vcmaug.config import Settings
from vcmaug.data.seen import Seen
from vcmaug.errors import ModelError
from vcmaug.files import read_json
from vcmaug.ldm.spec import PriorSpec

__all__ = ["LogRow", "ModelCard", "PriorCard", "ReleasedFile", "read_card"]

Number = bool | int | float | None
LogRow = Mapping[str, int | float]
"""One row of a training's log."""


class ModelCard(Settings):
    """What the cards of priors and controls have in common; facts for readers may stand beside.

    Attributes:
        kind: "prior" or "control".
        name: Of the prior, or of the control's method.
        weights_sha256: By which the model is known.
        seen: Of whom what was seen.
        figures: What was measured of the training and of its result.
        licence: SPDX expression, or a sentence.
        note: For whoever uses it.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str
    name: str
    weights_sha256: str
    seen: Seen
    figures: Mapping[str, Number | Mapping[str, Number]] = {}
    licence: str | None = None
    note: str = ""


class ReleasedFile(Settings):
    """A file of another project, of which a network was made.

    Attributes:
        file: Its name.
        md5: As it was found.
        md5_of_the_release: As it was published.
        is_the_release: Whether both are the same.
        num_keys: Tensors in it.
    """

    file: str
    md5: str
    md5_of_the_release: str
    is_the_release: bool
    num_keys: int


class PriorCard(ModelCard):
    """The card of a prior.

    Attributes:
        spec: Shapes and meanings.
        latent_scale: z = posterior mean * latent_scale.
        num_parameters: Of each network.
        scalar_fill: What replaces a missing scalar, in its own unit.
        foreground_above: Grey value of decoded images above which a voxel is foreground; beyond it
            draws are 0, as all training images are. None: they have no such background.
        log: Of the training of each network.
        imported_from: The released file of each network, if they were not trained here.
        sampler: The settings of the sampler that its measured frontier chose, if there is one.
    """

    kind: Literal["prior"] = "prior"
    spec: PriorSpec
    latent_scale: float
    num_parameters: Mapping[str, int] = {}
    scalar_fill: Mapping[str, float] = {}
    foreground_above: float | None = None
    log: Mapping[str, Sequence[LogRow]] = {}
    imported_from: Mapping[str, ReleasedFile] = {}
    sampler: Mapping[str, JsonValue] | None = None


C = TypeVar("C", bound=ModelCard)


def read_card(folder: Path, model: type[C]) -> C:
    """Return the card of a prior or a control.

    Args:
        folder: Holds `card.json`.
        model: The kind of card that it must be.

    Raises:
        ModelError: There is no card, it is of another kind or of an older version, it lacks what
            is needed, or this version does not know what it says.
    """
    kind, path = str(model.model_fields["kind"].default), folder / "card.json"
    doing = f"loading {kind} {folder}"
    if not path.exists():
        raise ModelError(
            f"{doing}: no card.json there. A {kind} is complete once its card is written; run "
            f"`vcmaug train-{kind}` first."
        )
    content = read_json(path)
    found = content.get("kind") if isinstance(content, dict) else type(content).__name__
    if found != kind:
        raise ModelError(f"{doing}: the card says {found!r}, expected {kind!r}.")
    try:
        return model.model_validate(content)
    except ValidationError as fault:
        lacking = [error["loc"] for error in fault.errors() if error["type"] == "missing"]
        missing = [str(loc[0]) for loc in lacking if len(loc) == 1]  # whole entries of the card
        if "seen" in missing and "subjects" in content:
            reason = (
                "an older version of vcmaug made it, whose card does not say apart whose images "
                f"and whose labels were seen. Run `vcmaug train-{kind}` again, or import it again."
            )
        elif missing:
            reason = (
                f"card.json lacks {', '.join(missing)}. Copy the folder whole, or train it again."
            )
        else:
            reason = (
                "this version cannot read the settings on its card. Use the version that trained "
                f"it, or train it again. {fault}"
            )
        raise ModelError(f"{doing}: {reason}") from None
