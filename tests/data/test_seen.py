from vcmaug.data.seen import Seen


def test_everybody_is_counted_once_and_those_seen_before_too() -> None:
    before = Seen(images=("d",), labels=("d",), before=Seen(pseudo_labels=("e",)))
    seen = Seen(images=("b", "a"), labels=("a",), label_scalars=("c",), before=before)
    assert seen.subjects == ("a", "b", "c", "d", "e")
    assert Seen(note="not listed").subjects == ()


def test_scalars_measured_on_label_maps_count_as_labels() -> None:
    """As in a card of an older version, which lists them apart."""
    seen = Seen.model_validate({"images": ["a", "b"], "label_scalars": ["b"], "labels": ["a"]})
    assert seen.labels == ("a", "b")
    assert Seen(label_scalars=("b",)).labels == ("b",)
    assert Seen.model_validate_json(seen.model_dump_json()) == seen


def test_it_comes_back_from_json() -> None:
    seen = Seen(images=("a", "b"), labels=("a",), teachers=("a",), before=Seen(images=("c",)))
    assert Seen.model_validate_json(seen.model_dump_json()) == seen
