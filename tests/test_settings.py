"""The base of settings: a copy takes no name that no setting has."""

import pytest

from vcmaug.data.seen import Seen
from vcmaug.generate.samplers import DDIM
from vcmaug.ldm.card import PriorCard
from vcmaug.training.settings import DiffusionTraining


def test_a_copy_with_a_name_that_no_setting_has_is_refused() -> None:
    settings = DiffusionTraining()
    assert settings.model_copy(update={"updates": 3}).updates == 3
    assert settings.model_copy() == settings
    with pytest.raises(TypeError, match="DiffusionTraining has no timesteps"):
        settings.model_copy(update={"updates": 3, "timesteps": "logit-normal"})
    with pytest.raises(TypeError, match="DDIM has no begin"):
        DDIM().model_copy(update={"begin": 1})


def test_cards_take_facts_for_readers() -> None:
    card = PriorCard.model_construct(name="p", seen=Seen())
    assert card.model_copy(update={"remark": "x"}).remark == "x"
