"""Builders as parts: each states what it needs and does, and a new one is one class."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import pytest
import tiny

from vcmaug import parts
from vcmaug.arms.base import Sources
from vcmaug.arms.deformed import Deformed
from vcmaug.cohort.manifest import read_manifest
from vcmaug.conditions.base import Condition, SourceMap, Step, as_it_is
from vcmaug.conditions.build import build_conditions
from vcmaug.conditions.builder import Builder, Moves, Ready, aligned_image
from vcmaug.conditions.builders.lesions import Lesions
from vcmaug.conditions.builders.lowres import LowRes
from vcmaug.conditions.builders.modalities import Modalities
from vcmaug.conditions.builders.perturb import Perturb
from vcmaug.conditions.builders.shape_model import ShapeModel
from vcmaug.conditions.chain import Chain, ConditionSettings
from vcmaug.conditions.table import read_conditions
from vcmaug.control.shown import ChannelSettings
from vcmaug.data.case import Case
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import read_image, read_label_map, write_image
from vcmaug.data.volume import Volume

BUILDERS: tuple[Builder, ...] = (
    Perturb(),
    Perturb(resize={"core": {"change": 0.2}}),
    ShapeModel(),
    Lesions(atlas={"source": "nowhere", "values": {"core": 1}}),
    LowRes(spacing_mm=4.0),
    Modalities(channels=("label_map", "image")),
)


class Shift(Builder):
    """Rolls the map along its first axis; an image follows."""

    name: Literal["test-shift"] = "test-shift"
    adds: ClassVar[tuple[str, ...]] = ("shifted",)
    voxels: int = 1

    def ready(
        self, scheme: LabelScheme, *, folder: Path | None = None, cases: Sequence[str] = ()
    ) -> Ready:
        return _Shifting(self)

    @classmethod
    def moves(cls, parameters: Mapping[str, Any]) -> Moves:
        return "images follow" if parameters["voxels"] else "nothing"

    @classmethod
    def follow(
        cls,
        volume: Volume,
        parameters: Mapping[str, Any],
        *,
        source: Volume | None = None,
        classes: bool = False,
    ) -> Volume:
        return Volume(np.roll(volume.array, parameters["voxels"], axis=0), volume.affine)


@dataclass(frozen=True)
class _Shifting:
    settings: Shift

    def build(self, condition: Condition, *, seed: int) -> Condition:
        step = Step("test-shift", {"voxels": self.settings.voxels}, {})
        return condition.changed(step, label_map=Shift.follow(condition.label_map, step.parameters))


@pytest.fixture(autouse=True, scope="module")
def _only_here() -> Iterator[None]:
    """Let the builder of this test be known, and forgotten after it."""
    yield
    parts._KNOWN["builder"].pop("test-shift")


@pytest.fixture
def cases(tmp_path: Path) -> tuple[Case, ...]:
    """Two cases whose image is their label map, halved."""
    result = []
    for case in tiny.make_tiny_cases(tmp_path / "labels"):
        label = read_label_map(case.files["label"], case_id=case.case_id)
        image = tmp_path / "images" / f"{case.case_id}.nii.gz"
        write_image(image, Volume((label.array / 2).astype(np.float32), label.affine))
        result.append(replace(case, images={"image": image}))
    return tuple(result)


@pytest.mark.parametrize("builder", BUILDERS, ids=lambda builder: builder.name)
def test_every_builder_says_what_it_needs_and_does(builder: Builder) -> None:
    assert Builder.named(builder.name) is type(builder)
    assert builder.faults(tiny.SCHEME.names) == []
    assert builder.faults(()) or builder.name in ("perturb", "shape_model", "lowres", "modalities")
    assert all(isinstance(path, Path) for paths in builder.files().values() for path in paths)
    assert builder.moves(dict(builder)) in get_args(Moves)
    assert set(builder.passes_on(frozenset())) <= {"image"}
    assert builder.for_training().name == builder.name
    assert Chain(steps=[builder.model_dump(mode="json")]).steps == (builder,)


def test_which_images_can_follow_is_said_by_each() -> None:
    assert [builder.moves(dict(builder)) for builder in BUILDERS] == [
        "images follow",
        "no image follows",
        "no image follows",
        "labels alone",
        "nothing",
        "nothing",
    ]


def test_files_that_are_not_there_are_missing(tmp_path: Path) -> None:
    atlas = {"source": str(tmp_path / "masks"), "template": str(tmp_path / "t1.nii.gz")}
    faults = Lesions(atlas=atlas).missing()
    assert faults == [
        f"lesions: atlas.source: there is no {tmp_path / 'masks'}",
        f"lesions: atlas.template: there is no {tmp_path / 't1.nii.gz'}",
    ]


def test_a_control_is_not_shown_by_builders_that_change_maps() -> None:
    with pytest.raises(ValueError, match="perturb changes label maps"):
        ChannelSettings(steps=[{"name": "perturb"}])
    assert ChannelSettings(steps=[{"name": "lowres", "spacing_mm": 4}]).names == (
        "label_map",
        "lowres",
    )


def test_a_new_builder_works_in_a_chain_by_its_name(
    tmp_path: Path, cases: tuple[Case, ...]
) -> None:
    steps = ["test-shift", {"name": "modalities", "channels": ["label_map", "image"]}]
    settings = ConditionSettings(chains=[{"steps": steps}])
    assert settings.faults(tiny.SCHEME.names) == []
    assert settings.chains[0].images_follow
    folder = tmp_path / "conditions"
    build_conditions(
        settings,
        cases,
        folder=folder,
        scheme=tiny.SCHEME,
        n=2,
        seed=1,
        roles={},
        compute=tiny.IN_PROCESS,
    )
    rows = read_conditions(folder)
    assert [row.builder for row in rows] == ["test-shift+modalities"] * 2
    for row, case in zip(rows, cases, strict=True):
        assert row.steps[0].parameters == {"voxels": 1}
        label = read_label_map(folder / row.map, case_id="x").array
        before = read_label_map(case.files["label"], case_id="x").array
        assert np.array_equal(label, np.roll(before, 1, axis=0))
        shown = read_image(folder / "channels-image" / f"{row.condition_id}.nii.gz", case_id="x")
        np.testing.assert_allclose(2 * shown.array, label, atol=1e-3)
    Deformed().make(Sources(cases, tiny.SCHEME, 2, folder), out=tmp_path / "deformed")
    for row in read_manifest(tmp_path / "deformed").to_dict("records"):
        image = read_image(tmp_path / "deformed" / row["image"], case_id="x").array
        label = read_label_map(tmp_path / "deformed" / row["label"], case_id="x").array
        np.testing.assert_allclose(2 * image, label, atol=1e-3)


def test_images_follow_several_builders_in_their_order() -> None:
    label_map = tiny.label_map_of(radius=5.0)
    image = Volume((label_map.array / 2).astype(np.float32), label_map.affine)
    source = SourceMap("k0", "s0", label_map, {}, {"image": image})
    condition = as_it_is(source, condition_id="c0")
    perturb = Perturb(max_displacement_mm=2, smoothness_mm=8, flip_probability=1)
    for builder in (Shift(voxels=2), perturb, Shift(voxels=-1)):
        condition = builder.ready(tiny.SCHEME).build(condition, seed=3)
    followed = aligned_image(condition, "image").array
    assert (np.rint(2 * followed) == condition.label_map.array).mean() > 0.95
