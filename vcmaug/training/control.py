"""Training of a control on a frozen prior, from a few labelled cases.

What it is: `train_control`, which leaves a folder that `control.build.load_control` reads.
In the flow: the only training that sees label maps; the caller names the cases, never a test one.
Sources: Ahn et al. 2025, WACV, arXiv 2410.21826.

Notes:
    The prior runs without gradient; its prediction is an input of the control. The deformed copies
    of the training pairs (image and label map bent together, then encoded) are this toolkit's
    addition for small n, as is the learning rate near 1e-3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from vcmaug.control.build import build_network, write_control
from vcmaug.control.vcm import VCMNetwork, VCMSettings, modulate
from vcmaug.data.cases import Case
from vcmaug.data.deformation import warp_label_map
from vcmaug.data.labels import LabelScheme
from vcmaug.errors import LeakError, ModelError
from vcmaug.ldm.denoiser import Context
from vcmaug.ldm.prior import Prior, weights_of
from vcmaug.ldm.weights import fill_module, hash_of_weights, read_card, read_weights
from vcmaug.progress import Report, silent
from vcmaug.provenance import machine, versions
from vcmaug.seeding import torch_generator
from vcmaug.training.batches import (
    draw_batch,
    flipped,
    one_hot_batch,
    read_images,
    read_index_maps,
    scalars_of,
)
from vcmaug.training.bent import BendSettings, bent_image, displacement_for
from vcmaug.training.loop import Objective, TrainingSettings, train
from vcmaug.training.losses import control_loss

__all__ = ["ControlTraining", "train_control"]


class ControlTraining(TrainingSettings, BendSettings):
    """How to train a control."""

    learning_rate: float = Field(1e-3, gt=0)
    ema_decay: float = Field(0.99, ge=0, lt=1)
    l1_weight: float = Field(1e-3, ge=0, description="lambda of the penalty on gamma and beta")
    flip: bool = Field(True, description="mirrored pairs too; only if no structure has a side")
    deformed_copies: int = Field(4, ge=0, description="bent copies of each pair")
    timesteps: float = Field(
        1.0, gt=0, le=1, description="share of the schedule that is trained: sampler.start"
    )
    half: bool = Field(False, description="store the weights in half precision")


@dataclass(frozen=True)
class _Pairs:
    """Training pairs: z [M, L, x, y, z], index maps [M, X, Y, Z], scalars [M, S] or None."""

    z: Tensor
    index_maps: Tensor
    scalars: Tensor | None


def train_control(
    cases: Sequence[Case],
    *,
    prior: Prior,
    scheme: LabelScheme,
    network: VCMSettings,
    settings: ControlTraining,
    seed: int,
    folder: Path,
    forbidden: Sequence[str],
    about: Mapping[str, Any],
    pseudo_labelled: Sequence[Case] = (),
    start_from: Path | None = None,
    report: Report = silent,
) -> None:
    """Train a control and leave it in a folder.

    Args:
        cases: The labelled cases; the labels of exactly these are seen.
        prior: Frozen; its weights' hash is taken before and after.
        scheme: Of the label maps.
        network: Shapes of the control's networks.
        settings: How to train.
        seed: Of everything random.
        folder: Gets `control.safetensors`, `card.json`, and `.checkpoints/`.
        forbidden: Subjects of test and validation.
        about: Written into the card: data, licence, command.
        pseudo_labelled: Further training cases, their label maps guessed by a segmenter of `cases`.
        start_from: Folder of a control on the same prior to start from, or None.
        report: Told after every update.

    Raises:
        LeakError: A forbidden subject is among the cases.
        ModelError: The prior's weights changed, or `start_from` does not fit.
    """
    everybody = [*cases, *pseudo_labelled]
    _refuse(everybody, forbidden)
    before = hash_of_weights(weights_of(prior.autoencoder, prior.denoiser.unet))
    pairs = _encode_pairs(everybody, prior=prior, scheme=scheme, settings=settings, seed=seed)
    torch.manual_seed(torch_generator(seed, "control").initial_seed())
    module = build_network(network, spec=prior.spec, num_structures=scheme.num_structures)
    seen = {case.subject_id for case in everybody}
    if start_from is not None:
        seen |= _start(module, start_from, prior=prior, scheme=scheme)
    trained = train(
        module,
        _objective(pairs, prior=prior, scheme=scheme, settings=settings, seed=seed),
        settings=settings,
        checkpoint=folder / ".checkpoints" / "control.pt",
        identity={
            "prior": before,
            "cases": [case.case_id for case in everybody],
            "network": network.model_dump(mode="json"),
            "settings": settings.model_dump(mode="json"),
            "scheme": scheme.to_json(),
            "start_from": str(start_from),
            "seed": seed,
        },
        what="control",
        report=report,
    )
    module.load_state_dict(trained.weights)
    if hash_of_weights(weights_of(prior.autoencoder, prior.denoiser.unet)) != before:
        raise ModelError("training a control: the frozen prior's weights changed. This is a bug.")
    last = trained.log[-1] if trained.log else {}
    write_control(
        folder,
        network=module,
        settings=network,
        prior=prior,
        scheme=scheme,
        half=settings.half,
        card={
            "subjects": sorted(seen),
            "labelled_subjects": sorted({case.subject_id for case in cases}),
            "pseudo_labelled_subjects": sorted({case.subject_id for case in pseudo_labelled}),
            "started_from": None if start_from is None else start_from.name,
            "training": settings.model_dump(mode="json"),
            "seed": seed,
            "figures": {"last": last, "seconds": trained.seconds},
            "log": trained.log,
            "versions": versions(),
            "machine": machine(),
            **about,
        },
    )


def _refuse(cases: Sequence[Case], forbidden: Sequence[str]) -> None:
    """Refuse a case of a test or validation subject."""
    leaked = sorted({case.subject_id for case in cases} & set(forbidden))
    if leaked:
        raise LeakError(
            f"training a control: subject {', '.join(leaked)} belongs to test or validation. "
            "Use training subjects only."
        )


def _encode_pairs(
    cases: Sequence[Case],
    *,
    prior: Prior,
    scheme: LabelScheme,
    settings: ControlTraining,
    seed: int,
) -> _Pairs:
    """Return plain, bent and mirrored pairs, encoded once."""
    images, maps = read_images(cases), read_index_maps(cases, scheme)
    numbers = list(range(len(cases)))  # which case each pair comes from
    pairs = list(zip(images, maps, strict=True))
    for number, case in enumerate(cases):
        for copy in range(settings.deformed_copies):
            displacement = displacement_for(
                case.case_id,
                copy,
                settings=settings,
                shape=maps.shape[1:],
                spacing_mm=prior.spec.grid.spacing_mm,
                seed=seed,
            )
            bent_map = warp_label_map(maps[number].numpy(), displacement)
            pairs.append((bent_image(images[number], displacement), torch.from_numpy(bent_map)))
            numbers.append(number)
    all_images = torch.stack([image for image, _ in pairs])  # [M, C, X, Y, Z]
    all_maps = torch.stack([index for _, index in pairs])  # [M, X, Y, Z]
    if settings.flip:
        all_images = torch.cat([all_images, flipped(all_images)])
        all_maps = torch.cat([all_maps, flipped(all_maps)])
        numbers = numbers * 2
    z = torch.cat([prior.encode(part) for part in all_images.split(8)])
    scalars = scalars_of(cases, prior.spec, fill=prior.card["scalar_fill"])
    return _Pairs(z, all_maps, None if scalars is None else scalars[numbers])


def _start(module: VCMNetwork, folder: Path, *, prior: Prior, scheme: LabelScheme) -> set[str]:
    """Fill a network from a trained control; return the subjects that one has seen.

    Raises:
        ModelError: It steers another prior or speaks another scheme.
    """
    card = read_card(folder, kind="control")
    if card["prior_sha256"] != prior.card["weights_sha256"] or card["scheme"] != scheme.to_json():
        raise ModelError(
            f"starting from control {folder}: it belongs to prior {card['prior']!r} and the "
            f"structures {[item['name'] for item in card['scheme']]}; this recipe's differ."
        )
    path = folder / "control.safetensors"
    fill_module(module, read_weights(path), source=path)
    return set(card["subjects"])


def _objective(
    pairs: _Pairs, *, prior: Prior, scheme: LabelScheme, settings: ControlTraining, seed: int
) -> Objective:
    """Return the loss of one step: MSE of epsilon' plus the penalty."""

    def objective(module: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        device = next(module.parameters()).device
        chosen = draw_batch(len(pairs.z), batch_size=settings.batch_size, seed=seed, step=step)
        generator = torch_generator(seed, "control", step)
        z_0 = pairs.z[chosen]  # [B, L, x, y, z]
        last = round(settings.timesteps * prior.schedule.num_timesteps)
        t = torch.randint(last, (len(z_0),), generator=generator)
        epsilon = torch.randn(z_0.shape, generator=generator)
        z_t = prior.schedule.add_noise(z_0, epsilon, t).to(device)
        scalars = None if pairs.scalars is None else pairs.scalars[chosen].to(device)
        half = settings.precision == "bfloat16"
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
            frozen = prior.denoiser(z_t, t.to(device), Context(scalars=scalars)).float()
        one_hot = one_hot_batch(pairs.index_maps[chosen], scheme.num_structures).to(device)
        gamma, beta = module(z_t, frozen, t=t.to(device), one_hot=one_hot)
        prediction = modulate(frozen, gamma, beta)
        loss, parts = control_loss(
            prediction, epsilon.to(device), gamma=gamma, beta=beta, l1_weight=settings.l1_weight
        )
        return loss, parts | {"frozen_mse": functional.mse_loss(frozen, epsilon.to(device)).item()}

    return objective
