"""Whose data was seen: sorted, each once, and nobody is lost."""

import pytest
from pydantic import ValidationError

from vcmaug.data.seen import Seen


def test_subjects_are_sorted_and_everybody_counts() -> None:
    seen = Seen(images=("b", "a", "b"), labels=("c",), pseudo_labels=("d",), teachers=("e",))
    assert seen.images == ("a", "b")
    assert seen.subjects == {"a", "b", "c", "d"}
    assert Seen.model_validate(seen.model_dump(mode="json")) == seen


def test_pseudo_labels_are_no_labels() -> None:
    seen = Seen.by_labels({"a", "b", "c"}, pseudo=("c", "x"), teachers=("a",))
    assert (seen.labels, seen.pseudo_labels, seen.teachers) == (("a", "b"), ("c",), ("a",))
    assert Seen.by_labels({"a"}, pseudo=("c",), teachers=("a",)) == Seen(labels=("a",))


def test_unknown_facts_are_refused() -> None:
    with pytest.raises(ValidationError, match="subjects"):
        Seen(subjects=("a",))
