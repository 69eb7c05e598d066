"""Chains of builders: their turns, their scalars, their faults, and conditions made again."""

from pathlib import Path

import numpy as np
import pytest
import tiny

from vcmaug.compute import Compute
from vcmaug.conditions.build import build_conditions
from vcmaug.conditions.chain import ConditionSettings, ScalarSettings
from vcmaug.conditions.conditions import Conditions
from vcmaug.conditions.table import read_conditions
from vcmaug.conditions.workshop import map_bytes, replay, workshop_in
from vcmaug.config import parse_settings
from vcmaug.data.nifti import label_map_in, read_label_map, write_label_map
from vcmaug.data.scalars import ScalarSpec, asked_value
from vcmaug.data.volume import Volume
from vcmaug.errors import ComputeError, DataError, LeakError, RecipeError

PERTURB = {"name": "perturb", "max_displacement_mm": 2, "smoothness_mm": 6}
BRAIN = ScalarSpec(name="brain", low=0, high=5000, unit="mm3", structures=("shell", "core"))
AGE = ScalarSpec(name="age", low=20, high=80, unit="years", column="age")


def chains(*steps: dict[str, object], weight: int = 1, **more: object) -> ConditionSettings:
    return ConditionSettings(chains=[{"weight": weight, "steps": list(steps)}], **more)


def built(tmp_path: Path, settings: ConditionSettings, name: str = "a", **more: object) -> Path:
    cases = tiny.make_tiny_cases(tmp_path / "sources", cores=(2.0, 2.5, 3.0))
    asked = {"n": 6, "seed": 3, "roles": {}, "compute": tiny.IN_PROCESS} | more
    folder = tmp_path / name
    build_conditions(settings, cases, folder=folder, scheme=tiny.SCHEME, **asked)
    return folder


def test_chains_take_turns_by_weight() -> None:
    two = ConditionSettings(
        chains=[{"weight": 3, "steps": [PERTURB]}, {"weight": 1, "steps": [PERTURB]}]
    )
    drawn = [two.chain_of(index) for index in range(40)]
    assert sum(chain == 0 for chain, _ in drawn) == 30
    for chain in (0, 1):  # its turns are counted without a gap
        assert [turn for one, turn in drawn if one == chain] == list(range((30, 10)[chain]))


def test_every_fault_is_listed_at_once(tmp_path: Path) -> None:
    settings = chains(
        {"name": "perturb", "resize": {"ventricle": {"change": 0.2}}},
        {"name": "shape_model", "structures": ["core"], "volumes_mm3": {"shell": 3.0}},
        {
            "name": "lesions",
            "atlas": {"source": str(tmp_path / "nowhere")},
            "placement": "registered",
            "count": (3, 1),
        },
        {"name": "lowres", "spacing_mm": 4},
        {"name": "modalities", "channels": ["image"], "subsets": [["image", "t2"]]},
    )
    faults = "\n".join([*settings.faults(("shell", "core")), *settings.missing_files()])
    for found in (
        "steps.0 (perturb): resize: found 'ventricle', expected a structure of the scheme",
        "steps.1 (shape_model): volumes_mm3: 'shell' is not among the structures that are drawn",
        "atlas.values: found 'lesion', expected a structure",
        "atlas.source: there is no",
        "placement registered needs atlas.template",
        "count: expected two numbers with 1 <= first <= second",
        "steps.3 (lowres): it passes on images, which cannot follow shape_model",
        "steps.4 (modalities): it passes on images",
        "'t2' is not among its channels",
    ):
        assert found in faults
    with pytest.raises(DataError, match="faults"):
        built(tmp_path, settings)


def test_the_old_key_of_a_step_names_the_new_one() -> None:
    content = {"chains": [{"steps": [{"builder": "perturb"}]}]}
    with pytest.raises(RecipeError, match="'builder' is called 'name' now"):
        parse_settings(ConditionSettings, content, source="a recipe")


def test_a_chain_of_three_is_recorded_step_by_step(tmp_path: Path) -> None:
    settings = chains(
        {"name": "shape_model"}, PERTURB, {"name": "modalities", "channels": ["label_map"]}
    )
    folder = built(tmp_path, settings)
    row = read_conditions(folder)[0]
    assert row.builder == "shape_model+perturb+modalities"
    assert [step.builder for step in row.steps] == ["shape_model", "perturb", "modalities"]
    assert row.presence == {"label_map": True}
    assert set(row.source_subject_ids) == {"s0", "s1", "s2"}


def test_a_lazy_folder_holds_no_map_and_gives_the_same_bytes(tmp_path: Path) -> None:
    settings = ConditionSettings(
        chains=[{"steps": [PERTURB]}, {"steps": [{"name": "shape_model"}]}]
    )
    eager, lazy = built(tmp_path, settings), built(tmp_path, settings, "b", lazy=True)
    assert list((eager / "maps").iterdir())
    assert not (lazy / "maps").exists()
    tables = [read_conditions(folder) for folder in (eager, lazy)]
    assert tables[0] == tables[1]
    for row in tables[0]:
        assert map_bytes(lazy, row) == (eager / row.map).read_bytes()
        array = read_label_map(eager / row.map, case_id="x").array
        assert np.array_equal(label_map_in(map_bytes(lazy, row)).array, array)


