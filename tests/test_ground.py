"""The ground floors: errors, files, seeds, shapes, recipes, provenance."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from vcmaug import errors, files
from vcmaug.config import Settings, merged, parse_settings, read_yaml
from vcmaug.errors import FaultyDataSet, RecipeError, VcmaugError, WorkFolderError, list_faults
from vcmaug.provenance import fingerprint, machine, versions
from vcmaug.seeding import numpy_generator, stable_seed, torch_generator
from vcmaug.shapes import as_shape3, latent_shape

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


# errors


def test_every_error_has_one_root():
    raised = [getattr(errors, name) for name in errors.__all__ if name != "list_faults"]
    assert all(issubclass(error, VcmaugError) for error in raised)


def test_faults_are_numbered_and_the_rest_is_counted():
    text = list_faults("reading", [f"case {i}" for i in range(50)], advice="Mend.", most=3)
    assert text.splitlines() == [
        "reading: 50 faults",
        *["  1. case 0", "  2. case 1", "  3. case 2"],
        "  ... and 47 more",
        "Mend.",
    ]


def test_a_faulty_data_set_keeps_its_faults():
    fault = FaultyDataSet("reading", ["a: no label"], advice="Mend.")
    assert fault.faults == ("a: no label",)
    assert str(fault) == "reading: 1 fault\n  1. a: no label\nMend."


# files


def test_a_file_appears_whole_and_alone(tmp_path):
    path = tmp_path / "new" / "deep" / "file.bin"
    files.write_bytes(path, b"first")
    files.write_bytes(path, b"second")
    assert path.read_bytes() == b"second"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.bin"]


def test_a_write_that_fails_keeps_the_old_file_and_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    files.write_text(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(WorkFolderError, match="No space left on device"):
        files.write_text(path, "new, and longer")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_a_folder_that_is_a_file_is_refused_with_its_path(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(WorkFolderError, match=re.escape(str(tmp_path / "taken" / "x"))):
        files.write_text(tmp_path / "taken" / "x", "content")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("x" * 300, "File name too long.* choose a shorter name"),
        ("taken/x", "move the file away that stands where a folder is to be"),
        ("folder", "name a file, not a folder"),
    ],
)
def test_what_to_do_fits_what_went_wrong(tmp_path, name, told):
    (tmp_path / "taken").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(WorkFolderError, match=told) as caught:
        files.write_text(tmp_path / name, "content")
    assert "space" not in str(caught.value)
    with pytest.raises(WorkFolderError, match=r"cannot be locked .*move the file away"):
        files.locked(tmp_path / "taken", purpose="testing").__enter__()


def test_a_name_that_is_not_utf_8_is_one_error(tmp_path):
    with pytest.raises(WorkFolderError, match=r"not UTF-8, .*k\\udcff"):
        files.write_json(tmp_path / "a.json", {"source": "data/k\udcff"})
    assert list(tmp_path.iterdir()) == []


@given(JSON)
def test_stable_json_comes_back(content):
    assert files.json.loads(files.stable_json(content)) == content


def test_json_comes_back(tmp_path):
    content = {"name": "Größe", "values": [1, 2.5, None]}
    files.write_json(tmp_path / "a.json", content)
    assert files.read_json(tmp_path / "a.json") == content


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"{", "not valid JSON"), (b"\xff", "not valid")],
)
def test_what_is_no_json_is_refused(tmp_path, content, message):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WorkFolderError, match=message):
        files.read_json(path)


def test_a_cut_last_line_is_left_out_and_then_dropped(tmp_path):
    path = tmp_path / "parts" / "rows.jsonl"
    files.append_lines(path, [{"id": 1}, {"id": 2}])
    with path.open("ab") as stream:
        stream.write(b'{"id": 3, "na')  # what a killed writer leaves
    assert files.read_json_lines(path) == [{"id": 1}, {"id": 2}]
    files.append_lines(path, [{"id": 4}])
    assert files.read_json_lines(path) == [{"id": 1}, {"id": 2}, {"id": 4}]


def test_only_a_cut_line_leaves_no_rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"id"')
    assert files.read_json_lines(path) == []
    files.append_lines(path, [{"id": 1}])
    assert files.read_json_lines(path) == [{"id": 1}]


def test_rows_of_a_file_that_is_not_there_are_none(tmp_path):
    assert files.read_json_lines(tmp_path / "rows.jsonl") == []


def test_hashes_of_bytes_and_of_a_file_agree(tmp_path):
    content = bytes(range(256)) * 5000  # more than one chunk
    files.write_bytes(tmp_path / "a", content)
    assert files.sha256_of_file(tmp_path / "a") == files.sha256_of_bytes(content)
    assert files.sha256_of_bytes(b"").startswith("e3b0c44298fc1c149afbf4c8996fb924")  # FIPS 180-4


HOLD = """
import os, sys
from pathlib import Path
from vcmaug.errors import WorkFolderError
from vcmaug.files import locked
try:
    with locked(Path(sys.argv[1]), purpose="drawing", together="TOGETHER" in os.environ):
        print("held")
except WorkFolderError as fault:
    print(fault)
"""


def _answer_of_another_process(folder: Path) -> str:
    """Return what another process says when it tries to lock a folder."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_second_process_is_refused_until_the_first_ends(tmp_path):
    with files.locked(tmp_path, purpose="generating"):
        answer = _answer_of_another_process(tmp_path)
    assert "in use by process" in answer
    assert "(generating)" in answer
    assert _answer_of_another_process(tmp_path) == "held"


