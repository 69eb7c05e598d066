"""The card of a prior, and what every model's card says: settings, hashes, and what was seen.

`card.json` is written last into a model's folder, so that a folder with a card is complete.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict, JsonValue, ValidationError

from vcmaug.config import Settings
from vcmaug.data.seen import Seen
from vcmaug.errors import ModelError
from vcmaug.files import read_json
from vcmaug.ldm.spec import PriorSpec

__all__ = ["LogRow", "ModelCard", "PriorCard", "read_card"]

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
        imported_from: The files of another project that it was made of.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str
    name: str
    weights_sha256: str
    seen: Seen
    figures: Mapping[str, Number | Mapping[str, Number]] = {}
    licence: str | None = None
    note: str = ""
    imported_from: Mapping[str, Any] = {}


class PriorCard(ModelCard):
    """The card of a prior.

    Attributes:
        spec: Shapes and meanings.
        latent_scale: z = posterior mean * latent_scale.
        num_parameters: Of each network.
        scalar_fill: What replaces a missing scalar, in its own unit.
        log: Of the training of each network.
        sampler: The settings of the sampler that its measured frontier chose, if there is one.
    """

    kind: Literal["prior"] = "prior"
    spec: PriorSpec
    latent_scale: float
    num_parameters: Mapping[str, int] = {}
    scalar_fill: Mapping[str, float] = {}
    log: Mapping[str, Sequence[LogRow]] = {}
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
    if not path.exists():
        raise ModelError(
            f"loading {kind} {folder}: no card.json there. A {kind} is complete once its card is "
            f"written; run `vcmaug train-{kind}` first."
        )
    content = read_json(path)
    _refuse_unfit(content, model, f"loading {kind} {folder}", kind=kind)
    try:
        return model.model_validate(content)
    except ValidationError as fault:
        raise ModelError(
            f"loading {kind} {folder}: this version cannot read the settings on its card. Use the "
            f"version that trained it, or train it again. {fault}"
        ) from None


def _refuse_unfit(content: Any, model: type[ModelCard], doing: str, *, kind: str) -> None:
    """Refuse content that is no card of a kind, an older one, or a part of one."""
    found = content.get("kind") if isinstance(content, dict) else type(content).__name__
    if found != kind:
        raise ModelError(f"{doing}: the card says {found!r}, expected {kind!r}.")
    fields = model.model_fields.items()
    missing = [name for name, field in fields if field.is_required() and name not in content]
    if "seen" in missing and "subjects" in content:
        raise ModelError(
            f"{doing}: an older version of vcmaug made it, whose card does not say apart whose "
            f"images and whose labels were seen. Run `vcmaug train-{kind}` again, or import it "
            "again."
        )
    if missing:
        raise ModelError(
            f"{doing}: card.json lacks {', '.join(missing)}. Copy the folder whole, or train it "
            "again."
        )
