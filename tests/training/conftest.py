"""Four labelled cases of two nested balls."""

import numpy as np
import pytest
from tiny import AFFINE, label_map_of

from vcmaug.data.cases import Case
from vcmaug.data.nifti import write_image, write_label_map
from vcmaug.data.volume import Volume


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, ...]:
    folder = tmp_path_factory.mktemp("cases")
    result = []
    for number in range(4):
        label = label_map_of(radius=5.0 + 0.5 * number)
        image = 0.4 * label.array + np.random.default_rng(number).random(label.shape) * 0.1
        paths = folder / f"i{number}.nii.gz", folder / f"l{number}.nii.gz"
        write_image(paths[0], Volume(image.astype(np.float32), AFFINE))
        write_label_map(paths[1], label)
        row = {"age": [30.0, 50.0, None, 70.0][number]}
        result.append(
            Case(f"k{number}", f"s{number}", {"image": paths[0]}, label=paths[1], source=row)
        )
    return tuple(result)
