"""A cluster whose workers run in another folder than the command."""

import shutil
from pathlib import Path

import pytest
import yaml
from distributed import LocalCluster
from typer.testing import CliRunner

from vcmaug.cli.main import app
from vcmaug.files import read_json


@pytest.mark.timeout(600)
def test_workers_elsewhere_find_what_a_relative_output_holds(
    recipe_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = yaml.safe_load(recipe_path.read_text())
    content["data"]["source"] = "source"
    content["study"] |= {"arms": ["real"], "seeds": [0, 1]}
    shutil.copytree(recipe_path.parent / "source", tmp_path / "source")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ) as cluster:
        monkeypatch.chdir(tmp_path)
        at = ["--scheduler", cluster.scheduler_address]
        verbs = [["build-conditions", *at], ["downstream-eval", *at]]
        for verb, *options in verbs:
            command = [verb, "recipe.yaml", "--out", "work", *options]
            ended = CliRunner().invoke(app, command, catch_exceptions=False)
            assert ended.exit_code == 0, ended.output
    assert len(read_json(tmp_path / "work" / "study" / "summary.json")["runs"]) == 2
    assert list((tmp_path / "elsewhere").iterdir()) == []
