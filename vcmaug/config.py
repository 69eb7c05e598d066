"""Recipes: YAML files read into frozen settings, with all faults reported at once.

`Settings` is the base of every group of settings. Each room defines its own, and `pipeline.recipe`
composes them into a recipe. Validation errors of pydantic are reworded for people who write YAML.
"""

import difflib
import os
import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails

from vcmaug.errors import RecipeError, list_faults
from vcmaug.files import read_json, write_json

__all__ = [
    "JsonFile",
    "RecipePath",
    "Settings",
    "beside_the_recipe",
    "merged",
    "nearest_name",
    "parse_settings",
    "read_yaml",
]


class Settings(BaseModel):
    """The base of every group of settings: frozen, and unknown names are refused.

    Attributes:
        renamed: Old names in recipes and the new ones, for one clear error.
        gone: Old names that have no new one, and what to write instead.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    renamed: ClassVar[Mapping[str, str]] = {}
    gone: ClassVar[Mapping[str, str]] = {}

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other values, which are not checked.

        Raises:
            TypeError: One of them has a name that no setting has; Pydantic would keep it unseen.
        """
        unknown = sorted(set(update or {}) - set(type(self).model_fields))
        if unknown and self.model_config.get("extra") != "allow":
            raise TypeError(f"{type(self).__name__} has no {', '.join(unknown)}")
        return super().model_copy(update=update, deep=deep)

    @classmethod
    def about_unknown(cls, name: str) -> str:
        """Return what an unknown name is called now, or the nearest of those that are known."""
        if name in cls.gone:
            return f"was removed; {cls.gone[name]}"
        if name in cls.renamed:
            return f"is called {cls.renamed[name]!r} now"
        return f"unknown name{nearest_name(name, list(cls.model_fields))}"


class JsonFile(Settings):
    """The base of records that are kept in a JSON file each; what else the file says is dropped."""

    model_config = ConfigDict(extra="ignore")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the record in a file."""
        return cls.model_validate(read_json(path))

    def write(self, path: Path) -> None:
        """Write the record into a file, atomically."""
        write_json(path, self.model_dump(mode="json"))


S = TypeVar("S", bound=Settings)


def beside_the_recipe(path: Path, info: ValidationInfo) -> Path:
    """Return a path as it is meant: a relative one begins at the folder of its recipe."""
    folder = (info.context or {}).get("folder")
    return path if folder is None else Path(folder) / path


RecipePath = Annotated[Path, AfterValidator(beside_the_recipe)]
"""A path in a recipe; a relative one begins at the recipe's folder, see `parse_settings`."""


class _EachKeyOnce(yaml.SafeLoader):
    """Refuses a mapping in which a key stands twice, of which YAML keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return a mapping."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                told = f"{key!r} stands {keys.count(key)} times"
                raise yaml.constructor.ConstructorError(None, None, told, node.start_mark)
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, with `$NAME` and `${NAME}` filled from the environment.

    Raises:
        RecipeError: The file is missing, is no YAML, holds no mapping, or names an environment
            variable that is not set.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = _EachKeyOnce(text).get_single_data()
    except (FileNotFoundError, IsADirectoryError):
        raise RecipeError(
            f"reading recipe {path}: there is no such file. Recipes are YAML files such as "
            "recipes/hippocampus/recipe.yaml."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise RecipeError(f"reading recipe {path}: not valid YAML: {fault}") from None
    if not isinstance(content, dict):
        raise RecipeError(f"reading recipe {path}: expected a mapping of names to values.")
    missing: set[str] = set()
    filled: dict[str, Any] = _filled(content, missing)
    if missing:
        raise RecipeError(
            f"reading recipe {path}: the environment variable {', '.join(sorted(missing))} is not "
            f"set. Set it to the folder that holds the data, e.g. export {min(missing)}=FOLDER."
        )
    return filled


def _filled(content: Any, missing: set[str]) -> Any:
    """Return content with environment variables in its strings expanded; collect unset ones."""
    if isinstance(content, dict):
        return {key: _filled(value, missing) for key, value in content.items()}
    if isinstance(content, list):
        return [_filled(value, missing) for value in content]
    if not isinstance(content, str):
        return content
    names = re.findall(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)", content)
    missing.update(name for name in names if name not in os.environ)
    return os.path.expandvars(content)


def merged(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return base with overrides laid over it, mapping by mapping.

    Examples:
        >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
        {'a': {'b': 1, 'c': 3}}
    """
    result = dict(base)
    for key, value in overrides.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def parse_settings(
    model: type[S], content: object, *, source: str, folder: Path | None = None
) -> S:
    """Return settings made from a mapping.

    Args:
        model: What to make.
        content: Names and values as they stand in the file, or whatever else makes one.
        source: The file, for the message.
        folder: Where relative paths of the type `RecipePath` begin; None: they stay as they are.

    Raises:
        RecipeError: Names every unknown name (with the nearest known one) and every bad value.
    """
    try:
        return model.model_validate(content, context={"folder": folder})
    except ValidationError as fault:
        faults = [_reworded(error, model) for error in _causes(fault.errors())]
        raise RecipeError(
            list_faults(f"reading {source}", faults, advice="Correct the file and run again.")
        ) from None


def _causes(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Return errors without those of lists that are too short only because an entry is refused."""
    places = [error["loc"] for error in errors]
    return [
        error
        for error in errors
        if error["type"] != "too_short"
        or not any(place[: len(error["loc"])] == error["loc"] != place for place in places)
    ]


def _reworded(error: ErrorDetails, model: type[Settings]) -> str:
    """Return one pydantic error as a sentence with the dotted place in the file."""
    place = ".".join(str(part) for part in error["loc"]) or "the whole file"
    if error["type"] == "extra_forbidden":
        return f"{place}: {_about_unknown(error['loc'], model)}"
    if error["type"] == "missing":
        return f"{place}: missing, and it has no default"
    if error["type"] in ("part", "unknown_name"):  # said by a part
        return f"{place}: {error['msg']}"
    told = str(error["msg"]).removeprefix("Value error, ")
    if isinstance(error["input"], Mapping):  # of several settings together: the sentence names them
        return f"{place}: {told}" if error["loc"] else told
    return f"{place}: {told} (found {error['input']!r})"


def nearest_name(name: str, known: Sequence[str]) -> str:
    """Return a suggestion for an unknown name, to be put behind it.

    Examples:
        >>> nearest_name("stpes", ["start", "steps"])
        "; did you mean 'steps'?"
    """
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known names: {', '.join(known)}"


def _about_unknown(location: tuple[str | int, ...], model: type[Settings]) -> str:
    """Return what is said of an unknown name by the settings that it stands in."""
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        inner = None if field is None else field.annotation
        if not (isinstance(inner, type) and issubclass(inner, Settings)):
            return "unknown name"
        model = inner
    return model.about_unknown(str(location[-1]))
