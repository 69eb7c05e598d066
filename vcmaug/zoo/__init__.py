"""The zoo: small weights made by this project, each with a model card that names its data.

A recipe may start from a prior and a control of the zoo, by name.
"""

from pathlib import Path

from vcmaug.errors import ModelError

__all__ = ["model_folder", "zoo_entries", "zoo_folder"]

_ROOT = Path(__file__).parent
_PREFIX = "zoo:"


def zoo_entries() -> list[str]:
    """Return the names of all entries: priors as NAME, their controls as NAME/CONTROL."""
    cards = sorted(_ROOT.glob("**/card.json"))
    return [card.parent.relative_to(_ROOT).as_posix() for card in cards]


def zoo_folder(name: str) -> Path:
    """Return the folder of an entry.

    Raises:
        ModelError: There is no such entry; the message lists those there are.
    """
    folder = _ROOT / name
    if name not in zoo_entries():
        raise ModelError(
            f"looking for {name!r} in the zoo: there is no such entry. Known: "
            f"{', '.join(zoo_entries()) or 'none'}."
        )
    return folder


def model_folder(source: Path | str) -> Path:
    """Return the folder of a model that "zoo:NAME" or a path names.

    Examples:
        >>> model_folder("zoo:hippocampus-1mm").name, model_folder("work/prior").name
        ('hippocampus-1mm', 'prior')
    """
    name = str(source)
    return zoo_folder(name.removeprefix(_PREFIX)) if name.startswith(_PREFIX) else Path(source)
