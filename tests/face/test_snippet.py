"""The Python of README.md, run as it stands there but for its sizes and paths."""

import re
from pathlib import Path

import pandas as pd
import pytest
import tiny

import vcmaug as va

README = Path(__file__).parents[2] / "README.md"
SMALL = ", ".join(f"{name}={value!r}" for name, value in tiny.LAID_OUT.items())
STUDY = {
    "fit": {"updates": 2, "batch_size": 2},
    "segmenter": {"name": "unet", "channels": (8, 16), "num_res_units": 0},
    "augment": {"versions": 1},
}


def replacements(balls: Path, prior: Path) -> dict[str, str]:
    """Return what is smaller here than in the README, each of which must stand there."""
    return {
        '"my_data"': repr(str(balls)),
        "va.Grid((32, 48, 32))": "va.Grid((16, 16, 16), spacing_mm=(2, 2, 2))",
        "test=20, validation=10": "test=3, validation=2",
        "labelled(10,": "labelled(4,",
        '"zoo:hippocampus-1mm"': repr(str(prior)),
        "va.VCM()": f"va.VCM({SMALL})",
        "prior=prior)\nasked": "prior=prior, updates=2, batch_size=2, deformed_copies=0)\nasked",
        "n=200": "n=6",
        "steps=25": "steps=2",
        "workers=8": "workers=0",
        "seeds=3": f"seeds=3, **{STUDY!r}",
    }


@pytest.fixture(scope="module")
def names(balls: Path, prior: va.Prior, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Return what the README's Python leaves behind, run in an empty folder."""
    found = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert found is not None
    code = found.group(1)
    assert prior.folder is not None
    for there, here in replacements(balls, prior.folder).items():
        assert code.count(there) == 1, there
        code = code.replace(there, here)
    names: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("snippet"))
        exec(compile(code, "README.md", "exec"), names)
        yield names


def test_every_line_makes_what_it_says(names: dict) -> None:
    assert isinstance(names["cases"], va.Cases)
    assert len(names["few"].subjects) == 4
    assert isinstance(names["control"], va.Control)
    assert len(names["asked"]) == 6
    assert {one.row.builder for one in names["asked"]} == {"perturb", "shape_model"}
    assert names["image"].shape == (16, 16, 16)
    assert len(names["cohort"]) == 6
    assert Path("drawn.json").exists()


def test_labels_of_the_cohort_are_the_maps_that_were_asked_for(names: dict) -> None:
    for case, asked in zip(names["cohort"], names["asked"], strict=True):
        assert case.sha256["label"] == asked.row.sha256


def test_differences_are_paired_and_no_verdict(names: dict) -> None:
    study = names["study"]
    dice = study.differences.query("metric == 'dice'").set_index("arm")
    assert set(dice.index) == {"real+synthetic", "real+deformed"}
    assert set(dice["against"]) == {"real"}
    assert set(study.differences["verdict"]) == {"one replicate, so no verdict"}
    by_subject = study.scores.groupby(["arm", "seed", "subject_id"])["dice"].mean()
    wide = by_subject.unstack("arm")
    expected = (wide["real+synthetic"] - wide["real"]).mean()
    assert dice.loc["real+synthetic", "mean"] == pytest.approx(expected)
    assert isinstance(study.means, pd.DataFrame)
    assert "one replicate, so no verdict" in study._repr_html_()
    assert "paired differences on 3 test subjects" in study._repr_html_()


def test_a_cohort_shows_itself(names: dict) -> None:
    html = names["cohort"]._repr_html_()
    assert "6 done" in html
    assert "base64" in html
