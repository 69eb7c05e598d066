"""The training loop of priors and controls: resumable, seeded by step, with a moving average.

What is learned is the objective's; optimiser, learning rate and smoothed loss are the learner's.

Notes:
    Every random draw of step k comes from (seed, k) alone, so that a run that was stopped and
    resumed sees the batches, timesteps and noise that an undisturbed one sees. Started by
    `accelerate launch`, several processes share each batch.
"""

import atexit
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import is_bf16_available
from torch import Tensor, nn

from vcmaug.compute import keep_freed_memory
from vcmaug.compute.devices import keep_to_allowed_cores
from vcmaug.errors import ModelError
from vcmaug.files import write_bytes
from vcmaug.progress import Progress, Report, silent
from vcmaug.training.learner import MovingAverage, guard_small_convolutions, set_rate, smoothed
from vcmaug.training.settings import TrainingSettings

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = [
    "Objective",
    "Share",
    "Trained",
    "Watch",
    "train",
    "training_device",
]


@dataclass(frozen=True)
class Share:
    """Which items of a batch one call of an objective works on: every `parts`-th from `part` on.

    A batch is drawn whole, then shared between processes and, where gradients are accumulated,
    between calls; so the sum of all shares is the same whatever their number.
    """

    part: int = 0
    parts: int = 1

    def of(self, values: Tensor) -> Tensor:
        """Return the share of a batch [B, ...]."""
        return values[self.part :: self.parts]


Objective = Callable[[nn.Module, int, Share], tuple[Tensor, dict[str, float]]]
"""(module, step, share) -> mean loss of the share and named parts; the batch is (seed, step)'s."""


@dataclass(frozen=True)
class Watch:
    """What is measured now and then, with the moving average in place of the weights.

    Attributes:
        every: Updates from one measurement to the next; the last update is measured as well.
        measure: (module, update) -> named values; `validation`, lower is better, decides the best.
    """

    every: int
    measure: Callable[[nn.Module, int], dict[str, float]]


