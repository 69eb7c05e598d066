"""The plan of a cohort: which requests, in which micro-batches, in which shards, drawn how.

It is written before anything is drawn; a rerun reads it and must agree with it.

Notes:
    Arithmetic differs in its last bits between batch sizes and between thread counts. Both belong
    to the plan, so that any number of workers, in any order, leaves the same bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, JsonValue, ValidationError, field_validator

from vcmaug.cohort.layout import CohortLayout
from vcmaug.config import Settings
from vcmaug.errors import WorkFolderError, list_faults
from vcmaug.files import read_json, write_json
from vcmaug.generate.acceptance import Acceptance, MeasureSource
from vcmaug.generate.samplers import DDIM, Sampler

__all__ = ["GenerateSettings", "Plan", "Request"]

_FREE = {"prior_folder", "control_folder", "conditions_folder", "micro_batches_per_shard"}
_FREE |= {"folder", "figures"}  # of the measure; it may lie elsewhere too


class GenerateSettings(Settings):
    """How to draw a cohort; all but `micro_batches_per_shard` decides about its bytes."""

    renamed: ClassVar[Mapping[str, str]] = {"gate": "acceptance"}

    sampler: Sampler = DDIM()
    strength: float = Field(1.5, ge=0, description="scales gamma and beta; 1: as trained")
    guidance: float = Field(
        1.0, ge=0, description="by scalars; 1: off, more: further the way that they point"
    )
    interval: tuple[float, float] = Field(
        (0.0, 1.0), description="share of the schedule in which the control acts"
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="of the networks that are asked at every step"
    )
    micro_batch_size: int = Field(4, ge=1, description="requests drawn together")
    micro_batches_per_shard: int = Field(2, ge=1, description="what one worker takes at a time")
    threads_per_worker: int = Field(1, ge=1)
    acceptance: Acceptance = Acceptance()

    @field_validator("interval")
    @classmethod
    def _is_interval(cls, value: tuple[float, float]) -> tuple[float, float]:
        """Refuse what is no part of [0, 1]."""
        if not 0.0 <= value[0] < value[1] <= 1.0:
            raise ValueError("expected two numbers with 0 <= first < second <= 1")
        return value


@dataclass(frozen=True)
class Request:
    """One case to draw; its id is its identity."""

    request_id: str
    index: int
    condition: int


class Plan(Settings):
    """All that decides what a cohort holds."""

    seed: int
    n: int = Field(ge=1)
    num_conditions: int = Field(ge=1)
    settings: GenerateSettings
    timesteps: tuple[int, ...]
    prior_sha256: str
    control_sha256: str
    conditions_sha256: str
    prior_folder: str
    control_folder: str
    conditions_folder: str
    measure: MeasureSource | None = None
    prior_kind: str = "epsilon"

    def request(self, index: int) -> Request:
        """Return a request: number k asks for condition k modulo their number."""
        return Request(f"r{index:06d}", index, index % self.num_conditions)

    @property
    def num_micro_batches(self) -> int:
        """Micro-batches in all; the last may be smaller."""
        return -(-self.n // self.settings.micro_batch_size)

    @property
    def num_shards(self) -> int:
        """Shards in all; the last may be smaller."""
        return -(-self.num_micro_batches // self.settings.micro_batches_per_shard)

    def requests_of_micro_batch(self, micro_batch: int) -> list[Request]:
        """Return the requests of a micro-batch: a fixed run of indices."""
        first = micro_batch * self.settings.micro_batch_size
        last = min(self.n, first + self.settings.micro_batch_size)
        return [self.request(index) for index in range(first, last)]

    def micro_batches_of_shard(self, shard: int) -> range:
        """Return the micro-batches of a shard: a fixed run of them."""
        first = shard * self.settings.micro_batches_per_shard
        last = min(self.num_micro_batches, first + self.settings.micro_batches_per_shard)
        return range(first, last)

    def requests_of_shard(self, shard: int) -> list[Request]:
        """Return the requests of a shard: a fixed run of indices."""
        batches = self.micro_batches_of_shard(shard)
        return [one for batch in batches for one in self.requests_of_micro_batch(batch)]

    @classmethod
    def read(cls, folder: Path) -> "Plan":
        """Return the plan of a cohort.

        Raises:
            WorkFolderError: An older version made it.
        """
        path = CohortLayout(folder).plan
        try:
            return cls.model_validate(read_json(path))
        except ValidationError:
            raise WorkFolderError(
                f"reading {path}: made by an older version. Move the cohort's folder away and run "
                "`vcmaug generate` again."
            ) from None

    def claim(self, folder: Path) -> "Plan":
        """Write the plan, or find it written already; return the plan to go on with.

        A folder keeps the shards that it began with, since its rows lie in their parts; where
        prior, control and conditions lie is taken from the new plan.

        Raises:
            WorkFolderError: The folder holds another plan; the message says what differs.
        """
        path, plan = CohortLayout(folder).plan, self
        if path.exists():
            before = Plan.read(folder)  # with what it does not name by default
            differences = _differences(before.model_dump(mode="json"), self.model_dump(mode="json"))
            if differences:
                raise WorkFolderError(
                    list_faults(
                        f"generating in {folder}: the folder holds a cohort of another plan",
                        differences,
                        advice="Repeat the first command to go on with it, or move the folder "
                        "away.",
                    )
                )
            shards = {"micro_batches_per_shard": before.settings.micro_batches_per_shard}
            plan = self.model_copy(update={"settings": self.settings.model_copy(update=shards)})
        write_json(path, plan.model_dump(mode="json"))
        return plan


def _differences(before: JsonValue, now: JsonValue, place: str = "") -> list[str]:
    """Return what differs between two plans; where folders lie and how shards are cut may."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            fault
            for name in sorted({*before, *now} - _FREE)
            for fault in _differences(before.get(name), now.get(name), f"{place}.{name}")
        ]
    return [] if before == now else [f"{place.removeprefix('.')}: {before!r} there, {now!r} now"]
