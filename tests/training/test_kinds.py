"""A rectified flow is trained, gone on with and steered as any prior is."""

from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch

from vcmaug.control.method import control_method
from vcmaug.data.cases import Case
from vcmaug.data.scalars import ScalarSpec
from vcmaug.ldm.denoiser import Context
from vcmaug.ldm.prior import load_prior, write_prior
from vcmaug.ldm.schedules.epsilon import EpsilonSchedule
from vcmaug.ldm.schedules.flow import FlowSchedule
from vcmaug.ldm.spec import AutoencoderSettings, DiffusionSettings, PriorSpec
from vcmaug.ldm.weights import hash_of_weights
from vcmaug.progress import Progress
from vcmaug.training.control import train_control
from vcmaug.training.data import draw_timesteps
from vcmaug.training.prior import PriorJob
from vcmaug.training.settings import (
    AutoencoderTraining,
    ControlJob,
    ControlTraining,
    DiffusionTraining,
    PriorTraining,
)

UPDATES = 60


def job(
    cases: tuple[Case, ...], folder: Path, *, kind: str = "flow", dropped: float = 0.2
) -> PriorJob:
    """Return the training of a tiny prior of a kind, scalars sometimes left out."""
    return PriorJob(
        cases=cases[:3],
        spec=PriorSpec(
            name="tiny",
            grid=tiny.GRID,
            autoencoder=AutoencoderSettings(channels=(4, 8), latent_channels=2, norm_num_groups=4),
            diffusion=DiffusionSettings(
                channels=(8, 16), num_res_blocks=1, num_head_channels=8, norm_num_groups=4
            ),
            schedule=kind,
            scalars=(ScalarSpec(name="age", low=20, high=80, column="age"),),
            drop_scalars=dropped,
        ),
        settings=PriorTraining(
            autoencoder=AutoencoderTraining(updates=10, batch_size=2, learning_rate=0.01),
            diffusion=DiffusionTraining(
                updates=UPDATES,
                batch_size=4,
                deformed_copies=0,
                learning_rate=0.01,
                checkpoint_every=20,
                timestep_spread="logit-normal",
            ),
        ),
        seed=0,
        folder=folder,
        held_out=cases[3:],
    )


@pytest.fixture(scope="module")
def flow(cases: tuple[Case, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a flow that was trained on three cases."""
    folder = tmp_path_factory.mktemp("flow")
    write_prior(folder, job(cases, folder).train(), half=True)
    return folder


def test_a_flow_learns_and_its_card_names_the_kind(flow: Path) -> None:
    card = load_prior(flow).card
    assert card.spec.schedule.name == "flow"
    log = card.log["diffusion"]
    assert float(log[-1]["loss"]) < 0.9 * float(log[0]["loss"])
    assert float(card.figures["diffusion_loss_held_out"]) < 2.0  # of a guess of zero: 2


def test_a_flow_that_is_stopped_goes_on_to_the_same_weights(
    cases: tuple[Case, ...], flow: Path, tmp_path: Path
) -> None:
    seen = 0

    def stop(progress: Progress) -> None:
        nonlocal seen
        seen += 1
        if seen == 10 + 30:
            raise KeyboardInterrupt

    begun = job(cases, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        replace(begun, report=stop).train()
    assert begun.train().card.weights_sha256 == load_prior(flow).card.weights_sha256


def test_the_kind_decides_about_the_weights(
    cases: tuple[Case, ...], flow: Path, tmp_path: Path
) -> None:
    other = job(cases, tmp_path, kind="epsilon").train()
    mine = load_prior(flow)
    assert hash_of_weights(other.autoencoder.state_dict()) == hash_of_weights(
        mine.autoencoder.state_dict()
    )
    assert other.card.weights_sha256 != mine.card.weights_sha256


def test_scalars_that_are_left_out_decide_about_the_weights(
    cases: tuple[Case, ...], flow: Path, tmp_path: Path
) -> None:
    always = job(cases, tmp_path, dropped=0.0).train()
    assert always.card.weights_sha256 != load_prior(flow).card.weights_sha256


@pytest.mark.parametrize("method", [*tiny.SMALL, "layout"])
def test_every_control_is_trained_on_a_flow(
    cases: tuple[Case, ...], flow: Path, tmp_path: Path, method: str
) -> None:
    settings = tiny.LAID_OUT if method == "layout" else {"name": method, **tiny.SMALL[method]}
    prior = load_prior(flow)
    control = train_control(
        cases[:2],
        prior=prior,
        job=ControlJob(
            method=control_method(settings),
            scheme=tiny.SCHEME,
            settings=ControlTraining(updates=3, batch_size=2, deformed_copies=0),
        ),
        folder=tmp_path,
    )
    z_t = torch.randn(1, *prior.spec.latent_shape)
    context = Context(torch.zeros(1, 1), control.encode(torch.ones(1, 2, 16, 16, 16)))
    found = control.steer(prior.denoiser)(z_t, torch.tensor([500]), context)
    assert torch.isfinite(found).all()
    assert not torch.equal(found, prior.denoiser(z_t, torch.tensor([500]), context))


def test_timesteps_are_spread_as_was_measured_for_the_kind() -> None:
    asked = DiffusionTraining()
    assert asked.spread_on(EpsilonSchedule()) == "uniform"
    assert asked.spread_on(FlowSchedule()) == "logit-normal"
    assert DiffusionTraining(timestep_spread="uniform").spread_on(FlowSchedule()) == "uniform"


def test_timesteps_are_spread_evenly_or_lie_in_the_middle() -> None:
    uniform, middle = (
        draw_timesteps(
            20000, 100, spread=spread, generator=torch.Generator().manual_seed(0)
        ).float()
        for spread in ("uniform", "logit-normal")
    )
    assert 0 <= float(middle.min()) <= float(middle.max()) <= 99
    assert float(uniform.std()) == pytest.approx(100 / 12**0.5, rel=0.02)
    assert float(middle.std()) == pytest.approx(20.8, rel=0.02)  # of sigmoid(normal), 0.208
    assert float(middle.mean()) == pytest.approx(49.5, abs=0.5)
