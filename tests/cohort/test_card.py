"""The card of a cohort: what it says comes back, and who was seen is told by what has seen them."""

import pytest
import tiny

from vcmaug.cohort.card import (
    CohortCard,
    SeenByCohort,
    seen_maps,
)
from vcmaug.data.labels import LabelScheme
from vcmaug.data.seen import Seen
from vcmaug.errors import CohortError
from vcmaug.files import read_json, write_json

SEEN = SeenByCohort(
    prior=Seen(images=("a", "b")),
    control=Seen(images=("c",), labels=("c",), before=Seen(labels=("d",))),
    conditions=Seen(labels=("c",)),
)


def card(**values) -> CohortCard:
    about = {"n": 3, "counts": {"done": 3}, "scheme": tiny.SCHEME, "grid": tiny.GRID, "seen": SEEN}
    return CohortCard(**about | values)


def test_what_a_card_says_comes_back_with_the_user_s_own_values(tmp_path) -> None:
    scheme = LabelScheme.numbered({"large": 7, "small": 4})
    card(scheme=scheme, licences={"prior": None}).write(tmp_path)
    found = CohortCard.read(tmp_path)
    assert found == card(scheme=scheme, licences={"prior": None})
    assert found.scheme.source_values == (7, 4)


def test_a_later_version_may_say_more(tmp_path) -> None:
    card().write(tmp_path)
    write_json(tmp_path / "cohort.json", read_json(tmp_path / "cohort.json") | {"mood": "good"})
    assert CohortCard.read(tmp_path) == card()


def test_a_card_that_lacks_something_names_it(tmp_path) -> None:
    write_json(tmp_path / "cohort.json", {"n": 1, "counts": {}, "scheme": {"structures": []}})
    with pytest.raises(CohortError, match=r"older version .grid, seen."):
        CohortCard.read(tmp_path)


def test_everybody_who_was_seen_is_named_and_nobody_where_nothing_is_said() -> None:
    assert SEEN.subjects == {"a", "b", "c", "d"}
    assert SEEN.of_models == {"a", "b", "c", "d"}
    assert (SeenByCohort().subjects, SeenByCohort().of_models) == (frozenset(), frozenset())
    before = Seen(labels=("b",))
    assert Seen(images=("a",), labels=("z",), before=before).whose_images == ("a", "b")


def test_pseudo_labels_are_no_labels() -> None:
    seen = seen_maps({"b", "a", "c"}, pseudo=("c", "x"), teachers=("a",))
    assert (seen.labels, seen.pseudo_labels, seen.teachers) == (("a", "b"), ("c",), ("a",))
    assert seen_maps({"a"}, pseudo=("c",), teachers=("a",)) == Seen(labels=("a",))
