"""Whose data was seen: nobody is lost, and no other fact is taken in."""

import pytest
from pydantic import ValidationError

from vcmaug.data.seen import Seen


def test_everybody_counts_but_the_teachers() -> None:
    seen = Seen(images=("b", "a"), labels=("c",), pseudo_labels=("d",), teachers=("e",))
    assert set(seen.subjects) == {"a", "b", "c", "d"}
    later = Seen(images=("f",), before=seen)
    assert set(later.subjects) == {"a", "b", "c", "d", "f"}
    assert Seen.model_validate(later.model_dump(mode="json")) == later


def test_unknown_facts_are_refused() -> None:
    with pytest.raises(ValidationError, match="subjects"):
        Seen(subjects=("a",))
