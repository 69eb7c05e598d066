"""Noise comes from the seed and the request's id, and from nothing else."""

import pytest
import torch

from vcmaug.generate.noise import Noise
from vcmaug.seeding import torch_generator

SHAPE = (2, 4, 4, 4)


def test_noise_is_the_requests_own():
    first = Noise(3, ["r000001"]).of(SHAPE)
    torch.manual_seed(99)  # global state plays no role
    assert torch.equal(first, Noise(3, ["r000001"]).of(SHAPE))
    assert not torch.equal(first, Noise(3, ["r000002"]).of(SHAPE))
    assert not torch.equal(first, Noise(4, ["r000001"]).of(SHAPE))
    both = Noise(3, ["r000002", "r000001"]).of(SHAPE)
    assert torch.equal(both[1:], first)  # whatever is drawn beside it


@pytest.mark.parametrize(("attempt", "name"), [(0, "texture"), (2, "texture, try 2")])
def test_each_purpose_and_attempt_has_a_name_of_its_own(attempt, name):
    expected = torch.randn(SHAPE, generator=torch_generator(3, "r1", name))
    assert torch.equal(Noise(3, ["r1"], attempt).of(SHAPE, "texture")[0], expected)


def test_noise_is_standard_normal_on_the_cpu():
    noise = Noise(0, ["r000000"]).of((4, 16, 16, 16))
    assert noise.dtype == torch.float32
    assert noise.device.type == "cpu"
    assert abs(float(noise.mean())) < 4 / 128  # 16384 values
    assert abs(float(noise.var()) - 1) < 4 * 2**0.5 / 128


def test_requests_share_no_noise():
    drawn = Noise(0, [f"r{k:06d}" for k in range(20)]).of((8, 8, 8)).flatten(1)
    correlation = torch.corrcoef(drawn) - torch.eye(20)
    assert float(correlation.abs().max()) < 5 / 512**0.5
