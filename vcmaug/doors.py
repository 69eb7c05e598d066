"""Doors to the face: packages that can be called, and things that show themselves in a notebook.

What stands behind a door lives on the top floor and is found by its place, "module:name", when
somebody comes in; so no import goes up.
"""

import inspect
import sys
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar

__all__ = ["CallablePackage", "Shown", "behind", "make_callable"]


def behind(place: str) -> Any:
    """Return what is called by its place, "module:name".

    Examples:
        >>> behind("math:sqrt")(9)
        3.0
    """
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


class CallablePackage(ModuleType):
    """A package that is also a function of the face, as `vcmaug.generate` is.

    Attributes:
        places: Of the functions, by package.
    """

    places: ClassVar[dict[str, str]] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the function returns."""
        return behind(self.places[self.__name__])(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        """The signature of the function, for help."""
        return inspect.signature(behind(self.places[self.__name__]))


def make_callable(package: str, place: str) -> None:
    """Let a package be called as a function.

    Args:
        package: Its name; it is being imported.
        place: Of the function, "module:name".
    """
    CallablePackage.places[package] = place
    sys.modules[package].__class__ = CallablePackage


class Shown:
    """The base of what shows itself in a notebook; the pictures are made by the face."""

    def _repr_html_(self) -> str:
        """Return HTML with slices of volumes, or a table."""
        html: str = behind("vcmaug.face.notebook:html_of")(self)
        return html
