from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import GRID, SCHEME, SMALL
from torch import nn

from vcmaug.conditions.builders.lowres import LowRes
from vcmaug.control.base import load_control, write_control
from vcmaug.control.card import ControlCard
from vcmaug.control.method import control_method
from vcmaug.control.methods.vcm import VCM
from vcmaug.control.shown import ChannelSettings
from vcmaug.data.cases import Case
from vcmaug.data.labels import LabelScheme
from vcmaug.data.scalars import ScalarSpec
from vcmaug.data.seen import Seen
from vcmaug.errors import LeakError, ModelError, WorkFolderError
from vcmaug.files import locked, read_json, write_json
from vcmaug.ldm.card import read_card
from vcmaug.ldm.denoiser import Context
from vcmaug.ldm.prior import Prior, load_prior, write_prior
from vcmaug.ldm.spec import AutoencoderSettings, DiffusionSettings, PriorSpec
from vcmaug.ldm.weights import hash_of_weights
from vcmaug.training import control
from vcmaug.training.control import train_control
from vcmaug.training.data import flipped, read_images
from vcmaug.training.loop import Watch
from vcmaug.training.pairs import Pairs, labelled_pairs
from vcmaug.training.prior import PriorJob
from vcmaug.training.settings import (
    AutoencoderTraining,
    ControlJob,
    ControlTraining,
    DiffusionTraining,
    PriorTraining,
)

SPEC = PriorSpec(
    name="tiny",
    grid=GRID,
    autoencoder=AutoencoderSettings(channels=(4, 8), latent_channels=2, norm_num_groups=4),
    diffusion=DiffusionSettings(
        channels=(8, 16), num_res_blocks=1, num_head_channels=8, norm_num_groups=4
    ),
    scalars=(ScalarSpec(name="age", low=20, high=80, column="age"),),
)
PRIOR = PriorTraining(
    autoencoder=AutoencoderTraining(updates=30, batch_size=2, learning_rate=0.01),
    diffusion=DiffusionTraining(updates=20, batch_size=4, deformed_copies=0),
    half=True,
)
LOWRES = LowRes(spacing_mm=4)
NETWORK = VCM(
    encoder_channels=(4, 8),
    channels=(8, 16),
    num_res_blocks=1,
    num_head_channels=8,
    hidden_channels=8,
    norm_num_groups=4,
    layout=False,
)


