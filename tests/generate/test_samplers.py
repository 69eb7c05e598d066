"""Samplers against exact denoisers, and against MONAI and diffusers step by step."""

import math
import warnings
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from monai.networks.schedulers import DDIMScheduler, RFlowScheduler
from pydantic import ValidationError

from vcmaug.errors import CohortError
from vcmaug.generate.plan import GenerateSettings
from vcmaug.generate.samplers import DDIM, DDPM, Euler, Level, Position, Sampler
from vcmaug.generate.sampling import sample
from vcmaug.ldm.denoiser import Context, GaussianDenoiser
from vcmaug.ldm.schedule import Schedule
from vcmaug.ldm.schedules.epsilon import EpsilonSchedule
from vcmaug.ldm.schedules.flow import FlowSchedule

SCHEDULE = Schedule(EpsilonSchedule())
FLOW = Schedule(FlowSchedule())
SHIFTED = Schedule(FlowSchedule(shift=2.0))
KINDS = pytest.mark.parametrize(
    "kind", [SCHEDULE, FLOW, SHIFTED], ids=["epsilon", "flow", "shifted"]
)
SHAPE = (2, 2, 8, 8, 8)
MEAN, VARIANCE = 0.7, 0.25
ODE = ["ddim", "euler", "heun", "dpm++2m"]
SDE = ["ddpm", "dpm++2m-sde"]


def noise(seed: int = 0) -> torch.Tensor:
    """Return standard normal noise of a fixed shape."""
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def fresh(step: int) -> torch.Tensor:
    """Return standard normal noise for one step."""
    return noise(1000 + step)


def exactly(kind: Schedule, variance: float = VARIANCE) -> GaussianDenoiser:
    """Return the exact denoiser of the Gaussian."""
    return GaussianDenoiser(MEAN, variance, schedule=kind)


def drawn(name: str, steps: int, *, kind: Schedule = SCHEDULE, denoiser=None) -> torch.Tensor:
    """Return z_0 of the fixed noise with the exact denoiser."""
    sampler = Sampler.named(name)(steps=steps, start=1)
    return sample(
        denoiser or exactly(kind),
        noise(),
        context=Context(),
        schedule=kind,
        sampler=sampler,
        timesteps=sampler.timesteps(EpsilonSchedule()),
        fresh=fresh,
    )


def level(kind: Schedule, t: int | None = None) -> Level:
    """Return the scales at a timestep, or at the end."""
    return Level(1.0, 0.0) if t is None else Level(float(kind.signal[t]), float(kind.noise[t]))


def position(z_t, z_0, *, here: Level, there: Level, prediction=None, fresh=None) -> Position:
    """Return where a sampler stands at its first step; predictions are of epsilon."""
    return Position(
        z_t=z_t,
        prediction=prediction,
        z_0=z_0,
        previous_z_0=None,
        levels=(here, here, there),
        fresh=fresh,
        moved=lambda epsilon: there.signal * z_0 + there.noise * epsilon,
        predict_next=lambda z: z,
    )


def exact(kind: Schedule, t: int | None = None) -> torch.Tensor:
    """Return what the probability-flow ODE makes of the noise, at t or at the end.

    z_t has mean s m and variance s^2 v + n^2; the flow keeps the standardised value.
    """

    def moments(at: Level) -> tuple[float, float]:
        return at.signal * MEAN, math.sqrt(at.signal**2 * VARIANCE + at.noise**2)

    first_mean, first_deviation = moments(level(kind, 999))
    mean, deviation = moments(level(kind, t))
    return mean + deviation * (noise() - first_mean) / first_deviation


@KINDS
@pytest.mark.parametrize("name", ODE)
def test_draws_converge_to_the_exact_flow(name, kind):
    errors = [
        float((drawn(name, steps, kind=kind) - exact(kind)).abs().mean()) for steps in (40, 80, 160)
    ]
    assert all(later < earlier / 1.5 for earlier, later in pairwise(errors))
    assert errors[-1] < 0.015


