"""The stress test from the command line: a sweep, a user's segmenter, the curve and its page."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from torch import Tensor, nn
from typer.testing import CliRunner

from vcmaug.arms.base import Sources
from vcmaug.arms.deformed import Deformed
from vcmaug.cli.main import app
from vcmaug.compute import Compute
from vcmaug.conditions.build import build_conditions
from vcmaug.conditions.builders.grow import Grow, GrowSettings
from vcmaug.conditions.chain import Chain, ConditionSettings
from vcmaug.data.cases import Cases
from vcmaug.data.nifti import write_image, write_label_map
from vcmaug.data.prepare import prepare
from vcmaug.data.source import DataSettings
from vcmaug.data.volume import Volume
from vcmaug.errors import VcmaugError
from vcmaug.files import read_json
from vcmaug.stress.curve import Curve
from vcmaug.stress.sweep import SweepSettings

MOST = 80  # voxels that the segmenter of these tests finds
SCRIPT = f"""
import sys
from pathlib import Path
import nibabel as nib, numpy as np
images, masks, value = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
for path in sorted(images.glob("*.nii.gz")):
    image = nib.load(path)
    array = np.asarray(image.dataobj)
    bright = array > 0.75 * array.max()
    order = np.argsort(-(array * bright).ravel(), kind="stable")[:{MOST}]
    found = np.zeros(array.size, dtype=np.uint8)
    found[order] = value * bright.ravel()[order]
    name = path.name.replace("_0000", "")
    nib.save(nib.Nifti1Image(found.reshape(array.shape), image.affine), masks / name)
"""


def _cases(root: Path, *, radii: tuple[float, ...] = (2.2, 2.4, 2.6, 2.8)) -> Cases:
    """Return prepared heads: a shell with the user's value 5, a core with 9, of such radii."""
    source = root / "source"
    for number, radius in enumerate(radii):
        places = np.indices((20, 22, 20)) - np.reshape((9.5, 10.5, 9.5), (3, 1, 1, 1))
        away = np.sqrt((places**2).sum(axis=0))
        labels = np.select([away < radius, away < 8], [9, 5], 0).astype(np.uint16)
        image = np.select([away < radius, away < 8], [1.0, 0.5], 0.0)
        image *= np.random.default_rng(number).uniform(0.97, 1.0, image.shape)  # nobody's copy
        affine = np.diag([2.0, 2.0, 2.0, 1.0])
        write_image(source / "images" / f"k{number}.nii.gz", Volume(image, affine))
        write_label_map(source / "labels" / f"k{number}.nii.gz", Volume(labels, affine))
    content = {
        "source": str(source),
        "scheme": {"shell": 5, "core": 9},
        "grid": {"shape": (20, 22, 20), "spacing_mm": (2, 2, 2)},
        "intensity": {"window": [0, 1]},
    }
    return prepare(DataSettings.model_validate(content), root / "cases")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "segment.py"
    path.write_text(SCRIPT)
    (tmp_path / "train.txt").write_text("k0\nk1\n")
    return path


def _run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=True)


def _stress(root: Path, *more: object, value: int = 2) -> Result:
    command = f"{sys.executable} {root / 'segment.py'} {{images}} {{masks}} {value}"
    segmenter = () if "--torchscript" in more else ("--command", command)
    told = ("--structure", "core", "--trained-on", root / "train.txt", "--out", root / "out")
    return _run("stress", root / "cases", *told, *segmenter, *more)


SWEEP = ("--range", "0.4,2", "--n", 8)


def test_a_sweep_shows_from_where_on_a_segmenter_fails(tmp_path: Path, script: Path) -> None:
    _cases(tmp_path)
    ended = _stress(tmp_path, *SWEEP)
    assert ended.exit_code == 0, ended.output
    curve = Curve.read(tmp_path / "out" / "stress.json")
    assert len(curve.cases) == 8
    small, large = curve.cases[0], curve.cases[-1]
    assert small.volume_ml < 0.7 < 1.7 < large.volume_ml
    assert small.dice > 0.9
    assert large.found_ml == pytest.approx(MOST * 0.008)
    overlap = 2 * large.found_ml / (large.found_ml + large.volume_ml)
    assert large.dice == pytest.approx(overlap, abs=0.01)
    assert large.volume_error == pytest.approx(100 * (1 - large.found_ml / large.volume_ml))
    assert curve.labelled_range_ml == pytest.approx((0.256, 0.448), abs=0.2)
    assert [one.is_labelled for one in curve.bins][-1] is False
    assert curve.notes == ()
    page = (tmp_path / "out" / "stress.html").read_text()
    assert "Above it the mean Dice is" in page
    assert page.count("<svg") == 2
    parents = {s for row in read_json_rows(tmp_path) for s in row}
    assert parents == {"k2", "k3"}  # the others trained the segmenter


