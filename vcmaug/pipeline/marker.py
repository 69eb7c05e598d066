"""What is recorded of an artefact when it is made, and how that differs from what is asked now.

What was made from other settings is set aside as a whole, and comes back.
"""

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from vcmaug.errors import WorkFolderError
from vcmaug.files import locked, read_json, write_json

__all__ = [
    "Marker",
    "bring_back",
    "differences",
    "json_like",
    "plain",
    "read_marker",
    "set_aside",
    "write_marker",
]

_SHOWN = 3
_ABSENT = object()


def json_like(settings: BaseModel, *, without: Iterable[str] = ()) -> Any:
    """Return settings as JSON has them; a path counts by its name, its file by its content.

    Args:
        settings: Any group of them.
        without: Fields at the top that decide nothing, or are said otherwise.
    """
    return plain(settings.model_dump(mode="python", exclude=set(without)))


def plain(value: Any) -> Any:
    """Return a value as it comes back from JSON; of a path its name."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    return value.name if isinstance(value, Path) else value


@dataclass(frozen=True)
class Marker:
    """One file in WORK/stages: what an artefact was made from.

    Attributes:
        name: Of the artefact.
        key: The fingerprint of all of the following.
        settings: Every setting that decides.
        files: Every file outside the work folder that was read, with what tells of a change.
        needs: Name -> key of the artefacts that it was made from.
        done: Whether it was finished.
        cost: What making it cost.
    """

    name: str
    key: str
    settings: Mapping[str, Any]
    files: Mapping[str, Any]
    needs: Mapping[str, str]
    done: bool = False
    cost: Mapping[str, Any] = field(default_factory=dict)


def write_marker(path: Path, marker: Marker) -> None:
    """Write a marker."""
    write_json(path, asdict(marker))


def read_marker(path: Path) -> Marker | None:
    """Return a marker; None: there is none.

    Raises:
        WorkFolderError: An older version wrote it.
    """
    if not path.exists():
        return None
    try:
        return Marker(**read_json(path))
    except TypeError:
        raise WorkFolderError(
            f"reading {path}: an older version made this work folder. Run `vcmaug run RECIPE --out "
            "FOLDER` again, in a new folder."
        ) from None


def differences(before: Marker, now: Marker) -> tuple[str, ...]:
    """Return, one phrase each, in what a recipe now differs from what was made."""
    settings = _of_settings(before.settings, now.settings)
    files = [
        f"{name} {_change(before.files.get(name), now.files.get(name))}"
        for name in sorted({*before.files, *now.files})
        if before.files.get(name) != now.files.get(name)
    ]
    needs = [
        f"{name} is another one"
        for name in dict.fromkeys((*before.needs, *now.needs))
        if before.needs.get(name) != now.needs.get(name)
    ]
    found = [*_first(settings), *_first(files), *_first(needs)]
    return tuple(found) or ("another version made it",)


def _of_settings(before: Any, now: Any, place: str = "") -> list[str]:
    """Return the leaves of two groups of settings that differ."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return [
            one
            for name in dict.fromkeys((*before, *now))
            for one in _of_settings(
                before.get(name, _ABSENT), now.get(name, _ABSENT), f"{place}.{name}".lstrip(".")
            )
        ]
    return [] if before == now else [f"{place} was {_said(before)}, is {_said(now)}"]


def _said(value: Any) -> str:
    """Return a value of a setting as a short text."""
    text = "not set" if value is _ABSENT else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _change(before: Any, now: Any) -> str:
    """Return what became of a file."""
    if before is None:
        return "is new"
    return "is gone" if now is None else "changed"


def _first(found: Iterable[str]) -> list[str]:
    """Return the first few of some phrases, and how many more there are."""
    known = list(found)
    more = len(known) - _SHOWN
    return known[:_SHOWN] + ([f"and {more} more"] if more > 0 else [])


def set_aside(outputs: Path, aside: Path) -> None:
    """Move what other settings left away, unless somebody works in its folder.

    Args:
        outputs: The folder or file of an artefact.
        aside: Where it is kept; an older one there stays.

    Raises:
        WorkFolderError: The folder is in use.
    """
    if not outputs.exists():
        return
    purpose = "setting aside what was made with other settings"
    with locked(outputs, purpose=purpose) if outputs.is_dir() else nullcontext():
        while aside.exists():
            aside = aside.with_name(f"{aside.name}-older")
        aside.parent.mkdir(parents=True, exist_ok=True)
        outputs.replace(aside)


def bring_back(outputs: Path, aside: Path) -> None:
    """Move to its folder what was set aside when the settings were these."""
    if aside.exists():
        outputs.parent.mkdir(parents=True, exist_ok=True)
        aside.replace(outputs)
