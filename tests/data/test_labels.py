import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vcmaug.control.channels import one_hot_batch
from vcmaug.data.labels import LabelScheme, volumes_mm3
from vcmaug.errors import DataError

SCHEME = LabelScheme.from_mapping({"a": 3, "b": 300, "c": 7})


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_one_hot_and_channel_indices_come_back_to_the_label_map(seed: int) -> None:
    label_map = np.random.default_rng(seed).choice([0, 3, 300, 7], (4, 3, 5)).astype(np.uint16)
    indices = SCHEME.channels(label_map)
    assert np.array_equal(SCHEME.label_map(indices), label_map)
    channels = one_hot_batch(torch.from_numpy(indices)[None], SCHEME.num_structures)  # [1, K, ...]
    background = 1 - channels.sum(dim=1, keepdim=True)
    strongest = torch.cat([background, channels], dim=1).argmax(dim=1)[0]
    assert np.array_equal(SCHEME.label_map(strongest.numpy()), label_map)


def test_volumes_are_voxels_times_their_size() -> None:
    label_map = np.zeros((4, 4, 4), dtype=np.uint16)
    label_map[0, 0, :3] = 7
    volumes = volumes_mm3(label_map, SCHEME, (1.0, 2.0, 0.5))
    assert volumes == {"a": 0.0, "b": 0.0, "c": 3.0}


def test_values_outside_the_scheme_are_found() -> None:
    assert SCHEME.unknown_values(np.array([0, 3, 8, 9])) == (8, 9)


def test_a_scheme_comes_back_from_json() -> None:
    assert LabelScheme.from_json(SCHEME.to_json()) == SCHEME


@pytest.mark.parametrize(
    ("values", "fault"),
    [({}, "no structure"), ({"a": 0}, "positive"), ({"a": 1, "b": 1}, "share one value")],
)
def test_a_scheme_that_is_none_is_refused(values: dict[str, int], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        LabelScheme.from_mapping(values)