@pytest.fixture(scope="module")
def prior_folder(cases: tuple[Case, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prior")
    job = PriorJob(
        cases=cases, spec=SPEC, settings=PRIOR, seed=0, folder=folder, about={"data": "x"}
    )
    write_prior(folder, job.train(), half=PRIOR.half)
    return folder


def test_a_prior_is_trained_and_says_what_it_saw(prior_folder: Path) -> None:
    prior = load_prior(prior_folder)
    assert prior.card.seen == Seen(images=("s0", "s1", "s2", "s3"))
    assert prior.card.scalar_fill == {"age": 50.0}  # the median of 30, 50 and 70
    log = prior.card.log["autoencoder"]
    assert log[-1]["l1"] < log[0]["l1"]
    assert prior.card.figures["psnr_db"] > 5


def test_latents_have_unit_deviation_after_their_measured_scale(
    prior_folder: Path, cases: tuple[Case, ...]
) -> None:
    images = read_images(cases)
    prior = load_prior(prior_folder)
    z = torch.cat([prior.encode(images), prior.encode(flipped(images, axis=0))])
    assert float(z.std()) == pytest.approx(1.0, rel=0.02)  # weights are stored in half precision


def _train(
    cases: tuple[Case, ...],
    prior_folder: Path,
    folder: Path,
    *,
    forbidden: tuple[str, ...] = (),
    updates: int = 12,
    start_from: Path | None = None,
    shows: ChannelSettings | None = None,
    prior: Prior | None = None,
    scheme: LabelScheme = SCHEME,
    network: VCM = NETWORK,
    watches: Sequence[Watch] = (),
    threads: int | None = None,
) -> None:
    settings = ControlTraining(updates=updates, batch_size=4, deformed_copies=1, threads=threads)
    job = ControlJob(
        method=network,
        scheme=scheme,
        shows=shows or ChannelSettings(),
        settings=settings,
        forbidden=forbidden,
        start_from=start_from,
    )
    prior = prior or load_prior(prior_folder)
    control = train_control(cases, prior=prior, job=job, folder=folder, watches=watches)
    write_control(folder, control)


def test_training_a_control_leaves_the_prior_as_it_was(
    cases: tuple[Case, ...], prior_folder: Path, tmp_path: Path
) -> None:
    after = load_prior(prior_folder)
    hashed = hash_of_weights(after.weights)
    _train(cases[:2], prior_folder, tmp_path, prior=after)  # this one, not a copy
    assert hash_of_weights(after.weights) == hashed
    control = load_control(tmp_path, prior=after)
    assert control.card.seen == Seen(images=("s0", "s1"), labels=("s0", "s1"))
    z, t = torch.randn(1, *SPEC.latent_shape), torch.tensor([500])
    context = Context(torch.tensor([[0.5]]), control.encode(torch.ones(1, 2, 16, 16, 16)))
    assert not torch.equal(
        control.steer(after.denoiser)(z, t, context), after.denoiser(z, t, context)
    )


def test_a_layout_is_learnt_beside_the_control(
    cases: tuple[Case, ...], prior_folder: Path, tmp_path: Path
) -> None:
    job = ControlJob(
        method=NETWORK.model_copy(update={"layout": True}),
        scheme=SCHEME,
        settings=ControlTraining(
            updates=60, batch_size=4, deformed_copies=1, weighting="image", near_weight=5
        ),
    )
    folder = tmp_path
    control = train_control(cases, prior=load_prior(prior_folder), job=job, folder=folder)
    write_control(folder, control)
    log = load_control(tmp_path, prior=load_prior(prior_folder)).card.log
    assert log[-1]["layout"] < 0.9 * log[0]["layout"]


def test_training_a_control_is_reproducible(
    cases: tuple[Case, ...], prior_folder: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        _train(cases[:2], prior_folder, tmp_path / name, updates=3)
    first, second = ((tmp_path / name / "control.safetensors").read_bytes() for name in ("a", "b"))
    assert first == second


@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_control_with_a_case_held_out_says_which_update_it_is_of(
    cases: tuple[Case, ...], prior_folder: Path, tmp_path: Path, keep: str
) -> None:
    def run(held_out: int) -> None:
        job = ControlJob(
            method=NETWORK,
            scheme=SCHEME,
            settings=ControlTraining(
                updates=6, batch_size=2, held_out=held_out, validate_every=2, keep=keep
            ),
        )
        folder = tmp_path / str(held_out)
        control = train_control(cases, prior=load_prior(prior_folder), job=job, folder=folder)
        write_control(folder, control)

    run(1)
    card = read_card(tmp_path / "1", ControlCard)
    measured = {row["step"]: row["validation"] for row in card.log if "validation" in row}
    assert sorted(measured) == [2, 4, 6]
    best = min(measured, key=lambda step: measured[step])
    assert card.figures["best_update"] == best
    assert card.figures["kept_update"] == (best if keep == "best" else 6)
    assert card.seen.labels == ("s0", "s1", "s2", "s3")
    with pytest.raises(ModelError, match="held_out is 4, expected 1 to 3"):
        run(4)


def test_all_cases_of_a_subject_are_on_one_side(
    cases: tuple[Case, ...], prior_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two subjects with two cases each, those of the second are held out."""
    taken: list[list[str]] = []

    def spied(some: Sequence[Case], **others: Any) -> Pairs:
        taken.append([case.case_id for case in some])
        return labelled_pairs(some, **others)

    monkeypatch.setattr(control, "labelled_pairs", spied)
    owners = ("s0", "s1", "s1", "s0")
    shared = [replace(case, subject_id=owner) for case, owner in zip(cases, owners, strict=True)]

    def run(held_out: int) -> None:
        job = ControlJob(
            method=NETWORK,
            scheme=SCHEME,
            settings=ControlTraining(updates=1, batch_size=2, held_out=held_out),
        )
        folder = tmp_path
        control = train_control(shared, prior=load_prior(prior_folder), job=job, folder=folder)
        write_control(folder, control)

    run(1)
    assert taken == [["k1", "k2"], ["k0", "k3"]]  # held out, then trained on
    with pytest.raises(ModelError, match="on 2 subjects: held_out is 2, expected 1 to 1"):
        run(2)


@pytest.mark.parametrize("method", [name for name in SMALL if name != "vcm"])
def test_every_method_is_trained_by_the_same_function(
    cases: tuple[Case, ...], prior_folder: Path, tmp_path: Path, method: str
) -> None:
    prior = load_prior(prior_folder)
    job = ControlJob(
        method=control_method({"name": method, **SMALL[method]}),
        scheme=SCHEME,
        settings=ControlTraining(updates=3, batch_size=2, deformed_copies=0),
    )
    folder = tmp_path
    control = train_control(cases, prior=prior, job=job, folder=folder)
    write_control(folder, control)
    control = load_control(tmp_path, prior=prior)
    assert control.card.name == method
    z_t = torch.randn(1, *prior.spec.latent_shape)
    t, maps = torch.tensor([500]), torch.ones(1, 2, 16, 16, 16)
    context = Context(torch.zeros(1, 1), control.encode(maps))
    assert torch.isfinite(control.steer(prior.denoiser)(z_t, t, context)).all()


def test_a_prior_that_moves_under_training_is_an_error(
    cases: tuple[Case, ...], prior_folder: Path, tmp_path: Path
) -> None:
    prior = load_prior(prior_folder)

    def move(module: nn.Module, update: int) -> dict[str, float]:
        next(prior.denoiser.unet.parameters()).data[0] += 1e-3
        return {}

    with pytest.raises(ModelError, match="the frozen prior's weights changed"):
        _train(cases[:2], prior_folder, tmp_path, prior=prior, watches=[Watch(6, move)])
    assert not (tmp_path / "card.json").exists()


def test_a_test_subject_is_refused(
    cases: tuple[Case, ...], prior_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(LeakError, match="subject s1 belongs to test or validation"):
        _train(cases[:2], prior_folder, tmp_path, forbidden=("s1", "s9"))
    assert not list(tmp_path.iterdir())


def test_one_training_at_a_time_writes_in_a_folder(
    cases: tuple[Case, ...], prior_folder: Path, tmp_path: Path
) -> None:
    with (
        locked(tmp_path, purpose="training a control"),
        pytest.raises(WorkFolderError, match="in use by process"),
    ):
        _train(cases[:2], prior_folder, tmp_path)
    for folder in (prior_folder, prior_folder.parent):
        with pytest.raises(WorkFolderError, match="which is read"):
            _train(cases[:2], prior_folder, folder)


def test_one_training_of_a_prior_writes_in_a_folder_and_not_where_its_images_are(
    cases: tuple[Case, ...], tmp_path: Path
) -> None:
    job = PriorJob(cases=cases, spec=SPEC, settings=PRIOR, seed=0, folder=tmp_path / "prior")
    with (
        locked(job.folder, purpose="training a prior"),
        pytest.raises(WorkFolderError, match=r"in use by process \d+ \(training a prior\)"),
    ):
        job.train()
    place = cases[0].image.parent
    before = set(place.iterdir())
    with pytest.raises(WorkFolderError, match=r"training a prior: the output .* which is read"):
        replace(job, folder=place).train()
    assert set(place.iterdir()) == before


def test_the_card_of_a_prior_says_above_which_value_foreground_lies(
    cases: tuple[Case, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The value is measured on the training images and on what the decoder makes of them."""
    seen: list[torch.Tensor] = []

    def measured(images: torch.Tensor, decoded: torch.Tensor) -> float:
        seen.extend((images, decoded))
        return 0.25

    monkeypatch.setattr("vcmaug.training.prior.measure_foreground", measured)
    one = {"updates": 1}
    settings = PRIOR.model_copy(
        update={
            "autoencoder": PRIOR.autoencoder.model_copy(update=one),
            "diffusion": PRIOR.diffusion.model_copy(update=one),
            "half": False,
        }
    )
    job = PriorJob(cases=cases, spec=SPEC, settings=settings, seed=0, folder=tmp_path)
    write_prior(tmp_path, job.train())
    prior = load_prior(tmp_path)
    assert prior.card.foreground_above == 0.25
    assert torch.equal(seen[0], read_images(cases))
    with torch.no_grad():
        mean, _ = prior.autoencoder.encode(seen[0])
        torch.testing.assert_close(prior.autoencoder.decode(mean), seen[1])


def test_a_control_started_from_another_has_seen_its_subjects_too(
    cases: tuple[Case, ...], prior_folder: Path, tmp_path: Path
) -> None:
    _train(cases[2:], prior_folder, tmp_path / "first", updates=2)
    _train(cases[:1], prior_folder, tmp_path / "second", updates=2, start_from=tmp_path / "first")
    card = load_control(tmp_path / "second", prior=load_prior(prior_folder)).card
    assert card.seen.subjects == ("s0", "s2", "s3")
    assert card.seen.labels == ("s0",)
    assert card.seen.before is not None
    assert card.seen.before.labels == ("s2", "s3")
    assert card.started_from == f"{tmp_path.name}/first"


@pytest.mark.parametrize(
    ("shows", "named"),
    [
        (
            ChannelSettings(structures=["core"]),
            r"label_map of shell; this recipe shows label_map of",
        ),
        (ChannelSettings(), "this recipe shows label_map of shell, core"),
        (ChannelSettings(steps=[LOWRES]), "this recipe shows label_map, lowres of shell, core"),
    ],
)
def test_a_control_that_was_shown_something_else_is_no_start(
    cases: tuple[Case, ...], prior_folder: Path, tmp_path: Path, shows: ChannelSettings, named: str
) -> None:
    first = ChannelSettings(structures=["shell"])
    _train(cases[2:], prior_folder, tmp_path / "first", updates=1, shows=first)
    start = tmp_path / "first"
    with pytest.raises(ModelError, match=named):
        _train(cases[:1], prior_folder, tmp_path / "x", updates=1, start_from=start, shows=shows)
    _train(cases[:1], prior_folder, tmp_path / "same", updates=1, start_from=start, shows=first)


@pytest.mark.parametrize(
    ("scheme", "network", "named"),
    [
        (
            {"shell": 2, "core": 1},
            {},
            r"structures are {'shell': 1, 'core': 2}, .* {'shell': 2, 'core': 1}",
        ),
        ({}, {"norm_num_groups": 2}, r"control\.network\.norm_num_groups is 4 there and 2 here"),
    ],
)
def test_a_control_of_another_scheme_or_network_is_no_start(
    cases: tuple[Case, ...],
    prior_folder: Path,
    tmp_path: Path,
    scheme: dict[str, int],
    network: dict[str, int],
    named: str,
) -> None:
    start = tmp_path / "first"
    _train(cases[2:], prior_folder, start, updates=1)
    other = LabelScheme.from_mapping(scheme) if scheme else SCHEME
    with pytest.raises(ModelError, match=named):
        _train(
            cases[:1],
            prior_folder,
            tmp_path / "x",
            start_from=start,
            scheme=other,
            network=NETWORK.model_copy(update=network),
        )


def test_a_damaged_control_is_no_start(
    cases: tuple[Case, ...], prior_folder: Path, tmp_path: Path
) -> None:
    start = tmp_path / "first"
    _train(cases[2:], prior_folder, start, updates=1)
    weights = bytearray((start / "control.safetensors").read_bytes())
    weights[-100] ^= 1
    (start / "control.safetensors").write_bytes(bytes(weights))
    with pytest.raises(ModelError, match="hash is not the one on the card"):
        _train(cases[:1], prior_folder, tmp_path / "x", start_from=start)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"prior_sha256": None}, "lacks prior_sha256"),
        ({"settings": {"name": "vcm", "depth": 3}}, "cannot read the settings on its card"),
        ({"settings": {"name": "unheard"}}, "cannot read the settings on its card"),
        ({"shown": {"depth": 3}}, "cannot read the settings on its card"),
        ({"scheme": [{"called": "a"}]}, "cannot read the settings on its card"),
        ({"num_timesteps": None}, "lacks num_timesteps"),
        ({"seen": None}, "lacks seen"),
        (
            {"seen": None, "subjects": []},
            "older version of vcmaug made it.*train-control` again",
        ),
    ],
)
def test_a_card_that_cannot_be_used_is_one_clear_error(
    cases: tuple[Case, ...], prior_folder: Path, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    _train(cases[:1], prior_folder, tmp_path, updates=1)
    card = {**read_json(tmp_path / "card.json"), **changes}
    write_json(tmp_path / "card.json", {k: v for k, v in card.items() if v is not None})
    with pytest.raises(ModelError, match=named):
        load_control(tmp_path, prior=load_prior(prior_folder))
    write_json(tmp_path / "card.json", ["no mapping"])
    with pytest.raises(ModelError, match="the card says 'list', expected 'control'"):
        load_control(tmp_path, prior=load_prior(prior_folder))


def test_images_off_the_grid_are_refused(cases: tuple[Case, ...], tmp_path: Path) -> None:
    other = SPEC.model_copy(update={"grid": GRID.model_copy(update={"shape": (24, 16, 16)})})
    with pytest.raises(ModelError, match="the prior's grid is"):
        PriorJob(cases=cases, spec=other, settings=PRIOR, seed=0, folder=tmp_path).train()


def test_a_control_has_the_threads_of_its_settings(
    cases: tuple[Case, ...], prior_folder: Path, tmp_path: Path
) -> None:
    before, seen = torch.get_num_threads(), set()
    torch.set_num_threads(2)
    try:
        for threads in (1, None):
            watch = Watch(1, lambda module, step: seen.add(torch.get_num_threads()) or {})
            out = tmp_path / str(threads)
            _train(cases[:1], prior_folder, out, updates=2, threads=threads, watches=[watch])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == {1, 2}
