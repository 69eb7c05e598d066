"""Everything that is trained on a device lies there, and what is left of it on the CPU."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from accelerate.state import AcceleratorState, PartialState
from away import AWAY, AwayDevice
from torch import nn

from vcmaug.control.base import write_control
from vcmaug.control.method import control_method
from vcmaug.control.shown import ChannelSettings
from vcmaug.data.cases import Case
from vcmaug.data.nifti import write_image, write_label_map
from vcmaug.data.scalars import ScalarSpec
from vcmaug.data.volume import Volume
from vcmaug.files import read_json
from vcmaug.generate.plan import GenerateSettings
from vcmaug.generate.samplers import DDIM
from vcmaug.ldm.prior import load_prior, write_prior
from vcmaug.ldm.spec import AutoencoderSettings, DiffusionSettings, PriorSpec
from vcmaug.pipeline.looking import pictures
from vcmaug.training.control import train_control
from vcmaug.training.loop import Watch, training_device
from vcmaug.training.prior import PriorJob
from vcmaug.training.settings import (
    AutoencoderTraining,
    ControlJob,
    ControlTraining,
    DiffusionTraining,
    PriorTraining,
)

Away = Callable[[], AbstractContextManager[None]]
SPEC = PriorSpec(
    name="tiny",
    grid=tiny.GRID,
    autoencoder=AutoencoderSettings(channels=(4, 8), latent_channels=2, norm_num_groups=4),
    diffusion=DiffusionSettings(
        channels=(8, 16), num_res_blocks=1, num_head_channels=8, norm_num_groups=4
    ),
    scalars=(ScalarSpec(name="age", low=20, high=80, column="age"),),
)
SMALL = {
    "vcm": {**tiny.VCM, "layout": True},
    "controlnet": {"name": "controlnet", **tiny.SMALL["controlnet"]},
}


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Away:
    """A context in which accelerate chooses a device that is not the CPU."""
    monkeypatch.setattr(AcceleratorState, "_check_initialized", lambda *_: None)

    @contextmanager
    def there() -> Iterator[None]:
        PartialState(cpu=True)
        with monkeypatch.context() as patch, AwayDevice():
            patch.setitem(PartialState._shared_state, "device", AWAY)
            yield

    return there


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, ...]:
    """Three cases whose image is their label map with noise."""
    folder, made = tmp_path_factory.mktemp("cases"), []
    for number, radius in enumerate((5.0, 5.5, 6.0)):
        label = tiny.label_map_of(radius=radius)
        noise = np.random.default_rng(number).random(label.shape)
        image = (0.4 * label.array + 0.1 * noise).astype(np.float32)
        paths = folder / f"i{number}.nii.gz", folder / f"l{number}.nii.gz"
        write_image(paths[0], Volume(image, label.affine))
        write_label_map(paths[1], label)
        row = {"age": 40.0, "volume_core_mm3": 900.0}
        made.append(
            Case(f"k{number}", f"s{number}", {"image": paths[0]}, label=paths[1], source=row)
        )
    return tuple(made)


@pytest.fixture(scope="module")
def prior_folder(cases: tuple[Case, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prior with texture and mean, trained on the CPU."""
    folder = tmp_path_factory.mktemp("prior")
    _train_prior(cases, folder)
    return folder


def _train_prior(cases: tuple[Case, ...], folder: Path) -> None:
    """Train a prior with texture, one case held out."""
    job = PriorJob(
        cases=cases[:2],
        held_out=cases[2:],
        spec=SPEC,
        settings=PriorTraining(
            autoencoder=AutoencoderTraining(updates=2, batch_size=2, precision="float32"),
            diffusion=DiffusionTraining(
                updates=2, batch_size=2, deformed_copies=0, precision="float32"
            ),
            texture=True,
        ),
        seed=0,
        folder=folder,
    )
    write_prior(folder, job.train())


def _train_control(
    cases: tuple[Case, ...],
    prior_folder: Path,
    folder: Path,
    *,
    name: str = "vcm",
    stop_at: int | None = None,
) -> None:
    """Train a control with a case held out and a picture on the way; stop it where asked."""

    def stop(module: nn.Module, update: int) -> dict[str, float]:
        if update == stop_at:
            raise KeyboardInterrupt
        return {}

    prior, shows = load_prior(prior_folder), ChannelSettings()
    method = control_method(SMALL[name])
    job = ControlJob(
        method=method,
        scheme=tiny.SCHEME,
        settings=ControlTraining(
            updates=3,
            batch_size=2,
            precision="float32",
            deformed_copies=1,
            held_out=1,
            validate_every=3,
            checkpoint_every=1,
            keep="best",
        ),
        shows=shows,
    )
    settings = GenerateSettings(sampler=DDIM(steps=2, start=0.5))
    look = pictures(cases[:1], job, prior=prior, settings=settings, folder=folder)
    watches = [Watch(2, stop), Watch(3, look)]
    control = train_control(cases, prior=prior, job=job, folder=folder, watches=watches)
    write_control(folder, control)


def _losses(folder: Path, *, kind: str) -> list[float]:
    """Return the losses that a card has logged."""
    log = read_json(folder / "card.json")["log"]
    rows = log if kind == "control" else [*log["autoencoder"], *log["diffusion"]]
    return [row["loss"] for row in rows if "loss" in row]


@pytest.mark.parametrize("method", SMALL)
def test_a_control_is_trained_and_resumed_on_another_device(
    cases: tuple[Case, ...], prior_folder: Path, tmp_path: Path, away: Away, method: str
) -> None:
    """Nothing is mixed, and the losses are those of the CPU."""
    here, there = tmp_path / "here", tmp_path / "there"
    _train_control(cases, prior_folder, here, name=method)
    with away():
        with pytest.raises(KeyboardInterrupt):
            _train_control(cases, prior_folder, there, name=method, stop_at=2)
        _train_control(cases, prior_folder, there, name=method)
    assert (there / "update-000003.png").exists()
    assert _losses(there, kind="control") == pytest.approx(_losses(here, kind="control"), rel=0.02)


def test_a_prior_is_trained_on_another_device(
    cases: tuple[Case, ...], prior_folder: Path, tmp_path: Path, away: Away
) -> None:
    with away():
        _train_prior(cases, tmp_path)
    found, expected = (_losses(folder, kind="prior") for folder in (tmp_path, prior_folder))
    assert found == pytest.approx(expected, rel=0.02)


@pytest.mark.gpu
def test_prior_and_control_are_trained_on_a_gpu(cases: tuple[Case, ...], tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    assert training_device().startswith("cuda")
    _train_prior(cases, tmp_path / "prior")
    with pytest.raises(KeyboardInterrupt):
        _train_control(cases, tmp_path / "prior", tmp_path / "control", stop_at=2)
    _train_control(cases, tmp_path / "prior", tmp_path / "control")
    assert (tmp_path / "control" / "update-000003.png").exists()
