"""Mirrors: the axis from side to side, and which structures change places."""

import numpy as np
import pytest

from vcmaug.affine import side_axis
from vcmaug.data.geometry import reorient
from vcmaug.data.labels import LabelScheme
from vcmaug.data.mirror import mirror_of, mirrored
from vcmaug.data.scalars import ScalarSpec
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError


def test_channels_change_places_and_twice_is_nothing() -> None:
    scheme = LabelScheme.from_mapping({"right_a": 9, "csf": 2, "b_lh": 3, "left_a": 4, "b_rh": 8})
    channels = mirror_of("RAS", scheme).channels
    assert channels.tolist() == [0, 4, 2, 5, 1, 3]
    assert channels[channels].tolist() == list(range(6))


def test_a_structure_without_its_other_side_is_refused() -> None:
    scheme = LabelScheme.from_mapping({"left_a": 1, "csf": 2, "b_r": 3})
    with pytest.raises(
        DataError, match=r"2 faults(.|\n)*'left_a' has no 'right_a'(.|\n)*'b_r' has"
    ):
        mirror_of("RAS", scheme)


def test_structures_whose_sides_cannot_be_told_are_refused() -> None:
    scheme = LabelScheme.from_mapping({"LV": 1, "myocardium": 2, "RV": 3})
    with pytest.raises(DataError, match="'LV' and 'RV' differ by their side alone"):
        mirror_of("RAS", scheme)


@pytest.mark.parametrize(("letters", "axis"), [("RAS", 0), ("LAS", 0), ("PIR", 2), ("SRA", 1)])
def test_a_mirror_is_the_same_in_every_orientation(letters: str, axis: int) -> None:
    assert side_axis(letters) == axis
    array = np.random.default_rng(0).random((4, 5, 6))
    volume = reorient(Volume(array, np.eye(4)), letters)
    turned = Volume(mirrored(volume), volume.affine)
    np.testing.assert_array_equal(reorient(turned, "RAS").array, array[::-1])


def test_a_mirrored_scalar_comes_from_the_other_side() -> None:
    spec = ScalarSpec(name="x", low=0, high=1, structures=("left_a", "csf"))
    assert spec.mirrored() == spec.model_copy(update={"structures": ("right_a", "csf")})
    for column, other in (("volume_eye_L", "volume_eye_R"), ("age", "age")):
        spec = ScalarSpec(name="x", low=0, high=1, column=column)
        assert spec.mirrored().column == other
