"""Tiny real things for tests: a prior of random weights, a control, conditions, a cohort."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from vcmaug.cohort.row import Drawn, ManifestRow, Run
from vcmaug.compute import Compute, resolve_compute
from vcmaug.conditions.build import build_conditions
from vcmaug.conditions.builders.perturb import Perturb
from vcmaug.conditions.chain import Chain, ConditionSettings
from vcmaug.control.base import Control, write_control
from vcmaug.control.method import ControlMethod
from vcmaug.control.methods import vcm
from vcmaug.control.network import ControlNetwork
from vcmaug.data.cases import Case
from vcmaug.data.geometry import Grid
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import read_image, write_label_map
from vcmaug.data.scalars import ScalarSpec
from vcmaug.data.seen import Seen
from vcmaug.data.volume import Volume
from vcmaug.generate.plan import GenerateSettings, Plan
from vcmaug.generate.planning import make_plan
from vcmaug.generate.run import generate
from vcmaug.generate.samplers import DDIM
from vcmaug.ldm.autoencoder import StemmedAutoencoder
from vcmaug.ldm.denoiser import ScalarUNet
from vcmaug.ldm.prior import Prior, load_prior, new_prior, write_prior
from vcmaug.ldm.spec import AutoencoderSettings, DiffusionSettings, PriorSpec

GRID = Grid(shape=(16, 16, 16), spacing_mm=(2.0, 2.0, 2.0))
SCHEME = LabelScheme.from_mapping({"shell": 1, "core": 2})
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
PERTURB = Perturb(max_displacement_mm=2.0, smoothness_mm=6.0)
IN_PROCESS = Compute("in-process")
VCM: dict[str, Any] = {
    "name": "vcm",
    "encoder_channels": (4, 8),
    "channels": (8, 16),
    "num_res_blocks": 1,
    "num_head_channels": 8,
    "hidden_channels": 8,
    "norm_num_groups": 4,
    "layout": False,
}
LAID_OUT = VCM | {"layout": True}
SMALL: dict[str, dict[str, Any]] = {  # networks of every method, where latents shrink by 4
    "vcm": VCM,
    "vcm_released": {
        "encoder_channels": (16, 16),
        "channels": (8, 16),
        "norm_num_groups": 4,
        "hidden_channels": 8,
    },
    "controlnet": {"encoder_channels": (4, 4, 8)},
    "controlnet_lite": {"encoder_channels": (4, 4, 8)},
    "controlnet_mlp": {"encoder_channels": (4, 4, 8)},
    "t2i_adapter": {},
    "mcm": {
        "channels": (8, 16),
        "attention_levels": (False, True),
        "num_res_blocks": 1,
        "num_head_channels": 8,
        "hidden_channels": 8,
        "norm_num_groups": 4,
    },
}


def make_tiny_prior(folder: Path, *, seed: int = 0, grid: Grid = GRID, **others: Any) -> Path:
    """Write a prior of random weights, by default on 16x16x16 voxels; return its folder.

    Further settings are those of `PriorSpec`.
    """
    spec = PriorSpec(
        name="tiny",
        grid=grid,
        autoencoder=AutoencoderSettings(
            stem_factor=2, channels=(4, 8), latent_channels=2, norm_num_groups=4, shortcut=False
        ),
        diffusion=DiffusionSettings(
            channels=(8, 16), num_res_blocks=1, num_head_channels=8, norm_num_groups=4
        ),
        scalars=(
            ScalarSpec(name="age", low=20, high=80, column="age"),
            ScalarSpec(name="core_volume", low=0, high=16000, structures=("core",)),
        ),
        **others,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        autoencoder, unet = StemmedAutoencoder(spec), ScalarUNet(spec)
        for part in (autoencoder, unet):  # MONAI starts some layers at zero
            _randomise(part)
    torch.nn.init.constant_(autoencoder.kl.decoder.blocks[-1].conv.bias, 0.5)  # inside [0, 1]
    prior = new_prior(
        spec=spec,
        autoencoder=autoencoder,
        unet=unet,
        latent_scale=1.0,
        seen=Seen(images=("p1", "p2")),
        scalar_fill={"age": 50.0, "core_volume": 2000.0},
    )
    write_prior(folder, prior)
    return folder


def make_tiny_control(folder: Path, prior_folder: Path, *, seed: int = 1) -> Path:
    """Write a control with randomised heads on a tiny prior; return its folder."""
    prior = load_prior(prior_folder)
    settings = vcm.VCM(**VCM)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = settings.network(prior.spec, num_structures=SCHEME.num_structures)
        _randomise(network)
    seen = Seen(images=("s0", "s1"), labels=("s0", "s1"))
    write_control(folder, control_of(network, prior, method=settings, seen=seen))
    return folder


def control_of(
    network: ControlNetwork,
    prior: Prior,
    *,
    method: ControlMethod | None = None,
    seen: Seen | None = None,
    **about: Any,
) -> Control:
    """Return a network as a control in use, with its true card."""
    method, seen = method or vcm.VCM(**VCM), seen or Seen()
    return Control.of(network, method=method, prior=prior, scheme=SCHEME, seen=seen, **about)


def _randomise(module: torch.nn.Module) -> None:
    """Move every weight that is constant away from its constant."""
    for weight in module.parameters():
        if weight.numel() > 1 and float(weight.detach().std()) == 0.0:
            torch.nn.init.normal_(weight, mean=float(weight.detach().mean()), std=0.1)


def label_map_of(*, radius: float, core: float = 2.5) -> Volume:
    """Return a ball of `shell` with a ball of `core` in it; radii in voxels."""
    places = np.indices(GRID.shape) - 7.5
    distance = np.sqrt((places**2).sum(axis=0))
    array = np.where(distance < radius, 1, 0)
    return Volume(np.where(distance < core, 2, array).astype(np.uint16), AFFINE)


def make_tiny_cases(folder: Path, *, cores: tuple[float, ...] = (2.5, 2.5)) -> tuple[Case, ...]:
    """Write a label map per subject, its core of such a radius in voxels; return their cases."""
    cases = []
    for number, core in enumerate(cores):
        path = folder / f"s{number}.nii.gz"
        write_label_map(path, label_map_of(radius=5.0 + 0.5 * number, core=core))
        row = {"age": 30.0 + number, "sex": "F", "site": "A"}
        cases.append(Case(f"k{number}", f"s{number}", {"image": path}, label=path, source=row))
    return tuple(cases)


def make_tiny_conditions(
    folder: Path,
    *,
    n: int = 3,
    cores: tuple[float, ...] = (2.5, 2.5),
    compute: Compute = IN_PROCESS,
) -> Path:
    """Build n conditions of tiny subjects; return their folder."""
    build_conditions(
        ConditionSettings(chains=(Chain(steps=(PERTURB,)),)),
        make_tiny_cases(folder.with_name(f"{folder.name}-sources"), cores=cores),
        folder=folder,
        scheme=SCHEME,
        n=n,
        seed=5,
        roles={"s0": "train", "s1": "train"},
        compute=compute,
    )
    return folder


def make_tiny_world(root: Path, *, num_conditions: int = 3, **prior: Any) -> Path:
    """Write root/prior, root/control and root/conditions; return root.

    Further settings are those of the prior's `PriorSpec`.
    """
    make_tiny_prior(root / "prior", **prior)
    make_tiny_control(root / "control", root / "prior")
    make_tiny_conditions(root / "conditions", n=num_conditions)
    return root


def tiny_plan(
    root: Path,
    *,
    n: int = 6,
    steps: int = 3,
    micro_batch_size: int = 2,
    micro_batches_per_shard: int = 1,
    seed: int = 7,
    start: float = 1.0,
    guidance: float = 1.0,
) -> Plan:
    """Return the plan of a cohort of a tiny world."""
    return make_plan(
        GenerateSettings(
            sampler=DDIM(steps=steps, start=start),
            micro_batch_size=micro_batch_size,
            micro_batches_per_shard=micro_batches_per_shard,
            guidance=guidance,
        ),
        prior_folder=root / "prior",
        control_folder=root / "control",
        conditions_folder=root / "conditions",
        n=n,
        seed=seed,
    )


def manifest_row(**values: Any) -> ManifestRow:
    """Return a drawn row of a manifest; columns not named are empty."""
    own = {
        "request_id": "r0", "index": 0, "status": "done", "reason": "", "case_id": "k", "image": "",
        "subject_id": "k", "label": "", "image_sha256": "", "label_sha256": "", "condition_id": "c",
        "condition_sha256": "", "source_case_ids": ("k0",), "source_subject_ids": ("s0",),
        "builder": "perturb",
    }  # fmt: skip
    drawn = Drawn("a", "b", "ddim", (9, 5), strength=1.0, interval=(0.0, 1.0), micro_batch=0)
    own |= {"drawn": drawn, "run": values.pop("run", Run())}
    named = {name: values.pop(name) for name in list(values) if name in ManifestRow.__annotations__}
    return ManifestRow(**own | named).changed(**values)


def bytes_of(cohort: Path) -> dict[str, bytes]:
    """Return the bytes of every image and label of a cohort, by name."""
    paths = sorted([*cohort.glob("images/*"), *cohort.glob("labels/*")])
    return {str(path.relative_to(cohort)): path.read_bytes() for path in paths}


def assert_images_close(first: Path, second: Path, *, atol: float) -> None:
    """Compare the voxels of all images of two cohorts."""
    for path in sorted(first.glob("images/*")):
        one, other = (
            read_image(p, case_id="k").array for p in (path, second / "images" / path.name)
        )
        np.testing.assert_allclose(one, other, atol=atol)


def generate_in_workers(root: str, out: str, workers: int, n: int, steps: int) -> None:
    """Run a generation in a process of its own, which a test kills."""
    plan = tiny_plan(Path(root), n=n, steps=steps)
    generate(plan, out=Path(out), compute=resolve_compute(workers=workers))
