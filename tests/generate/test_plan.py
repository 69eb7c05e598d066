"""The plan: its partition for all sizes, and what a folder says to another plan."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vcmaug.cohort.layout import CohortLayout
from vcmaug.config import parse_settings
from vcmaug.errors import RecipeError, WorkFolderError
from vcmaug.generate.plan import GenerateSettings, Plan


def plan_of(*, n: int = 10, num_conditions: int = 3, seed: int = 0, prior: str = "/a", **settings):
    """Return a plan; nothing of it exists."""
    return Plan(
        seed=seed,
        n=n,
        num_conditions=num_conditions,
        settings=GenerateSettings(**settings),
        timesteps=(9, 4),
        prior_sha256="p",
        control_sha256="c",
        conditions_sha256="d",
        prior_folder=prior,
        control_folder="/b",
        conditions_folder="/c",
    )


@given(
    n=st.integers(1, 200),
    num_conditions=st.integers(1, 50),
    size=st.integers(1, 17),
    per_shard=st.integers(1, 17),
)
def test_every_request_is_in_one_micro_batch_and_every_micro_batch_in_one_shard(
    n, num_conditions, size, per_shard
):
    plan = plan_of(
        n=n,
        num_conditions=num_conditions,
        micro_batch_size=size,
        micro_batches_per_shard=per_shard,
    )
    batches = [k for shard in range(plan.num_shards) for k in plan.micro_batches_of_shard(shard)]
    assert batches == list(range(plan.num_micro_batches))
    requests = [request for k in batches for request in plan.requests_of_micro_batch(k)]
    assert [request.request_id for request in requests] == [
        plan.request(k).request_id for k in range(n)
    ]
    assert len({request.request_id for request in requests}) == n
    uses = [[r.condition for r in requests].count(c) for c in range(num_conditions)]
    assert max(uses) - min(uses) <= 1


@given(size=st.integers(1, 9), first=st.integers(1, 9), second=st.integers(1, 9))
def test_micro_batches_do_not_depend_on_shards(size, first, second):
    one = plan_of(n=50, micro_batch_size=size, micro_batches_per_shard=first)
    other = plan_of(n=50, micro_batch_size=size, micro_batches_per_shard=second)
    for batch in range(one.num_micro_batches):
        assert one.requests_of_micro_batch(batch) == other.requests_of_micro_batch(batch)


def test_a_plan_survives_its_file(tmp_path):
    plan = plan_of(strength=0.5).claim(tmp_path)
    assert Plan.read(tmp_path) == plan
    assert plan.claim(tmp_path) == plan


def test_another_plan_is_told_what_differs(tmp_path):
    plan_of(seed=7).claim(tmp_path)
    with pytest.raises(WorkFolderError, match="another plan: 2 faults") as caught:
        plan_of(seed=8, micro_batch_size=3).claim(tmp_path)
    assert "seed: 7 there, 8 now" in str(caught.value)
    assert "settings.micro_batch_size: 4 there, 3 now" in str(caught.value)


def test_a_folder_keeps_its_shards_and_takes_new_places(tmp_path):
    plan_of(micro_batches_per_shard=1).claim(tmp_path)
    going_on = plan_of(micro_batches_per_shard=5, prior="/moved").claim(tmp_path)
    assert going_on.settings.micro_batches_per_shard == 1
    assert going_on.prior_folder == "/moved"


@pytest.mark.parametrize("interval", [(0.5, 0.5), (-0.1, 1.0), (0.0, 1.1), (0.8, 0.2)])
def test_an_interval_that_is_none_is_refused(interval):
    with pytest.raises(ValidationError, match="expected two numbers with 0"):
        GenerateSettings(interval=interval)


def test_the_old_name_of_acceptance_is_told_the_new_one():
    content = {"gate": {"accept": "image.clipped < 0.1"}}
    with pytest.raises(RecipeError, match="gate: is called 'acceptance' now"):
        parse_settings(GenerateSettings, content, source="a recipe")


def test_a_plan_of_an_older_version_is_one_clear_error(tmp_path):
    plan_of().claim(tmp_path)
    path = CohortLayout(tmp_path).plan
    path.write_text(path.read_text().replace('"acceptance"', '"gate"'))
    with pytest.raises(
        WorkFolderError, match=r"made by an older version\. Move the cohort's folder"
    ):
        Plan.read(tmp_path)