@KINDS
@pytest.mark.parametrize(
    ("name", "order"), [("ddim", 1), ("euler", 1), ("heun", 2), ("dpm++2m", 2)]
)
def test_halving_the_steps_shows_the_order(name, order, kind):
    """On the way from 999 to 199; the last step to z_0 itself is of first order by design."""
    denoiser = exactly(kind)
    errors = []
    for steps in (25, 50, 100):
        seen = []

        def recording(z_t, t, context, seen=seen):
            seen.append((int(t[0]), z_t))
            return denoiser(z_t, t, context)

        timesteps = range(999, 198, -800 // steps)
        sample(
            recording,
            noise(),
            context=Context(),
            schedule=kind,
            sampler=Sampler.named(name)(),
            timesteps=timesteps,
        )
        last = [z_t for t, z_t in seen if t == timesteps[-1]][-1]
        errors.append(float((last - exact(kind, 199)).abs().mean()))
    for earlier, later in pairwise(errors):
        assert order - 0.35 < math.log2(earlier / later) < order + 0.45


@KINDS
@pytest.mark.parametrize("name", ODE + SDE)
def test_draws_reach_mean_and_variance(name, kind):
    z_0 = drawn(name, 200, kind=kind)
    count = z_0.numel()
    assert abs(float(z_0.mean()) - MEAN) < 4 * math.sqrt(VARIANCE / count)
    assert abs(float(z_0.var()) - VARIANCE) < 4 * VARIANCE * math.sqrt(2 / count) + 0.01


@KINDS
def test_the_second_order_is_nearer_than_the_first_at_equal_steps(kind):
    errors = {name: float((drawn(name, 20, kind=kind) - exact(kind)).abs().mean()) for name in ODE}
    assert errors["dpm++2m"] < errors["ddim"]
    assert errors["heun"] < errors["ddim"]
    assert errors["euler"] == errors["ddim"]


@KINDS
@pytest.mark.parametrize("name", SDE)
def test_fresh_noise_decides_about_a_stochastic_draw(name, kind):
    assert torch.equal(drawn(name, 5, kind=kind), drawn(name, 5, kind=kind))
    walk = {
        "context": Context(),
        "schedule": kind,
        "sampler": Sampler.named(name)(),
        "timesteps": (999, 500, 100),
    }
    first, other = (
        sample(exactly(kind), noise(), fresh=lambda step, k=k: noise(step + k), **walk)
        for k in (10, 20)
    )
    assert not torch.allclose(first, other, atol=0.01)
    with pytest.raises(ValueError, match="fresh noise"):
        sample(exactly(kind), noise(), **walk)


def test_ddpm_steps_are_those_of_the_posterior():
    """Between neighbours: mean and variance of Ho et al. 2020, eq. 7, from beta_t."""
    t = 400
    alpha, alpha_next = (float(SCHEDULE.signal[k]) ** 2 for k in (t, t - 1))
    beta = 1 - alpha / alpha_next
    z_t, z_0 = noise(1), noise(2)
    mean = (math.sqrt(alpha_next) * beta * z_0 + math.sqrt(1 - beta) * (1 - alpha_next) * z_t) / (
        1 - alpha
    )
    here = position(z_t, z_0, here=level(SCHEDULE, t), there=level(SCHEDULE, t - 1))
    torch.testing.assert_close(DDPM().step(here), mean)
    with_noise = DDPM().step(replace(here, fresh=torch.ones(SHAPE)))
    spread = math.sqrt(beta * (1 - alpha_next) / (1 - alpha))
    torch.testing.assert_close(with_noise - mean, torch.full(SHAPE, spread), rtol=1e-3, atol=1e-6)


@KINDS
def test_a_certain_z_0_is_reached_in_one_step(kind):
    certain = exactly(kind, 1e-12)
    for name in ODE + SDE:
        found = drawn(name, 1, kind=kind, denoiser=certain)
        assert torch.allclose(found, torch.tensor(MEAN), atol=1e-3)


@pytest.mark.parametrize("steps", [5, 20])
def test_euler_steps_on_a_flow_are_monais(steps):
    """A whole draw on the same times; timestep k here is k + 1 there, and 0 is the image."""
    sampler, denoiser = Euler(steps=steps, start=1), exactly(FLOW)
    timesteps = sampler.timesteps(EpsilonSchedule())
    theirs = RFlowScheduler(num_train_timesteps=1000)
    theirs.set_timesteps(steps)
    assert [int(t) for t in theirs.timesteps] == [t + 1 for t in timesteps]
    z_t = noise()
    for t, after in zip(timesteps, (*timesteps[1:], -1), strict=True):
        velocity = denoiser(z_t, torch.full((SHAPE[0],), t), Context())
        z_t, _ = theirs.step(velocity, t + 1, z_t, after + 1)
    ours = drawn("euler", steps, kind=FLOW)
    torch.testing.assert_close(ours, z_t, rtol=1e-4, atol=1e-5)


def test_ddim_steps_are_monais():
    ours = DDIM(steps=20, start=1, spacing="leading").timesteps(EpsilonSchedule())
    monai = DDIMScheduler(
        num_train_timesteps=1000,
        schedule="scaled_linear_beta",
        beta_start=0.0015,
        beta_end=0.0205,
        clip_sample=False,
        set_alpha_to_one=True,
    )
    monai.set_timesteps(20)
    generator = torch.Generator().manual_seed(3)
    for t, t_next in zip(ours, (*ours[1:], -1), strict=True):
        z_t, epsilon = torch.randn((2, *SHAPE), generator=generator)
        theirs, _ = monai.step(epsilon, t, z_t)
        z_0 = SCHEDULE.predict_z_0(z_t, epsilon, torch.full((SHAPE[0],), t))
        there = level(SCHEDULE, t_next if t_next >= 0 else None)
        here = position(z_t, z_0, prediction=epsilon, here=level(SCHEDULE, t), there=there)
        torch.testing.assert_close(DDIM().step(here), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["dpm++2m", "dpm++2m-sde"])
@pytest.mark.parametrize(
    ("steps", "spacing"), [(10, "trailing"), (25, "trailing"), (20, "leading")]
)
def test_multistep_draws_are_diffusers(name, steps, spacing):
    sampler = Sampler.named(name)(steps=steps, spacing=spacing)
    timesteps = sampler.timesteps(EpsilonSchedule())
    theirs = DPMSolverMultistepScheduler(
        beta_start=0.0015,
        beta_end=0.0205,
        beta_schedule="scaled_linear",
        algorithm_type="sde-dpmsolver++" if name == "dpm++2m-sde" else "dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        final_sigmas_type="zero",
    )
    with warnings.catch_warnings():  # diffusers hands tensors to np.array
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs.set_timesteps(timesteps=list(timesteps))
    denoiser = exactly(SCHEDULE)
    z_t = noise()
    for step, t in enumerate(theirs.timesteps):
        epsilon = denoiser(z_t, torch.full((SHAPE[0],), int(t)), Context())
        z_t = theirs.step(epsilon, t, z_t, variance_noise=fresh(step)).prev_sample
    ours = sample(
        denoiser,
        noise(),
        context=Context(),
        schedule=SCHEDULE,
        sampler=sampler,
        timesteps=timesteps,
        fresh=fresh,
    )
    torch.testing.assert_close(ours, z_t, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("spacing", ["trailing", "leading"])
@pytest.mark.parametrize("steps", [1, 3, 7, 25, 667, 999, 1000])
def test_timesteps_fall_without_repeats(steps, spacing):
    found = DDIM(steps=steps, start=1, spacing=spacing).timesteps(EpsilonSchedule())
    assert len(set(found)) == steps
    assert list(found) == sorted(found, reverse=True)
    assert found[0] == 999 if spacing == "trailing" else found[-1] == 0
    assert 0 <= min(found) <= max(found) <= 999


def test_more_steps_than_timesteps_are_refused():
    with pytest.raises(CohortError, match=r"11 sampler steps .* prior.s 10 timesteps"):
        DDIM(steps=11, start=1).timesteps(EpsilonSchedule(num_timesteps=10))


@KINDS
def test_a_walk_from_the_middle_starts_at_the_noised_mean_and_reaches_the_data(kind) -> None:
    """The exact denoiser of a narrow Gaussian far from zero, from 60 % of the schedule."""
    mean = torch.full((2, 3, 4, 5), 4.0)
    denoiser = GaussianDenoiser(mean, 0.04, schedule=kind)
    sampler = DDIM(steps=500, start=0.6)
    noise = torch.randn((64, 2, 3, 4, 5), generator=torch.Generator().manual_seed(0))
    z_0 = sample(
        denoiser,
        noise,
        context=Context(),
        schedule=kind,
        sampler=sampler,
        timesteps=sampler.timesteps(EpsilonSchedule()),
        mean=mean,
    )
    assert float(z_0.mean()) == pytest.approx(4.0, abs=0.01)
    assert float(z_0.std()) == pytest.approx(0.2, rel=0.05)  # 0.195 from the top


@pytest.mark.parametrize("name", ODE + SDE)
def test_a_sampler_is_one_value_by_name_by_settings_and_by_class(name):
    expected = Sampler.named(name)(steps=7)
    for value in (expected, {"name": name, "steps": 7}, expected.model_dump(mode="json")):
        assert GenerateSettings(sampler=value).sampler == expected
    assert GenerateSettings(sampler=name).sampler == Sampler.named(name)()
    assert list(expected.model_dump(mode="json")) == ["name", "steps", "spacing", "start"]
    assert expected.stochastic == (name in SDE)


def test_settings_of_a_sampler_without_a_name_are_ddims_and_others_are_told_the_nearest():
    assert GenerateSettings(sampler={"steps": 3}).sampler == DDIM(steps=3)
    with pytest.raises(ValidationError, match=r"unknown sampler 'huen'; did you mean 'heun'"):
        GenerateSettings(sampler="huen")
