"""Where the files of a cohort lie.

Generation writes by this layout, study and report read by it. It also removes what killed runs
leave behind.
"""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["CohortLayout"]


@dataclass(frozen=True)
class CohortLayout:
    """The paths of a cohort in its folder."""

    folder: Path

    @property
    def plan(self) -> Path:
        """The plan, written first."""
        return self.folder / "plan.json"

    @property
    def manifest(self) -> Path:
        """One row per request, merged last; the truth."""
        return self.folder / "manifest.parquet"

    @property
    def manifest_csv(self) -> Path:
        """The manifest for people."""
        return self.folder / "manifest.csv"

    @property
    def rejects(self) -> Path:
        """Draws that were not accepted, if any; columns as in the manifest."""
        return self.folder / "rejects.parquet"

    @property
    def rejects_csv(self) -> Path:
        """The rejects for people."""
        return self.folder / "rejects.csv"

    @property
    def card(self) -> Path:
        """What the cohort came from; written after the manifest."""
        return self.folder / "cohort.json"

    @property
    def is_finished(self) -> bool:
        """Whether what is written last is there; the files of its cases are not looked at."""
        return self.manifest.exists() and self.manifest_csv.exists() and self.card.exists()

    @property
    def parts(self) -> Path:
        """Folder of the manifest's parts, one per shard."""
        return self.folder / "parts"

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
