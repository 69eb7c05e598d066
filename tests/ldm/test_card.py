"""The cards of priors and controls: typed, of this version, those of the zoo among them."""

from pathlib import Path

import pytest
import tiny

from vcmaug.control.card import ControlCard
from vcmaug.data.seen import Seen
from vcmaug.errors import ModelError
from vcmaug.files import read_json, write_json
from vcmaug.ldm.card import PriorCard, read_card
from vcmaug.zoo import zoo_folder


def test_a_card_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = read_json(tiny.make_tiny_prior(tmp_path) / "card.json")
    card = read_card(tmp_path, PriorCard)
    assert card.model_dump(mode="json") == written
    assert card.seen == Seen(images=("p1", "p2"))


@pytest.mark.parametrize("name", ["hippocampus-1mm", "brain-mini-4mm"])
def test_priors_of_the_zoo_say_whose_labels_reached_them_through_scalars(name: str) -> None:
    card = read_card(zoo_folder(name), PriorCard)
    measured = card.spec.measured_scalars
    assert measured == (("ventricles", "brain") if name == "brain-mini-4mm" else ())
    assert card.seen.images
    assert card.seen.label_scalars == (card.seen.images if measured else ())
    assert card.seen.labels == card.seen.label_scalars
    assert card.note == card.spec.about_labels


def test_the_control_of_the_zoo_has_seen_labels() -> None:
    card = read_card(zoo_folder("brain-mini-4mm/tissue4"), ControlCard)
    assert card.seen.labels == card.seen.images
    assert card.expects_latents == card.settings.expects_latents
    assert card.prior_sha256 == read_card(zoo_folder("brain-mini-4mm"), PriorCard).weights_sha256


def test_the_card_of_an_older_version_is_one_clear_error(tmp_path: Path) -> None:
    card = read_json(tiny.make_tiny_prior(tmp_path) / "card.json")
    del card["seen"]
    write_json(tmp_path / "card.json", card | {"subjects": ["p1"]})
    with pytest.raises(ModelError, match=r"older version of vcmaug made it.*train-prior` again"):
        read_card(tmp_path, PriorCard)


def test_a_card_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    tiny.make_tiny_prior(tmp_path)
    with pytest.raises(ModelError, match="the card says 'prior', expected 'control'"):
        read_card(tmp_path, ControlCard)
