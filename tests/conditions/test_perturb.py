"""Perturbed maps: one seed one map, no structure lost, hopeless draws refused."""

import numpy as np
import pytest
import tiny

from vcmaug.conditions.base import SourceMap
from vcmaug.conditions.perturb import Perturb, PerturbSettings
from vcmaug.data.labels import volumes_mm3
from vcmaug.errors import DataError

SOURCE = SourceMap(
    "k0", "s0", tiny.label_map_of(radius=6.0), {"age": 41.0, "sex": "M", "site": "B"}
)


def built(seed: int = 3, **settings):
    """Return a condition of the source."""
    builder = Perturb(PerturbSettings(**settings), tiny.SCHEME)
    return builder.build(SOURCE, condition_id="c0", seed=seed)


def test_the_seed_decides_everything():
    first, same, other = built(3), built(3), built(4)
    assert np.array_equal(first.label_map.array, same.label_map.array)
    assert first.parameters == same.parameters
    assert not np.array_equal(first.label_map.array, other.label_map.array)


@pytest.mark.parametrize("seed", range(5))
def test_every_structure_survives_without_a_fold(seed):
    condition = built(seed)
    assert set(np.unique(condition.label_map.array)) == {0, 1, 2}
    assert condition.checks["min_jacobian"] > 0
    assert np.array_equal(condition.label_map.affine, SOURCE.label_map.affine)


def test_volumes_are_the_new_maps_and_age_is_the_sources():
    condition = built()
    array = condition.label_map.array
    assert condition.row["volume_core_mm3"] == 8.0 * np.count_nonzero(array == 2)  # 2 mm voxels
    assert condition.row["volume_shell_mm3"] == 8.0 * np.count_nonzero(array == 1)
    assert (condition.row["age"], condition.row["sex"]) == (41.0, "M")
    assert "site" not in condition.row
    assert condition.source_subject_ids == ("s0",)


def test_other_columns_are_inherited_on_request():
    builder = Perturb(PerturbSettings(), tiny.SCHEME, inherit=("site", "absent"))
    row = builder.build(SOURCE, condition_id="c0", seed=0).row
    assert set(row) == {"site", "volume_shell_mm3", "volume_core_mm3"}


def test_no_displacement_is_the_source():
    nearly = built(min_displacement_mm=0.0, max_displacement_mm=1e-6)
    assert np.array_equal(nearly.label_map.array, SOURCE.label_map.array)


def test_a_mirror_keeps_volumes():
    mirrored = built(flip_probability=1.0, min_displacement_mm=0.0, max_displacement_mm=1e-6)
    assert mirrored.parameters["mirrored"]
    assert np.array_equal(mirrored.label_map.array, SOURCE.label_map.array[::-1])
    spacing = SOURCE.label_map.spacing_mm
    before = volumes_mm3(SOURCE.label_map.array, tiny.SCHEME, spacing)
    assert {name: mirrored.row[f"volume_{name}_mm3"] for name in before} == before


def test_a_draw_that_always_folds_is_refused():
    with pytest.raises(DataError, match="case k0: 2 draws folded space or lost a structure"):
        built(min_displacement_mm=60.0, max_displacement_mm=60.0, smoothness_mm=2.0, max_tries=2)
