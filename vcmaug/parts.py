"""Parts: what a recipe names and another package can bring, such as a sampler or an arm.

A part is a frozen group of settings that belongs to a family and has a name: its settings are the
thing. `ddim` and `{name: ddim, steps: 25}` in YAML and `DDIM(steps=25)` in Python are one value. A
family is a subclass of `Part` that names itself and the package in which its parts lie; a part is
a subclass of a family with a default name, in a module of that package, or of any other package
that has an entry point in the group `vcmaug.parts`. A part without an abstract method or a class
variable of its family is refused where it is defined. A module of a part imports no torch, MONAI,
TorchIO or matplotlib at its top: methods that compute do.

References:
    The Python Packaging Authority's "Entry points specification".
"""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, ClassVar, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from vcmaug.config import Settings, nearest_name
from vcmaug.errors import PluginError

__all__ = ["ENTRY_POINTS", "Part"]

ENTRY_POINTS = "vcmaug.parts"
"""Group of entry points; each one names a module that defines parts."""

_KNOWN: dict[str, dict[str, type["Part"]]] = {}


def _is_family(cls: type) -> bool:
    """Return whether a class is a family and no part of one."""
    return "family" in vars(cls)


class Part(Settings):
    """The base of all families.

    Attributes:
        name: Of the part in its family; a part narrows it to a literal with a default.
        family: What parts of this kind are called in messages; set by a family alone.
        home: Package whose modules define the family's own parts; set by a family alone.
        unnamed: The part that settings without a name are of; set by a family alone.
        formerly: Names that the part had before, for one clear error and for older results.
    """

    name: str

    family: ClassVar[str] = ""
    home: ClassVar[str] = ""
    unnamed: ClassVar[str] = ""
    formerly: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Register a part under its default name; families have none.

        Raises:
            TypeError: The part leaves out what its family expects, or another has its name.
        """
        super().__pydantic_init_subclass__(**kwargs)
        name = cls.model_fields["name"].default
        if _is_family(cls) or not isinstance(name, str):
            return
        faults = cls.forgotten()
        if faults:
            raise TypeError(f"{cls.family} {name}: {'; '.join(faults)}")
        known = _KNOWN.setdefault(cls.family, {})
        before = known.get(name)
        if before is not None and _place_of(before) != _place_of(cls):
            raise TypeError(
                f"two parts of the family {cls.family} are called {name!r}: {_place_of(before)} "
                f"and {_place_of(cls)}"
            )
        known[name] = cls

    @classmethod
    def forgotten(cls) -> list[str]:
        """Return, one sentence each, what the class leaves out of what its family expects."""
        stated = [
            f"it states no {name}" for name in sorted(cls.__class_vars__) if not hasattr(cls, name)
        ]
        return stated + [f"it has no {name}()" for name in sorted(cls.__abstractmethods__)]

    @classmethod
    def parts(cls) -> dict[str, type[Self]]:
        """Return all parts of this family by name, those of other packages included."""
        _import_home(cls.home)
        _import_entry_points()
        return dict(sorted(_KNOWN.get(cls.family, {}).items()))  # type: ignore[arg-type]

    @classmethod
    def named(cls, name: str) -> type[Self]:
        """Return a part of this family by its name; hyphens and underscores are the same.

        Raises:
            KeyError: There is none; the message suggests the nearest.
        """
        _import_home(cls.home)
        if _found(cls.family, name) is None:
            _import_entry_points()
        found = _found(cls.family, name)
        if found is None:
            raise KeyError(f"unknown {cls.family} {name!r}{_suggestion(cls.parts(), name)}")
        return found  # type: ignore[return-value]

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return the schema of a part, or of whatever part of a family a name stands for."""
        if not _is_family(cls):
            return handler(source)
        return core_schema.with_info_plain_validator_function(
            cls._of,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda part, info: part.model_dump(mode=info.mode), info_arg=True
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return the JSON Schema: of a family, a name or the settings of any of its parts."""
        if not _is_family(cls):
            return handler(schema)
        parts = cls.parts()
        return {
            "anyOf": [
                {"enum": list(parts)},
                *(
                    _with_name(handler(part.__pydantic_core_schema__), needed=name != cls.unnamed)
                    for name, part in parts.items()
                ),
            ]
        }

    @classmethod
    def _of(cls, value: Any, info: core_schema.ValidationInfo) -> "Part":
        """Return the part that a value of a recipe stands for."""
        if isinstance(value, cls):
            return value
        content = {"name": value} if isinstance(value, str) else value
        if not isinstance(content, Mapping):
            raise PydanticCustomError(
                "part", "expected the name of a {family} or its settings", {"family": cls.family}
            )
        try:
            part = cls.named(str(content.get("name", cls.unnamed)))
        except KeyError as fault:
            raise PydanticCustomError("part", _told(cls, content, fault)) from None
        try:
            return part.model_validate(
                {**content, "name": part.model_fields["name"].default}, context=info.context
            )
        except ValidationError as fault:
            raise _with_suggestions(fault, part) from None


def _with_name(schema: JsonSchemaValue, *, needed: bool) -> JsonSchemaValue:
    """Return the JSON Schema of a part whose settings need its name, or do without."""
    required = ["name", *schema.get("required", [])] if needed else schema.get("required", [])
    return {**schema, "required": required}


def _place_of(cls: type[Part]) -> str:
    """Return where a class is defined."""
    return f"{cls.__module__}.{cls.__qualname__}"


def _found(family: str, name: str) -> type[Part] | None:
    """Return a part that is registered."""
    known = _KNOWN.get(family, {})
    same = {key.replace("-", "_"): part for key, part in known.items()}
    return known.get(name) or same.get(name.replace("-", "_"))


def _suggestion(parts: Mapping[str, type[Part]], name: str) -> str:
    """Return what to write for an unknown name: its new one, or the nearest."""
    renamed = [new for new, part in parts.items() if name in part.formerly]
    return f"; it is called {renamed[0]!r} now" if renamed else nearest_name(name, list(parts))


@cache
def _import_home(home: str) -> None:
    """Import every module of the package in which a family's parts lie."""
    package = importlib.import_module(home)
    for module in pkgutil.iter_modules(getattr(package, "__path__", [])):
        importlib.import_module(f"{home}.{module.name}")


@cache
def _import_entry_points() -> None:
    """Import the modules that other packages name; each defines parts.

    Raises:
        PluginError: One cannot be imported, or one of its parts is refused.
    """
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as fault:
            dist = entry.dist
            package = f"{dist.name} {dist.version}" if dist else "an unknown package"
            raise PluginError(
                f"importing the parts of {package} (entry point {entry.name!r} in {ENTRY_POINTS}: "
                f"{entry.value}): {type(fault).__name__}: {fault}. Update or uninstall the "
                f'package; python -c "import {entry.module}" shows where it fails.'
            ) from fault


def _told(family: type[Part], content: Mapping[str, Any], fault: KeyError) -> str:
    """Return what is wrong with the name in some content."""
    if "name" in content:
        return str(fault.args[0])
    old = [key for key in family.renamed if key in content]
    if old:
        return f"{old[0]!r} is called {family.renamed[old[0]]!r} now"
    return f"it has no name; known are {', '.join(family.parts())}"


def _with_suggestions(fault: ValidationError, part: type[Part]) -> ValidationError:
    """Return the same faults, those of unknown settings with the nearest known one."""
    found = []
    for error in fault.errors(include_url=False):
        kind, told = error["type"], error["msg"]
        if kind == "extra_forbidden" and len(error["loc"]) == 1:
            kind, told = "unknown_name", part.about_unknown(str(error["loc"][0]))
        worded = PydanticCustomError(kind, told)
        found.append(InitErrorDetails(type=worded, loc=error["loc"], input=error["input"]))
    return ValidationError.from_exception_data(part.__name__, found)
