"""Cases and conditions show themselves; pictures are PNG, and text is escaped."""

import base64
import re
from dataclasses import replace
from io import BytesIO

import matplotlib.image
import numpy as np
from numpy.typing import NDArray

import vcmaug as va
from vcmaug.conditions.conditions import Conditions
from vcmaug.face.notebook import html_of


def pixels(html: str) -> NDArray[np.float32]:
    """Return the picture in some HTML, [height, width, 3]."""
    found = re.search(r"base64,([^\"]+)", html)
    assert found is not None
    png = base64.b64decode(found.group(1))
    return np.asarray(matplotlib.image.imread(BytesIO(png), format="png"))[..., :3]


def share_of_colour(html: str) -> float:
    """Return the share of a picture that is not grey, as contours are not."""
    picture = pixels(html)
    return float((np.ptp(picture, axis=-1) > 0.1).mean())


def test_a_case_shows_three_slices_with_contours(cases: va.Cases) -> None:
    html = cases[0]._repr_html_()
    assert "case b00 of subject b00; 16 x 16 x 16 voxels of 2 x 2 x 2 mm, RAS" in html
    height, width, _ = pixels(html).shape
    assert width > 2.5 * height
    assert share_of_colour(html) > 0.005
    assert share_of_colour(replace(cases[0], label=None)._repr_html_()) == 0.0


def test_cases_show_the_first_few_and_how_many_there_are(cases: va.Cases) -> None:
    html = cases._repr_html_()
    assert "10 cases of 10 subjects: shell, core" in html
    assert share_of_colour(html) > 0.005


def test_conditions_show_their_label_maps(asked: Conditions) -> None:
    assert "condition c000001: perturb of" in asked[1]._repr_html_()
    assert share_of_colour(asked[1]._repr_html_()) > 0.005
    assert "6 conditions" in asked._repr_html_()


def test_a_volume_shows_itself_in_its_own_range(asked: Conditions) -> None:
    assert "values from 0 to 2" in asked[0].label_map._repr_html_()


def test_what_has_no_picture_is_shown_as_text() -> None:
    assert html_of("<b>") == "<pre>&#x27;&lt;b&gt;&#x27;</pre>"
