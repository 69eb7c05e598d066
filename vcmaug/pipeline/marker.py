"""What is recorded of an artefact when it is made, and how that differs from what is asked now."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self, cast

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from vcmaug.errors import WorkFolderError
from vcmaug.files import read_json, write_json
from vcmaug.provenance import fingerprint

__all__ = ["Marker"]

_SHOWN = 3
_ABSENT = object()


class Marker(BaseModel):
    """One file in WORK/stages: what an artefact was made from.

    Attributes:
        name: Of the artefact.
        key: The fingerprint of its kind and all of the following.
        settings: Every setting that decides.
        files: Every file outside the work folder that was read, with what tells of a change.
        needs: Name -> key of the artefacts that it was made from.
        done: Whether it was finished.
        cost: What making it cost.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    key: str
    settings: Mapping[str, JsonValue]
    files: Mapping[str, JsonValue]
    needs: Mapping[str, str]
    done: bool = False
    cost: Mapping[str, int | float | str] = {}

    @classmethod
    def of(
        cls,
        name: str,
        *,
        kind: str,
        settings: Mapping[str, object],
        files: Mapping[str, object],
        needs: Mapping[str, str],
    ) -> Self:
        """Return what an artefact would be made from now; settings may be groups of them."""
        told, read = _plain(settings), _plain(files)
        key = fingerprint([kind, told, read, list(needs.values())], length=64)
        return cls.model_validate(
            {"name": name, "key": key, "settings": told, "files": read, "needs": needs}
        )

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return a marker; None: there is none.

        Raises:
            WorkFolderError: An older version wrote it.
        """
        if not path.exists():
            return None
        try:
            return cls.model_validate(read_json(path))
        except ValidationError:
            raise WorkFolderError(
                f"reading {path}: an older version made this work folder. Run `vcmaug run RECIPE "
                "--out FOLDER` again, in a new folder."
            ) from None

    def write(self, path: Path) -> None:
        """Write it."""
        write_json(path, self.model_dump())

    def differences(self, now: "Marker") -> tuple[str, ...]:
        """Return, one phrase each, in what a recipe now differs from what was made."""
        settings = _changed_settings(self.settings, now.settings)
        files = [
            f"{name} {_change(self.files.get(name), now.files.get(name))}"
            for name in sorted({*self.files, *now.files})
            if self.files.get(name) != now.files.get(name)
        ]
        needs = [
            f"{name} is another one"
            for name in dict.fromkeys((*self.needs, *now.needs))
            if self.needs.get(name) != now.needs.get(name)
        ]
        found = [*_first(settings), *_first(files), *_first(needs)]
        return tuple(found) or ("another version made it",)


def _plain(value: object) -> JsonValue:
    """Return a value as it comes back from JSON; a path counts by its name."""
    if isinstance(value, BaseModel):
        return _plain(value.model_dump())
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    return value.name if isinstance(value, Path) else cast("JsonValue", value)


def _changed_settings(before: object, now: object, place: str = "") -> list[str]:
    """Return the leaves of two groups of settings that differ."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return [
            one
            for name in dict.fromkeys((*before, *now))
            for one in _changed_settings(
                before.get(name, _ABSENT), now.get(name, _ABSENT), f"{place}.{name}".lstrip(".")
            )
        ]
    return [] if before == now else [f"{place} was {_short(before)}, is {_short(now)}"]


def _short(value: object) -> str:
    """Return a value of a setting as a short text."""
    text = "not set" if value is _ABSENT else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _change(before: JsonValue, now: JsonValue) -> str:
    """Return what became of a file."""
    if before is None:
        return "is new"
    return "is gone" if now is None else "changed"


def _first(found: Iterable[str]) -> list[str]:
    """Return the first few of some phrases, and how many more there are."""
    known = list(found)
    more = len(known) - _SHOWN
    return known[:_SHOWN] + ([f"and {more} more"] if more > 0 else [])
