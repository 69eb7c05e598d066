"""Noise comes from the seed and the request's id, and from nothing else."""

import torch

from vcmaug.generate.noise import noise_of

SHAPE = (2, 4, 4, 4)


def test_noise_is_the_requests_own():
    first = noise_of("r000001", cohort_seed=3, shape=SHAPE)
    torch.manual_seed(99)  # global state plays no role
    assert torch.equal(first, noise_of("r000001", cohort_seed=3, shape=SHAPE))
    assert not torch.equal(first, noise_of("r000002", cohort_seed=3, shape=SHAPE))
    assert not torch.equal(first, noise_of("r000001", cohort_seed=4, shape=SHAPE))


def test_noise_is_standard_normal_on_the_cpu():
    noise = noise_of("r000000", cohort_seed=0, shape=(4, 16, 16, 16))
    assert noise.dtype == torch.float32
    assert noise.device.type == "cpu"
    assert abs(float(noise.mean())) < 4 / 128  # 16384 values
    assert abs(float(noise.var()) - 1) < 4 * 2**0.5 / 128


def test_requests_share_no_noise():
    drawn = [noise_of(f"r{k:06d}", cohort_seed=0, shape=(8, 8, 8)).flatten() for k in range(20)]
    correlation = torch.corrcoef(torch.stack(drawn)) - torch.eye(20)
    assert float(correlation.abs().max()) < 5 / 512**0.5