def test_the_first_of_processes_that_train_together_holds_a_folder_for_all(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    with files.locked(tmp_path, purpose="training"):
        assert "in use by process" in _answer_of_another_process(tmp_path)
        monkeypatch.setenv("RANK", "1")
        assert "in use by process" in _answer_of_another_process(tmp_path)
        monkeypatch.setenv("TOGETHER", "yes")
        assert _answer_of_another_process(tmp_path) == "held"


# seeding


def test_seeds_depend_on_each_name_and_its_kind():
    names = [(0, "a", "b"), (1, "a", "b"), (0, "ab", ""), (0, "a", "c"), ("0", "a", "b"), (0, "a")]
    assert len({stable_seed(*each) for each in names}) == len(names)


def test_a_seed_is_the_same_for_ever():
    # from the definition: SHA-256 of typed names joined by 0x1f, first 8 bytes, halved
    content = b"int:0\x1fstr:case-1\x1fstr:noise"
    expected = int(files.sha256_of_bytes(content)[:16], 16) // 2
    assert stable_seed(0, "case-1", "noise") == expected


@given(st.lists(st.text() | st.integers(), min_size=1, max_size=4))
def test_seeds_are_in_range(names):
    assert 0 <= stable_seed(*names) < 2**63


def test_generators_repeat_and_touch_no_global_state():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = torch.randn(4, generator=torch_generator(0, "r", "noise"))
    second = torch.randn(4, generator=torch_generator(0, "r", "noise"))
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())
    draws = [numpy_generator(0, "r", "warp").normal(size=3) for _ in range(2)]
    np.testing.assert_array_equal(*draws)


# shapes


def test_a_shape_has_three_sizes():
    assert as_shape3(np.array([1, 2, 3])) == (1, 2, 3)
    with pytest.raises(ValueError, match="unpack"):
        as_shape3([1, 2])


def test_a_grid_must_fit_the_latent_factor():
    assert latent_shape((32, 48, 32), 4) == (8, 12, 8)
    with pytest.raises(ValueError, match="not a multiple of the latent factor 4"):
        latent_shape((32, 50, 32), 4)


# recipes


class Inner(Settings):
    """A group inside a recipe."""

    learning_rate: float = Field(1e-3, gt=0)
    updates: int = 100


class Outer(Settings):
    """A recipe."""

    name: str
    training: Inner = Inner()


def test_three_typos_are_reported_at_once_with_the_nearest_names():
    content = {"name": "x", "trainingg": {}, "training": {"learning_rat": 1, "update": 2}}
    with pytest.raises(RecipeError, match="3 faults") as raised:
        parse_settings(Outer, content, source="recipe r.yaml")
    text = str(raised.value)
    assert "reading recipe r.yaml" in text
    assert "trainingg: unknown name; did you mean 'training'?" in text
    assert "training.learning_rat: unknown name; did you mean 'learning_rate'?" in text
    assert "training.update: unknown name; did you mean 'updates'?" in text


def test_bad_and_missing_values_are_reported_together():
    content = {"training": {"learning_rate": -1, "updates": "many"}}
    with pytest.raises(RecipeError, match="3 faults") as raised:
        parse_settings(Outer, content, source="r")
    text = str(raised.value)
    assert "name: missing, and it has no default" in text
    assert "training.learning_rate: Input should be greater than 0 (found -1)" in text
    assert "training.updates" in text


def test_settings_are_frozen():
    settings = parse_settings(Outer, {"name": "x"}, source="r")
    with pytest.raises(ValueError, match="frozen"):
        settings.name = "y"  # type: ignore[misc]


def test_environment_variables_are_filled_at_any_depth(tmp_path, monkeypatch):
    monkeypatch.setenv("VCMAUG_TEST_ROOT", "/data")
    path = tmp_path / "r.yaml"
    path.write_text("a: [$VCMAUG_TEST_ROOT/x, {b: '${VCMAUG_TEST_ROOT}/y'}]\nc: 3\n")
    assert read_yaml(path) == {"a": ["/data/x", {"b": "/data/y"}], "c": 3}


def test_unset_environment_variables_are_named(tmp_path, monkeypatch):
    monkeypatch.delenv("VCMAUG_NOT_SET", raising=False)
    path = tmp_path / "r.yaml"
    path.write_text("a: ${VCMAUG_NOT_SET}/x\n")
    with pytest.raises(RecipeError, match=r"VCMAUG_NOT_SET is not\s+set"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "no such file"), ("a: [1", "not valid YAML"), ("- 1\n- 2\n", "expected a mapping")],
)
def test_what_is_no_recipe_is_refused(tmp_path, text, message):
    path = tmp_path / "r.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_yaml(path)


@pytest.mark.parametrize(
    "text", ["a: 1\nb: 2\na: 3\n", "v: {17: left, 18: x, 17: right}\n", "l: [{a: 1, 'a': 2}]\n"]
)
def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path, text):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"not valid YAML: '(a|17)' stands 2 times"):
        read_yaml(path)
    path.write_text("base: &b {a: 1, c: 2}\nmine: {<<: *b, a: 3}\n")
    assert read_yaml(path)["mine"] == {"a": 3, "c": 2}


@given(st.dictionaries(st.text(), st.integers() | st.dictionaries(st.text(), st.integers())))
def test_merging_nothing_changes_nothing(content):
    assert merged(content, {}) == content
    assert merged({}, content) == content
    assert merged(content, content) == content


# provenance


def test_fingerprints_see_content_not_order():
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": 1, "b": [1, 2]}) != fingerprint({"a": 1, "b": [2, 1]})
    assert len(fingerprint({}, length=64)) == 64


def test_provenance_names_versions_and_no_machine():
    assert versions()["torch"] == torch.__version__
    assert set(machine()) == {"system", "processor", "cores"}
