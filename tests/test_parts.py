"""Parts: one value in YAML and Python, faults with the nearest name, a schema for editors."""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from vcmaug.config import RecipePath, Settings, parse_settings
from vcmaug.errors import PluginError, RecipeError
from vcmaug.parts import Part, _import_entry_points


class Fruit(Part):
    """A family of this test."""

    family: ClassVar[str] = "fruit"
    home: ClassVar[str] = "tests_of_parts_home"
    renamed: ClassVar[dict[str, str]] = {"kind": "name"}


class Apple(Fruit):
    """A part."""

    name: Literal["apple"] = "apple"
    seeds: int = 5
    picture: RecipePath | None = None


class BloodOrange(Fruit):
    """A part with a hyphen."""

    name: Literal["blood-orange"] = "blood-orange"
    renamed: ClassVar[dict[str, str]] = {"pips": "seeds"}
    seeds: int = 9


class Basket(Settings):
    """Settings that hold parts."""

    first: Fruit = Apple()
    rest: tuple[Fruit, ...] = ()


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vcmaug.parts._import_home", lambda home: None)


def read(content: dict[str, object], folder: Path | None = None) -> Basket:
    return parse_settings(Basket, content, source="a basket", folder=folder)


@pytest.mark.parametrize(
    "content", ["apple", {"name": "apple"}, {"name": "apple", "seeds": 5}, Apple()]
)
def test_a_name_its_settings_and_the_object_are_one_value(content: object) -> None:
    assert read({"first": content}).first == Apple()


def test_hyphens_and_underscores_are_the_same() -> None:
    assert read({"first": "blood_orange"}).first == BloodOrange()


def test_what_is_written_is_read_again() -> None:
    basket = read({"first": {"name": "blood-orange", "seeds": 2}, "rest": ["apple"]})
    assert Basket.model_validate(basket.model_dump(mode="json")) == basket
    assert basket.model_dump()["rest"] == ({"name": "apple", "seeds": 5, "picture": None},)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"first": "aple"}, "first: unknown fruit 'aple'; did you mean 'apple'?"),
        ({"first": {"name": "apple", "sedes": 1}}, "first.sedes: unknown name; did you mean 'seed"),
        ({"first": {"name": "apple", "seeds": "x"}}, "first.seeds: Input should be a valid integ"),
        ({"rest": [{"kind": "apple"}]}, "rest.0: 'kind' is called 'name' now"),
        ({"rest": [{"seeds": 1}]}, "rest.0: it has no name; known are apple, blood-orange"),
        ({"first": 3}, "first: expected the name of a fruit or its settings"),
        ({"first": {"name": "blood-orange", "pips": 1}}, "first.pips: is called 'seeds' now"),
    ],
)
def test_faults_name_the_place_and_what_to_write(content: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError) as fault:
        read(content)
    assert said in str(fault.value)


def test_a_path_begins_at_the_recipe(tmp_path: Path) -> None:
    picture = {"name": "apple", "picture": "a.png"}
    first = read({"first": picture}, tmp_path).first
    assert isinstance(first, Apple)
    assert first.picture == tmp_path / "a.png"
    absolute = read({"first": picture | {"picture": str(tmp_path / "b.png")}}, Path("/x")).first
    assert isinstance(absolute, Apple)
    assert absolute.picture == tmp_path / "b.png"


def test_the_schema_lists_names_and_settings() -> None:
    schema = Basket.model_json_schema()
    first = schema["properties"]["first"]
    assert {"enum": ["apple", "blood-orange"]} in first["anyOf"]
    settings = [one["properties"] for one in first["anyOf"] if "properties" in one]
    assert [one["name"]["const"] for one in settings] == ["apple", "blood-orange"]
    assert settings[0]["seeds"]["type"] == "integer"


def test_two_parts_of_one_name_are_refused() -> None:
    with pytest.raises(TypeError, match="two parts of the family fruit are called 'apple'"):

        class Other(Fruit):
            name: Literal["apple"] = "apple"


class Tool(Part):
    """A family that expects something of its parts."""

    family: ClassVar[str] = "tool"
    home: ClassVar[str] = "tests_of_parts_home"
    edge: ClassVar[str]

    @abstractmethod
    def use(self) -> None:
        """Use it."""


class Cutting(Tool):
    """No part, since it has no name: parts may share what they have in common."""

    edge: ClassVar[str] = "sharp"


def test_a_part_that_leaves_something_out_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^tool hammer: it states no edge; it has no use\(\)$"):

        class Hammer(Tool):
            name: Literal["hammer"] = "hammer"

    with pytest.raises(TypeError, match=r"^tool knife: it has no use\(\)$"):

        class Knife(Cutting):
            name: Literal["knife"] = "knife"

    assert not Tool.parts()


def _install(folder: Path, module: str, text: str) -> None:
    (folder / f"{module}.py").write_text(text)
    about = folder / f"made_up_{module}-1.5.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: made-up-{module}\nVersion: 1.5\n"
    )
    (about / "entry_points.txt").write_text(f"[vcmaug.parts]\n{module}-parts = {module}\n")


@pytest.mark.parametrize(
    ("module", "text", "said"),
    [
        ("half_written", "import not_there\n", "ModuleNotFoundError: No module named 'not_there'"),
        (
            "forgetful",
            "from typing import Literal\nfrom vcmaug.generate.samplers import Sampler\n"
            "class Lazy(Sampler):\n    name: Literal['lazy'] = 'lazy'\n",
            "TypeError: sampler lazy: it has no step()",
        ),
    ],
)
def test_a_package_whose_parts_cannot_be_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, text: str, said: str
) -> None:
    _install(tmp_path, module, text)
    monkeypatch.syspath_prepend(tmp_path)
    _import_entry_points.cache_clear()
    assert read({"first": "apple"}).first == Apple()  # what is found at home asks no package
    with pytest.raises(PluginError) as fault:
        read({"first": "pear"})
    assert f"the parts of made-up-{module} 1.5 (entry point '{module}-parts'" in str(fault.value)
    assert said in str(fault.value)
    assert f'python -c "import {module}"' in str(fault.value)