def test_workers_and_their_order_change_nothing(tmp_path: Path) -> None:
    settings = chains(PERTURB)
    here = built(tmp_path, settings, n=40)
    there = built(tmp_path, settings, "b", n=40, compute=Compute("workers", num=2))
    assert read_conditions(here) == read_conditions(there)


def test_a_replay_is_the_same_and_a_changed_source_is_noticed(tmp_path: Path) -> None:
    folder = built(tmp_path, chains(PERTURB))
    assert replay(folder, "c000004") == []
    with pytest.raises(DataError, match="holds 6 conditions, c000000 to c000005"):
        replay(folder, "c000006")
    label = tmp_path / "sources" / "s1.nii.gz"
    volume = read_label_map(label, case_id="x")
    write_label_map(label, Volume(np.roll(volume.array, 1, axis=0), volume.affine))
    fresh = folder.rename(tmp_path / "c")  # another folder: nothing of it is in memory
    differences = replay(fresh, "c000004")
    assert len(differences) == 1
    assert differences[0].startswith("maps/c000004.nii.gz: ")


def test_parents_of_two_roles_are_refused(tmp_path: Path) -> None:
    settings = chains({"name": "shape_model"})
    folder = built(tmp_path, settings, roles={"s0": "train", "s1": "train"})
    assert {row.role for row in read_conditions(folder)} == {"train"}
    with pytest.raises(ComputeError, match="have the roles first and second"):
        built(tmp_path, settings, "b", roles={"s0": "first", "s1": "second"})


def test_a_donor_of_the_test_is_refused(tmp_path: Path) -> None:
    """The atlas holds a mask of a test subject; it is found before anything is built."""
    mask = Volume((tiny.label_map_of(radius=2.0).array > 0).astype(np.uint16), tiny.AFFINE)
    write_label_map(tmp_path / "atlas" / "s9.nii.gz", mask)
    settings = chains(
        {
            "name": "lesions",
            "atlas": {"source": str(tmp_path / "atlas"), "values": {"core": 1}},
            "inside": ["shell"],
        }
    )
    with pytest.raises(LeakError, match=r"subject s9, a donor of .*atlas, belongs to test"):
        built(tmp_path, settings, roles={"s9": "test"})


def row(**columns: object) -> dict[str, object]:
    return {"volume_shell_mm3": 4000.0, "volume_core_mm3": 2000.0, "age": 50.0} | columns


def scalars_of(settings: ScalarSettings, turn: int = 0, seed: int = 0, **columns: object):
    table = [{"age": 30.0}, {"age": 70.0}]
    asked = settings.applied(row(**columns), table=table, turn=turn, seed=seed)
    return settings.in_range(asked, (BRAIN, AGE), name="c0")


def test_a_scalar_beyond_the_priors_range_is_clipped_and_recorded_or_refused() -> None:
    columns, clipped = scalars_of(ScalarSettings())
    assert columns["scalar_brain"] == 1.0
    assert columns["scalar_age"] == pytest.approx(0.5)
    assert clipped == {"brain": 6000.0}
    assert asked_value(BRAIN, columns) == 5000.0
    assert asked_value(AGE, columns) == pytest.approx(50.0)
    with pytest.raises(DataError, match="'brain' is 6000 mm3, the prior's range is 0 to 5000"):
        scalars_of(ScalarSettings(out_of_range="refuse"))


def test_conditions_that_were_built_for_no_prior_keep_to_the_range_of_one_that_draws(
    tmp_path: Path,
) -> None:
    young = AGE.model_copy(update={"low": 0.0, "high": 20.0})
    kept = Conditions(built(tmp_path, chains(PERTURB), "kept"))[0]
    assert kept.values_of([AGE, BRAIN])["age"] == kept.row.columns["age"] > 20
    assert kept.values_of([young])["age"] == 20.0
    refusing = chains(PERTURB, scalars={"out_of_range": "refuse"})
    refused = Conditions(built(tmp_path, refusing, "refused"))[0]
    with pytest.raises(DataError, match=r"'age' is .* the prior's range is 0 to 20"):
        refused.values_of([young])


def test_columns_are_fixed_swept_drawn_from_the_table_or_from_a_range() -> None:
    fixed = ScalarSettings(columns={"age": {"fixed": 33}})
    assert scalars_of(fixed)[0]["age"] == 33
    swept = ScalarSettings(columns={"age": {"sweep": [20, 50, 80]}})
    assert [scalars_of(swept, turn)[0]["age"] for turn in range(4)] == [20, 50, 80, 20]
    table = ScalarSettings(columns={"age": {"table": True}})
    assert {scalars_of(table, seed=seed)[0]["age"] for seed in range(20)} == {30.0, 70.0}
    uniform = ScalarSettings(columns={"age": {"uniform": [40, 45]}})
    assert all(40 <= scalars_of(uniform, seed=seed)[0]["age"] <= 45 for seed in range(20))
    with pytest.raises(ValueError, match="exactly one of table, fixed, sweep and uniform"):
        ScalarSettings(columns={"age": {"fixed": 33, "table": True}})


def test_a_condition_is_made_by_its_index_alone(tmp_path: Path) -> None:
    folder = built(tmp_path, chains(PERTURB))
    made = workshop_in(folder).make(5)
    written = read_conditions(folder)[5]
    assert made.row.columns == written.columns
    assert made.row.files == written.files
