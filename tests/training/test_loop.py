import itertools
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from vcmaug.control.channels import one_hot_batch
from vcmaug.control.network import Steered
from vcmaug.errors import ModelError
from vcmaug.seeding import torch_generator
from vcmaug.training.autoencoder import gradient_loss, kl_loss
from vcmaug.training.control_objective import control_loss
from vcmaug.training.data import draw_batch
from vcmaug.training.learner import MovingAverage
from vcmaug.training.loop import Objective, Share, Trained, Watch, train
from vcmaug.training.settings import TrainingSettings

SETTINGS = TrainingSettings(
    precision="float32",
    updates=12,
    batch_size=4,
    learning_rate=0.05,
    warmup_updates=2,
    checkpoint_every=5,
)


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def _objective(module: nn.Module, step: int, share: Share) -> tuple[torch.Tensor, dict[str, float]]:
    x = share.of(torch.randn(4, 3, generator=torch_generator(0, step)))
    loss = ((module(x) - x.sum(dim=1, keepdim=True)) ** 2).mean()
    return loss, {}


def test_a_training_has_no_more_threads_than_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container with a quota, of which torch knows nothing."""
    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(2)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")

    def objective(
        module: nn.Module, step: int, share: Share
    ) -> tuple[torch.Tensor, dict[str, float]]:
        seen.append(torch.get_num_threads())
        return _objective(module, step, share)

    settings = SETTINGS.model_copy(update={"updates": 1})
    path = tmp_path / "x.pt"
    train(_network(), objective, settings=settings, checkpoint=path, identity="a", what="test")
    torch.set_num_threads(before)
    assert seen == [1]


def _train(
    folder: Path, *, stop_at: int | None = None, identity: str = "a"
) -> dict[str, torch.Tensor]:
    def objective(
        module: nn.Module, step: int, share: Share
    ) -> tuple[torch.Tensor, dict[str, float]]:
        if step == stop_at:
            raise KeyboardInterrupt
        return _objective(module, step, share)

    return train(
        _network(),
        objective,
        settings=SETTINGS,
        checkpoint=folder / "x.pt",
        identity=identity,
        what="test",
    ).average


def test_a_training_shows_its_log_to_tensorboard(tmp_path: Path) -> None:
    """Also after a resume: one value per step of the log, the same as there."""

    def run(objective: Objective) -> Trained:
        return train(
            _network(),
            objective,
            settings=SETTINGS,
            checkpoint=tmp_path / "x.pt",
            identity="a",
            what="test",
            watches=[Watch(4, lambda module, update: {"validation": float(update)})],
            events=tmp_path / "training",
        )

    def cut(module: nn.Module, step: int, share: Share) -> tuple[torch.Tensor, dict[str, float]]:
        if step == 8:
            raise KeyboardInterrupt
        return _objective(module, step, share)

    with pytest.raises(KeyboardInterrupt):
        run(cut)
    log = run(_objective).log
    events = EventAccumulator(str(tmp_path / "training"))
    events.Reload()
    for name in ("loss", "validation"):
        shown = {event.step: event.value for event in events.Scalars(name)}
        assert shown == pytest.approx({row["step"]: row[name] for row in log if name in row})
        assert len(events.Scalars(name)) == len(shown)


def test_a_resumed_training_ends_where_an_undisturbed_one_does(tmp_path: Path) -> None:
    whole = _train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path / "cut", stop_at=8)  # the last checkpoint is from update 5
    resumed = _train(tmp_path / "cut")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    whole = _train(tmp_path / "whole")
    shared = train(
        _network(),
        _objective,
        settings=SETTINGS.model_copy(update={"accumulate": 2}),
        checkpoint=tmp_path / "x.pt",
        identity="a",
        what="test",
    ).average
    for name, tensor in whole.items():
        torch.testing.assert_close(shared[name], tensor, rtol=1e-4, atol=1e-5)


def test_the_best_average_is_kept_and_survives_a_stop(tmp_path: Path) -> None:
    """Measured at updates 4, 8 and 12; the values say that 8 was best."""

    def run(folder: Path, stop_at: int | None = None) -> Trained:
        seen: dict[int, torch.Tensor] = {}

        def objective(module: nn.Module, step: int, share: Share):
            if step == stop_at:
                raise KeyboardInterrupt
            return _objective(module, step, share)

        def measure(module: nn.Module, update: int) -> dict[str, float]:
            assert not module.training
            seen[update] = module.weight.clone()
            return {"validation": {4: 2.0, 8: 1.0, 12: 3.0}[update]}

        trained = train(
            _network(),
            objective,
            settings=SETTINGS,
            checkpoint=folder / "x.pt",
            identity="a",
            what="test",
            watches=[Watch(4, measure)],
        )
        assert trained.best_update == 8
        if 8 in seen:
            assert torch.equal(trained.best["weight"], seen[8])
        return trained

    whole = run(tmp_path / "whole")
    assert [row["validation"] for row in whole.log if "validation" in row] == [2.0, 1.0, 3.0]
    assert not torch.equal(whole.best["weight"], whole.average["weight"])
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", stop_at=11)  # after the best was saved, before the end
    again = run(tmp_path / "cut")
    assert torch.equal(again.best["weight"], whole.best["weight"])
    assert torch.equal(again.average["weight"], whole.average["weight"])


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"a batch of 4 cannot be shared between 1 processes of 3"):
        train(
            _network(),
            _objective,
            settings=SETTINGS.model_copy(update={"accumulate": 3}),
            checkpoint=tmp_path / "x.pt",
            identity="a",
            what="test",
        )


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    """Real processes, started as `accelerate launch` and torchrun start them; the same log too."""
    script = (
        "import atexit, os, sys, torch\n"
        "from pathlib import Path\n"
        "left = Path(sys.argv[2] + '-left-' + os.environ['RANK'])\n"
        "atexit.register(lambda: torch.distributed.is_initialized() or left.touch())\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "import test_loop as here\n"
        "weights = here._train(Path(sys.argv[2]))\n"
    )
    (tmp_path / "train.py").write_text(script)
    out = tmp_path / "two"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"),
            *(str(tmp_path / "train.py"), str(Path(__file__).parent), str(out)),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    left = sorted(path.name for path in tmp_path.glob("two-left-*"))
    assert left == ["two-left-0", "two-left-1"]  # a process that stays in may abort while it ends
    weights = _train(tmp_path / "one")
    two, one = (torch.load(f / "x.pt", weights_only=True) for f in (out, tmp_path / "one"))
    for name, tensor in weights.items():
        torch.testing.assert_close(two["average"][name], tensor, rtol=1e-4, atol=1e-5)
    for here, there in zip(two["log"], one["log"], strict=True):
        assert here == pytest.approx(there, rel=1e-4)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    _train(tmp_path)
    with pytest.raises(ModelError, match="other settings or data"):
        _train(tmp_path, identity="b")


@pytest.mark.parametrize("how", ["cut", "no checkpoint", "incomplete"])
def test_a_damaged_checkpoint_is_one_clear_error(tmp_path: Path, how: str) -> None:
    _train(tmp_path)
    path = tmp_path / "x.pt"
    whole = path.read_bytes()
    state = torch.load(path, weights_only=True)
    if how == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "no checkpoint":
        path.write_text("a page")
    else:
        torch.save({name: part for name, part in state.items() if name != "best_value"}, path)
    with pytest.raises(ModelError, match=r"checkpoint .*x\.pt is damaged .*--resume never"):
        _train(tmp_path)


def test_bfloat16_is_taken_where_there_is_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SETTINGS.model_copy(update={"precision": "bfloat16", "updates": 4})

    def trained(name: str) -> torch.Tensor:
        module, path = _network(), tmp_path / f"{name}.pt"
        done = train(module, _objective, settings=settings, checkpoint=path, identity="a", what="x")
        return done.average["weight"]

    low = trained("low")
    monkeypatch.setattr("vcmaug.training.loop.is_bf16_available", lambda: False)
    full = trained("full")
    assert not torch.equal(low, full)
    settings = settings.model_copy(update={"precision": "float32"})
    assert torch.equal(trained("float32"), full)


@pytest.mark.parametrize(
    ("spoilt", "named"),
    [
        (lambda loss: loss * math.nan, "loss is nan at update 3"),
        (lambda loss: loss + (0 * loss).sqrt(), "gradient_norm is nan at update 3"),
    ],
)
def test_a_loss_or_gradient_that_is_not_finite_stops_the_training_with_one_clear_error(
    spoilt: Callable[[torch.Tensor], torch.Tensor], named: str, tmp_path: Path
) -> None:
    def objective(
        module: nn.Module, step: int, share: Share
    ) -> tuple[torch.Tensor, dict[str, float]]:
        loss, parts = _objective(module, step, share)
        return spoilt(loss) if step == 3 else loss, parts

    with pytest.raises(ModelError, match=named):
        train(
            _network(),
            objective,
            settings=SETTINGS,
            checkpoint=tmp_path / "x.pt",
            identity="a",
            what="test",
        )


def test_the_learning_rate_warms_up_and_falls() -> None:
    rates = [SETTINGS.rate(step) for step in range(12)]
    assert rates[0] == pytest.approx(0.025)
    assert max(rates) == pytest.approx(0.05)
    assert all(a > b for a, b in itertools.pairwise(rates[2:]))
    assert rates[-1] > 0.05 * SETTINGS.final_share


def test_the_average_follows_the_weights_with_its_warm_up() -> None:
    network = _network()
    average = MovingAverage(network, decay=0.999)
    before = average.weights["bias"].clone()
    with torch.no_grad():
        network.bias.add_(1.0)
    average.update(network)  # decay of the first update is 2 / 11
    torch.testing.assert_close(average.weights["bias"], before + 1.0 - 2 / 11)


def test_a_batch_depends_on_seed_and_step_and_deals_every_item_in_turn() -> None:
    first = draw_batch(6, batch_size=3, seed=1, step=0).tolist()
    second = draw_batch(6, batch_size=3, seed=1, step=1).tolist()
    assert sorted(first + second) == list(range(6))
    assert draw_batch(6, batch_size=3, seed=1, step=1).tolist() == second
    assert draw_batch(2, batch_size=5, seed=1, step=0).shape == (5,)


def test_one_hot_of_channel_indices() -> None:
    indices = torch.tensor([[[[0, 1, 2]]]], dtype=torch.uint8)
    assert one_hot_batch(indices, 2)[0, :, 0, 0].tolist() == [[0, 1, 0], [0, 0, 1]]


def test_losses_have_their_known_values() -> None:
    zero, one = torch.zeros(1, 1, 2, 2, 2), torch.ones(1, 1, 2, 2, 2)
    assert kl_loss(zero, one).item() == pytest.approx(0.0, abs=1e-6)
    assert kl_loss(one, one).item() == pytest.approx(0.5, abs=1e-6)
    assert gradient_loss(one, zero).item() == 0.0
    penalty = torch.tensor(3.0)
    steered = Steered(one, frozen=zero, penalty=penalty)
    loss, parts = control_loss(steered, zero, weights=2 * one, l1_weight=0.1)
    assert loss.item() == pytest.approx(2.0 + 0.1 * 3.0)
    assert parts == {
        "mse": pytest.approx(1.0),
        "weighted": pytest.approx(2.0),
        "penalty": pytest.approx(3.0),
        "frozen_mse": pytest.approx(0.0),
    }
    bare, parts = control_loss(Steered(one), zero, weights=2 * one, l1_weight=0.1)
    assert bare.item() == pytest.approx(2.0)
    assert set(parts) == {"mse", "weighted"}


@pytest.mark.parametrize("order", [("bfloat16", "float32"), ("float32", "bfloat16")])
def test_each_training_of_a_process_has_its_own_precision(
    tmp_path: Path, order: tuple[str, str]
) -> None:
    seen: dict[str, torch.dtype] = {}
    for precision in order:

        class Looking(nn.Linear):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                result = super().forward(x)
                seen[precision] = result.dtype  # noqa: B023
                return result

        settings = SETTINGS.model_copy(update={"precision": precision, "updates": 1})
        checkpoint = tmp_path / f"{precision}.pt"
        train(
            Looking(3, 1),
            _objective,
            settings=settings,
            checkpoint=checkpoint,
            identity="a",
            what="x",
        )
    assert seen == {"bfloat16": torch.bfloat16, "float32": torch.float32}