@dataclass
class Trained:
    """How far a training is; its checkpoint holds this beside module and optimiser.

    Attributes:
        identity: Fingerprint of all that decides about it.
        average: The moving average of the weights by name, which is what a training leaves.
        step: Updates so far.
        seconds: Time spent in updates, over all resumed runs.
        smooth_loss: Of late.
        log: One row per report: step, loss, and the objective's parts, averaged since the last.
        sums: Of losses and parts since the last row.
        best: The moving average that measured best; empty without a watch.
        best_update: When that was; 0 without a watch.
        best_value: What it measured.
    """

    identity: str
    average: dict[str, Tensor]
    step: int = 0
    seconds: float = 0.0
    smooth_loss: float = math.nan
    log: list[dict[str, float]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_update: int = 0
    best_value: float = math.inf


def training_device() -> str:
    """Return where this process trains: on its own GPU, or on the CPU where there is none."""
    return str(PartialState(cpu=not torch.cuda.is_available()).device)


def train(
    module: nn.Module,
    objective: Objective,
    *,
    settings: TrainingSettings,
    checkpoint: Path,
    identity: str,
    what: str,
    watches: Sequence[Watch] = (),
    events: Path | None = None,
    report: Report = silent,
) -> Trained:
    """Train a module; return the moving average of its weights, and the record of the training.

    Args:
        module: Trained in place.
        objective: See `Objective`.
        settings: Length and speed.
        checkpoint: Where to resume from and to save to; left behind at the end.
        identity: Fingerprint of all that decides about it; a checkpoint of another is refused.
        what: Name for progress and messages.
        watches: What is measured now and then.
        events: Folder for TensorBoard, if it is installed; the log holds the same figures.
        report: Told after every step.

    Raises:
        ModelError: Loss or gradient are no longer finite, or the checkpoint is of another run.
    """
    keep_freed_memory()
    keep_to_allowed_cores()
    run = _Run(module, settings=settings, identity=identity)
    parts_of_batch = run.accelerator.num_processes * settings.accumulate
    if settings.batch_size % parts_of_batch:
        raise ModelError(
            f"{what}: a batch of {settings.batch_size} cannot be shared between "
            f"{run.accelerator.num_processes} processes of {settings.accumulate} calls each. "
            f"Choose a batch_size that {parts_of_batch} divides."
        )
    run.resume(checkpoint, what=what)
    run.show(events)
    module.train()
    for step in range(run.state.step, settings.updates):
        began = time.perf_counter()
        parts = run.gradients(objective, step=step)
        for name in ("loss", "gradient_norm"):
            if not math.isfinite(parts[name]):
                raise ModelError(
                    f"{what}: the {name} is {parts[name]} at update {step}. Lower the learning "
                    f"rate ({settings.learning_rate:g}); the last good state is in {checkpoint}."
                )
        run.update(step=step)
        run.note(parts, step=step, seconds=time.perf_counter() - began)
        for watch in watches:
            if (step + 1) % watch.every == 0 or step + 1 == settings.updates:
                run.measure(watch)
        if (step + 1) % settings.checkpoint_every == 0:
            run.save(checkpoint)
        report(Progress(what, step + 1, settings.updates, f"loss {run.state.smooth_loss:.4f}"))
    if run.state.step > run.saved_step:
        run.save(checkpoint)
    run.accelerator.wait_for_everyone()
    run.close()
    return run.state


@cache
def _leave_together() -> None:
    """Let this process leave the group at its end; threads of the group may abort it otherwise."""
    atexit.register(PartialState().destroy_process_group)


class _Run:
    """One training under way."""

    def __init__(self, module: nn.Module, *, settings: TrainingSettings, identity: str) -> None:
        self.settings = settings
        self.module = module
        low = settings.precision == "bfloat16" and is_bf16_available()
        if low:
            guard_small_convolutions(module)
        self.optimiser = torch.optim.AdamW(
            module.parameters(), lr=settings.rate(0), weight_decay=settings.weight_decay
        )
        # one process trains several networks, each at its own precision; accelerate knows one
        AcceleratorState._reset_state()
        self.accelerator = Accelerator(
            cpu=not torch.cuda.is_available(),
            mixed_precision="bf16" if low else "no",
        )
        if self.accelerator.num_processes > 1:
            _leave_together()
        self.prepared, self.prepared_optimiser = self.accelerator.prepare(module, self.optimiser)
        self.average = MovingAverage(module, decay=settings.ema_decay)  # where the module is now
        self.state = Trained(identity, self.average.weights)
        self.saved_step = -1
        self._writer: SummaryWriter | None = None

    def show(self, folder: Path | None) -> None:
        """Write the log for TensorBoard too; points after the checkpoint are dropped."""
        if folder and self.accelerator.is_main_process and find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=self.state.step + 1)

    def close(self) -> None:
        """Let TensorBoard's file go."""
        if self._writer:
            self._writer.close()

    def _row(self, values: dict[str, float]) -> None:
        """Add a row to the log."""
        self.state.log.append({"step": self.state.step, **values})
        if self._writer:
            for name, value in values.items():
                self._writer.add_scalar(name, value, self.state.step)
            self._writer.flush()

    def gradients(self, objective: Objective, *, step: int) -> dict[str, float]:
        """Add up and clip the gradients of shares of a batch; return mean parts of the batch."""
        calls = self.settings.accumulate
        total: dict[str, float] = {}
        for call in range(calls):
            part = self.accelerator.process_index * calls + call
            share = Share(part, self.accelerator.num_processes * calls)
            loss, parts = objective(self.prepared, step, share)
            self.accelerator.backward(loss / calls)
            for name, value in {"loss": loss.item(), **parts}.items():
                total[name] = total.get(name, 0.0) + value / calls
        if self.accelerator.num_processes > 1:  # each has seen its own shares, and logs all
            own = torch.tensor([*total.values()], device=self.accelerator.device)
            total = dict(zip(total, self.accelerator.reduce(own, "mean").tolist(), strict=True))
        norm = self.accelerator.clip_grad_norm_(self.prepared.parameters(), self.settings.clip_norm)
        return total | {"gradient_norm": float(norm)}

    def update(self, *, step: int) -> None:
        """Take one step of the optimiser and of the average."""
        set_rate(self.optimiser, self.settings.rate(step))
        self.prepared_optimiser.step()
        self.prepared_optimiser.zero_grad()
        self.average.update(self.module)
        self.state.step = step + 1

    def measure(self, watch: Watch) -> None:
        """Measure the moving average, keep it if it is the best, and add a row to the log."""
        trained = {name: tensor.clone() for name, tensor in self.module.state_dict().items()}
        self.module.load_state_dict(self.average.weights)
        self.module.eval()
        with torch.no_grad():
            found = watch.measure(self.module, self.state.step)
        self.module.load_state_dict(trained)
        self.module.train()
        if found.get("validation", math.inf) < self.state.best_value:
            self.state.best_value, self.state.best_update = found["validation"], self.state.step
            self.state.best = {name: t.clone() for name, t in self.average.weights.items()}
        if found:
            self._row(found)

    def note(self, parts: dict[str, float], *, step: int, seconds: float) -> None:
        """Add one step to the log, which keeps about a hundred rows."""
        state = self.state
        state.seconds += seconds
        state.smooth_loss = smoothed(state.smooth_loss, parts["loss"], share=0.02)
        for name, value in {**parts, "steps": 1.0}.items():
            state.sums[name] = state.sums.get(name, 0.0) + value
        if (step + 1) % max(1, self.settings.updates // 100) == 0:
            steps = state.sums.pop("steps")
            self._row({name: total / steps for name, total in state.sums.items()})
            state.sums = {}

    def save(self, path: Path) -> None:
        """Write the checkpoint atomically; all processes have the same, the first one writes."""
        self.saved_step = self.state.step
        if not self.accelerator.is_main_process:
            return
        tensors = {"module": self.module.state_dict(), "optimiser": self.optimiser.state_dict()}
        stream = BytesIO()
        torch.save({**vars(self.state), **tensors}, stream)
        write_bytes(path, stream.getvalue())

    def resume(self, path: Path, *, what: str) -> None:
        """Go on from a checkpoint, if there is one; no code in the file runs.

        Raises:
            ModelError: It is damaged, or of another run.
        """
        if not path.exists():
            return
        try:
            content = dict(torch.load(path, weights_only=True, map_location="cpu"))
            module, optimiser = content.pop("module"), content.pop("optimiser")
            if missing := set(vars(self.state)) - set(content):
                raise KeyError(*missing)
            state = Trained(**content)
        except Exception as fault:  # bytes that are no checkpoint make it raise almost anything
            reason = str(fault).partition("\n")[0]
            raise ModelError(
                f"{what}: checkpoint {path} is damaged ({reason}). Remove it, or say --resume "
                "never, to train again."
            ) from None
        if state.identity != self.state.identity:
            raise ModelError(
                f"{what}: {path} was left by a run with other settings or data. Remove it to "
                "train again, or restore the settings to resume."
            )
        self.module.load_state_dict(module)
        self.optimiser.load_state_dict(optimiser)
        self.average.load(state.average, num_updates=state.step)
        state.average = self.average.weights
        self.state, self.saved_step = state, state.step
