"""Where the files of a cohort lie.

Generation writes by this layout, study and report read by it. It also removes what killed runs
leave behind.
"""

from dataclasses import dataclass
from pathlib import Path

from vcmaug.files import Inside

__all__ = ["CohortLayout"]


@dataclass(frozen=True)
class CohortLayout:
    """The paths of a cohort in its folder.

    Attributes:
        plan: The plan, written first.
        manifest: One row per request, merged last; the truth.
        manifest_csv: The manifest for people.
        rejects: Draws that were not accepted, if any; columns as in the manifest.
        rejects_csv: The rejects for people.
        card: What the cohort came from; written after the manifest.
        parts: Folder of the manifest's parts, one per shard.
        models: Folder of models that are kept with the cohort, since they lie nowhere else.
    """

    folder: Path

    plan = Inside("plan.json")
    manifest = Inside("manifest.parquet")
    manifest_csv = Inside("manifest.csv")
    rejects = Inside("rejects.parquet")
    rejects_csv = Inside("rejects.csv")
    card = Inside("cohort.json")
    parts = Inside("parts")
    models = Inside(".models")

    @property
    def is_finished(self) -> bool:
        """Whether what is written last is there; the files of its cases are not looked at."""
        return all(path.exists() for path in (self.manifest, self.manifest_csv, self.card))

    def remove_leftovers(self) -> None:
        """Remove the temporary files of runs that were killed; only for who holds the folder."""
        for pattern in (".*.tmp", "*/.*.tmp"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)

    def part(self, shard: int) -> Path:
        """Return the part of the manifest that one shard writes."""
        return self.parts / f"shard-{shard:05d}.jsonl"

    def image(self, request_id: str) -> Path:
        """Return the path of a generated image."""
        return self.folder / "images" / f"{request_id}.nii.gz"

    def reject(self, request_id: str, tries: int) -> Path:
        """Return the path of an image that was not accepted, where such are kept."""
        return self.folder / "rejects" / f"{request_id}-try{tries}.nii.gz"

    def label(self, request_id: str) -> Path:
        """Return the path of its label map."""
        return self.folder / "labels" / f"{request_id}.nii.gz"
