"""The learner against plain PyTorch, written out: the same weights and losses to the last bit."""

import math

import pytest
import torch
from torch import Tensor, nn

from vcmaug.errors import ModelError
from vcmaug.progress import Progress
from vcmaug.seeding import torch_generator
from vcmaug.training.learner import Rate, constant, learn, seeded, smoothed, warm_polynomial
from vcmaug.training.settings import TrainingSettings

UPDATES = 9
COSINE = TrainingSettings(updates=40, warmup_updates=5, learning_rate=0.5, final_share=0.1)
RATES = {
    "constant": (constant(0.01), lambda step: 0.01),
    "polynomial": (
        warm_polynomial(0.01, updates=UPDATES),
        lambda step: 0.01 * (min(1.0, (step + 1) / 20) * (1.0 - step / UPDATES) ** 0.9),
    ),
}


def _network() -> nn.Module:
    return seeded(lambda: nn.Linear(3, 1), seed=4)


def _loss(network: nn.Module, step: int) -> Tensor:
    x = torch.randn(4, 3, generator=torch_generator(0, step))
    return ((network(x) - x.sum(dim=1, keepdim=True)) ** 2).mean()


@pytest.mark.parametrize("name", RATES)
def test_it_is_plain_adamw(name: str) -> None:
    rate, written_out = RATES[name]
    network, expected, told = _network(), _network(), []
    found = learn(
        network,
        lambda step: _loss(network, step),
        updates=UPDATES,
        rate=rate,
        weight_decay=0.1,
        what="test",
        report=told.append,
    )
    optimiser, smooth = torch.optim.AdamW(expected.parameters(), weight_decay=0.1), math.nan
    for step in range(UPDATES):
        optimiser.param_groups[0]["lr"] = written_out(step)
        loss = _loss(expected, step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        smooth = loss.item() if math.isnan(smooth) else 0.95 * smooth + 0.05 * loss.item()
    assert found == smooth
    assert not network.training
    for mine, theirs in zip(network.parameters(), expected.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert told[-1] == Progress("test", UPDATES, UPDATES, f"loss {smooth:.3f}")


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    network = _network()
    with pytest.raises(ModelError, match=r"training test: loss nan at update 3\. Lower"):
        learn(
            network,
            lambda step: _loss(network, step) * (math.nan if step == 2 else 1.0),
            updates=5,
            rate=constant(0.1),
            what="test",
        )


def test_initial_weights_come_from_the_seed_alone_and_disturb_nothing() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = _network()
    assert torch.equal(torch.rand(3), expected)
    for mine, theirs in zip(first.parameters(), _network().parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("rate", [COSINE.rate, RATES["polynomial"][0]])
def test_rates_stay_within_their_highest(rate: Rate) -> None:
    rates = [rate(step) for step in range(UPDATES)]
    assert all(0.0 < one <= 0.5 for one in rates)


def test_cosine_warms_up_and_falls_to_its_final_share() -> None:
    rate = COSINE.rate
    assert [rate(step) for step in range(5)] == [0.5 * (k + 1) / 5 for k in range(5)]
    falling = [rate(step) for step in range(5, 41)]
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] == pytest.approx(0.05)


def test_smoothing_starts_at_the_first_value_and_by_one_keeps_no_memory() -> None:
    assert smoothed(math.nan, 3.0, share=0.25) == 3.0
    assert smoothed(3.0, 1.0, share=0.25) == 2.5
    assert smoothed(3.0, 1.0, share=1.0) == 1.0


def test_the_rate_of_a_step_is_set_before_it_is_taken() -> None:
    network = _network()
    before = [one.clone() for one in network.parameters()]
    learn(
        network,
        lambda step: _loss(network, step),
        updates=1,
        rate=lambda step: 0.1 * step,
        what="test",
    )
    for mine, theirs in zip(network.parameters(), before, strict=True):
        assert torch.equal(mine, theirs)  # at a rate of zero nothing moves