def read_json_rows(root: Path) -> list[tuple[str, ...]]:
    """Return the parents of each case of the sweep."""
    from vcmaug.cohort.cohort import Cohort

    return [row.source_subject_ids for row in Cohort.open(root / "out" / "sweep").rows]


def test_a_segmenter_on_native_grids_answers_in_the_users_values(
    tmp_path: Path, script: Path
) -> None:
    _cases(tmp_path)
    ended = _stress(tmp_path, *SWEEP, "--native", "--suffix", "_0000", value=9)
    assert ended.exit_code == 0, ended.output
    assert Curve.read(tmp_path / "out" / "stress.json").cases[0].dice > 0.9
    assert len(list((tmp_path / "out" / "images").glob("*_0000.nii.gz"))) == 8


def test_a_torchscript_file_will_do(tmp_path: Path, script: Path) -> None:
    class Bright(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.cat([0.3 - image, 0.5 - (image - 0.5).abs(), 4 * (image - 0.75)], dim=1)

    _cases(tmp_path)
    torch.jit.script(Bright()).save(str(tmp_path / "bright.pt"))
    ended = _stress(tmp_path, *SWEEP, "--torchscript", tmp_path / "bright.pt")
    assert ended.exit_code == 0, ended.output
    assert min(case.dice for case in Curve.read(tmp_path / "out" / "stress.json").cases) > 0.8


def test_the_flow_of_the_segmenters_own_cohort_is_refused_and_another_is_marked(
    tmp_path: Path, script: Path
) -> None:
    cases = _cases(tmp_path)
    few = cases.of(["k0", "k1"])
    swept = GrowSettings(structure="core", even_ml=(0.4, 2))
    build_conditions(
        ConditionSettings(chains=(Chain(steps=(Grow(structures=(swept,), smoothness_mm=3),)),)),
        few.cases,
        folder=tmp_path / "conditions",
        scheme=cases.scheme,
        n=2,
        seed=0,
        roles={},
        compute=Compute("in-process"),
    )
    sources = Sources(few.cases, cases.scheme, 2, tmp_path / "conditions")
    Deformed().make(sources, out=tmp_path / "cohort")
    same = _stress(tmp_path, *SWEEP, "--cohort", tmp_path / "cohort", "--decay-mm", 14)
    assert isinstance(same.exception, VcmaugError)
    assert "were made in one way (grow decay_mm 14)" in str(same.exception)
    other = _stress(tmp_path, *SWEEP, "--cohort", tmp_path / "cohort", "--out", tmp_path / "two")
    assert other.exit_code == 0, other.output
    (note,) = Curve.read(tmp_path / "two" / "stress.json").notes
    assert "the same builder (grow) made with other constants" in note
    seen = _stress(tmp_path, "--sweep", tmp_path / "cohort", "--out", tmp_path / "three")
    assert "k0, k1 of the sweep" in str(seen.exception)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--range", "5"), "expected two volumes, LOW,HIGH"),
        (("--range", "2,0.4"), "expected two volumes with 0 < first <= second"),
        (("--range", "1,inf"), "expected two volumes with 0 < first <= second"),
        ((*SWEEP, "--structure", "cores"), "'cores'"),
        ((*SWEEP, "--command", "segment {images}"), "found no {masks}"),
        ((*SWEEP, "--command", "no-such-command {images} {masks}"), "there is no command"),
        ((*SWEEP, "--command", "false {images} {masks}"), "it ended with code 1"),
        ((*SWEEP, "--command", "true {images} {masks}"), "there is no"),
        ((*SWEEP, "--trained-on", "nobody.txt"), "there is no nobody.txt"),
        ((*SWEEP, "--command", ""), "give --command or --torchscript, one of both"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    tmp_path: Path, script: Path, words: tuple[object, ...], said: str
) -> None:
    _cases(tmp_path)
    ended = _stress(tmp_path, *words)
    assert isinstance(ended.exception, VcmaugError), ended.output
    assert said in str(ended.exception)
    assert not (tmp_path / "out" / "stress.json").exists()


def test_masks_of_another_segmenter_and_another_number_are_not_kept(
    tmp_path: Path, script: Path
) -> None:
    _cases(tmp_path)
    ended = _stress(tmp_path, *SWEEP)
    assert ended.exit_code == 0, ended.output
    first = Curve.read(tmp_path / "out" / "stress.json")
    times = [path.stat().st_mtime_ns for path in sorted((tmp_path / "out" / "masks").iterdir())]
    assert _stress(tmp_path, *SWEEP).exit_code == 0
    again = [path.stat().st_mtime_ns for path in sorted((tmp_path / "out" / "masks").iterdir())]
    assert again == times  # the same command on the same images
    assert _stress(tmp_path, *SWEEP, value=1).exit_code == 0
    other = Curve.read(tmp_path / "out" / "stress.json")
    assert first.cases[0].dice > 0.9
    assert other.cases[0].dice < 0.1  # it writes the shell's value
    assert _stress(tmp_path, "--range", "0.4,2", "--n", 4).exit_code == 0
    assert len(Curve.read(tmp_path / "out" / "stress.json").cases) == 4


def test_masks_that_cannot_be_read_are_made_again(tmp_path: Path, script: Path) -> None:
    _cases(tmp_path)
    good = script.read_text()
    script.write_text(good + "    (masks / name).write_bytes(b'')\n")
    broken = _stress(tmp_path, *SWEEP)
    assert "reading the masks of the segmenter: 8 faults" in str(broken.exception)
    script.write_text(good)  # the same command, mended
    assert _stress(tmp_path, *SWEEP).exit_code == 0


def test_a_segmenter_that_cannot_be_is_refused_before_any_head_is_grown(
    tmp_path: Path, script: Path
) -> None:
    _cases(tmp_path)
    assert "found no {masks}" in str(_stress(tmp_path, *SWEEP, "--command", "x {images}").exception)
    assert not (tmp_path / "out").exists()


def test_subjects_that_are_nobodys_are_told(tmp_path: Path, script: Path) -> None:
    _cases(tmp_path)
    (tmp_path / "train.txt").write_text("somebody\n")
    assert _stress(tmp_path, *SWEEP).exit_code == 0
    curve = Curve.read(tmp_path / "out" / "stress.json")
    assert curve.labelled_ml == ()
    assert "None of the 1 subjects that trained it is in" in curve.notes[0]
    command = f"{sys.executable} {script} {{images}} {{masks}} 2"
    ended = _run(
        *("coverage", tmp_path / "cases", "--target", tmp_path / "cases", "--structure", "core"),
        *("--trained-on", tmp_path / "train.txt", "--command", command),
        *("--out", tmp_path / "coverage"),
    )
    assert isinstance(ended.exception, VcmaugError), ended.output
    assert "none of these 0 cases" in str(ended.exception)


def test_all_heads_trained_it(tmp_path: Path, script: Path) -> None:
    _cases(tmp_path)
    (tmp_path / "train.txt").write_text("k0\nk1\nk2\nk3\n")
    assert "trained the segmenter or have no label map" in str(_stress(tmp_path, *SWEEP).exception)


def test_coverage_shows_a_target_outside_the_labels(tmp_path: Path, script: Path) -> None:
    _cases(tmp_path)
    _cases(tmp_path / "clinic", radii=(2.3, 4.0, 4.2))
    ended = _stress(tmp_path, *SWEEP)
    assert ended.exit_code == 0, ended.output
    command = f"{sys.executable} {script} {{images}} {{masks}} 2"
    ended = _run(
        *("coverage", tmp_path / "cases", "--target", tmp_path / "clinic" / "cases"),
        *("--structure", "core", "--trained-on", tmp_path / "train.txt", "--command", command),
        *("--out", tmp_path / "coverage", "--stress", tmp_path / "out" / "stress.json"),
    )
    assert ended.exit_code == 0, ended.output
    found = read_json(tmp_path / "coverage" / "coverage.json")
    assert len(found["target_ml"]) == 3
    assert max(found["labelled_ml"]) < 0.48  # what the segmenter finds at most
    page = (tmp_path / "coverage" / "coverage.html").read_text()
    assert "Of 3 target cases 2 lie above and 0 below the labelled range" in page
    assert page.count("<svg") == 3


def test_the_default_flow_is_not_that_of_cohorts() -> None:
    swept = GrowSettings(structure="core", even_ml=(1, 2))
    asked = SweepSettings(structure="core", range_ml=(1, 2)).builder
    assert asked.decay_mm != Grow(structures=(swept,)).decay_mm
