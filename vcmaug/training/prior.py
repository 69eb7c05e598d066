"""Training of a prior: the autoencoder, its latents, then the diffusion U-Net on them.

Prepared cases are read, labels not needed, never one of a test subject.

References:
    Rombach et al. 2022, arXiv 2112.10752; Ho et al. 2020, arXiv 2006.11239, eq. 14.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from vcmaug.affine import side_axis
from vcmaug.data.case import Case, files_of
from vcmaug.data.scalars import median_fill, raw_value, scalar_faults
from vcmaug.data.seen import Seen
from vcmaug.errors import FaultyDataSet, ModelError
from vcmaug.files import locked
from vcmaug.ldm.autoencoder import StemmedAutoencoder
from vcmaug.ldm.background import measure_foreground
from vcmaug.ldm.denoiser import ScalarUNet
from vcmaug.ldm.guidance import partly_left_out
from vcmaug.ldm.prior import Prior, new_prior
from vcmaug.ldm.schedule import Schedule
from vcmaug.ldm.spec import PriorSpec
from vcmaug.ldm.texture import measure_texture
from vcmaug.ldm.weights import hash_of_weights, read_weights, write_weights
from vcmaug.outputs import refuse_overlap
from vcmaug.progress import Report, silent
from vcmaug.provenance import fingerprint, machine, versions
from vcmaug.seeding import stable_seed, torch_generator
from vcmaug.training.autoencoder import (
    autoencoder_loss,
    encode_all,
    reconstructed,
    reconstruction_figures,
)
from vcmaug.training.data import (
    RUNGS,
    deformed_image,
    displacement_for,
    draw_batch,
    draw_timesteps,
    flipped,
    read_images,
    rungs,
    scalars_of,
)
from vcmaug.training.learner import seeded
from vcmaug.training.loop import Objective, Share, Trained, train, training_device
from vcmaug.training.settings import DeformSettings, PriorTraining, TrainingSettings

__all__ = ["PriorJob"]


@dataclass(frozen=True, kw_only=True)
class PriorJob:
    """What prior is trained, on which cases, and how.

    Attributes:
        cases: Training cases; the caller has kept test subjects out.
        spec: What to build.
        settings: How to train it.
        seed: Of everything random.
        folder: Gets checkpoints, latents and a log, and resumes from them.
        held_out: Validation cases, on which figures are measured; may be empty.
        about: Written into the card: data, licence, command.
        report: Told after every update.
    """

    cases: Sequence[Case]
    spec: PriorSpec
    settings: PriorTraining
    seed: int
    folder: Path
    held_out: Sequence[Case] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    report: Report = silent

    def train(self) -> Prior:
        """Return the trained prior; `ldm.prior.write_prior` writes it.

        Raises:
            ModelError: There is no case, or the images do not lie on the spec's grid.
            FaultyDataSet: Cells of scalars cannot be read.
            WorkFolderError: The folder is in use, or overlaps with what is read.
        """
        refuse_overlap("training a prior", writes=[self.folder], reads=files_of(self.cases))
        if faults := scalar_faults(self.spec.scalars, self.cases):
            raise FaultyDataSet("training a prior", faults)
        with locked(self.folder, purpose="training a prior", together=True):
            return self._train()

    def _train(self) -> Prior:
        """Return the trained prior; the folder is held."""
        images = self._images()
        autoencoder, first = self._autoencoder(images)
        means = self._means(autoencoder, images)
        latent_scale = self.spec.latent_scale or float(1.0 / means.std())
        fill = median_fill(self.spec.scalars, [case.columns for case in self.cases])
        unet, second = self._unet(means * latent_scale, fill)
        decoded = reconstructed(autoencoder, images)
        texture = measure_texture(images, decoded) if self.settings.texture else None
        unseen = read_images(self.held_out or self.cases)
        figures = reconstruction_figures(autoencoder, unseen, texture=texture)
        figures |= self._losses(autoencoder, unet, latent_scale=latent_scale, fill=fill)
        figures |= {
            "diffusion_loss": second.log[-1]["loss"] if second.log else float("nan"),
            "autoencoder_seconds": first.seconds,
            "diffusion_seconds": second.seconds,
            "figures_on_held_out_cases": bool(self.held_out),
        }
        prior = new_prior(
            spec=self.spec,
            autoencoder=autoencoder,
            unet=unet,
            latent_scale=latent_scale,
            texture=texture,
            mean=(means * latent_scale)[: len(self.cases)].mean(dim=0),
            half=self.settings.half,
            seen=self._seen(),
            scalar_fill=fill,
            foreground_above=self._foreground_above(images, decoded),
            log={"autoencoder": first.log, "diffusion": second.log},
            versions=versions(),
            machine=machine(),
            seed=self.seed,
            training=self.settings.model_dump(mode="json"),
            figures=figures,
            **self.about,
        )
        return prior.to(training_device())

    def _images(self) -> Tensor:
        """Return the images of the cases, which must lie on the spec's grid."""
        if not self.cases:
            raise ModelError("training a prior: no training case. Look at the split file.")
        images, expected = read_images(self.cases), tuple(self.spec.grid.shape)
        if tuple(images.shape[2:]) != expected:
            raise ModelError(
                f"training prior {self.spec.name!r}: the prepared images have shape "
                f"{tuple(images.shape[2:])}, the prior's grid is {expected}. Run `vcmaug prepare` "
                "with the recipe's grid."
            )
        return images

    def _autoencoder(self, images: Tensor) -> tuple[StemmedAutoencoder, Trained]:
        """Return an autoencoder trained on images [N, C, X, Y, Z], and the record of it."""
        settings, seed = self.settings.autoencoder, self.seed
        autoencoder = seeded(
            lambda: StemmedAutoencoder(self.spec), seed=stable_seed(seed, "autoencoder")
        )
        autoencoder.start_linear(images)

        def objective(
            module: nn.Module, step: int, share: Share
        ) -> tuple[Tensor, dict[str, float]]:
            chosen = draw_batch(len(images), batch_size=settings.batch_size, seed=seed, step=step)
            batch = images[chosen]  # [B, C, X, Y, Z]
            generator = torch_generator(seed, "autoencoder", step)
            if settings.flip and torch.rand((), generator=generator) < 0.5:
                batch = flipped(batch, axis=side_axis(self.spec.grid.orientation))
            noise = torch.randn((len(batch), *self.spec.latent_shape), generator=generator)
            device = next(module.parameters()).device
            batch = share.of(batch).to(device)
            found = module(batch, share.of(noise).to(device))
            return autoencoder_loss(found, batch, settings=settings)

        trained = self._learn(autoencoder, objective, "autoencoder", settings, self._about_images)
        return autoencoder.eval().requires_grad_(False), trained

    def _unet(self, z: Tensor, fill: Mapping[str, float]) -> tuple[ScalarUNet, Trained]:
        """Return the U-Net trained to predict on latents what the schedule says, and the record.

        Args:
            z: Latents [M, L, x, y, z]: see `_means`.
            fill: What replaces a missing scalar.
        """
        settings, seed, schedule = self.settings.diffusion, self.seed, Schedule(self.spec.schedule)
        copies = [*self.cases] * (1 + settings.deformed_copies)
        scalars = scalars_of(copies, self.spec, fill=fill, and_mirrored=settings.flip)
        dropped = self.spec.drop_scalars
        unet = seeded(lambda: ScalarUNet(self.spec), seed=stable_seed(seed, "diffusion"))

        def objective(
            module: nn.Module, step: int, share: Share
        ) -> tuple[Tensor, dict[str, float]]:
            device = next(module.parameters()).device
            chosen = draw_batch(len(z), batch_size=settings.batch_size, seed=seed, step=step)
            generator = torch_generator(seed, "diffusion", step)
            z_0 = z[chosen]  # [B, L, x, y, z]
            t = draw_timesteps(
                len(z_0),
                schedule.num_timesteps,
                spread=settings.spread_on(self.spec.schedule),
                generator=generator,
            )
            epsilon = torch.randn(z_0.shape, generator=generator)
            own = None
            if scalars is not None:
                left_out = torch_generator(seed, "scalars left out", step)
                own = share.of(partly_left_out(scalars[chosen], dropped, left_out)).to(device)
            z_0, t, epsilon = (share.of(one) for one in (z_0, t, epsilon))
            z_t = schedule.add_noise(z_0, epsilon, t).to(device)
            prediction = module(z_t, t.to(device), own)
            target = schedule.target(z_0, epsilon).to(device)
            return functional.mse_loss(prediction, target), {}

        identity = [
            self._about_images,
            self.spec.model_dump(mode="json"),
            self.settings.model_dump(mode="json"),
        ]
        return unet, self._learn(unet, objective, "diffusion", settings, identity)

    def _foreground_above(self, images: Tensor, decoded: Tensor) -> float | None:
        """Return the grey value of the foreground; None where the decoder has a head for it."""
        headed = self.spec.autoencoder.foreground
        return None if headed else measure_foreground(images, decoded)

    @property
    def _about_images(self) -> dict[str, object]:
        """What decides about the autoencoder."""
        shape = {"grid", "image_channels", "autoencoder"}
        return {
            "cases": [case.case_id for case in self.cases],
            "seed": self.seed,
            "spec": self.spec.model_dump(mode="json", include=shape),
            "settings": self.settings.autoencoder.model_dump(mode="json"),
        }

    def _learn(
        self,
        network: nn.Module,
        objective: Objective,
        name: str,
        settings: TrainingSettings,
        identity: object,
    ) -> Trained:
        """Train a network, leave the moving average in it, and return the record."""
        trained = train(
            network,
            objective,
            settings=settings,
            checkpoint=self.folder / ".checkpoints" / f"{name}.pt",
            identity=fingerprint(identity),
            what="diffusion U-Net" if name == "diffusion" else name,
            events=self.folder / "training" / name,
            report=self.report,
        )
        network.load_state_dict(trained.average)
        return trained

    def _means(self, autoencoder: StemmedAutoencoder, images: Tensor) -> Tensor:
        """Return posterior means [M, L, x, y, z], encoded once, kept beside checkpoints.

        Rows are whole rounds of the cases: plain, deformed copies, then all of them mirrored.
        """
        settings, grid = self.settings.diffusion, self.spec.grid
        names = [case.case_id for case in self.cases]
        deformation = settings.model_dump(include={*DeformSettings.model_fields, "flip"})
        key = fingerprint(
            [hash_of_weights(autoencoder.state_dict()), names, deformation, self.seed]
        )
        path = self.folder / ".checkpoints" / f"latents-{key}.safetensors"
        if path.exists():
            return read_weights(path)["means"]
        copies = [
            deformed_image(
                image, displacement_for(name, k, settings=settings, grid=grid, seed=self.seed)
            )
            for k in range(settings.deformed_copies)
            for image, name in zip(images, names, strict=True)
        ]
        everything = torch.cat([images, torch.stack(copies)]) if copies else images
        means = encode_all(autoencoder, everything)
        if settings.flip:
            turned_round = flipped(everything, axis=side_axis(grid.orientation))
            means = torch.cat([means, encode_all(autoencoder, turned_round)])
        write_weights(path, {"means": means})
        return means

    @torch.no_grad()
    def _losses(
        self,
        autoencoder: StemmedAutoencoder,
        unet: ScalarUNet,
        *,
        latent_scale: float,
        fill: Mapping[str, float],
    ) -> dict[str, float]:
        """Return the mean squared error of the prediction on training and on held-out cases.

        Noise and timesteps are the same for both, so that the two can be compared.
        """
        schedule, device = Schedule(self.spec.schedule), next(unet.parameters()).device
        unet.eval()
        found = {}
        for name, cases in (("training", self.cases), ("held_out", self.held_out)):
            if not cases:
                continue
            z = encode_all(autoencoder, read_images(cases)) * latent_scale
            scalars = scalars_of(cases, self.spec, fill=fill)
            own = None if scalars is None else scalars.to(device)
            losses = []
            for timestep, epsilon in rungs(z, last=schedule.num_timesteps):
                t = torch.full((len(z),), timestep)
                z_t = schedule.add_noise(z, epsilon, t).to(device)
                prediction = unet(z_t, t.to(device), own).cpu()
                losses.append(float(functional.mse_loss(prediction, schedule.target(z, epsilon))))
            found[f"diffusion_loss_{name}"] = sum(losses) / RUNGS
        return found

    def _seen(self) -> Seen:
        """Return whose images it sees, and whose label maps through scalars measured on them."""
        measured = [scalar for scalar in self.spec.scalars if scalar.is_measured]
        through_labels = {
            case.subject_id
            for case in self.cases
            if any(raw_value(scalar, case.columns) is not None for scalar in measured)
        }
        return Seen(
            images=tuple(sorted({case.subject_id for case in self.cases})),
            label_scalars=tuple(sorted(through_labels)),
        )
